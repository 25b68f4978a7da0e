package storetest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"fileshare/store"
)

// invite makes an invitation of alice's.
func (e *env) invite(l store.Limits) (*store.Invitation, store.Caller) {
	e.t.Helper()
	in, err := e.Invite(e.ctx(), alice, store.InvitationSpec{MaxUses: &l.MaxUses, MaxFiles: &l.MaxFiles, MaxSize: &l.MaxSize, Share: &l.Share})
	if err != nil {
		e.t.Fatal(err)
	}
	return in, store.Caller{Invite: in.Secret}
}

// deliver makes a session by an invitation with one file of that content.
func (e *env) deliver(guest store.Caller, data []byte) (string, store.Ref, error) {
	s, err := e.CreateSession(e.ctx(), guest, store.SessionSpec{Name: new("for you")})
	if err != nil {
		return "", store.Ref{}, err
	}
	f, err := e.CreateFile(e.ctx(), guest, s.ID, store.FileSpec{Name: new("a.txt")})
	if err != nil {
		return s.ID, store.Ref{}, err
	}
	ref := store.Ref{Session: s.ID, File: f.ID}
	if err := e.MayStore(e.ctx(), guest, ref, int64(len(data))); err != nil {
		return s.ID, ref, err
	}
	c, err := e.Receive(e.ctx(), guest, bytes.NewReader(data), store.Incoming{Size: int64(len(data))})
	if err != nil {
		return s.ID, ref, err
	}
	if _, err := e.StoreFile(e.ctx(), guest, ref, store.FileSpec{}, c); err != nil {
		c.Discard()
		return s.ID, ref, err
	}
	return s.ID, ref, nil
}

func testInvitations(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	spec := store.InvitationSpec{TTL: new(time.Hour), Attrs: &map[string]string{"x.to": "carol"}, Email: new("carol@example.net"), Name: new("slides"), Message: new("please\nsoon"), Sequence: "x",
		MaxUses: new(int64(2)), MaxFiles: new(int64(3)), MaxSize: new(int64(4)), Share: new(true)}
	first, err := e.Invite(e.ctx(), alice, spec)
	if err != nil || first.Number != 1 || first.State != store.InviteOpen || first.Limits != (store.Limits{MaxUses: 2, MaxFiles: 3, MaxSize: 4, Share: true}) || first.Attrs["x.to"] != "carol" || first.Email != "carol@example.net" || first.Name != "slides" || first.Message != "please\nsoon" || first.Expires.Sub(first.Created) != time.Hour || first.Owner != alice.Name {
		t.Fatalf("%+v, %v", first, err)
	}
	if first.Secret == first.ID || len(first.Secret) != 36 {
		t.Errorf("the secret %s of %s", first.Secret, first.ID)
	}
	time.Sleep(2 * time.Millisecond)
	later, err := e.Invite(e.ctx(), alice, store.InvitationSpec{Sequence: "x"})
	if err != nil || later.Number != 2 || later.Limits != (store.Limits{}) {
		t.Fatalf("%+v, %v", later, err)
	}
	e.reboot() // the secret is shown again, and is kept nowhere
	if got, err := e.Invitation(e.ctx(), alice, first.ID); err != nil || got.Secret != first.Secret {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := e.InvitationByNumber(e.ctx(), alice, "x", 1); err != nil || got.ID != first.ID {
		t.Errorf("%+v, %v", got, err)
	}
	if page, err := e.Invitations(e.ctx(), alice, store.Query{}); err != nil || len(page.Items) != 2 || page.Items[0].ID != later.ID {
		t.Errorf("%+v, %v", page, err)
	}
	if page, err := e.Invitations(e.ctx(), root, store.Query{All: true}); err != nil || len(page.Items) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	if page, err := e.Invitations(e.ctx(), bob, store.Query{}); err != nil || len(page.Items) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
	if in, err := e.Invited(e.ctx(), first.Secret); err != nil || in.ID != first.ID {
		t.Errorf("%+v, %v", in, err)
	}
	for what, err := range map[string]error{
		"see":      second(e.Invitation(e.ctx(), bob, first.ID)),
		"number":   second(e.InvitationByNumber(e.ctx(), bob, "x", 1)),
		"change":   second(e.PatchInvitation(e.ctx(), bob, first.ID, store.InvitationSpec{})),
		"close":    second(e.CloseInvitation(e.ctx(), bob, first.ID)),
		"sessions": second(e.InvitationSessions(e.ctx(), bob, first.ID, store.Query{})),
		"all":      second(e.Invitations(e.ctx(), bob, store.Query{All: true})),
	} {
		if store.KindOf(err) != store.Denied {
			t.Errorf("bob, %s: %v", what, err)
		}
	}
	_, err = e.Invite(e.ctx(), link, spec)
	e.want(err, store.Unauthenticated, "")
	for _, id := range []string{"", "nonsense", first.Secret} {
		_, err = e.Invitation(e.ctx(), alice, id)
		e.want(err, store.NotFound, "invitation not found")
	}
	for _, secret := range []string{"", "nonsense", first.ID} {
		_, err = e.Invited(e.ctx(), secret)
		e.want(err, store.NotFound, "invitation not found")
	}
	for _, bad := range []store.InvitationSpec{{TTL: new(time.Millisecond)}, {TTL: new(10000 * time.Hour)}, {MaxUses: new(int64(-1))}, {MaxSize: new(int64(-1))}, {MaxFiles: new(int64(1) << 40)}, {Attrs: &map[string]string{"bad": "x"}},
		{Email: new("carol")}, {Email: new("a@b, c@d")}, {Name: new("a\nb")}, {Name: new("\xff")}, {Message: new(strings.Repeat("x", 5000))}} {
		_, err := e.Invite(e.ctx(), alice, bad)
		e.want(err, store.Invalid, "")
		_, err = e.PatchInvitation(e.ctx(), alice, first.ID, bad)
		e.want(err, store.Invalid, "")
	}
	got, err := e.PatchInvitation(e.ctx(), alice, first.ID, store.InvitationSpec{TTL: new(2 * time.Hour), Attrs: &map[string]string{"x.to": "dave"}})
	if err != nil || got.Attrs["x.to"] != "dave" || got.Limits != first.Limits || !got.Expires.After(first.Expires) {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		if got, err = e.CloseInvitation(e.ctx(), alice, first.ID); err != nil || got.State != store.InviteClosed {
			t.Errorf("%+v, %v", got, err)
		}
	}
	_, err = e.Invited(e.ctx(), first.Secret)
	e.want(err, store.Expired, "the invitation was withdrawn")
	_, err = e.PatchInvitation(e.ctx(), alice, first.ID, spec)
	e.want(err, store.Expired, "the invitation was withdrawn")
	if page, err := e.Invitations(e.ctx(), alice, store.Query{}); err != nil || len(page.Items) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
}

func testInvitationEnd(t *testing.T, open Pair) {
	e := start(t, open, store.Options{EventKeep: time.Hour, Tombstones: 500 * time.Millisecond})
	in, err := e.Invite(e.ctx(), alice, store.InvitationSpec{TTL: new(time.Hour), Sequence: "x"})
	if err != nil {
		t.Fatal(err)
	}
	guest := store.Caller{Invite: in.Secret}
	id, ref, err := e.deliver(guest, []byte("abc"))
	if err != nil {
		t.Fatal(err)
	}
	if in, err = e.PatchInvitation(e.ctx(), alice, in.ID, store.InvitationSpec{TTL: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	until(in.Expires)
	// It is over at once, whether or not anybody has looked.
	_, err = e.Invited(e.ctx(), in.Secret)
	e.want(err, store.Expired, "the invitation has expired")
	_, err = e.CreateFile(e.ctx(), guest, id, store.FileSpec{})
	e.want(err, store.Expired, "the invitation has expired")
	_, err = e.CompleteSession(e.ctx(), guest, id, nil)
	e.want(err, store.Expired, "the invitation has expired")
	e.purge()
	if got, err := e.Invitation(e.ctx(), alice, in.ID); err != nil || got.State != store.InviteExpired {
		t.Errorf("%+v, %v", got, err)
	}
	// The owner may complete what was left behind, once more nothing changes.
	if s, err := e.CompleteSession(e.ctx(), alice, id, nil); err != nil || s.Completed.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	until(in.Expires.Add(600 * time.Millisecond))
	e.purge()
	_, err = e.Invitation(e.ctx(), alice, in.ID)
	e.want(err, store.NotFound, "invitation not found")
	_, err = e.InvitationByNumber(e.ctx(), alice, "x", 1)
	e.want(err, store.NotFound, "invitation not found")
	if got, err := e.fetch(alice, ref, 0, 3); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	if err := e.DeleteSession(e.ctx(), alice, id); err != nil {
		t.Fatal(err)
	}
	e.purge()
	e.empty()
	if n := e.leftRecords(store.InviteRecords) + e.indexes(); n != 0 {
		t.Errorf("%d records left", n)
	}
	if got := typesOf(e.events(alice, 0)); !slices.Contains(got, store.InvitationExpired) || slices.Contains(got, store.InvitationClosed) {
		t.Errorf("%v", got)
	}
}

// Whatever call fails: uses and events are those of the sessions that are
// complete, and nothing is left behind.
func testInvitationFaults(t *testing.T, open Pair) {
	eachCall(t, open, store.Options{EventKeep: time.Hour, Tombstones: time.Millisecond}, func(e *env, c *oneCall) {
		t := e.t
		in, guest := e.invite(store.Limits{MaxUses: 1, MaxFiles: 1, MaxSize: 3})
		c.armed.Store(true)
		id, _, err := e.deliver(guest, []byte("abc"))
		if err == nil {
			_, err = e.CompleteSession(e.ctx(), guest, id, nil)
		}
		if err != nil {
			_, _ = e.CloseInvitation(e.ctx(), alice, in.ID)
		}
		c.armed.Store(false)
		e.reboot()
		page, err := e.InvitationSessions(e.ctx(), alice, in.ID, store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		uses := int64(0)
		for _, s := range page.Items {
			if !s.Completed.IsZero() {
				uses++
			}
		}
		got, err := e.Invitation(e.ctx(), alice, in.ID)
		if err != nil || got.Uses != uses || (got.State == store.InviteUsed) != (uses == 1) {
			t.Errorf("%+v, %v, want %d uses", got, err, uses)
		}
		told := int64(0)
		for _, typ := range typesOf(e.events(alice, 0)) {
			if typ == store.InvitationUsed {
				told++
			}
		}
		if told != uses {
			t.Errorf("%d uses were told, want %d", told, uses)
		}
		for _, s := range page.Items {
			if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
				t.Error(err)
			}
		}
		if _, err := e.CloseInvitation(e.ctx(), alice, in.ID); err != nil {
			t.Error(err)
		}
		if _, err := e.Sweep(e.ctx(), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // it is remembered so long
		e.purge()
		e.empty()
	})
}
