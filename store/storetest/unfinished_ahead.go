package storetest

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// What comes by position is hashed while the rest comes, once, where the blobs
// are near; and what a node has not hashed, Finish does.
func testHashedAhead(t *testing.T, open Pair) {
	var opened atomic.Int64
	e := start(t, func(t testing.TB) (store.Records, store.Blobs) {
		records, blobs := open(t)
		return records, FaultyBlobs(blobs, func(op string) Fault {
			if op == "Open" {
				opened.Add(1)
			}
			return None
		})
	}, store.Options{})
	opened.Store(0)       // the label of the contents was read
	const chunk = 1 << 20 // too large to be joined
	data := random(6 * chunk)
	write := func(s *store.Store, ref store.Ref, at int64) {
		t.Helper()
		if _, err := s.WriteAt(e.ctx(), alice, ref, bytes.NewReader(data[at*chunk:(at+1)*chunk]), at*chunk, chunk, nil); err != nil {
			t.Fatal(err)
		}
	}
	finish := func(s *store.Store, ref store.Ref) {
		t.Helper()
		if _, err := s.Finish(e.ctx(), alice, ref); err != nil {
			t.Fatal(err)
		}
	}
	_, far := e.blobs.(store.Segmented)
	sees := func(want int64) {
		t.Helper()
		if far {
			want = 0
		}
		for end := time.Now().Add(10 * time.Second); opened.Load() < want && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if n := opened.Load(); n != want {
			t.Errorf("%d pieces were read, want %d", n, want)
		}
	}
	ref := e.begin(int64(len(data)), false)
	for _, at := range []int64{1, 2, 4} {
		write(e.Store, ref, at)
	}
	sees(0)
	write(e.Store, ref, 0)
	sees(3)
	write(e.Store, ref, 5)
	write(e.Store, ref, 3)
	sees(6)
	finish(e.Store, ref)
	if n := opened.Load(); n != 6 {
		t.Errorf("%d pieces were read, want 6", n)
	}
	e.isWhole(ref, data, true)

	// Chunks go to two nodes, and either completes.
	other := e.node()
	for _, last := range []*store.Store{e.Store, other} {
		ref := e.begin(int64(len(data)), false)
		for at := range int64(6) {
			write([]*store.Store{e.Store, other}[at%2], ref, at)
		}
		finish(last, ref)
		e.isWhole(ref, data, true)
	}

	// So does a daemon that was started meanwhile.
	ref = e.begin(int64(len(data)), false)
	for at := range int64(6) {
		if at == 4 {
			e.reboot()
		}
		write(e.Store, ref, at)
	}
	finish(e.Store, ref)
	e.isWhole(ref, data, true)
	e.isExact(4, 4*int64(len(data)))
}
