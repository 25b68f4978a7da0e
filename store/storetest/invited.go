package storetest

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// Who is invited reaches what it made by the invitation, and nothing else.
func testInvited(t *testing.T, open Pair) {
	e := start(t, open, store.Options{EventKeep: time.Hour})
	in, guest := e.invite(store.Limits{})
	_, other := e.invite(store.Limits{Share: true})
	id, ref, err := e.deliver(guest, []byte("abc"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Session(e.ctx(), guest, id)
	if err != nil || s.Owner != alice.Name || s.Invitation != in.ID || !s.Completed.IsZero() {
		t.Fatalf("%+v, %v", s, err)
	}
	if f, err := e.File(e.ctx(), guest, ref); err != nil || f.Owner != alice.Name {
		t.Errorf("%+v, %v", f, err)
	}
	if page, err := e.Files(e.ctx(), guest, store.Query{Session: id}); err != nil || len(page.Items) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	tok, f := e.token([]byte("alice's"), 1)
	hers := store.Ref{Session: tok.Session, File: f.ID}
	theirs, their, err := e.deliver(other, []byte("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	upload := store.Ref{File: e.upload([]byte("x"), store.FileSpec{}).ID}
	refuse := func(what string, err error) {
		t.Helper()
		if k := store.KindOf(err); k != store.Denied && k != store.Unauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, c := range map[string]struct {
		session string
		ref     store.Ref
	}{"the inviter's": {tok.Session, hers}, "another invitation's": {theirs, their}} {
		for what, err := range map[string]error{
			"session":     second(e.Session(e.ctx(), guest, c.session)),
			"rename":      second(e.PatchSession(e.ctx(), guest, c.session, store.SessionSpec{Name: new("x")})),
			"end":         e.DeleteSession(e.ctx(), guest, c.session),
			"complete":    second(e.CompleteSession(e.ctx(), guest, c.session, nil)),
			"files":       second(e.Files(e.ctx(), guest, store.Query{Session: c.session})),
			"add":         second(e.CreateFile(e.ctx(), guest, c.session, store.FileSpec{})),
			"file":        second(e.File(e.ctx(), guest, c.ref)),
			"change":      second(e.PatchFile(e.ctx(), guest, c.ref, store.FileSpec{Name: new("x")})),
			"delete":      e.DeleteFile(e.ctx(), guest, c.ref),
			"store":       e.MayStore(e.ctx(), guest, c.ref, 1),
			"begin":       second(e.BeginFile(e.ctx(), guest, c.ref, store.FileSpec{}, store.Begin{Length: 1})),
			"progress":    second(e.Progress(e.ctx(), guest, c.ref)),
			"append":      second(e.Append(e.ctx(), guest, c.ref, strings.NewReader("x"), piece(0))),
			"write":       second(e.WriteAt(e.ctx(), guest, c.ref, strings.NewReader("x"), 0, 1, nil)),
			"cancel":      e.Cancel(e.ctx(), guest, c.ref),
			"finish":      second(e.Finish(e.ctx(), guest, c.ref)),
			"read":        second(e.fetch(guest, c.ref, 0, 1)),
			"locate":      second(e.Locate(e.ctx(), guest, c.ref.File)),
			"shares":      second(e.Shares(e.ctx(), guest, c.session)),
			"make shares": second(e.CreateShares(e.ctx(), guest, c.session, []store.ShareSpec{{}})),
		} {
			refuse(name+", "+what, err)
		}
	}
	for what, err := range map[string]error{
		"own sessions":   second(e.Sessions(e.ctx(), guest, store.Query{})),
		"own files":      second(e.Files(e.ctx(), guest, store.Query{})),
		"invitations":    second(e.Invitations(e.ctx(), guest, store.Query{})),
		"invitation":     second(e.Invitation(e.ctx(), guest, in.ID)),
		"close":          second(e.CloseInvitation(e.ctx(), guest, in.ID)),
		"invite":         second(e.Invite(e.ctx(), guest, store.InvitationSpec{})),
		"events":         second(e.Events(e.ctx(), guest, store.EventQuery{})),
		"an upload":      second(e.BeginUpload(e.ctx(), guest, store.FileSpec{}, store.Begin{Length: 1})),
		"the inviter's":  second(e.File(e.ctx(), guest, upload)),
		"delete it":      e.DeleteFile(e.ctx(), guest, upload),
		"read its own":   second(e.fetch(guest, ref, 0, 1)),
		"links":          second(e.CreateToken(e.ctx(), guest, ref, store.TokenSpec{})),
		"list links":     second(e.Tokens(e.ctx(), guest, ref, store.Query{})),
		"share":          second(e.CreateShares(e.ctx(), guest, id, []store.ShareSpec{{}})),
		"live longer":    second(e.PatchSession(e.ctx(), guest, id, store.SessionSpec{TTL: new(time.Hour)})),
		"let in members": second(e.PatchSession(e.ctx(), guest, id, store.SessionSpec{Members: &[]string{"x"}})),
		"bring members":  second(e.CreateSession(e.ctx(), guest, store.SessionSpec{Members: &[]string{"x"}})),
	} {
		refuse(what, err)
	}
	if _, err := e.CreateShares(e.ctx(), other, theirs, []store.ShareSpec{{}}); err != nil {
		t.Error(err)
	}
	if _, err := e.PatchSession(e.ctx(), guest, id, store.SessionSpec{Attrs: &map[string]string{"x.a": "1"}}); err != nil {
		t.Error(err)
	}

	// It is complete when its files are there; then it is the owner's alone.
	add, err := e.CreateFile(e.ctx(), guest, id, store.FileSpec{Name: new("missing")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.CompleteSession(e.ctx(), guest, id, nil)
	e.want(err, store.Conflict, "the content of a file is missing: missing")
	if err := e.DeleteFile(e.ctx(), guest, store.Ref{Session: id, File: add.ID}); err != nil {
		t.Fatal(err)
	}
	empty, err := e.CreateSession(e.ctx(), guest, store.SessionSpec{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.CompleteSession(e.ctx(), guest, empty.ID, nil)
	e.want(err, store.Conflict, "there are no files")
	for range 2 { // the answer may be lost
		if s, err = e.CompleteSession(e.ctx(), guest, id, map[string]string{"x.done": "1"}); err != nil || s.Completed.IsZero() || s.Attrs["x.done"] != "1" {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	for what, err := range map[string]error{
		"add":    second(e.CreateFile(e.ctx(), guest, id, store.FileSpec{})),
		"change": second(e.PatchFile(e.ctx(), guest, ref, store.FileSpec{Name: new("x")})),
		"delete": e.DeleteFile(e.ctx(), guest, ref),
		"rename": second(e.PatchSession(e.ctx(), guest, id, store.SessionSpec{Name: new("x")})),
	} {
		if store.KindOf(err) != store.Conflict {
			t.Errorf("%s what is complete: %v", what, err)
		}
	}
	if got, err := e.fetch(alice, ref, 0, 3); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := e.Invitation(e.ctx(), alice, in.ID); err != nil || got.Uses != 1 || got.Used.IsZero() || got.State != store.InviteOpen {
		t.Errorf("%+v, %v", got, err)
	}
	page, err := e.InvitationSessions(e.ctx(), alice, in.ID, store.Query{})
	if err != nil || len(page.Items) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	events := e.events(alice, 0)
	for typ, want := range map[store.EventType]int{store.InvitationCreated: 2, store.InvitationUsed: 1, store.SessionCompleted: 1} {
		n := 0
		for _, ev := range events {
			if ev.Type == typ {
				n++
				if ev.Owner != alice.Name || typ != store.InvitationCreated && ev.Invitation != in.ID {
					t.Errorf("%+v", ev)
				}
			}
		}
		if n != want {
			t.Errorf("%d events %s, want %d", n, typ, want)
		}
	}

	// When it is withdrawn, what is under way ends with it.
	if _, err := e.CloseInvitation(e.ctx(), alice, in.ID); err != nil {
		t.Fatal(err)
	}
	_, err = e.Session(e.ctx(), guest, empty.ID)
	e.want(err, store.Expired, "the invitation was withdrawn")
	_, err = e.CreateFile(e.ctx(), guest, empty.ID, store.FileSpec{})
	e.want(err, store.Expired, "the invitation was withdrawn")
	_, err = e.CreateSession(e.ctx(), guest, store.SessionSpec{})
	e.want(err, store.Expired, "the invitation was withdrawn")
	if _, err := e.Session(e.ctx(), alice, id); err != nil {
		t.Error(err)
	}
	if got := typesOf(e.events(alice, 0)); got[len(got)-1] != store.InvitationClosed {
		t.Errorf("%v", got)
	}
}

func testInvitedLimits(t *testing.T, open Pair) {
	e := start(t, open, store.Options{UserQuota: 25})
	_, guest := e.invite(store.Limits{MaxFiles: 2, MaxSize: 10})
	s, err := e.CreateSession(e.ctx(), guest, store.SessionSpec{})
	if err != nil {
		t.Fatal(err)
	}
	var refs []store.Ref
	for range 2 {
		f, err := e.CreateFile(e.ctx(), guest, s.ID, store.FileSpec{})
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, store.Ref{Session: s.ID, File: f.ID})
	}
	_, err = e.CreateFile(e.ctx(), guest, s.ID, store.FileSpec{})
	e.want(err, store.TooLarge, "the invitation allows at most 2 files")
	e.want(e.MayStore(e.ctx(), guest, refs[0], 11), store.TooLarge, "the invitation allows at most 10 bytes")
	e.want(e.MayStore(e.ctx(), guest, refs[0], -1), store.Invalid, "")
	_, err = e.BeginFile(e.ctx(), guest, refs[0], store.FileSpec{}, store.Begin{Length: -1})
	e.want(err, store.Invalid, "")
	if _, err := e.BeginFile(e.ctx(), guest, refs[0], store.FileSpec{}, store.Begin{Length: 7}); err != nil {
		t.Fatal(err)
	}
	c, err := e.Receive(e.ctx(), guest, strings.NewReader("four"), store.Incoming{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.StoreFile(e.ctx(), guest, refs[1], store.FileSpec{}, c)
	e.want(err, store.TooLarge, "the invitation allows at most 10 bytes")
	// What is given up makes room.
	if err := e.Cancel(e.ctx(), guest, refs[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := e.StoreFile(e.ctx(), guest, refs[1], store.FileSpec{}, c); err != nil {
		t.Fatal(err)
	}
	c, err = e.Receive(e.ctx(), guest, strings.NewReader("sixsix"), store.Incoming{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.StoreNew(e.ctx(), guest, s.ID, store.FileSpec{}, c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.CreateFile(e.ctx(), guest, s.ID, store.FileSpec{})
	e.want(err, store.TooLarge, "")
	if err := e.DeleteFile(e.ctx(), guest, store.Ref{Session: s.ID, File: f.ID}); err != nil {
		t.Fatal(err)
	}
	// The owner is bound by none of it, and pays for all of it.
	for range 3 {
		if _, err := e.CreateFile(e.ctx(), alice, s.ID, store.FileSpec{}); err != nil {
			t.Fatal(err)
		}
	}
	e.file(s.ID, []byte("the owner's, of 20 b"))
	_, _, err = e.deliver(guest, []byte("xx"))
	e.want(err, store.Quota, "your quota is used up")

	// So many sessions may be begun and left.
	_, many := e.invite(store.Limits{})
	id, _, err := e.deliver(many, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 99 {
		if s, err = e.CreateSession(e.ctx(), many, store.SessionSpec{}); err != nil {
			t.Fatal(err)
		}
	}
	full := func() {
		t.Helper()
		_, err := e.CreateSession(e.ctx(), many, store.SessionSpec{})
		e.want(err, store.Quota, "too many uploads have begun and are not complete")
	}
	full()
	if _, err := e.CompleteSession(e.ctx(), many, id, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteSession(e.ctx(), many, s.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := e.CreateSession(e.ctx(), many, store.SessionSpec{}); err != nil {
			t.Fatal(err)
		}
	}
	full()
}

// Of sessions that are completed at once, so many are as the invitation allows.
func testInvitedRaces(t *testing.T, open Pair) {
	e := start(t, open, store.Options{EventKeep: time.Hour})
	for _, most := range []int64{1, 3} {
		in, guest := e.invite(store.Limits{MaxUses: most})
		var sessions []string
		for range 8 {
			id, _, err := e.deliver(guest, []byte("abc"))
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, id)
		}
		var done atomic.Int64
		var wg sync.WaitGroup
		for _, id := range append(sessions, sessions...) {
			wg.Go(func() {
				if _, err := e.CompleteSession(e.ctx(), guest, id, nil); err == nil {
					done.Add(1)
				} else if store.KindOf(err) != store.Used {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := done.Load(); n != 2*most { // each of them is told twice
			t.Errorf("%d completions, want %d", n, 2*most)
		}
		got, err := e.Invitation(e.ctx(), alice, in.ID)
		if err != nil || got.Uses != most || got.State != store.InviteUsed {
			t.Errorf("%+v, %v", got, err)
		}
		completed := 0
		for _, id := range sessions {
			s, err := e.Session(e.ctx(), alice, id)
			if err != nil {
				t.Fatal(err)
			}
			if s.Completed.IsZero() {
				_, err = e.Session(e.ctx(), guest, id)
				e.want(err, store.Used, "the invitation has been used")
				continue
			}
			completed++
			if _, err := e.Session(e.ctx(), guest, id); err != nil { // it may ask what became of it …
				t.Error(err)
			}
			e.want(e.DeleteSession(e.ctx(), guest, id), store.Used, "the invitation has been used") // … and no more
		}
		if int64(completed) != most {
			t.Errorf("%d sessions are complete, want %d", completed, most)
		}
		_, err = e.CreateSession(e.ctx(), guest, store.SessionSpec{})
		e.want(err, store.Used, "the invitation has been used")
	}
	n := 0
	for _, typ := range typesOf(e.events(alice, 0)) {
		if typ == store.InvitationUsed {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d uses were told, want 4", n)
	}
}
