package storetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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

func testScan(t *testing.T, r store.Records) {
	for _, id := range []string{"a", "aa", "ab", "ab1", "ab2", "ac", "b", "ba"} {
		put(t, r, collA, id, "doc "+id, time.UnixMilli(7))
	}
	put(t, r, collB, "ab9", "elsewhere", time.Time{})
	for _, c := range []struct{ prefix, from, want string }{
		{"", "", "ba b ac ab2 ab1 ab aa a"},
		{"a", "", "ac ab2 ab1 ab aa a"},
		{"ab", "", "ab2 ab1 ab"},
		{"ab1", "", "ab1"},
		{"ab", "ab2", "ab1 ab"},
		{"ab", "ab1\x00", "ab1 ab"},
		{"ab", "ab", ""},
		{"ab", "aa", ""},
		{"ab", "zz", "ab2 ab1 ab"},
		{"", "b", "ac ab2 ab1 ab aa a"},
		{"", "a", ""},
		{"", "0", ""},
		{"c", "", ""},
		{"0", "", ""},
		{"b", "", "ba b"},
	} {
		items := dump(t, r, collA, []byte(c.prefix), []byte(c.from))
		if got := ids(items); got != c.want {
			t.Errorf("Scan(%q, %q) = %s, want %s", c.prefix, c.from, got, c.want)
		}
		for _, it := range items {
			if string(it.Doc) != "doc "+string(it.ID) || !it.Due.IsZero() {
				t.Errorf("Scan gives %q, %v for %s", it.Doc, it.Due, it.ID)
			}
		}
	}
}

func testScanPrefixOf255(t *testing.T, r store.Records) {
	for _, id := range []string{"\xfe", "\xfe\xff", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\x01", "a\xff", "a\xff\xff", "b"} {
		put(t, r, collA, id, "", time.Time{})
	}
	for _, c := range []struct{ prefix, from, want string }{
		{"\xff", "", "\xff\xff\x01 \xff\xff \xff\x00 \xff"},
		{"\xff\xff", "", "\xff\xff\x01 \xff\xff"},
		{"\xff", "\xff\xff", "\xff\x00 \xff"},
		{"\xff\xff\xff", "", ""},
		{"a\xff", "", "a\xff\xff a\xff"},
		{"\xfe", "", "\xfe\xff \xfe"},
	} {
		if got := ids(dump(t, r, collA, []byte(c.prefix), []byte(c.from))); got != c.want {
			t.Errorf("Scan(%q, %q) = %q, want %q", c.prefix, c.from, got, c.want)
		}
	}
}

func testScanStops(t *testing.T, r store.Records) {
	update(t, r, func(tx store.Tx) error {
		for i := range 100 {
			if err := tx.Put(collA, []byte{byte(i)}, nil, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, r, func(tx store.Tx) error {
		n := 0
		for it, err := range tx.Scan(collA, nil, nil) {
			if err != nil {
				return err
			}
			// Another Scan and a Get in the middle disturb nothing.
			for range tx.Scan(collA, nil, nil) {
				break
			}
			if _, err := tx.Get(collA, []byte{1}); err != nil {
				return err
			}
			if want := byte(99 - n); it.ID[0] != want {
				t.Errorf("item %d is %d", n, it.ID[0])
			}
			if n++; n == 5 {
				break
			}
		}
		return nil
	})
	// To delete what a Scan yields, while it runs, is what purging does.
	update(t, r, func(tx store.Tx) error {
		for it, err := range tx.Scan(collA, nil, nil) {
			if err != nil {
				return err
			}
			if err := tx.Delete(collA, it.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if got := dump(t, r, collA, nil, nil); len(got) != 0 {
		t.Errorf("%d left", len(got))
	}
}

func testDue(t *testing.T, r store.Records) {
	at := time.UnixMilli(1_700_000_000_000)
	put(t, r, collA, "never", "", time.Time{})
	put(t, r, collA, "third", "3", at.Add(2*time.Second))
	put(t, r, collA, "first", "1", at.Add(-time.Hour))
	put(t, r, collA, "second", "2", at)
	put(t, r, collA, "rounded", "r", at.Add(3*time.Second+time.Nanosecond)) // up to the next millisecond
	put(t, r, collB, "other", "", at)
	for _, c := range []struct {
		now   time.Time
		limit int
		want  string
	}{
		{at.Add(-2 * time.Hour), 10, ""},
		{at.Add(-time.Hour), 10, "first"},
		{at.Add(-time.Nanosecond), 10, "first"},
		{at, 10, "first second"},
		{at, 1, "first"},
		{at, 0, ""},
		{at.Add(2 * time.Second), 10, "first second third"},
		{at.Add(2 * time.Second), 2, "first second"},
		{at.Add(3*time.Second + 999*time.Microsecond), 10, "first second third"},
		{at.Add(3*time.Second + time.Millisecond), 10, "first second third rounded"},
		{at.AddDate(10, 0, 0), 10, "first second third rounded"},
	} {
		if got := ids(due(t, r, collA, c.now, c.limit)); got != c.want {
			t.Errorf("Due(%v, %d) = %s, want %s", c.now, c.limit, got, c.want)
		}
	}
	want := []store.Item{
		{ID: []byte("first"), Doc: []byte("1"), Due: at.Add(-time.Hour).UTC()},
		{ID: []byte("second"), Doc: []byte("2"), Due: at.UTC()},
	}
	if diff := gocmp.Diff(want, due(t, r, collA, at, 10), sameBytes); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func testDueReplaced(t *testing.T, r store.Records) {
	at := time.UnixMilli(1_700_000_000_000)
	check := func(what, want string) {
		t.Helper()
		if got := ids(due(t, r, collA, at, 10)); got != want {
			t.Errorf("%s: due is %q, want %q", what, got, want)
		}
	}
	put(t, r, collA, "a", "1", at)
	check("put", "a")
	put(t, r, collA, "a", "2", at)
	check("same due", "a")
	put(t, r, collA, "a", "3", at.Add(time.Second))
	check("later", "")
	put(t, r, collA, "a", "4", at.Add(-time.Second))
	check("earlier", "a")
	put(t, r, collA, "a", "5", time.Time{})
	check("never", "")
	put(t, r, collA, "a", "6", at)
	update(t, r, func(tx store.Tx) error { return tx.Delete(collA, []byte("a")) })
	check("deleted", "")
	update(t, r, func(tx store.Tx) error {
		return errors.Join(tx.Put(collA, []byte("b"), nil, at), tx.Delete(collA, []byte("b")),
			tx.Put(collA, []byte("c"), nil, time.Time{}), tx.Put(collA, []byte("c"), nil, at))
	})
	check("within one Update", "c")
}

// testOwnWrites: Get sees them, Scan and Due do not.
func testOwnWrites(t *testing.T, r store.Records) {
	at := time.UnixMilli(1_000)
	put(t, r, collA, "old", "1", at)
	put(t, r, collA, "gone", "1", at)
	update(t, r, func(tx store.Tx) error {
		var puts []error
		for i := range 40 { // beyond what an overlay may search one by one
			puts = append(puts, tx.Put(collA, fmt.Appendf(nil, "new%02d", i), fmt.Appendf(nil, "%d", i), at))
		}
		puts = append(puts, tx.Put(collA, []byte("old"), []byte("2"), time.Time{}), tx.Delete(collA, []byte("gone")))
		if err := errors.Join(puts...); err != nil {
			return err
		}
		for id, want := range map[string]string{"old": "2", "new00": "0", "new39": "39"} {
			if got, err := tx.Get(collA, []byte(id)); err != nil || string(got) != want {
				t.Errorf("Get(%s) = %q, %v, want %s", id, got, err, want)
			}
		}
		if got, err := tx.Get(collA, []byte("gone")); got != nil || err != nil {
			t.Errorf("Get of a deleted one = %q, %v", got, err)
		}
		items, err := scan(tx, collA, nil, nil)
		if ids(items) != "old gone" || err != nil || string(items[0].Doc) != "1" {
			t.Errorf("Scan sees %s, %v", ids(items), err)
		}
		items, err = tx.Due(collA, at, 100)
		if len(items) != 2 || err != nil {
			t.Errorf("Due sees %s, %v", ids(items), err)
		}
		return nil
	})
	if n := len(dump(t, r, collA, nil, nil)); n != 41 {
		t.Errorf("%d documents, want 41", n)
	}
	if n := len(due(t, r, collA, at, 100)); n != 40 {
		t.Errorf("%d due, want 40", n)
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

// addTo reads, changes and writes back a number.
func addTo(tx store.Tx, id []byte, by int64) (int64, error) {
	b, err := tx.Get(collA, id)
	if err != nil {
		return 0, err
	}
	var n int64
	if b != nil {
		n = int64(binary.BigEndian.Uint64(b))
	}
	return n + by, tx.Put(collA, id, binary.BigEndian.AppendUint64(nil, uint64(n+by)), time.Time{})
}

func testCounters(t *testing.T, r store.Records) {
	const workers, rounds = 16, 25
	fail := errors.New("every fifth")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				err := r.Update(t.Context(), func(tx store.Tx) error {
					_, err1 := addTo(tx, []byte("all"), 1)
					_, err2 := addTo(tx, fmt.Appendf(nil, "c%d", (w+i)%3), 1)
					if i%5 == 4 {
						return cmp.Or(err1, err2, fail)
					}
					return cmp.Or(err1, err2)
				})
				if err != nil && err != fail {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	var sum int64
	for _, it := range dump(t, r, collA, []byte("c"), nil) {
		sum += int64(binary.BigEndian.Uint64(it.Doc))
	}
	all := int64(binary.BigEndian.Uint64(get(t, r, collA, "all")))
	if want := int64(workers * rounds * 4 / 5); all != want || sum != want {
		t.Errorf("counters say %d and %d, want %d", all, sum, want)
	}
}

func testClaims(t *testing.T, r store.Records) {
	const limit, claims = 10, 200
	usedUp := errors.New("used up")
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range claims {
		wg.Go(func() {
			err := r.Update(t.Context(), func(tx store.Tx) error {
				n, err := addTo(tx, []byte("uses"), 1)
				if err == nil && n > limit {
					err = usedUp
				}
				return cmp.Or(err, tx.Put(collB, fmt.Appendf(nil, "%03d", i), nil, time.Time{}))
			})
			switch err {
			case nil:
				won.Add(1)
			case usedUp:
			default:
				t.Errorf("Update: %v", err)
			}
		})
	}
	wg.Wait()
	if n := len(dump(t, r, collB, nil, nil)); won.Load() != limit || n != limit {
		t.Errorf("%d claims won and %d are recorded, want %d", won.Load(), n, limit)
	}
}

// testSnapshot: all documents are changed together, so a View that sees two
// different ones sees no snapshot.
func testSnapshot(t *testing.T, r store.Records) {
	const docs, rounds = 12, 30
	write := func(n int) error {
		return r.Update(t.Context(), func(tx store.Tx) error {
			for i := range docs {
				doc := bytes.Repeat([]byte{byte(n)}, 10+i*400) // small and large
				if err := tx.Put(collA, fmt.Appendf(nil, "%02d", i), doc, time.Time{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				view(t, r, func(tx store.Tx) error {
					items, err := scan(tx, collA, nil, nil)
					if err != nil {
						return err
					}
					last, err := tx.Get(collA, []byte("00"))
					if err != nil {
						return err
					}
					for _, it := range items {
						if len(items) != docs || bytes.Count(it.Doc, last[:1]) != len(it.Doc) {
							t.Errorf("View sees %d documents, of which %s differs", len(items), it.ID)
							return nil
						}
					}
					return nil
				})
			}
		})
	}
	for n := range rounds {
		if err := write(n + 1); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

// testModel compares with a map, over random sequences of Updates.
func testModel(t *testing.T, r store.Records) {
	type key struct {
		in store.Collection
		id string
	}
	type value struct {
		doc string
		due time.Time
	}
	model := map[key]value{}
	base := time.UnixMilli(1_700_000_000_000).UTC()
	id := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 1, 4)
	coll := rapid.SampledFrom([]store.Collection{collA, collB})
	failed := errors.New("failed")
	compare := func(rt *rapid.T) {
		in := coll.Draw(rt, "collection")
		prefix := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 0xff}), 0, 2).Draw(rt, "prefix")
		from := rapid.OneOf(rapid.Just([]byte(nil)), id).Draw(rt, "from")
		now := base.Add(time.Duration(rapid.IntRange(-1, 6).Draw(rt, "now")) * time.Second)
		var scanned, dues []store.Item
		for k, v := range model {
			if k.in != in {
				continue
			}
			if strings.HasPrefix(k.id, string(prefix)) && (len(from) == 0 || k.id < string(from)) {
				scanned = append(scanned, store.Item{ID: []byte(k.id), Doc: []byte(v.doc)})
			}
			if !v.due.IsZero() && !v.due.After(now) {
				dues = append(dues, store.Item{ID: []byte(k.id), Doc: []byte(v.doc), Due: v.due})
			}
		}
		slices.SortFunc(scanned, func(a, b store.Item) int { return bytes.Compare(b.ID, a.ID) })
		if got := dump(t, r, in, prefix, from); !slices.EqualFunc(scanned, got, sameItem) {
			rt.Fatalf("Scan(%s, %q, %q) (-want +got):\n%s", in, prefix, from, gocmp.Diff(scanned, got, sameBytes))
		}
		got := due(t, r, in, now, 1000)
		if !slices.IsSortedFunc(got, func(a, b store.Item) int { return a.Due.Compare(b.Due) }) {
			rt.Fatalf("Due is not in order: %v", got)
		}
		byID := func(a, b store.Item) int { return bytes.Compare(a.ID, b.ID) }
		slices.SortFunc(dues, byID)
		slices.SortFunc(got, byID)
		if !slices.EqualFunc(dues, got, sameItem) {
			rt.Fatalf("Due(%s) (-want +got):\n%s", in, gocmp.Diff(dues, got, sameBytes))
		}
	}
	transact := func(rt *rapid.T) {
		next := maps.Clone(model)
		type step struct {
			key
			value
			del bool
		}
		var steps []step
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			s := step{key: key{coll.Draw(rt, "in"), string(id.Draw(rt, "id"))}, del: rapid.IntRange(0, 2).Draw(rt, "delete") == 0}
			n := rapid.SampledFrom([]int{0, 1, 5, 100, 2500, 9000}).Draw(rt, "size")
			s.doc = strings.Repeat(string(rune('a'+rapid.IntRange(0, 25).Draw(rt, "letter"))), n)
			if d := rapid.IntRange(-1, 5).Draw(rt, "due"); d >= 0 {
				s.due = base.Add(time.Duration(d) * time.Second)
			}
			steps = append(steps, s)
		}
		fail := rapid.IntRange(0, 4).Draw(rt, "fail") == 0
		err := r.Update(t.Context(), func(tx store.Tx) error {
			for _, s := range steps {
				before, err := tx.Get(s.in, []byte(s.id))
				if want, ok := next[s.key]; err != nil || ok != (before != nil) || want.doc != string(before) {
					return fmt.Errorf("Get(%s, %q) = %q, %v, want %q", s.in, s.id, before, err, want.doc)
				}
				if s.del {
					delete(next, s.key)
					err = tx.Delete(s.in, []byte(s.id))
				} else {
					next[s.key] = s.value
					err = tx.Put(s.in, []byte(s.id), []byte(s.doc), s.due)
				}
				if err != nil {
					return err
				}
			}
			if fail {
				return failed
			}
			return nil
		})
		switch {
		case err == nil && !fail:
			model = next
		case err != failed:
			rt.Fatalf("Update: %v", err)
		}
	}
	clearAll := func(rt *rapid.T) {
		in := coll.Draw(rt, "in")
		update(t, r, func(tx store.Tx) error {
			for it, err := range tx.Scan(in, nil, nil) {
				if err = cmp.Or(err, tx.Delete(in, it.ID)); err != nil {
					return err
				}
			}
			return nil
		})
		maps.DeleteFunc(model, func(k key, _ value) bool { return k.in == in })
	}
	rapid.Check(t, func(rt *rapid.T) {
		rt.Repeat(map[string]func(*rapid.T){"": compare, "update": transact, "clear": clearAll})
	})
}
