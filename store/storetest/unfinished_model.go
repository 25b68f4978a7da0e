package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"fileshare/store"
)

// modelUpload is what an unfinished upload must be.
type modelUpload struct {
	ref    store.Ref
	data   []byte // the whole
	length int64  // told, -1 = not yet
	part   bool
	got    []bool // by position: the bytes that are there; nil = in order
	at     int64  // in order: the bytes that are there
}

// model is a store with uploads in all states.
type model struct {
	*env
	rt   *rapid.T
	pool []byte // contents are cut out of it
	open []*modelUpload
	done []*modelUpload
}

// testUnfinishedModel compares the engine with a model in which uploads are
// byte slices, over random sequences of calls and restarts.
func testUnfinishedModel(t *testing.T, open Pair) {
	m := &model{env: start(t, open, store.Options{Inline: 100, FileSize: 3 << 20}), pool: random(4 << 20)}
	rapid.Check(t, func(rt *rapid.T) {
		m.rt = rt
		m.clear()
		actions := []func(){m.create, m.create, m.write, m.write, m.write, m.write, m.write, m.tellLength, m.complete, m.concat, m.cancel, m.restart}
		for range rapid.IntRange(4, 12).Draw(rt, "steps") {
			actions[rapid.IntRange(0, len(actions)-1).Draw(rt, "action")]()
		}
		m.compare()
	})
	m.clear()
	m.isExact(0, 0)
	m.empty()
}

// clear removes everything, also what a check that failed has left.
func (m *model) clear() {
	for _, u := range append(m.open, m.done...) {
		if err := m.DeleteFile(m.ctx(), alice, u.ref); err != nil && store.KindOf(err) != store.NotFound {
			m.t.Fatal(err)
		}
	}
	m.open, m.done = nil, nil
}

func (m *model) pick() *modelUpload {
	if len(m.open) == 0 {
		m.create()
	}
	return rapid.SampledFrom(m.open).Draw(m.rt, "upload")
}

func (m *model) forget(u *modelUpload) {
	m.open = slices.DeleteFunc(m.open, func(o *modelUpload) bool { return o == u })
}

func (m *model) create() {
	size := rapid.SampledFrom([]int{1, 2, 99, 100, 101, 1000, 5000, 5000, 5000, 1<<20 + 10}).Draw(m.rt, "size")
	from := rapid.IntRange(0, len(m.pool)-size).Draw(m.rt, "content")
	u := &modelUpload{data: m.pool[from : from+size], length: int64(size), part: rapid.IntRange(0, 2).Draw(m.rt, "part") == 0}
	switch rapid.IntRange(0, 2).Draw(m.rt, "how") {
	case 0:
		u.got = make([]bool, size)
	case 1:
		u.length = -1
	}
	u.ref = m.begin(u.length, u.part)
	m.open = append(m.open, u)
}

func (u *modelUpload) stored() (n int64) {
	for _, there := range u.got {
		if there {
			n++
		}
	}
	return n + u.at
}

func (u *modelUpload) complete() bool { return u.length >= 0 && u.stored() == u.length }

func (m *model) write() {
	u := m.pick()
	size := int64(len(u.data))
	if u.got != nil {
		m.place(u, rapid.Int64Range(0, size-1).Draw(m.rt, "at"))
		return
	}
	n := rapid.Int64Range(0, size-u.at).Draw(m.rt, "n")
	if rapid.IntRange(0, 2).Draw(m.rt, "all") == 0 {
		n = size - u.at
	}
	p := piece(u.at)
	if u.length < 0 && rapid.Bool().Draw(m.rt, "tell") {
		p.Length = size
	}
	var body io.Reader = bytes.NewReader(u.data[u.at : u.at+n])
	how := rapid.SampledFrom([]string{"plain", "sized", "wrong offset", "cut", "checked", "bad check", "too much"}).Draw(m.rt, "how")
	want := error(nil)
	switch how {
	case "sized":
		p.Size = n
	case "wrong offset":
		p.Offset++
		want, n = new(store.OffsetError), 0
	case "cut":
		body, want = cutBody(u.data[u.at:u.at+n]), errCut
	case "checked":
		p.Check = func() error { return nil }
	case "bad check":
		p.Check = func() error { return errCut }
		want, n = errCut, 0
	case "too much":
		if u.length < 0 && p.Length < 0 {
			return
		}
		body, want, n = bytes.NewReader(make([]byte, size-u.at+1)), store.ErrLength, 0
	}
	if u.complete() {
		want, n = store.ErrComplete, 0
	} else if p.Length >= 0 && how != "wrong offset" {
		// What is told stays, but for what would be complete with no byte more.
		if u.at < size || want == nil || how == "cut" {
			u.length = size
		}
	}
	got, err := m.Append(m.ctx(), alice, u.ref, body, p)
	if _, ok := want.(*store.OffsetError); ok {
		if o, ok := errors.AsType[*store.OffsetError](err); !ok || o.Offset != u.at {
			m.rt.Fatalf("%s: %v", how, err)
		}
	} else if !errors.Is(err, want) && !(how == "cut" && err == nil && u.length == u.at+n) { // what broke off after its last byte was complete
		m.rt.Fatalf("%s: %v, want %v", how, err, want)
	}
	u.at += n
	if got != nil && got.Offset != u.at {
		m.rt.Fatalf("%s: at %d, want %d", how, got.Offset, u.at)
	}
	m.whole(u)
}

// place writes by position.
func (m *model) place(u *modelUpload, at int64) {
	n := rapid.Int64Range(1, u.length-at).Draw(m.rt, "n")
	if rapid.Bool().Draw(m.rt, "fill") { // just the hole
		for n = 0; at+n < u.length && !u.got[at+n]; n++ {
		}
		if n == 0 {
			return
		}
	}
	body, check, fails := io.Reader(bytes.NewReader(u.data[at:at+n])), func(again io.Reader) error {
		if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, u.data[at:at+n]) {
			return fmt.Errorf("read again: %d bytes of %d: %w", len(got), n, err)
		}
		return nil
	}, false
	switch rapid.IntRange(0, 5).Draw(m.rt, "how") {
	case 0:
		body, fails = cutBody(u.data[at:at+n-1]), true
	case 1:
		check, fails = func(io.Reader) error { return errCut }, true
	}
	_, err := m.WriteAt(m.ctx(), alice, u.ref, body, at, n, check)
	switch {
	case fails && !errors.Is(err, errCut), !fails && err != nil:
		m.rt.Fatalf("[%d, %d): %v", at, at+n, err)
	case !fails:
		for i := at; i < at+n; i++ {
			u.got[i] = true
		}
	}
}

func (m *model) tellLength() {
	u := m.pick()
	n := int64(len(u.data))
	if _, err := m.SetLength(m.ctx(), alice, u.ref, n); err != nil {
		m.rt.Fatal(err)
	}
	if n > 1 && u.length < 0 {
		if _, err := m.SetLength(m.ctx(), alice, u.ref, n-1); !errors.Is(err, store.ErrLength) {
			m.rt.Fatal(err)
		}
	}
	u.length = n
	m.whole(u)
}

// complete finishes an upload by position.
func (m *model) complete() {
	u := m.pick()
	if u.got != nil && rapid.Bool().Draw(m.rt, "fill") {
		for at := int64(0); at < u.length; at++ {
			n := int64(0)
			for at+n < u.length && !u.got[at+n] && n < 1000 {
				u.got[at+n] = true
				n++
			}
			if n > 0 {
				if _, err := m.WriteAt(m.ctx(), alice, u.ref, bytes.NewReader(u.data[at:at+n]), at, n, nil); err != nil {
					m.rt.Fatal(err)
				}
			}
		}
	}
	_, err := m.Finish(m.ctx(), alice, u.ref)
	if (err == nil) != u.complete() || err != nil && store.KindOf(err) != store.Conflict {
		m.rt.Fatalf("%d of %d: %v", u.stored(), u.length, err)
	}
	if err == nil && !u.part {
		m.finished(u)
	}
}

// whole is to be called when an upload may have become a file.
func (m *model) whole(u *modelUpload) {
	if u.got == nil && u.complete() && !u.part {
		m.finished(u)
	}
}

func (m *model) finished(u *modelUpload) {
	m.forget(u)
	m.isWhole(u.ref, u.data, true)
	m.done = append(m.done, u)
}

func (m *model) concat() {
	var refs []store.Ref
	var parts []*modelUpload
	var data []byte
	for _, u := range m.open {
		if u.part && u.complete() {
			refs, parts, data = append(refs, u.ref), append(parts, u), append(data, u.data...)
		}
	}
	if len(refs) == 0 {
		return
	}
	p, err := m.Concat(m.ctx(), alice, store.FileSpec{}, refs)
	if int64(len(data)) > m.o.FileSize {
		m.want(err, store.TooLarge, "")
		return
	}
	if err != nil {
		m.rt.Fatal(err)
	}
	for _, u := range parts {
		m.forget(u)
	}
	m.finished(&modelUpload{ref: store.Ref{File: p.File.ID}, data: data})
}

func (m *model) cancel() { m.remove(m.pick()) }

func (m *model) remove(u *modelUpload) {
	end := m.Cancel
	if rapid.Bool().Draw(m.rt, "delete") {
		end = m.DeleteFile
	}
	if err := end(m.ctx(), alice, u.ref); err != nil {
		m.rt.Fatal(err)
	}
	m.forget(u)
	_, err := m.Progress(m.ctx(), alice, u.ref)
	m.want(err, store.NotFound, "upload not found")
}

func (m *model) restart() {
	if err := m.Close(); err != nil {
		m.rt.Fatal(err)
	}
	m.boot()
}

// compare looks at everything.
func (m *model) compare() {
	size := int64(0)
	for _, u := range m.done {
		m.isWhole(u.ref, u.data, true)
		size += int64(len(u.data))
	}
	for _, u := range m.open {
		p, err := m.Progress(m.ctx(), alice, u.ref)
		front := u.at
		for u.got != nil && front < u.length && u.got[front] {
			front++
		}
		if err != nil || p.Offset != front || p.Length != u.length || p.Part != u.part || p.File.State != store.StateUploading || p.File.Size != u.stored() {
			m.rt.Fatalf("%+v, %v, want %d of %d", p, err, front, u.length)
		}
		size += u.stored()
	}
	m.isExact(int64(len(m.done)), size)
	if m.t.Failed() {
		m.rt.FailNow()
	}
}
