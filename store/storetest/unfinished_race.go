package storetest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fileshare/store"
)

// node is a second engine over the same backends: it shares nothing else.
func (e *env) node() *store.Store {
	e.t.Helper()
	o := e.o
	o.Exclusive = false
	s, err := store.New(context.Background(), e.records, e.blobs, o)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { s.Close() })
	return s
}

// Many who go on with one upload at once, on two nodes, each with a body that
// breaks off somewhere: whoever is told an offset can rely on it, and the whole
// is whole.
func testAppendRace(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	nodes := []*store.Store{e.Store, e.node()}
	data := random(2_500_000)
	ref := e.begin(int64(len(data)), false)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			s := nodes[w%2]
			for {
				p, err := s.Progress(e.ctx(), alice, ref)
				if err != nil {
					t.Error(err)
					return
				}
				if p.Complete() {
					return
				}
				at := p.Offset
				n := min(rand.Int64N(200_000), int64(len(data))-at)
				body := cutBody(data[at : at+n])
				if rand.IntN(3) == 0 {
					body = bytes.NewReader(data[at : at+n])
				}
				p, err = s.Append(e.ctx(), alice, ref, body, piece(at))
				switch {
				case p != nil && p.Offset != at+n:
					t.Errorf("at %d, want %d", p.Offset, at+n)
					return
				case err != nil && !errors.Is(err, errCut) && store.KindOf(err) != store.Conflict:
					t.Error(err)
					return
				case err != nil:
					// As clients do; else they might end each other for long.
					time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	e.isWhole(ref, data, true)
	e.isExact(1, int64(len(data)))
	left := slices.DeleteFunc(e.leftBlobs(), func(key string) bool { return !strings.HasSuffix(key, "/0") }) // of each run the first
	if len(left) > 3 {
		t.Errorf("%d runs", len(left))
	}
}

// Whatever ends an upload while others write to it, nothing of it is left.
func testUnfinishedRaces(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	other := e.node()
	data := random(60_000)
	for range 12 {
		inOrder, byPosition, untold := e.begin(int64(len(data)), false), e.begin(int64(len(data)), false), e.begin(-1, false)
		var wg sync.WaitGroup
		for w := range int64(4) {
			wg.Go(func() {
				e.WriteAt(e.ctx(), alice, byPosition, bytes.NewReader(data[w*15_000:(w+1)*15_000]), w*15_000, 15_000, nil)
			})
		}
		wg.Go(func() { e.Append(e.ctx(), alice, inOrder, cutBody(data[:50_000]), piece(0)) })
		wg.Go(func() { e.DeleteFile(e.ctx(), alice, inOrder) })
		wg.Go(func() { other.Cancel(e.ctx(), alice, byPosition) })
		wg.Go(func() { other.Purge(e.ctx()) })
		wg.Go(func() { e.Append(e.ctx(), alice, untold, bytes.NewReader(data[:20_000]), piece(0)) })
		wg.Go(func() { other.SetLength(e.ctx(), alice, untold, 10_000) })
		wg.Wait()
		if p, err := e.Progress(e.ctx(), alice, untold); err != nil || p.Length >= 0 && p.Offset > p.Length {
			t.Errorf("%+v, %v", p, err)
		}
		for _, ref := range []store.Ref{inOrder, byPosition, untold} {
			if err := e.DeleteFile(e.ctx(), alice, ref); err != nil && store.KindOf(err) != store.NotFound {
				t.Error(err)
			}
		}
	}
	e.isExact(0, 0)
	e.empty()
}

// Small pieces by position are joined in the end, also those of parts; and who
// owns what was made of another's parts has to pay.
func testJoined(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	data := random(3_000_000)
	spread := func(ref store.Ref, data []byte, sizes ...int) {
		for i, at := 0, 0; at < len(data); i++ {
			n := min(sizes[i%len(sizes)], len(data)-at)
			if _, err := e.WriteAt(e.ctx(), alice, ref, bytes.NewReader(data[at:at+n]), int64(at), int64(n), nil); err != nil {
				t.Fatal(err)
			}
			at += n
		}
	}
	ref := e.begin(int64(len(data)), false)
	spread(ref, data, 10_000, 20_000, 5, 1_300_000, 90_000)
	if _, err := e.Finish(e.ctx(), alice, ref); err != nil {
		t.Fatal(err)
	}
	e.isWhole(ref, data, true)
	e.isExact(1, int64(len(data)))
	if left := e.leftBlobs(); len(left) != 5 { // small, large, small, large, small
		t.Errorf("%d blobs", len(left))
	}

	parts := []store.Ref{e.begin(500_000, true), e.begin(100, true)}
	spread(parts[0], data[:500_000], 50_000)
	e.append(parts[1], 0, data[500_000:500_100])
	p, err := e.Concat(e.ctx(), root, store.FileSpec{}, parts)
	if err != nil {
		t.Fatal(err)
	}
	e.isWhole(store.Ref{File: p.File.ID}, data[:500_100], true)
	e.isExact(2, int64(len(data))+500_100)
	if left := e.leftBlobs(); len(left) != 6 {
		t.Errorf("%d blobs", len(left))
	}
	if err := e.DeleteFile(e.ctx(), root, store.Ref{File: p.File.ID}); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteFile(e.ctx(), alice, ref); err != nil {
		t.Fatal(err)
	}
	e.isExact(0, 0)
	e.empty()
}
