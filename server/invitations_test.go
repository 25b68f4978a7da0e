package server

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/api"
	"fileshare/store"
)

// invitation invites as alice.
func (h *house) invitation(t testing.TB, body string) (in api.Invitation) {
	t.Helper()
	h.do("POST", "/invitations", "alice", strings.NewReader(body), jsonBody()...).want(t, 201).into(t, &in)
	return in
}

// Somebody who is invited uploads at once and resumably, and the inviter has it.
func TestInvitation(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true, Prefixes: []string{"/rtc/fileshare"}})
	a := h.do("POST", "/rtc/fileshare/invitations", "alice", strings.NewReader(url.Values{"email": {"carol@example.net"}, "name": {"Slides"}, "message": {"please"}, "ttl": {"3600"},
		"max_uses": {"1"}, "max_files": {"2"}, "max_size": {"100"}}.Encode()), "Content-Type", "application/x-www-form-urlencoded").want(t, 201)
	var in api.Invitation
	a.into(t, &in)
	if in.State != "OPEN" || in.MaxUses != 1 || in.MaxFiles != 2 || in.MaxSize != 100 || in.Email != "carol@example.net" || in.Name != "Slides" || in.Message != "please" || in.Owner != "alice" || in.UsedAt != nil ||
		in.URL != h.url+"/rtc/fileshare/invitations/"+in.ID || in.UploadURL != h.url+"/rtc/fileshare/invite/"+in.Token || a.Header.Get("Location") != in.URL || time.Until(in.ExpiresAt.Time) > time.Hour {
		t.Errorf("%+v", in)
	}
	var invite api.Invite
	h.do("GET", "/invite/"+in.Token, "", nil).want(t, 200).into(t, &invite)
	if invite.From != "alice" || invite.Name != "Slides" || invite.Message != "please" || invite.MaxFiles != 2 || invite.MaxSize != 100 {
		t.Errorf("%+v", invite)
	}
	page := h.do("GET", "/rtc/fileshare/invite/"+in.Token, "", nil, "Sec-Fetch-Mode", "navigate").want(t, 200).has(t, "Content-Type", "text/html; charset=utf-8")
	if !strings.Contains(string(page.body), `data-base="/rtc/fileshare"`) || !strings.Contains(page.Header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Errorf("%v %s", page.Header, page.body)
	}
	as := []string{api.InvitationHeader, in.Token}
	var s api.Session
	h.do("POST", "/sessions", "", strings.NewReader(`{"name":"for you"}`), append(jsonBody(), as...)...).want(t, 201).into(t, &s)
	if s.Owner != "alice" || s.InvitationID == nil || *s.InvitationID != in.ID || s.CompletedAt != nil {
		t.Errorf("%+v", s)
	}
	at := "/sessions/" + s.ID
	var f api.File
	h.do("POST", at+"/files", "", strings.NewReader(`{"name":"a.txt"}`), append(jsonBody(), as...)...).want(t, 201).into(t, &f)
	if a := h.do("POST", at+"/complete", "", nil, as...).want(t, 409); !a.says("a.txt") {
		t.Errorf("%s", a.body)
	}
	h.do("PUT", at+"/files/"+f.ID, "", strings.NewReader(strings.Repeat("x", 101)), as...).want(t, 413)
	h.do("PUT", at+"/files/"+f.ID, "", strings.NewReader("the slides"), as...).want(t, 200)
	up := h.tus("POST", "/tus/", "", nil, append(as, "Upload-Length", "5", "Upload-Metadata", "filename "+b64("b.txt")+",session "+b64(s.ID))...).want(t, 201).Header.Get("Location")
	h.tus("PATCH", up, "", strings.NewReader("he"), append(as, "Upload-Offset", "0")...).want(t, 204)
	h.tus("HEAD", up, "", nil, as...).want(t, 200).has(t, "Upload-Offset", "2")
	h.tus("PATCH", up, "", strings.NewReader("llo"), append(as, "Upload-Offset", "2")...).want(t, 204)
	h.do("POST", at+"/files", "", strings.NewReader(`{"name":"c.txt"}`), append(jsonBody(), as...)...).want(t, 413)
	var files []api.File
	h.do("GET", at+"/files", "", nil, as...).want(t, 200).into(t, &files)
	if len(files) != 2 || files[0].State != "UPLOADED" {
		t.Errorf("%+v", files)
	}
	h.do("GET", at+"/files/"+f.ID, "", nil, as...).want(t, 403) // what it sent, it does not get back
	h.do("GET", at+"/archive", "", nil, as...).want(t, 401)
	for range 2 { // an answer may be lost
		h.do("POST", at+"/complete", "", nil, as...).want(t, 200).into(t, &s)
		if s.CompletedAt == nil {
			t.Errorf("%+v", s)
		}
	}
	// It was good once. The inviter has it all.
	if a := h.do("POST", "/sessions", "", nil, as...).want(t, 410); a.Header.Get(api.ErrorHeader) != api.CodeUsed {
		t.Errorf("%v", a.Header)
	}
	h.do("GET", "/invite/"+in.Token, "", nil).want(t, 410)
	h.do("GET", "/invite/"+in.Token, "", nil, "Sec-Fetch-Mode", "navigate").want(t, 410).has(t, "Content-Type", "text/html; charset=utf-8")
	if gone := h.do("GET", "/invite/"+in.Token, "", nil, "Sec-Fetch-Mode", "navigate"); !gone.says("the invitation has been used") || gone.says("The file") {
		t.Errorf("%s", gone.body)
	}
	var got api.Invitation
	h.do("GET", "/invitations/"+in.ID, "alice", nil).want(t, 200).into(t, &got)
	if got.State != "USED" || got.Uses != 1 || got.UsedAt == nil || got.Token != in.Token {
		t.Errorf("%+v", got)
	}
	var brought api.List[api.Session]
	h.do("GET", "/invitations/"+in.ID+"/sessions", "alice", nil).want(t, 200).into(t, &brought)
	if len(brought.Items) != 1 || brought.Items[0].ID != s.ID {
		t.Errorf("%+v", brought)
	}
	if a := h.do("GET", at+"/files/"+f.ID, "alice", nil).want(t, 200); string(a.body) != "the slides" {
		t.Errorf("%s", a.body)
	}
}

// Who opens the page is told of once, and programs are not told of.
func TestInvitationVisited(t *testing.T) {
	h := newHouse(t, store.Options{EventKeep: time.Hour}, Options{})
	in := h.invitation(t, `{}`)
	h.do("GET", "/invite/"+in.Token, "", nil).want(t, 200)
	h.do("GET", "/invite/"+in.Token, "", nil, "Sec-Fetch-Mode", "navigate").want(t, 200)
	var all api.List[api.Event]
	h.do("GET", "/events", "alice", nil).want(t, 200).into(t, &all)
	var types []string
	for _, e := range all.Items {
		types = append(types, e.Type)
	}
	if d := cmp.Diff([]string{"invitation.created", "invitation.visited"}, types); d != "" {
		t.Error(d)
	}
}

// One file is told of as one, on the page and by a refusal.
func TestInvitationForOne(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	in := h.invitation(t, `{"max_files":1}`)
	if a := h.do("GET", "/invite/"+in.Token, "", nil, "Sec-Fetch-Mode", "navigate").want(t, 200); !a.says("At most 1 file.") {
		t.Errorf("%s", a.body)
	}
	var s api.Session
	h.do("POST", "/sessions", "", nil, api.InvitationHeader, in.Token).want(t, 201).into(t, &s)
	h.do("POST", "/sessions/"+s.ID+"/files", "", nil, api.InvitationHeader, in.Token).want(t, 201)
	if a := h.do("POST", "/sessions/"+s.ID+"/files", "", nil, api.InvitationHeader, in.Token).want(t, 413); !a.says(`at most 1 file"`) {
		t.Errorf("%s", a.body)
	}
}

func TestInvitationChanges(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	first, second := h.invitation(t, `{}`), h.invitation(t, `{"max_files":"3"}`)
	var got api.Invitation
	h.do("PATCH", "/invitations/"+second.ID, "alice", strings.NewReader(`{"max_size":10,"name":"x","ttl":60}`), jsonBody()...).want(t, 200).into(t, &got)
	if got.MaxFiles != 3 || got.MaxSize != 10 || got.Name != "x" || time.Until(got.ExpiresAt.Time) > time.Minute {
		t.Errorf("%+v", got)
	}
	var all api.List[api.Invitation]
	h.do("GET", "/invitations?limit=1", "alice", nil).want(t, 200).into(t, &all)
	if len(all.Items) != 1 || all.Next == nil {
		t.Errorf("%+v", all)
	}
	h.do("GET", "/invitations", "root", nil).want(t, 200).into(t, &all)
	if len(all.Items) != 2 {
		t.Errorf("%+v", all)
	}
	for _, body := range []string{`{"email":"nobody"}`, `{"max_uses":-1}`, `{"max_uses":"x"}`, `{"ttl":0}`, `{"name":7}`, `[]`} {
		h.do("POST", "/invitations", "alice", strings.NewReader(body), jsonBody()...).want(t, 400)
		h.do("PATCH", "/invitations/"+first.ID, "alice", strings.NewReader(body), jsonBody()...).want(t, 400)
	}
	h.do("POST", "/invitations", "", nil).want(t, 401)
	h.do("GET", "/invitations/"+first.Token, "alice", nil).want(t, 404)
	h.do("GET", "/invite/"+first.ID, "", nil).want(t, 404)
	as := []string{api.InvitationHeader, first.Token}
	var s api.Session
	h.do("POST", "/sessions", "", nil, as...).want(t, 201).into(t, &s)
	h.do("PATCH", "/sessions/"+s.ID, "", strings.NewReader(`{"ttl":60}`), append(jsonBody(), as...)...).want(t, 403)
	for range 2 {
		h.do("DELETE", "/invitations/"+first.ID, "alice", nil).want(t, 204)
	}
	h.do("GET", "/invitations/"+first.ID, "alice", nil).want(t, 200).into(t, &got)
	if got.State != "CLOSED" {
		t.Errorf("%+v", got)
	}
	h.do("GET", "/sessions/"+s.ID, "", nil, as...).want(t, 410)
	h.do("PATCH", "/invitations/"+first.ID, "alice", strings.NewReader(`{}`), jsonBody()...).want(t, 410)
}

// invitationFace is bob's invitation, and what was brought by it, to the others:
// alice has an invitation of her own and presents that, too.
func invitationFace() face {
	return face{
		make: func(h *house, user, name string) ([]trespass, func() string) {
			var in, other api.Invitation
			h.do("POST", "/invitations", user, strings.NewReader(fmt.Sprintf(`{"name":%q}`, name)), jsonBody()...).want(h.t, 201).into(h.t, &in)
			h.do("POST", "/invitations", "alice", nil).want(h.t, 201).into(h.t, &other)
			as := append(jsonBody(), api.InvitationHeader, in.Token)
			begin := func() (api.Session, api.File) {
				var s api.Session
				var f api.File
				h.do("POST", "/sessions", "", strings.NewReader(fmt.Sprintf(`{"name":%q}`, name)), as...).want(h.t, 201).into(h.t, &s)
				h.do("POST", "/sessions/"+s.ID+"/files", "", strings.NewReader(fmt.Sprintf(`{"name":%q}`, name)), as...).want(h.t, 201).into(h.t, &f)
				return s, f
			}
			s, f := begin()
			open, empty := begin()
			file := "/sessions/" + s.ID + "/files/" + f.ID
			h.do("PUT", file, "", strings.NewReader(isolated), api.InvitationHeader, in.Token).want(h.t, 200)
			h.do("POST", "/sessions/"+s.ID+"/complete", "", nil, as...).want(h.t, 200)
			try := []trespass{
				{what: "invitation", method: "GET", path: "/invitations/" + in.ID}, {what: "what it brought", method: "GET", path: "/invitations/" + in.ID + "/sessions"},
				{what: "change", method: "PATCH", path: "/invitations/" + in.ID, body: `{"name":"mine"}`, header: jsonBody()}, {what: "withdraw", method: "DELETE", path: "/invitations/" + in.ID},
				{what: "page by id", method: "GET", path: "/invite/" + in.ID},
			}
			for _, present := range []string{"", other.Token, in.ID} {
				with := append(jsonBody(), api.InvitationHeader, present)
				for _, at := range []string{"/sessions/" + s.ID, "/sessions/" + open.ID} {
					try = append(try,
						trespass{what: "session", method: "GET", path: at, header: with}, trespass{what: "files", method: "GET", path: at + "/files", header: with},
						trespass{what: "add", method: "POST", path: at + "/files", body: `{"name":"mine"}`, header: with}, trespass{what: "rename", method: "PATCH", path: at, body: `{"name":"mine"}`, header: with},
						trespass{what: "complete", method: "POST", path: at + "/complete", header: with}, trespass{what: "delete", method: "DELETE", path: at, header: with})
				}
				try = append(try, trespass{what: "read", method: "GET", path: file, header: with}, trespass{what: "delete file", method: "DELETE", path: file, header: with},
					trespass{what: "store", method: "PUT", path: "/sessions/" + open.ID + "/files/" + empty.ID, body: "mine", header: with})
			}
			// Not even who brought it may read or change it now.
			for _, c := range []struct {
				method, path string
				want         int
			}{{"GET", file, 403}, {"DELETE", file, 409}, {"POST", file + "/tokens", 403}, {"GET", "/sessions", 401}, {"GET", "/invitations", 401}, {"GET", "/uploads", 401}, {"POST", "/invitations", 401}} {
				if a := h.do(c.method, c.path, "", nil, api.InvitationHeader, in.Token); a.StatusCode != c.want && a.StatusCode != 403 && a.StatusCode != 401 {
					h.t.Errorf("who is invited: %s %s answered %d %s", c.method, c.path, a.StatusCode, a.body)
				}
			}
			return try, func() string { return string(h.do("GET", file, user, nil).body) }
		},
		lists: []trespass{{method: "GET", path: "/invitations", list: true}, {method: "GET", path: "/invitations?limit=" + strconv.Itoa(1000), list: true}},
	}
}
