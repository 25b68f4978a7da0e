package storetest

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"fileshare/store"
)

// Parts are joined without a copy, once.
func testConcat(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	var refs []store.Ref
	var data []byte
	for _, n := range []int{10, 0, 2000, 1_100_000, 3} {
		ref := e.begin(int64(n), true)
		b := random(n)
		for at := 0; at < n; {
			m := min(max(n/2, 1), n-at)
			e.append(ref, int64(at), b[at:at+m])
			at += m
		}
		data = append(data, b...)
		refs = append(refs, ref)
	}
	if page, err := e.Files(e.ctx(), alice, store.Query{}); err != nil || len(page.Items) != 0 {
		t.Errorf("parts are listed: %+v, %v", page, err)
	}
	if page, err := e.Files(e.ctx(), root, store.Query{All: true}); err != nil || len(page.Items) != 0 {
		t.Errorf("parts are listed: %+v, %v", page, err)
	}
	spec := store.FileSpec{Name: new("whole.bin")}
	open1 := e.begin(5, true)
	for _, bad := range [][]store.Ref{nil, {refs[0], refs[0]}, {refs[0], open1}, {e.begin(0, false)}} {
		if _, err := e.Concat(e.ctx(), alice, spec, bad); store.KindOf(err) != store.Invalid && store.KindOf(err) != store.Conflict {
			t.Errorf("%v: %v", bad, err)
		}
	}
	_, err := e.Concat(e.ctx(), bob, spec, refs)
	e.want(err, store.Denied, "not yours")
	var ids [4]string // who asks again has not heard the answer
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			p, err := e.Concat(e.ctx(), alice, spec, refs)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = p.File.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("joined more than once: %v", ids)
		}
	}
	whole := store.Ref{File: ids[0]}
	e.isWhole(whole, data, true)
	for _, bad := range [][]store.Ref{refs[1:], {refs[1], refs[0], refs[2], refs[3], refs[4]}, {refs[0], open1}, {e.begin(0, true), refs[0]}} {
		if _, err := e.Concat(e.ctx(), alice, spec, bad); store.KindOf(err) != store.Conflict {
			t.Errorf("%v: %v", bad, err)
		}
	}
	_, err = e.Concat(e.ctx(), bob, spec, refs)
	e.want(err, store.Denied, "not yours")
	for _, ref := range refs {
		p, err := e.Progress(e.ctx(), alice, ref)
		if err != nil || !p.Part || !p.Complete() {
			t.Errorf("%+v, %v", p, err)
		}
		if p.Length > 0 {
			_, err = e.WriteAt(e.ctx(), alice, ref, bytes.NewReader(make([]byte, p.Length)), 0, p.Length, nil)
			e.want(err, store.Conflict, "")
		}
		_, err = e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), piece(p.Offset))
		e.want(err, store.Conflict, "the upload is complete")
	}
	if err := e.DeleteFile(e.ctx(), alice, refs[3]); err != nil {
		t.Error(err)
	}
	e.isWhole(whole, data, true)
	if err := e.DeleteFile(e.ctx(), alice, open1); err != nil {
		t.Fatal(err)
	}
	e.isExact(2, int64(len(data)))
	if err := e.DeleteFile(e.ctx(), alice, whole); err != nil {
		t.Fatal(err)
	}
	e.isExact(1, 0)
	if left := e.leftBlobs(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// The same request may overtake itself anywhere: all get the one file.
func testConcatOvertaken(t *testing.T, open Pair) {
	records, blobs := open(t)
	var left atomic.Int64 // calls of the records until the other request comes
	var overtake func()
	e := start(t, func(testing.TB) (store.Records, store.Blobs) {
		return FaultyRecords(records, func(string) Fault {
			if left.Add(-1) == 0 {
				overtake()
			}
			return None
		}), blobs
	}, store.Options{Inline: 1000})
	for nth := 1; nth < 5; nth++ {
		refs := []store.Ref{e.begin(2000, true), e.begin(10, true)}
		e.append(refs[0], 0, random(2000))
		e.append(refs[1], 0, random(10))
		var first *store.Progress
		overtake = func() {
			var err error
			if first, err = e.Concat(e.ctx(), alice, store.FileSpec{}, refs); err != nil {
				t.Errorf("before call %d: %v", nth, err)
			}
		}
		left.Store(int64(nth))
		p, err := e.Concat(e.ctx(), alice, store.FileSpec{}, refs)
		switch {
		case err != nil:
			t.Errorf("overtaken before call %d: %v", nth, err)
		case first != nil && p.File.ID != first.File.ID:
			t.Errorf("overtaken before call %d: another file", nth)
		}
		left.Store(0)
	}
}
