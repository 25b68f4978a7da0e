package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fileshare/store"
)

// letters takes all notices that wait, as "event kind address: …".
func (e *env) letters() (out []string) {
	e.t.Helper()
	all, err := e.Claim(e.ctx(), 1000, time.Minute)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, m := range all {
		if m.Letter == nil || m.To.Channel != "mail" {
			e.t.Errorf("no notice: %+v", m)
			continue
		}
		names := []string{}
		for _, f := range m.Letter.Files {
			names = append(names, f.Name)
		}
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%s %s: %s", m.Event.Type, m.To.Name, strings.Join(names, " ")), ": "))
		if err := e.Done(e.ctx(), m); err != nil {
			e.t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

// tellAll is a policy that tells every recipient that an event is about, and
// the owner with what is in the session.
func tellAll(a *store.About) (out []store.Notice, err error) {
	if !strings.HasPrefix(string(a.Event.Type), "transfer.") && a.Event.Type != store.FileDeleted {
		return nil, nil
	}
	s, err := a.Session()
	if err != nil || s == nil {
		return nil, err
	}
	shares, err := a.Shares()
	if err != nil {
		return nil, err
	}
	for _, h := range shares {
		n := store.Notice{To: store.Recipient{Channel: "mail", Name: h.Email}, Letter: store.Letter{Kind: "k", Message: h.Message}}
		if a.Asked {
			n.Letter.Files = []store.LetterFile{{Name: "asked"}}
		}
		out = append(out, n)
	}
	files, more, err := a.Content(1)
	if err != nil {
		return nil, err
	}
	own := store.Letter{Kind: string(a.Event.Type), More: more}
	for _, name := range a.Files {
		own.Files = append(own.Files, store.LetterFile{Name: name})
	}
	for _, f := range files {
		own.Files = append(own.Files, store.LetterFile{Name: f.Name, Size: f.Size})
	}
	past, err := a.Past(100)
	if err != nil {
		return nil, err
	}
	for _, e := range past {
		own.Log = append(own.Log, store.LetterLine{Event: string(e.Type)})
	}
	quiet := time.Duration(0)
	if a.Event.Type == store.TransferDownloaded {
		quiet = time.Hour
	}
	return append(out, store.Notice{To: store.Recipient{Channel: "mail", Name: s.Owner}, Letter: own, Quiet: quiet}), nil
}

// What happens to a transfer is told to those whom it concerns, once, in the
// Update in which it happens.
func testNotices(t *testing.T, open Pair) {
	e := start(t, open, store.Options{EventKeep: time.Hour, Notices: tellAll})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Name: new("x")})
	if err != nil {
		t.Fatal(err)
	}
	f := e.file(s.ID, []byte("abc"))
	e.file(s.ID, []byte("def"))
	add := func(email string, send bool) *store.Share {
		t.Helper()
		out, err := e.CreateShares(e.ctx(), alice, s.ID, []store.ShareSpec{{Email: email, Message: "m", Send: send}})
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	told := func(what string, want ...string) {
		t.Helper()
		if got := e.letters(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	r1, owner := add("r1@x", false), alice.Name
	told("not complete")
	e.want(e.Remind(e.ctx(), alice, s.ID, ""), store.Conflict, "the session was not sent yet")
	if err := e.DeleteShare(e.ctx(), alice, s.ID, add("r0@x", false).ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := e.CompleteSession(e.ctx(), alice, s.ID, nil); err != nil {
			t.Fatal(err)
		}
	}
	told("complete", "transfer.available "+owner+": a.txt", "transfer.available r1@x", "transfer.sent "+owner+": a.txt", "transfer.sent r1@x")
	r2 := add("r2@x", false)
	told("later", "transfer.sent "+owner+": a.txt", "transfer.sent r2@x")

	// Downloads: of a link each, the owner is told of one link once an hour.
	ref := store.Ref{Session: s.ID, File: f.ID}
	for _, c := range []store.Caller{{Share: r1.ID}, {Share: r1.ID, Confirm: true}, {Share: r2.ID}, alice} {
		if _, err := e.fetch(c, ref, 0, 3); err != nil {
			t.Fatal(err)
		}
	}
	e.Close() // writes the tally
	e.boot()
	told("downloads", "transfer.downloaded "+owner+": a.txt a.txt", "transfer.downloaded "+owner+": a.txt a.txt", "transfer.downloaded r1@x", "transfer.downloaded r1@x: asked", "transfer.downloaded r2@x")
	if _, err := e.fetch(store.Caller{Share: r1.ID}, ref, 0, 3); err != nil {
		t.Fatal(err)
	}
	e.Close()
	e.boot()
	told("again", "transfer.downloaded r1@x")

	// In pieces it is told when the last one has arrived; what is left of a
	// piece goes with the share.
	for _, piece := range [][2]int64{{1, 3}, {0, 1}, {2, 3}} {
		if _, err := e.fetch(store.Caller{Share: r1.ID}, ref, piece[0], piece[1]); err != nil {
			t.Fatal(err)
		}
	}
	e.Close()
	e.boot()
	told("in pieces", "transfer.downloaded r1@x")

	if err := e.Remind(e.ctx(), alice, s.ID, r2.ID); err != nil {
		t.Fatal(err)
	}
	told("remind one", "transfer.reminded "+owner+": a.txt", "transfer.reminded r2@x")
	e.want(e.Remind(e.ctx(), bob, s.ID, ""), store.Denied, "not yours")
	e.want(e.Audit(e.ctx(), store.Caller{Share: r1.ID}, s.ID), store.Unauthenticated, "")
	// What was downloaded just before is told, too.
	if _, err := e.fetch(store.Caller{Share: r2.ID, Confirm: true}, ref, 0, 3); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteShare(e.ctx(), alice, s.ID, r2.ID); err != nil {
		t.Fatal(err)
	}
	told("withdrawn", "transfer.downloaded r2@x: asked", "transfer.withdrawn "+owner+": a.txt", "transfer.withdrawn r2@x")
	past, err := e.SessionEvents(e.ctx(), alice, s.ID, store.EventQuery{Limit: 2})
	if err != nil || len(past.Items) != 2 || past.Items[0].Type != store.SessionCreated {
		t.Fatalf("%+v, %v", past, err)
	}
	rest, err := e.SessionEvents(e.ctx(), alice, s.ID, store.EventQuery{After: past.Next})
	if err != nil || len(rest.Items) < 10 || rest.Items[0].Type != store.FileUploaded {
		t.Fatalf("%+v, %v", rest, err)
	}
	_, err = e.SessionEvents(e.ctx(), bob, s.ID, store.EventQuery{})
	e.want(err, store.Denied, "not yours")
	if _, err := e.fetch(store.Caller{Share: r1.ID, Confirm: true}, ref, 0, 3); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
		t.Fatal(err)
	}
	e.purge()
	told("closed", "transfer.closed "+owner+": a.txt", "transfer.closed r1@x", "transfer.downloaded r1@x: asked") // and nothing of its files

	// One that expires, and was sent without being complete.
	if s, err = e.CreateSession(e.ctx(), alice, store.SessionSpec{TTL: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	e.file(s.ID, []byte("abc"))
	add("r3@x", true)
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	told("expired", "transfer.expired "+owner+": a.txt", "transfer.expired r3@x", "transfer.sent "+owner+": a.txt", "transfer.sent r3@x")
	// One that was never a transfer.
	if s, err = e.CreateSession(e.ctx(), alice, store.SessionSpec{TTL: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	add("r4@x", false)
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	told("no transfer")

	if n := e.leftRecords(store.UseRecords); n != 0 {
		t.Errorf("%d records of pieces are left", n)
	}

	// Where mail is off nothing is written, and a reminder is refused.
	e.o.Notices, e.o.EventKeep = nil, 0
	e.Close()
	e.boot()
	if s, err = e.CreateSession(e.ctx(), alice, store.SessionSpec{}); err != nil {
		t.Fatal(err)
	}
	add("r5@x", true)
	e.want(e.Remind(e.ctx(), alice, s.ID, ""), store.Invalid, "nobody is sent mail here")
	if n := e.leftRecords(store.OutboxRecords); n != 0 {
		t.Errorf("%d messages", n)
	}
}
