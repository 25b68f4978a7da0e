package storetest

import (
	"context"
	"fmt"
	"slices"
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
		}
	}
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
