package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// events reads all events that a caller sees, in pages of limit.
func (e *env) events(c store.Caller, limit int) (all []*store.Event) {
	e.t.Helper()
	for after := ""; ; {
		page, err := e.Events(e.ctx(), c, store.EventQuery{After: after, Limit: limit})
		if err != nil {
			e.t.Fatal(err)
		}
		if len(page.Items) == 0 {
			return all
		}
		all, after = append(all, page.Items...), page.Next
	}
}

func typesOf(events []*store.Event) (out []store.EventType) {
	for _, e := range events {
		out = append(out, e.Type)
	}
	return out
}

func testEvents(t *testing.T, open Pair) {
	e := start(t, open, store.Options{EventKeep: time.Hour})
	f := e.upload([]byte("abc"), store.FileSpec{Name: new("a.txt")})
	if _, err := e.fetch(link, store.Ref{File: f.ID}, 0, 3); err != nil {
		t.Fatal(err)
	}
	tok, file := e.token([]byte("four"), 1)
	if _, err := e.fetch(link, tok, 0, 2); err != nil { // a part is no download
		t.Fatal(err)
	}
	if _, err := e.fetch(link, tok, 2, 4); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil { // writes the tally
		t.Fatal(err)
	}
	e.boot()
	time.Sleep(2 * time.Millisecond) // the order of events is that of time across a restart
	if err := e.DeleteFile(e.ctx(), alice, store.Ref{File: f.ID}); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteSession(e.ctx(), alice, tok.Session); err != nil {
		t.Fatal(err)
	}
	e.purge()
	short := e.upload([]byte("x"), store.FileSpec{TTL: new(time.Second)})
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	want := []store.EventType{store.FileUploaded, store.SessionCreated, store.FileUploaded, store.FileDownloaded, store.TokenUsed, store.FileDownloaded,
		store.FileDeleted, store.SessionDeleted, store.FileDeleted, store.FileUploaded, store.FileExpired}
	for _, limit := range []int{1, 2, 1000} {
		got := e.events(alice, limit)
		if !slices.Equal(typesOf(got), want) {
			t.Fatalf("in pages of %d: %v\nwant %v", limit, typesOf(got), want)
		}
		up, used, down := got[0], got[4], got[5]
		if up.File != f.ID || up.Owner != alice.Name || up.Name != "a.txt" || up.Size != 3 || !bytes.Equal(up.SHA256, f.SHA256) || up.Session != "" {
			t.Errorf("%+v", up)
		}
		if used.Token != tok.Token || used.Session != tok.Session || used.File != file.ID || used.Count != 0 || got[3].Count != 1 {
			t.Errorf("%+v %+v", used, got[3])
		}
		if down.File != f.ID || down.Count != 1 || got[10].File != short.ID {
			t.Errorf("%+v %+v", down, got[10])
		}
	}
	if got := e.events(bob, 0); len(got) != 0 {
		t.Errorf("bob sees %v", typesOf(got))
	}
	if got := e.events(root, 0); len(got) != len(want) {
		t.Errorf("root sees %v", typesOf(got))
	}
	_, err := e.Events(e.ctx(), link, store.EventQuery{})
	e.want(err, store.Unauthenticated, "authentication required")
	_, err = e.Events(e.ctx(), alice, store.EventQuery{After: "x"})
	e.want(err, store.Invalid, "after must be the id of an event")

	// They go when they have been kept long enough.
	e.o.EventKeep = time.Millisecond
	e.Close()
	e.boot()
	e.upload([]byte("y"), store.FileSpec{})
	time.Sleep(5 * time.Millisecond)
	if got := e.events(alice, 0); len(got) != 0 {
		t.Errorf("still there: %v", typesOf(got))
	}
	e.purge()
	if n := e.leftRecords(store.EventRecords); n != len(want) {
		t.Errorf("%d records, want %d", n, len(want))
	}

	// None are written where nobody wants any.
	e.o.EventKeep = 0
	e.Close()
	e.boot()
	e.upload([]byte("z"), store.FileSpec{})
	if n := e.leftRecords(store.EventRecords); n != len(want) {
		t.Errorf("%d records", n)
	}
	_, err = e.Events(e.ctx(), alice, store.EventQuery{})
	e.want(err, store.NotFound, "events are not kept here")
}

func testOutbox(t *testing.T, open Pair) {
	one, two := store.Recipient{Channel: "webhook", Name: "one"}, store.Recipient{Channel: "webhook", Name: "two"}
	e := start(t, open, store.Options{Recipients: func(ev *store.Event) []store.Recipient {
		if ev.Type == store.FileUploaded {
			return []store.Recipient{one, two}
		}
		return nil
	}})
	claim := func(limit int, lease time.Duration, want int) []*store.Message {
		t.Helper()
		got, err := e.Claim(e.ctx(), limit, lease)
		if err != nil || len(got) != want {
			t.Fatalf("%d messages, %v, want %d", len(got), err, want)
		}
		return got
	}
	claim(10, time.Minute, 0)
	f := e.upload([]byte("abc"), store.FileSpec{})
	e.DeleteFile(e.ctx(), alice, store.Ref{File: f.ID})
	first := claim(1, time.Second, 1)[0]
	second := claim(10, time.Minute, 1)[0]
	claim(10, time.Minute, 0)
	if first.To == second.To || first.Event.ID != second.Event.ID || first.Event.File != f.ID || first.Attempts != 1 || first.Begun {
		t.Errorf("%+v %+v", first, second)
	}

	// Who says nothing has had his turn.
	time.Sleep(1100 * time.Millisecond)
	again := claim(10, time.Minute, 1)[0]
	if again.ID != first.ID || again.Attempts != 2 {
		t.Errorf("%+v", again)
	}
	e.want(e.Begin(e.ctx(), first), store.Conflict, "the message is no longer ours") // his turn is over
	for _, late := range []error{e.Retry(e.ctx(), time.Now().Add(-time.Second), first), e.Return(e.ctx(), time.Now().Add(-time.Second), first), e.Renew(e.ctx(), 0, first)} {
		if late != nil {
			t.Fatal(late)
		}
	}
	claim(10, time.Minute, 0)
	if err := e.Begin(e.ctx(), again); err != nil {
		t.Fatal(err)
	}
	if err := e.Renew(e.ctx(), 0, again); err != nil { // what is in doubt stays with who has it
		t.Fatal(err)
	}
	e.reboot() // in the middle of an attempt
	claim(10, time.Minute, 0)
	unknown := &store.Message{ID: "unknown"}
	if err := e.Retry(e.ctx(), time.Now().Add(-time.Second), second, unknown); err != nil {
		t.Fatal(err)
	}
	if second = claim(10, time.Minute, 1)[0]; second.Attempts != 2 || second.Begun {
		t.Errorf("%+v", second)
	}
	if err := e.Return(e.ctx(), time.Now().Add(-time.Second), second, unknown); err != nil { // it was not tried
		t.Fatal(err)
	}
	if second = claim(10, time.Second, 1)[0]; second.Attempts != 2 {
		t.Errorf("%+v", second)
	}
	if err := e.Renew(e.ctx(), time.Minute, second, unknown); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	claim(10, time.Minute, 0)
	// Who has put one off is done with it, also where he renews what he had.
	e.upload([]byte("abc"), store.FileSpec{})
	off := claim(10, time.Minute, 2)
	if err := e.Return(e.ctx(), time.Now().Add(time.Hour), off[0]); err != nil {
		t.Fatal(err)
	}
	if err := e.Retry(e.ctx(), time.Now().Add(time.Hour), off[1]); err != nil {
		t.Fatal(err)
	}
	if err := e.Renew(e.ctx(), 0, off...); err != nil {
		t.Fatal(err)
	}
	claim(10, time.Minute, 0)
	for _, m := range append(off, first, second, second) {
		if err := e.Done(e.ctx(), m); err != nil {
			t.Fatal(err)
		}
	}
	e.want(e.Begin(e.ctx(), second), store.Conflict, "the message is no longer ours")
	if n := e.leftRecords(store.OutboxRecords); n != 0 {
		t.Errorf("%d messages left", n)
	}

	// Nobody is given what somebody else has.
	for range 20 {
		e.upload([]byte("abc"), store.FileSpec{})
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				got, err := e.Claim(e.ctx(), 3, time.Minute)
				if err != nil {
					t.Error(err)
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, m := range got {
					seen[m.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%x was given %d times", id, n)
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d messages", len(seen))
	}
}

// Whatever call fails: what is acknowledged has its event and its messages, and
// there is no event of what is not there.
func testEventFaults(t *testing.T, open Pair) {
	for _, applied := range []bool{false, true} {
		for nth := int64(1); nth <= 6; nth++ {
			t.Run(fmt.Sprintf("call %d applied %v", nth, applied), func(t *testing.T) {
				records, blobs := open(t)
				var calls atomic.Int64
				fault := func(string) Fault {
					switch {
					case calls.Add(1) != nth:
						return None
					case applied:
						return ApplyThenFail
					}
					return Fail
				}
				e := start(t, func(testing.TB) (store.Records, store.Blobs) { return records, blobs }, store.Options{EventKeep: time.Hour,
					Recipients: func(*store.Event) []store.Recipient { return []store.Recipient{{Channel: "c", Name: "n"}} }})
				calls.Store(-1 << 40) // not yet
				faulty, err := store.New(e.ctx(), FaultyRecords(records, fault), blobs, e.o)
				if err != nil {
					t.Fatal(err)
				}
				calls.Store(0)
				acked := map[string]bool{}
				for range 3 {
					c, err := faulty.Receive(e.ctx(), alice, bytes.NewReader([]byte("abc")), store.Incoming{Size: 3})
					if err != nil {
						continue
					}
					if f, err := faulty.CreateUpload(e.ctx(), alice, store.FileSpec{}, c); err == nil {
						acked[f.ID] = true
					}
				}
				calls.Store(-1 << 40)
				faulty.Close()
				told := map[string]bool{}
				for _, ev := range e.events(alice, 0) {
					told[ev.File] = true
					if _, err := e.File(e.ctx(), alice, store.Ref{File: ev.File}); err != nil {
						t.Errorf("an event of a file that is not there: %v", err)
					}
				}
				for id := range acked {
					if !told[id] {
						t.Errorf("no event of %s", id)
					}
				}
				if n := e.leftRecords(store.OutboxRecords); n != len(told) {
					t.Errorf("%d messages of %d events", n, len(told))
				}
			})
		}
	}
}
