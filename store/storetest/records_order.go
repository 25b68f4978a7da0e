package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fileshare/store"
)

// Scan and Due: order, bounds, and what a transaction sees of itself.

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
			if string(it.Doc) != "doc "+string(it.ID) || !it.Due.Equal(time.UnixMilli(7)) {
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
