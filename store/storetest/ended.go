package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// keptFor is how long ended sessions are kept here: longer than it takes to look at
// them on a machine with much to do.
const keptFor = 8 * time.Second

// audited makes a session for an audit, with a file and a share, and hands it over.
func (e *env) audited() (*store.Session, *store.Share) {
	e.t.Helper()
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Name: new("n"), Attrs: &map[string]string{"x.a": "1"}, Sequence: "s", Audit: true, Members: &[]string{"carol"}})
	if err != nil {
		e.t.Fatal(err)
	}
	e.numberedFile(s.ID, "f", random(2000))
	shares, err := e.CreateShares(e.ctx(), alice, s.ID, []store.ShareSpec{{Email: "r@x", Sequence: "h"}})
	if err == nil {
		_, err = e.CompleteSession(e.ctx(), alice, s.ID, nil)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return s, shares[0]
}

// logOf are the types of what is in the log of a session.
func (e *env) logOf(c store.Caller, session string) ([]store.EventType, error) {
	page, err := e.SessionEvents(e.ctx(), c, session, store.EventQuery{Limit: 1000})
	return typesOf(page.Items), err
}

// What is left of a transfer is its owner's to see, and nobody else's, until the
// time for that is over.
func testEnded(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Audit: keptFor, Tombstones: time.Second, Inline: 1000})
	closed, share := e.audited()
	short, gone := e.audited()
	begun := []store.EventType{store.SessionCreated, store.FileUploaded, store.SessionCompleted, store.TransferAvailable, store.TransferSent}
	if got, err := e.logOf(alice, closed.ID); err != nil || !slices.Equal(got, begun) {
		t.Errorf("%v, %v", got, err)
	}
	if err := e.DeleteSession(e.ctx(), alice, closed.ID); err != nil {
		t.Fatal(err)
	}
	e.want(e.DeleteSession(e.ctx(), alice, closed.ID), store.NotFound, "session not found")
	var err error
	if short, err = e.PatchSession(e.ctx(), alice, short.ID, store.SessionSpec{TTL: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	until(short.Expires)
	look := func(when string, s *store.Session, share *store.Share, why store.Kind, last ...store.EventType) {
		t.Helper()
		for _, c := range []store.Caller{alice, root, {Name: "carol"}} {
			got, err := e.EndedByNumber(e.ctx(), c, "s", s.Number)
			if err != nil || got.Session.ID != s.ID || got.Session.Name != "n" || got.Session.Attrs["x.a"] != "1" || got.More || len(got.Files) != 1 ||
				got.Files[0].Number == 0 || got.Files[0].Name != "a.txt" || got.Files[0].Size != 2000 || len(got.Shares) != 1 || got.Shares[0].ID != share.ID || time.Until(got.Session.Expires) > 0 {
				t.Fatalf("%s, %s: %+v, %v", when, c.Name, got, err)
			}
			if _, err := e.SessionByNumber(e.ctx(), c, "s", s.Number); store.KindOf(err) != store.Expired || !errors.Is(err, store.ErrEnded) {
				t.Errorf("%s, %s: %v", when, c.Name, err)
			}
			if got, err := e.EndedByNumber(e.ctx(), c, "h", share.Number); err != nil || got.Session.ID != s.ID {
				t.Errorf("%s, %s: %+v, %v", when, c.Name, got, err)
			}
			if _, _, err := e.ShareByNumber(e.ctx(), c, "h", share.Number); store.KindOf(err) != store.Expired || !errors.Is(err, store.ErrEnded) {
				t.Errorf("%s, %s: %v", when, c.Name, err)
			}
			file := got.Files[0].Number
			if got, err := e.EndedByNumber(e.ctx(), c, "f", file); err != nil || got.Session.ID != s.ID {
				t.Errorf("%s, %s: %+v, %v", when, c.Name, got, err)
			}
			if _, err := e.FileByNumber(e.ctx(), c, "f", file); store.KindOf(err) != store.Expired || !errors.Is(err, store.ErrEnded) {
				t.Errorf("%s, %s: %v", when, c.Name, err)
			}
			if _, err := e.FileByNumber(e.ctx(), bob, "f", file); store.KindOf(err) == 0 || errors.Is(err, store.ErrEnded) {
				t.Errorf("%s: %v", when, err)
			}
		}
		got, err := e.logOf(alice, s.ID)
		if err != nil || len(got) < len(begun) || !slices.Equal(got[:len(begun)], begun) {
			t.Errorf("%s: %v, %v", when, got, err)
		}
		for _, want := range last {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %v, want %v in it", when, got, want)
			}
		}
		for _, c := range []store.Caller{bob, {Share: share.ID}} {
			_, err := e.EndedByNumber(e.ctx(), c, "s", s.Number)
			if k := store.KindOf(err); k != store.NotFound && (c.Name != "" || k != store.Unauthenticated) {
				t.Errorf("%s: %v", when, err)
			}
			if _, err := e.logOf(c, s.ID); err == nil {
				t.Errorf("%s: the log is told to %+v", when, c)
			}
		}
		_, err = e.SessionByNumber(e.ctx(), bob, "s", s.Number)
		e.want(err, store.NotFound, "session not found")
		_, err = e.Session(e.ctx(), alice, s.ID)
		e.want(err, why, "")
		_, err = e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{Name: new("y")})
		e.want(err, why, "")
		_, _, err = e.Shared(e.ctx(), store.Caller{}, share.ID, false)
		e.want(err, why, "")
		page, err := e.Sessions(e.ctx(), alice, store.Query{})
		if err != nil || len(page.Items) != 0 {
			t.Errorf("%s: %+v, %v", when, page.Items, err)
		}
	}
	look("closed", closed, share, store.NotFound, store.SessionDeleted, store.TransferClosed)
	look("over", short, gone, store.Expired)
	if r := e.purge(); r.Sessions != 2 || r.Files != 2 {
		t.Errorf("%+v", r)
	}
	if keys := e.leftBlobs(); len(keys) > 0 {
		t.Errorf("blobs left: %v", keys)
	}
	look("closed and purged", closed, share, store.NotFound, store.TransferClosed)
	look("over and purged", short, gone, store.Expired, store.TransferExpired, store.SessionExpired)
	e.reboot()
	if r := e.purge(); r != (store.PurgeResult{}) {
		t.Errorf("%+v", r)
	}
	if kinds, _ := e.found(store.CheckOptions{Deep: true}); len(kinds) > 0 {
		t.Errorf("check: %v", kinds)
	}
	e.damageEnded(closed)
	until(time.Now().Add(keptFor))
	_, err = e.EndedByNumber(e.ctx(), alice, "s", closed.Number)
	e.want(err, store.NotFound, "session not found")
	if r := e.purge(); r.Tombstones != 2 {
		t.Errorf("%+v", r)
	}
	e.empty()
	if n := e.leftRecords(store.SessionRecords) + e.leftRecords(store.ShareRecords); n != 0 {
		t.Errorf("%d records of sessions and shares left", n)
	}
}

// damageEnded takes the numbers of an ended session and its file away, and enters an event of a
// session that is not there: a check finds and repairs that.
func (e *env) damageEnded(s *store.Session) {
	e.t.Helper()
	e.raw(func(tx store.Tx) error {
		for _, numbers := range []string{"n\x01s", "n\x01f"} {
			for item, err := range tx.Scan(store.IndexRecords, []byte(numbers), nil) {
				if err != nil {
					return err
				}
				if err := tx.Delete(store.IndexRecords, bytes.Clone(item.ID)); err != nil {
					return err
				}
			}
		}
		return tx.Put(store.IndexRecords, append([]byte("v"), random(32)...), []byte{1 << 1}, time.Time{})
	})
	if kinds, _ := e.found(store.CheckOptions{Repair: true}); !slices.Equal(kinds, []store.ProblemKind{store.Stray, store.Unlisted}) {
		e.t.Errorf("check: %v", kinds)
	}
	if kinds, _ := e.found(store.CheckOptions{}); len(kinds) > 0 {
		e.t.Errorf("check again: %v", kinds)
	}
	if got, err := e.EndedByNumber(e.ctx(), alice, "s", s.Number); err != nil || got.Session.ID != s.ID {
		e.t.Errorf("%+v, %v", got, err)
	}
}

// What was not handed over, what is not made for an audit, and all of it where
// none is kept, ends as ever; and what was kept goes when that is switched off.
func testNotKept(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Audit: time.Hour, Tombstones: time.Second})
	for _, spec := range []store.SessionSpec{{Sequence: "s", Audit: true}, {Sequence: "s"}} {
		s, err := e.CreateSession(e.ctx(), alice, spec)
		if err != nil {
			t.Fatal(err)
		}
		e.file(s.ID, random(10))
		if !spec.Audit {
			if _, err := e.CompleteSession(e.ctx(), alice, s.ID, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
			t.Fatal(err)
		}
		_, err = e.EndedByNumber(e.ctx(), alice, "s", s.Number)
		e.want(err, store.NotFound, "session not found")
		_, err = e.logOf(alice, s.ID)
		e.want(err, store.NotFound, "session not found")
	}
	e.purge()
	e.empty()
	s, _ := e.audited()
	e.o.Audit = 0
	e.reboot()
	if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
		t.Fatal(err)
	}
	s, _ = e.audited()
	_, err := e.logOf(alice, s.ID)
	e.want(err, store.NotFound, "events are not kept here")
	if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
		t.Fatal(err)
	}
	e.purge()
	e.empty()
}

// Of a session with more files than a step ends and a record holds some are kept,
// and all content goes, also when calls fail again and again.
func testEndedMany(t *testing.T, open Pair) {
	records, blobs := open(t)
	e := start(t, func(testing.TB) (store.Records, store.Blobs) { return records, blobs }, store.Options{Audit: keptFor, Tombstones: time.Second})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Sequence: "s", Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	const files = 600
	attrs := map[string]string{"x.a": strings.Repeat("x", 1000)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range files / 8 {
				f := e.file(s.ID, random(20))
				if _, err := e.PatchFile(e.ctx(), alice, store.Ref{Session: s.ID, File: f.ID}, store.FileSpec{Attrs: &attrs}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := e.CompleteSession(e.ctx(), alice, s.ID, nil); err != nil {
		t.Fatal(err)
	}
	if s, err = e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{TTL: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	until(s.Expires)
	var calls atomic.Int64
	faulty, err := store.New(e.ctx(), FaultyRecords(records, func(string) Fault {
		switch calls.Add(1) % 26 { // a Purge that finds nothing takes fewer
		case 12:
			return Fail
		case 25:
			return ApplyThenFail
		}
		return None
	}), blobs, e.o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { faulty.Close() })
	purge := func() {
		t.Helper()
		for {
			if _, err := faulty.Purge(e.ctx()); err == nil {
				return
			}
		}
	}
	purge()
	got, err := e.EndedByNumber(e.ctx(), alice, "s", s.Number)
	if err != nil || !got.More || len(got.Files) < 100 || len(got.Files) == files {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, in := range []store.Collection{store.ContentRecords, store.FileRecords, store.UsageRecords} {
		if n := e.leftRecords(in); n != 0 {
			t.Errorf("%d records left in %s", n, in)
		}
	}
	until(got.Session.Expires.Add(keptFor))
	purge()
	e.empty()
	if n := e.leftRecords(store.SessionRecords); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

// The log that is kept for an audit has from where something was done, and when it
// began; other events have not.
func testAuditLog(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Audit: time.Hour, EventKeep: time.Hour, Inline: 100})
	c := alice
	c.Address = "192.0.2.1"
	s, err := e.CreateSession(e.ctx(), c, store.SessionSpec{Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.CreateFile(e.ctx(), c, s.ID, store.FileSpec{Name: new("a.txt")})
	if err != nil {
		t.Fatal(err)
	}
	ref := store.Ref{Session: s.ID, File: f.ID}
	if _, err := e.BeginFile(e.ctx(), c, ref, store.FileSpec{}, store.Begin{Length: 300}); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{200, 0, 100, 0} {
		if _, err := e.WriteAt(e.ctx(), c, ref, bytes.NewReader(make([]byte, 100)), at, 100, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Finish(e.ctx(), c, ref); err != nil {
		t.Fatal(err)
	}
	shares, err := e.CreateShares(e.ctx(), c, s.ID, []store.ShareSpec{{Email: "r@x"}})
	if err == nil {
		_, err = e.CompleteSession(e.ctx(), c, s.ID, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, from := range []string{"192.0.2.2", "192.0.2.3", "192.0.2.2", ""} {
		if _, err := e.fetch(store.Caller{Share: shares[0].ID, Address: from}, ref, 0, 300); err != nil {
			t.Fatal(err)
		}
	}
	e.Archived(store.Caller{Share: shares[0].ID, Address: "192.0.2.2"}, s.ID, began)
	other, _ := e.audited()
	e.Archived(store.Caller{Share: shares[0].ID}, other.ID, began) // it is no share of that
	e.Close()                                                      // writes the tally
	e.boot()
	page, err := e.SessionEvents(e.ctx(), alice, s.ID, store.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, v := range page.Items {
		got = append(got, fmt.Sprint(v.Type, " ", v.Address, " ", v.Count))
		if down := v.Type == store.FileDownloaded || v.Type == store.TransferArchived; down != !v.Began.IsZero() || down && (v.Began.Before(began.Add(-time.Second)) || v.Began.After(v.Time)) {
			t.Errorf("%+v", v)
		}
	}
	slices.Sort(got)
	want := []string{"file.begun 192.0.2.1 0", "file.downloaded  1", "file.downloaded 192.0.2.2 2", "file.downloaded 192.0.2.3 1", "file.uploaded 192.0.2.1 0", "session.completed 192.0.2.1 0",
		"session.created 192.0.2.1 0", "transfer.archived 192.0.2.2 1", "transfer.available 192.0.2.1 0", "transfer.downloaded  4", "transfer.sent 192.0.2.1 0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got, err := e.logOf(alice, other.ID); err != nil || slices.Contains(got, store.TransferArchived) {
		t.Errorf("%v, %v", got, err)
	}
	for _, v := range e.events(alice, 1000) {
		if v.Address != "" || v.Type == store.FileBegun || v.Type == store.TransferArchived {
			t.Errorf("%+v", v)
		}
	}
}
