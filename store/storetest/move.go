package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"fileshare/store"
)

// mix is one of everything that records can say, and what must hold of it in a
// copy.
type mix struct {
	files   map[string]store.Ref // that can be downloaded as often as one likes
	bytes   map[string][]byte
	twice   store.Ref // a token that is good for two more of three downloads
	spent   store.Ref // a token that is used up
	limited store.Ref // an upload that is good for one more of two
	going   store.Ref // an unfinished upload
	tail    store.Ref // one that has few bytes yet
	holes   store.Ref // one by position
	gone    store.Ref // expired
	session string
	share   string
	grant   string
	login   string
	numbers int64
}

// goingBytes are the content of the unfinished uploads of a mix.
var goingBytes = bytes.Repeat([]byte("0123456789abcdef"), 200_000)

// mixed fills an engine.
func (e *env) mixed() *mix {
	t := e.t
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m := &mix{files: map[string]store.Ref{}, bytes: map[string][]byte{}}
	add := func(name string, data []byte, ref store.Ref) { m.files[name], m.bytes[name] = ref, data }

	for name, n := range map[string]int{"empty": 0, "small": 500, "large": 3 << 20} {
		data := random(n)
		f := e.upload(data, store.FileSpec{Name: new(name), Tags: &[]string{"red", "blue"}, Sequence: "mix", TTL: new(24 * time.Hour)})
		add(name, data, store.Ref{File: f.ID})
		m.numbers = max(m.numbers, f.Number)
	}
	// A file in several runs.
	data := random(5 << 20)
	ref := e.begin(int64(len(data)), false)
	e.append(ref, 0, data[:2<<20])
	e.append(ref, 2<<20, data[2<<20:])
	add("pieces", data, ref)

	data = random(200_000)
	ref, f := e.token(data, 3)
	m.twice, m.session = ref, ref.Session
	add("in session", data, store.Ref{Session: ref.Session, File: f.ID})
	_, err := e.fetch(link, ref, 0, int64(len(data)))
	must(err)
	data = random(300)
	m.spent, _ = e.token(data, 1)
	_, err = e.fetch(link, m.spent, 0, 300)
	must(err)
	m.limited = store.Ref{File: e.upload(random(1000), store.FileSpec{MaxDownloads: new(int64(2)), TTL: new(24 * time.Hour)}).ID}
	_, err = e.fetch(link, m.limited, 0, 1000)
	must(err)

	m.going = e.begin(int64(len(goingBytes)), false)
	e.append(m.going, 0, goingBytes[:1<<20])
	m.tail = e.begin(200, false)
	e.append(m.tail, 0, goingBytes[:100])
	m.holes = e.begin(400_000, false)
	_, err = e.WriteAt(e.ctx(), alice, m.holes, bytes.NewReader(goingBytes[200_000:400_000]), 200_000, 200_000, nil)
	must(err)

	shares, err := e.CreateShares(e.ctx(), alice, m.session, []store.ShareSpec{{Attrs: map[string]string{"x.to": "bob"}}})
	must(err)
	m.share = shares[0].ID
	tok, err := e.CreateToken(e.ctx(), alice, m.files["small"], store.TokenSpec{Access: store.AccessFull})
	must(err)
	m.grant = tok.ID
	l, err := e.Login(e.ctx(), store.LoginSpec{Realm: "mix", Account: "alice", TTL: time.Hour})
	must(err)
	m.login = l.Token
	must(e.PutSetting(e.ctx(), root, "mix", []byte("set")))
	_, err = e.Once(e.ctx(), "mix", "nonce", time.Hour)
	must(err)

	f = e.upload(random(500_000), store.FileSpec{TTL: new(time.Second)})
	m.gone = store.Ref{File: f.ID}
	until(f.Expires)
	e.purge()
	// Its blobs wait for their deletion.
	must(e.DeleteFile(e.ctx(), alice, store.Ref{File: e.upload(random(400_000), store.FileSpec{}).ID}))
	return m
}

// usage is what accounts have stored.
func (e *env) usage() string {
	files, bytes, err := e.Usage(e.ctx())
	if err != nil {
		e.t.Fatal(err)
	}
	return fmt.Sprint(files, " files, ", bytes, " bytes")
}

// has checks a copy, and uses up what is counted.
func (e *env) has(m *mix) {
	t := e.t
	t.Helper()
	for name, ref := range m.files {
		got, err := e.fetch(alice, ref, 0, int64(len(m.bytes[name])))
		if err != nil || !bytes.Equal(got, m.bytes[name]) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for range 2 {
		if _, err := e.fetch(link, m.twice, 0, 200_000); err != nil {
			t.Error(err)
		}
	}
	if _, err := e.fetch(link, m.limited, 0, 1000); err != nil {
		t.Error(err)
	}
	for _, ref := range []store.Ref{m.twice, m.spent, m.limited} {
		_, err := e.Open(e.ctx(), link, ref)
		e.want(err, store.Used, "")
	}
	_, err := e.File(e.ctx(), alice, m.gone)
	e.want(err, store.Expired, "")

	e.append(m.going, 1<<20, goingBytes[1<<20:])
	e.isWhole(m.going, goingBytes, true)
	e.append(m.tail, 100, goingBytes[100:200])
	e.isWhole(m.tail, goingBytes[:200], true)
	if _, err := e.WriteAt(e.ctx(), alice, m.holes, bytes.NewReader(goingBytes[:200_000]), 0, 200_000, nil); err != nil {
		t.Error(err)
	}
	if _, err := e.Finish(e.ctx(), alice, m.holes); err != nil {
		t.Error(err)
	}
	e.isWhole(m.holes, goingBytes[:400_000], true)

	if _, _, err := e.Shared(e.ctx(), store.Caller{}, m.share, true); err != nil {
		t.Error(err)
	}
	if _, err := e.PatchFile(e.ctx(), store.Caller{Grant: m.grant}, m.files["small"], store.FileSpec{Name: new("renamed")}); err != nil {
		t.Error(err)
	}
	if l, err := e.LoginOf(e.ctx(), "mix", m.login); err != nil || l.Account != "alice" {
		t.Errorf("login %+v, %v", l, err)
	}
	if doc, _, err := e.Setting(e.ctx(), "mix"); err != nil || string(doc) != "set" {
		t.Errorf("setting %q, %v", doc, err)
	}
	if first, err := e.Once(e.ctx(), "mix", "nonce", time.Hour); first || err != nil {
		t.Errorf("a nonce is new again, %v", err)
	}
	page, err := e.Files(e.ctx(), alice, store.Query{Tag: "red"})
	if err != nil || len(page.Items) != 3 {
		t.Errorf("%d files with a tag, %v", len(page.Items), err)
	}
	if f := e.upload(nil, store.FileSpec{Sequence: "mix"}); f.Number != m.numbers+1 {
		t.Errorf("the next number is %d, after %d", f.Number, m.numbers)
	}
}

// backend is what an env stands on, without the engine.
func (e *env) backend() store.Backend {
	return store.Backend{Records: e.records, Blobs: e.blobs, Exclusive: true}
}

// over makes an env of backends, without an engine.
func over(t testing.TB, open Pair, o store.Options) *env {
	records, blobs := open(t)
	return &env{t: t, records: records, blobs: blobs, o: o}
}

func testMove(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := start(t, open, o)
	m := e.mixed()
	usage := e.usage()
	e.Close()
	to := over(t, open, o)

	// It is broken off after each step, and goes on.
	var last store.Copied
	for i := 0; ; i++ {
		ctx, cancel := context.WithCancelCause(e.ctx())
		got, err := store.Move(ctx, e.backend(), to.backend(), store.MoveOptions{Progress: func(store.Copied) { cancel(errCut) }})
		cancel(nil)
		if err == nil {
			last = got
			break
		}
		if !errors.Is(err, errCut) || i > 100 {
			t.Fatalf("%d: %v", i, err)
		}
		for _, records := range []store.Records{e.records, to.records} {
			if _, err := store.New(e.ctx(), records, e.blobs, e.o); err == nil {
				t.Fatal("a daemon begins while records are being moved")
			}
		}
		if got.Records < last.Records {
			t.Errorf("it began again: %+v after %+v", got, last)
		}
		last = got
	}
	if last.Blobs < 5 || last.Bytes < 8<<20 {
		t.Errorf("copied %+v", last)
	}
	if _, err := store.New(e.ctx(), e.records, e.blobs, e.o); err == nil {
		t.Error("the source can be used on")
	}
	if _, err := store.Move(e.ctx(), e.backend(), to.backend(), store.MoveOptions{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("moved over what is there: %v", err)
	}
	to.boot()
	t.Cleanup(func() { to.Close() })
	if got := to.usage(); got != usage {
		t.Errorf("%s, want %s", got, usage)
	}
	if r, err := to.Sweep(to.ctx(), 0); err != nil || r.Removed != 0 {
		t.Errorf("swept %+v, %v", r, err)
	}
	to.has(m)
	if err := store.Release(e.ctx(), e.records); err != nil {
		t.Error(err)
	}
	e.boot()
}

// testMoveFaults lets each call of a Move fail, as a kill would; the next Move goes
// on.
func testMoveFaults(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := start(t, open, o)
	data := random(100_000)
	f := e.upload(data, store.FileSpec{TTL: new(24 * time.Hour)})
	e.upload(random(10), store.FileSpec{})
	e.Close()
	for _, fault := range []Fault{Fail, ApplyThenFail} {
		for nth, more := int64(1), true; more && !t.Failed(); nth++ {
			t.Run(fmt.Sprintf("call %d applied %v", nth, fault == ApplyThenFail), func(t *testing.T) {
				c := &oneCall{nth: nth, fault: fault}
				c.armed.Store(true)
				to := over(t, open, o)
				wrap := func(b store.Backend) store.Backend {
					return store.Backend{Records: FaultyRecords(b.Records, c.decide), Blobs: FaultyBlobs(b.Blobs, c.decide), Exclusive: true}
				}
				_, err := store.Move(e.ctx(), wrap(e.backend()), wrap(to.backend()), store.MoveOptions{})
				if more = c.calls.Load() >= nth; err != nil {
					if !errors.Is(err, ErrFault) {
						t.Fatal(err)
					}
					if _, err := store.Move(e.ctx(), e.backend(), to.backend(), store.MoveOptions{}); err != nil && !finished(t, to) {
						t.Fatal(err)
					}
				}
				to.boot()
				defer to.Close()
				if r, err := to.Sweep(to.ctx(), 0); err != nil || r.Removed != 0 {
					t.Errorf("swept %+v, %v", r, err)
				}
				got, err := to.fetch(link, store.Ref{File: f.ID}, 0, int64(len(data)))
				if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if err := store.Release(e.ctx(), e.records); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// finished tells whether a copy is complete: its last call was applied.
func finished(t *testing.T, to *env) bool {
	s, err := store.New(to.ctx(), to.records, to.blobs, to.o)
	if err != nil {
		t.Log(err)
		return false
	}
	return s.Close() == nil
}

// testMoveDamage: a content that is not what was stored is not copied as if it
// were, and a source or target with something else to do is refused.
func testMoveDamage(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := start(t, open, o)
	f := e.upload(random(100_000), store.FileSpec{})
	busy := over(t, open, o)
	busy.boot()
	t.Cleanup(func() { busy.Close() })
	if _, err := store.Move(e.ctx(), e.backend(), busy.backend(), store.MoveOptions{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("moved to where something is: %v", err)
	}
	node, err := store.New(e.ctx(), e.records, e.blobs, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	from := e.backend()
	from.Exclusive = false
	if _, err := store.Move(e.ctx(), from, over(t, open, o).backend(), store.MoveOptions{}); err == nil {
		t.Error("moved while a daemon is at work")
	}
	node.Close()
	e.Close()

	blob := e.blob(1)
	size := int(blob.Size)
	if err := e.blobs.Delete(e.ctx(), blob.Key); err != nil {
		t.Fatal(err)
	}
	to := over(t, open, o)
	for _, content := range [][]byte{nil, random(size), random(size - 1)} {
		if content != nil {
			if _, err := e.blobs.Put(e.ctx(), blob.Key, bytes.NewReader(content), int64(len(content))); err != nil {
				t.Fatal(err)
			}
		}
		_, err := store.Move(e.ctx(), e.backend(), to.backend(), store.MoveOptions{})
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(f.ID)) || !bytes.Contains([]byte(err.Error()), []byte("fsck")) {
			t.Errorf("with %d bytes of %d: %v", len(content), size, err)
		}
		if err := e.blobs.Delete(e.ctx(), blob.Key); err != nil {
			t.Fatal(err)
		}
	}
}

// cut are blobs that want other pieces than those below them.
type cut struct {
	store.Blobs
	size int64
}

var _ store.Segmented = cut{}

func (c cut) Segment(int64) int64 { return c.size }

func (c cut) Reserve(context.Context, int64) (store.Cut, error) {
	return store.Cut{Segment: c.size, AtOnce: 1, Done: func() {}}, nil
}

// testMoveCut moves contents to where they lie in many small pieces, and back.
func testMoveCut(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := start(t, open, o)
	m := e.mixed()
	e.Close()
	small, back := over(t, open, o), over(t, open, o)
	small.blobs = cut{small.blobs, 70_001}
	for _, hop := range [][2]*env{{e, small}, {small, back}} {
		if _, err := store.Move(e.ctx(), hop[0].backend(), hop[1].backend(), store.MoveOptions{}); err != nil {
			t.Fatal(err)
		}
		hop[1].sound()
	}
	if many, few := len(small.leftBlobs()), len(back.leftBlobs()); many < 5*few {
		t.Errorf("%d pieces of %d blobs", many, few)
	}
	back.boot()
	t.Cleanup(func() { back.Close() })
	back.has(m)
}
