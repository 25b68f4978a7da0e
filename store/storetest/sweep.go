package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"fileshare/store"
)

// sweeper is a node that sweeps; it notes which shards and what it deletes.
type sweeper struct {
	*store.Store
	blobs *watched
}

// watched counts lists of shards and deletions of blobs.
type watched struct {
	store.Blobs
	inList func(ctx context.Context) error // nil: nothing happens in the middle of a list

	mu      sync.Mutex
	lists   map[int]int    // guarded by mu
	deletes map[string]int // guarded by mu
}

func (w *watched) List(ctx context.Context, shard int) iter.Seq2[store.BlobInfo, error] {
	w.mu.Lock()
	w.lists[shard]++
	w.mu.Unlock()
	return func(yield func(store.BlobInfo, error) bool) {
		if w.inList != nil {
			if err := w.inList(ctx); err != nil {
				yield(store.BlobInfo{}, err)
				return
			}
		}
		w.Blobs.List(ctx, shard)(yield)
	}
}

func (w *watched) Delete(ctx context.Context, key string) error {
	w.mu.Lock()
	w.deletes[key]++
	w.mu.Unlock()
	return w.Blobs.Delete(ctx, key)
}

// sweeper starts a node over the backends of e, which it shares.
func (e *env) sweeper() *sweeper {
	e.t.Helper()
	w := &watched{Blobs: e.blobs, lists: map[int]int{}, deletes: map[string]int{}}
	s, err := store.New(e.ctx(), e.records, w, e.o)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { s.Close() })
	return &sweeper{s, w}
}

func hourly(t time.Time) time.Time { return t.Add(time.Hour) }

// sweep sweeps what is due until nothing is.
func (s *sweeper) sweep(t *testing.T) (sum store.SweepResult) {
	t.Helper()
	for {
		r, err := s.SweepDue(context.Background(), 0, hourly)
		if err != nil {
			t.Error(err)
		}
		if r.Shards == 0 {
			return sum
		}
		sum.Shards, sum.Seen, sum.Removed, sum.Bytes = sum.Shards+r.Shards, sum.Seen+r.Seen, sum.Removed+r.Removed, sum.Bytes+r.Bytes
	}
}

// shards are the records of shards.
func (e *env) shards() []store.Item {
	e.t.Helper()
	all := dump(e.t, e.records, store.SweepRecords, nil, nil)
	if len(all) != store.Shards {
		e.t.Fatalf("%d records of shards", len(all))
	}
	return all
}

// dueNow makes shards due.
func (e *env) dueNow(shards ...store.Item) { e.setDue(time.Now().Add(-time.Second), shards...) }

// setDue makes shards due at a time.
func (e *env) setDue(at time.Time, shards ...store.Item) {
	e.raw(func(tx store.Tx) error {
		for _, it := range shards {
			if err := tx.Put(store.SweepRecords, it.ID, it.Doc, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// claimed are the shards that somebody has.
func (e *env) claimed() []store.Item {
	return slices.DeleteFunc(e.shards(), func(it store.Item) bool { return it.Due.After(time.Now().Add(10 * time.Minute)) })
}

// testSweepShared: nodes sweep together, each shard once, and what one leaves
// another takes.
func testSweepShared(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 10})
	e.o.Exclusive = false
	f := e.upload(random(5000), store.FileSpec{})
	a, b := e.sweeper(), e.sweeper()

	// A new store is swept bit by bit until the first round is over.
	begin := time.Now()
	first := a.sweep(t)
	if again := b.sweep(t); first.Shards+again.Shards > store.Shards/2 {
		t.Errorf("%d and %d shards are swept at once", first.Shards, again.Shards)
	}
	for _, it := range e.shards() {
		if it.Due.Before(begin.Add(-time.Second)) || it.Due.After(time.Now().Add(time.Hour+time.Second)) {
			t.Errorf("shard %x is due at %v", it.ID, it.Due)
		}
	}

	t.Run("together", func(t *testing.T) { sweepTogether(t, e, f) })
	t.Run("killed", func(t *testing.T) { sweepKilled(t, e) })
	t.Run("late", func(t *testing.T) { sweepLate(t, e) })
	t.Run("rhythm", func(t *testing.T) { sweepRhythm(t, e) })
}

func sweepTogether(t *testing.T, e *env, live *store.File) {
	const orphans = 40
	for range orphans {
		e.rewrite(hex.EncodeToString(random(16))+"/0", random(7))
	}
	began := time.Now().Truncate(time.Millisecond)
	e.dueNow(e.shards()...)
	nodes := [3]*sweeper{e.sweeper(), e.sweeper(), e.sweeper()}
	var results [len(nodes)]store.SweepResult
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { results[i] = n.sweep(t) })
	}
	wg.Wait()
	var sum store.SweepResult
	lists, deletes := map[int]int{}, map[string]int{}
	for i, n := range nodes {
		sum.Shards, sum.Removed, sum.Bytes = sum.Shards+results[i].Shards, sum.Removed+results[i].Removed, sum.Bytes+results[i].Bytes
		for shard, times := range n.blobs.lists {
			if shard != store.AllShards { // of the start
				lists[shard] += times
			}
		}
		for key, times := range n.blobs.deletes {
			deletes[key] += times
		}
	}
	if want := (store.SweepResult{Shards: store.Shards, Removed: orphans, Bytes: 7 * orphans}); sum != want { // Seen is not summed up
		t.Errorf("together: %+v, want %+v", sum, want)
	}
	for shard := range store.Shards {
		if lists[shard] != 1 {
			t.Errorf("shard %d was swept %d times", shard, lists[shard])
		}
	}
	for key, times := range deletes {
		if times != 1 {
			t.Errorf("%s was deleted %d times", key, times)
		}
	}
	if got, err := e.fetch(link, store.Ref{File: live.ID}, 0, live.Size); err != nil || int64(len(got)) != live.Size {
		t.Errorf("the file that lives: %d bytes, %v", len(got), err)
	}
	if st, err := nodes[0].SweepState(e.ctx()); err != nil || st.Due != 0 || st.Oldest.Before(began) {
		t.Errorf("afterwards: %+v, %v", st, err)
	}
	if r := nodes[0].sweep(t); r.Shards != 0 {
		t.Errorf("swept once more: %+v", r)
	}
}

var errKilled = errors.New("killed")

// sweepKilled: the shard of a node that dies is another's when its lease is over.
func sweepKilled(t *testing.T, e *env) {
	e.dueNow(e.shards()...)
	dying := e.sweeper()
	dying.blobs.inList = func(context.Context) error { return errKilled }
	if _, err := dying.SweepDue(e.ctx(), 0, hourly); !errors.Is(err, errKilled) {
		t.Fatalf("the list fails, the sweep says %v", err)
	}
	other := e.sweeper()
	if r := other.sweep(t); r.Shards != store.Shards-1 {
		t.Errorf("%d shards are left to the other, want %d", r.Shards, store.Shards-1)
	}
	left := e.claimed()
	if st, err := other.SweepState(e.ctx()); err != nil || st.Due != 1 || len(left) != 1 {
		t.Fatalf("%+v, %v, %d claimed", st, err, len(left))
	}
	e.dueNow(left...)
	if r := other.sweep(t); r.Shards != 1 || len(e.claimed()) != 0 {
		t.Errorf("%d shards are taken over, %d are still claimed", r.Shards, len(e.claimed()))
	}
}

// sweepLate: who has lost a shard leaves it to who has it.
func sweepLate(t *testing.T, e *env) {
	e.dueNow(e.shards()[0])
	slow, other := e.sweeper(), e.sweeper()
	slow.blobs.inList = func(context.Context) error {
		slow.blobs.inList = nil
		e.dueNow(e.claimed()...)
		if r := other.sweep(t); r.Shards != 1 {
			t.Errorf("%d shards are taken over", r.Shards)
		}
		return nil
	}
	if r := slow.sweep(t); r.Shards != 0 || len(e.claimed()) != 0 {
		t.Errorf("the slow one has swept %d shards, %d are claimed", r.Shards, len(e.claimed()))
	}
	if slow.blobs.inList != nil {
		t.Error("nothing was swept slowly")
	}
}

// sweepRhythm: rounds that nobody was there for change nothing in when a shard is
// due, and a schedule that has become shorter counts at once.
func sweepRhythm(t *testing.T, e *env) {
	due := time.Now().Add(-3*time.Hour - 30*time.Minute).UTC().Truncate(time.Millisecond)
	it := e.shards()[7]
	e.setDue(due, it)
	s := e.sweeper()
	s.sweep(t)
	if got := e.shards()[7]; !got.Due.Equal(due.Add(4 * time.Hour)) {
		t.Errorf("what was due at %v and then each hour is due at %v", due, got.Due)
	}
	minutely := func(t time.Time) time.Time { return t.Add(time.Minute) }
	if _, err := e.sweeper().SweepDue(e.ctx(), 0, minutely); err != nil { // the first one looks at the schedule
		t.Fatal(err)
	}
	for _, it := range e.shards() {
		if it.Due.After(time.Now().Add(time.Minute + time.Second)) {
			t.Errorf("shard %x is due at %v, a minute is the longest", it.ID, it.Due)
		}
	}
	// A record that cannot be read stops nobody.
	e.raw(func(tx store.Tx) error { return tx.Put(store.SweepRecords, it.ID, bytes.Repeat([]byte{0xff}, 3), due) })
	if r := s.sweep(t); r.Shards == 0 || !e.shards()[7].Due.After(time.Now()) {
		t.Errorf("%+v, a damaged record is due at %v", r, e.shards()[7].Due)
	}
}
