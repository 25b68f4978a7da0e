package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

func testOnce(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	var first atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			ok, err := e.Once(e.ctx(), "nonce", "a", time.Hour)
			if err != nil {
				t.Error(err)
			}
			if ok {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if n := first.Load(); n != 1 {
		t.Errorf("a value came first %d times", n)
	}
	e.boot()
	for _, c := range []struct {
		realm, value string
		ttl          time.Duration
		want         bool
	}{
		{"nonce", "a", time.Hour, false}, {"nonce", "b", time.Hour, true}, {"other", "a", time.Hour, true},
		{"noncea", "", time.Hour, true}, {"nonce", "short", time.Millisecond, true},
	} {
		if ok, err := e.Once(e.ctx(), c.realm, c.value, c.ttl); ok != c.want || err != nil {
			t.Errorf("%+v: %v, %v", c, ok, err)
		}
	}
	time.Sleep(5 * time.Millisecond)
	if ok, err := e.Once(e.ctx(), "nonce", "short", time.Millisecond); !ok || err != nil {
		t.Errorf("after its time: %v, %v", ok, err)
	}
	time.Sleep(5 * time.Millisecond)
	e.purge()
	left := 0
	err := e.records.View(e.ctx(), func(tx store.Tx) error {
		left = 0
		for _, err := range tx.Scan(store.OnceRecords, nil, nil) {
			if err != nil {
				return err
			}
			left++
		}
		return nil
	})
	if left != 4 || err != nil {
		t.Errorf("%d records after a purge, %v, want 4", left, err)
	}
}

// testTags: tags are kept as they came.
func testTags(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	tags := []string{"b", "", " a ", "b", "größe, x"}
	f := e.upload([]byte("x"), store.FileSpec{Tags: &tags})
	f, err := e.File(e.ctx(), alice, store.Ref{File: f.ID})
	if err != nil || !slices.Equal(f.Tags, tags) {
		t.Errorf("tags %q, %v", f.Tags, err)
	}
	for _, tag := range []string{"b", " a ", "größe, x"} {
		if page, err := e.Files(e.ctx(), alice, store.Query{Tag: tag}); err != nil || len(page.Items) != 1 {
			t.Errorf("tag %q: %d files, %v", tag, len(page.Items), err)
		}
	}
	if err := e.DeleteFile(e.ctx(), alice, store.Ref{File: f.ID}); err != nil {
		t.Fatal(err)
	}
	e.purge()
	e.empty()
}

// testListBounds: a list can be bounded by time.
func testListBounds(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	var made []*store.File
	for range 6 {
		made = append(made, e.upload([]byte("x"), store.FileSpec{Tags: &[]string{"t"}}))
		time.Sleep(2 * time.Millisecond)
	}
	for _, c := range []struct {
		since, until int // of made, -1 = none
		want         []int
	}{{-1, -1, []int{5, 4, 3, 2, 1, 0}}, {2, -1, []int{5, 4, 3, 2}}, {-1, 3, []int{3, 2, 1, 0}}, {1, 4, []int{4, 3, 2, 1}}, {3, 3, []int{3}}, {4, 1, nil}} {
		for _, q := range []store.Query{{}, {Tag: "t"}, {All: true}, {Limit: 1}} {
			if c.since >= 0 {
				q.Since = made[c.since].Created
			}
			if c.until >= 0 {
				q.Until = made[c.until].Created
			}
			caller := alice
			if q.All {
				caller = root
			}
			var want, got []string
			for _, i := range c.want {
				want = append(want, made[i].ID)
			}
			for f := range allFiles(e.ctx(), t, e.Store, caller, q) {
				got = append(got, f.ID)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v %+v: got %v, want %v", c, q, got, want)
			}
			got = nil
			if all, err := e.Walk(e.ctx(), caller, q, 1000, func(f *store.File) bool { got = append(got, f.ID); return true }); !all || err != nil {
				t.Errorf("%+v %+v: walk: complete %v, %v", c, q, all, err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v %+v: walked %v, want %v", c, q, got, want)
			}
		}
	}
}

// testWalk: everything is visited once, within the bound, and only by who may.
func testWalk(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	want := map[string]bool{}
	for i := range 2300 {
		c := store.Caller{Name: fmt.Sprint("user", i%3)}
		content, err := e.Receive(e.ctx(), c, strings.NewReader("x"), store.Incoming{Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		f, err := e.CreateUpload(e.ctx(), c, store.FileSpec{Tags: &[]string{fmt.Sprint("t", i%2)}}, content)
		if err != nil {
			t.Fatal(err)
		}
		want[f.ID] = true
	}
	for _, c := range []struct {
		caller   store.Caller
		q        store.Query
		most     int
		n        int
		complete bool
	}{
		{root, store.Query{All: true}, 2300, 2300, true}, {root, store.Query{All: true}, 2299, 2299, false}, {root, store.Query{All: true}, 1, 1, false},
		{root, store.Query{All: true, Tag: "t1"}, 5000, 1150, true}, {root, store.Query{}, 5000, 0, true},
		{store.Caller{Name: "user1"}, store.Query{}, 5000, 767, true}, {store.Caller{Name: "user1"}, store.Query{Tag: "t0"}, 384, 383, true},
	} {
		seen := map[string]bool{}
		all, err := e.Walk(e.ctx(), c.caller, c.q, c.most, func(f *store.File) bool {
			if seen[f.ID] || !want[f.ID] || c.caller != root && f.Owner != c.caller.Name {
				t.Errorf("%+v: visited %+v", c, f)
			}
			seen[f.ID] = true
			return true
		})
		if len(seen) != c.n || all != c.complete || err != nil {
			t.Errorf("%+v: %d files, complete %v, %v", c, len(seen), all, err)
		}
	}
	n := 0
	if all, err := e.Walk(e.ctx(), root, store.Query{All: true}, 5000, func(*store.File) bool { n++; return n < 10 }); n != 10 || !all || err != nil {
		t.Errorf("stopped after %d: %v, %v", n, all, err)
	}
	_, err := e.Walk(e.ctx(), bob, store.Query{All: true}, 10, nil)
	e.want(err, store.Denied, "")
	_, err = e.Walk(e.ctx(), link, store.Query{}, 10, nil)
	e.want(err, store.Unauthenticated, "")
}

// allFiles yields the files of all pages.
func allFiles(ctx context.Context, t testing.TB, s *store.Store, c store.Caller, q store.Query) func(func(*store.File) bool) {
	return func(yield func(*store.File) bool) {
		for {
			page, err := s.Files(ctx, c, q)
			if err != nil {
				t.Error(err)
				return
			}
			for _, f := range page.Items {
				if !yield(f) {
					return
				}
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				return
			}
		}
	}
}
