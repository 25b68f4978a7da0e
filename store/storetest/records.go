package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fileshare/store"
)

// The collections that the suite writes to.
const (
	collA = store.FileRecords
	collB = store.ContentRecords
)

// Records is the conformance suite of every [store.Records]. open returns an
// empty one that the test's Cleanup closes; it is called once per subtest.
func Records(t *testing.T, open func(t *testing.T) store.Records) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Records)
	}{
		{"GetPutDelete", testGetPutDelete},
		{"IDs", testIDs},
		{"BadArguments", testBadArguments},
		{"LargeDocuments", testLargeDocuments},
		{"ArgumentsMayChange", testArgumentsMayChange},
		{"Scan", testScan},
		{"ScanPrefixOf255", testScanPrefixOf255},
		{"ScanStops", testScanStops},
		{"Due", testDue},
		{"DueReplaced", testDueReplaced},
		{"OwnWrites", testOwnWrites},
		{"ErrorLeavesNothing", testErrorLeavesNothing},
		{"PanicLeavesNothing", testPanicLeavesNothing},
		{"ContextDone", testContextDone},
		{"ViewCannotWrite", testViewCannotWrite},
		{"Counters", testCounters},
		{"Claims", testClaims},
		{"Snapshot", testSnapshot},
		{"Model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// RecordsReopen proves that what was acknowledged outlives Close. reopen is
// called after the first Records has been closed and opens the same data.
func RecordsReopen(t *testing.T, first store.Records, reopen func() store.Records) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	var want []store.Item
	for i := range 300 {
		doc := bytes.Repeat([]byte{byte(i)}, i*i%9000)
		id := fmt.Appendf(nil, "id-%05d", i)
		var due time.Time
		if i%3 == 0 {
			due = at.Add(time.Duration(i) * time.Second)
			want = append(want, store.Item{ID: id, Doc: doc, Due: due})
		}
		update(t, first, func(tx store.Tx) error { return tx.Put(collA, id, doc, due) })
	}
	before := dump(t, first, collA, nil, nil)
	if err := first.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := first.View(t.Context(), func(store.Tx) error { return nil }); err == nil {
		t.Error("View after Close succeeds")
	}
	if err := first.Update(t.Context(), func(store.Tx) error { return nil }); err == nil {
		t.Error("Update after Close succeeds")
	}
	second := reopen()
	if diff := gocmp.Diff(before, dump(t, second, collA, nil, nil), sameBytes); diff != "" {
		t.Errorf("documents after reopening (-before +after):\n%s", diff)
	}
	if diff := gocmp.Diff(want, due(t, second, collA, at.Add(time.Hour), 1000), sameBytes); diff != "" {
		t.Errorf("due after reopening (-want +got):\n%s", diff)
	}
	update(t, second, func(tx store.Tx) error { return tx.Put(collA, []byte("more"), []byte("x"), time.Time{}) })
}

// sameBytes compares documents at once; cmp on its own goes byte by byte.
var sameBytes = gocmp.Comparer(bytes.Equal)

func sameItem(a, b store.Item) bool {
	return bytes.Equal(a.ID, b.ID) && bytes.Equal(a.Doc, b.Doc) && a.Due.Equal(b.Due)
}

func update(t testing.TB, r store.Records, fn func(store.Tx) error) {
	t.Helper()
	if err := r.Update(context.WithoutCancel(t.Context()), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t testing.TB, r store.Records, fn func(store.Tx) error) {
	t.Helper()
	if err := r.View(context.WithoutCancel(t.Context()), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

func put(t testing.TB, r store.Records, in store.Collection, id, doc string, due time.Time) {
	t.Helper()
	update(t, r, func(tx store.Tx) error { return tx.Put(in, []byte(id), []byte(doc), due) })
}

func get(t testing.TB, r store.Records, in store.Collection, id string) (doc []byte) {
	t.Helper()
	view(t, r, func(tx store.Tx) error {
		b, err := tx.Get(in, []byte(id))
		doc = bytes.Clone(b)
		return err
	})
	return doc
}

func clone(it store.Item) store.Item {
	return store.Item{ID: bytes.Clone(it.ID), Doc: bytes.Clone(it.Doc), Due: it.Due}
}

func scan(tx store.Tx, in store.Collection, prefix, from []byte) (items []store.Item, err error) {
	for it, err := range tx.Scan(in, prefix, from) {
		if err != nil {
			return nil, err
		}
		items = append(items, clone(it))
	}
	return items, nil
}

func dump(t testing.TB, r store.Records, in store.Collection, prefix, from []byte) (items []store.Item) {
	t.Helper()
	view(t, r, func(tx store.Tx) (err error) {
		items, err = scan(tx, in, prefix, from)
		return err
	})
	return items
}

func due(t testing.TB, r store.Records, in store.Collection, now time.Time, limit int) (items []store.Item) {
	t.Helper()
	view(t, r, func(tx store.Tx) error {
		items = nil
		found, err := tx.Due(in, now, limit)
		for _, it := range found {
			it = clone(it)
			it.Due = it.Due.UTC()
			items = append(items, it)
		}
		return err
	})
	return items
}

func ids(items []store.Item) string {
	var all []string
	for _, it := range items {
		all = append(all, string(it.ID))
	}
	return strings.Join(all, " ")
}

func testGetPutDelete(t *testing.T, r store.Records) {
	if got := get(t, r, collA, "a"); got != nil {
		t.Errorf("Get of nothing = %q, want nil", got)
	}
	put(t, r, collA, "a", "one", time.Time{})
	put(t, r, collA, "empty", "", time.Time{})
	if got := get(t, r, collA, "a"); string(got) != "one" {
		t.Errorf("Get = %q, want one", got)
	}
	if got := get(t, r, collA, "empty"); got == nil || len(got) != 0 {
		t.Errorf("Get of an empty document = %#v, want empty and not nil", got)
	}
	update(t, r, func(tx store.Tx) error { return tx.Put(collA, []byte("nil"), nil, time.Now()) })
	if got := get(t, r, collA, "nil"); got == nil || len(got) != 0 {
		t.Errorf("Get of a nil document = %#v, want empty and not nil", got)
	}
	if got := get(t, r, collB, "a"); got != nil {
		t.Errorf("Get in another collection = %q, want nil", got)
	}
	put(t, r, collA, "a", "two", time.Time{})
	if got := get(t, r, collA, "a"); string(got) != "two" {
		t.Errorf("Get after replacing = %q, want two", got)
	}
	for range 2 { // the second deletes nothing
		update(t, r, func(tx store.Tx) error { return tx.Delete(collA, []byte("a")) })
		if got := get(t, r, collA, "a"); got != nil {
			t.Errorf("Get after Delete = %q, want nil", got)
		}
	}
	for _, in := range store.Collections() {
		put(t, r, in, "same id", string(in), time.Time{})
	}
	for _, in := range store.Collections() {
		if got := get(t, r, in, "same id"); string(got) != string(in) {
			t.Errorf("Get in %s = %q", in, got)
		}
	}
}

func testIDs(t *testing.T, r store.Records) {
	all := []string{"\x00", "\x00\x00", "\xff", "\xff\xff", "a\x00b", "é\xc3", "'\"\\%_", strings.Repeat("\xff", 1024), strings.Repeat("x", 1024)}
	for b := range 256 {
		all = append(all, string([]byte{'k', byte(b)}))
	}
	at := time.UnixMilli(1_000)
	for _, id := range all {
		put(t, r, collA, id, "doc of "+id, at)
	}
	slices.Sort(all)
	slices.Reverse(all)
	var got []string
	for _, it := range dump(t, r, collA, nil, nil) {
		got = append(got, string(it.ID))
		if string(it.Doc) != "doc of "+string(it.ID) || string(get(t, r, collA, string(it.ID))) != string(it.Doc) {
			t.Errorf("document of %q is %q", it.ID, it.Doc)
		}
	}
	if diff := gocmp.Diff(all, got, sameBytes); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if n := len(due(t, r, collA, at, 1000)); n != len(all) {
		t.Errorf("%d are due, want %d", n, len(all))
	}
}

func testBadArguments(t *testing.T, r store.Records) {
	for name, fn := range map[string]func(store.Tx) error{
		"empty id":           func(tx store.Tx) error { return tx.Put(collA, nil, []byte("x"), time.Time{}) },
		"id of 1025":         func(tx store.Tx) error { return tx.Put(collA, make([]byte, 1025), []byte("x"), time.Time{}) },
		"unknown collection": func(tx store.Tx) error { return tx.Put("nowhere", []byte("x"), []byte("x"), time.Time{}) },
	} {
		if err := r.Update(t.Context(), fn); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	put(t, r, collA, "after", "x", time.Time{})
}

func testLargeDocuments(t *testing.T, r store.Records) {
	rng := rand.New(rand.NewPCG(1, 2))
	docs := map[string][]byte{}
	for _, n := range []int{1, 1000, 2047, 2048, 2049, 4096, 8192, 9000, 64 << 10, 300 << 10} {
		doc := make([]byte, n)
		for i := range doc {
			doc[i] = byte(rng.Uint32())
		}
		docs[fmt.Sprintf("%08d", n)] = doc
	}
	update(t, r, func(tx store.Tx) error {
		for id, doc := range docs {
			if err := tx.Put(collB, []byte(id), doc, time.UnixMilli(5)); err != nil {
				return err
			}
			if got, err := tx.Get(collB, []byte(id)); err != nil || !bytes.Equal(got, doc) {
				return fmt.Errorf("own write of %d bytes: %d bytes, %v", len(doc), len(got), err)
			}
		}
		return nil
	})
	check := func(when string) {
		t.Helper()
		seen := 0
		for _, items := range [][]store.Item{dump(t, r, collB, nil, nil), due(t, r, collB, time.UnixMilli(5), 100)} {
			for _, it := range items {
				seen++
				if !bytes.Equal(it.Doc, docs[string(it.ID)]) {
					t.Errorf("%s: document %s differs", when, it.ID)
				}
			}
		}
		if seen != 2*len(docs) {
			t.Errorf("%s: saw %d, want %d", when, seen, 2*len(docs))
		}
		for id, doc := range docs {
			if !bytes.Equal(get(t, r, collB, id), doc) {
				t.Errorf("%s: document %s differs", when, id)
			}
		}
	}
	check("written together")
	for id, doc := range docs {
		slices.Reverse(doc)
		update(t, r, func(tx store.Tx) error { return tx.Put(collB, []byte(id), doc, time.UnixMilli(5)) })
	}
	check("replaced one by one")
}

func testArgumentsMayChange(t *testing.T, r store.Records) {
	for _, n := range []int{3, 5000, 100_000} {
		id, doc := []byte("id"), bytes.Repeat([]byte("x"), n)
		want := bytes.Clone(doc)
		update(t, r, func(tx store.Tx) error { return tx.Put(collA, id, doc, time.Time{}) })
		id[0] = '?'
		clear(doc)
		if got := get(t, r, collA, "id"); !bytes.Equal(got, want) {
			t.Errorf("document of %d bytes changed with the caller's slice", n)
		}
	}
}

func writeMess(tx store.Tx) error {
	return errors.Join(
		tx.Put(collA, []byte("kept"), []byte("changed"), time.UnixMilli(1)),
		tx.Put(collA, []byte("new"), []byte("x"), time.UnixMilli(1)),
		tx.Put(collB, []byte("big"), make([]byte, 50_000), time.UnixMilli(1)),
		tx.Delete(collA, []byte("gone")))
}

func checkNoMess(t *testing.T, r store.Records) {
	t.Helper()
	want := []store.Item{{ID: []byte("kept"), Doc: []byte("1")}, {ID: []byte("gone"), Doc: []byte("1")}}
	if diff := gocmp.Diff(want, dump(t, r, collA, nil, nil), sameBytes); diff != "" {
		t.Errorf("something is left (-want +got):\n%s", diff)
	}
	if n := len(due(t, r, collA, time.UnixMilli(1), 10)) + len(due(t, r, collB, time.UnixMilli(1), 10)) + len(dump(t, r, collB, nil, nil)); n != 0 {
		t.Errorf("%d due times or documents are left", n)
	}
}

func testErrorLeavesNothing(t *testing.T, r store.Records) {
	put(t, r, collA, "kept", "1", time.Time{})
	put(t, r, collA, "gone", "1", time.Time{})
	own := errors.New("own")
	err := r.Update(t.Context(), func(tx store.Tx) error { return cmp.Or(writeMess(tx), own) })
	if err != own {
		t.Errorf("Update = %v, want fn's error as it is", err)
	}
	if err := r.View(t.Context(), func(store.Tx) error { return own }); err != own {
		t.Errorf("View = %v, want fn's error as it is", err)
	}
	checkNoMess(t, r)
}

func testPanicLeavesNothing(t *testing.T, r store.Records) {
	put(t, r, collA, "kept", "1", time.Time{})
	put(t, r, collA, "gone", "1", time.Time{})
	catch := func(fn func()) (p any) {
		defer func() { p = recover() }()
		fn()
		return nil
	}
	if p := catch(func() {
		_ = r.Update(t.Context(), func(tx store.Tx) error {
			if err := writeMess(tx); err != nil {
				return err
			}
			panic("own panic")
		})
	}); p != "own panic" {
		t.Errorf("caller of Update sees panic %v", p)
	}
	if p := catch(func() {
		_ = r.View(t.Context(), func(store.Tx) error { panic("own panic") })
	}); p != "own panic" {
		t.Errorf("caller of View sees panic %v", p)
	}
	checkNoMess(t, r)
}

func testContextDone(t *testing.T, r store.Records) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	ran := false
	fn := func(store.Tx) error { ran = true; return nil }
	if err := r.Update(ctx, fn); !errors.Is(err, why) {
		t.Errorf("Update = %v, want the cause", err)
	}
	if err := r.View(ctx, fn); !errors.Is(err, why) {
		t.Errorf("View = %v, want the cause", err)
	}
	if ran {
		t.Error("fn ran after its context was done")
	}
}

func testViewCannotWrite(t *testing.T, r store.Records) {
	for name, fn := range map[string]func(store.Tx) error{
		"Put":    func(tx store.Tx) error { return tx.Put(collA, []byte("x"), nil, time.Time{}) },
		"Delete": func(tx store.Tx) error { return tx.Delete(collA, []byte("x")) },
	} {
		if err := r.View(t.Context(), fn); err == nil {
			t.Errorf("%s in a View succeeds", name)
		}
	}
}
