package server

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fileshare/api"
	"fileshare/store"
)

// trespass is a request by which somebody might see or touch what is another's.
// With list the answer may be good, but must not tell of it.
type trespass struct {
	what, method, path string
	body               string
	header             []string
	list               bool
}

// face is an API as the test of isolation knows it: make stores a file of the
// user's under a name and returns what another user might try to reach it by;
// the requests are sent with as(another), else with Basic credentials. still
// reads the file's bytes as its owner, or by its link.
type face struct {
	make  func(h *house, user, name string) (try []trespass, still func() string)
	as    func(h *house, user string) []string
	sign  func(h *house, user, method, path, body string) string // instead of as: the path with what a user signs it by
	lists []trespass
}

const isolated = "content of bob's"

func bobForm(name string) (io.Reader, string) {
	return form(field{name: "file", file: name, typ: "text/plain", value: isolated})
}

func faces() map[string]face {
	return map[string]face{
		"uploads": {
			make: func(h *house, user, name string) ([]trespass, func() string) {
				var f api.File
				h.do("PUT", "/uploads/"+name, user, strings.NewReader(isolated)).want(h.t, 201).into(h.t, &f)
				at := "/uploads/" + f.ID
				// Alice presents tokens: a link to bob's file, and one that manages her own.
				var link, hers api.Token
				h.do("POST", at+"/tokens", user, nil).want(h.t, 201).into(h.t, &link)
				h.do("POST", "/uploads/"+h.upload("x", "").ID+"/tokens", "alice", strings.NewReader(`{"access":"full"}`), jsonBody()...).want(h.t, 201).into(h.t, &hers)
				var by []trespass
				for _, id := range []string{link.ID, hers.ID} {
					token := append(jsonBody(), api.TokenHeader, id)
					by = append(by, trespass{what: "info by token", method: "GET", path: at + "/info", header: token}, trespass{what: "tokens by token", method: "GET", path: at + "/tokens", header: token},
						trespass{what: "rename by token", method: "PATCH", path: at, body: `{"name":"mine"}`, header: token}, trespass{what: "delete by token", method: "DELETE", path: at, header: token},
						trespass{what: "make token by token", method: "POST", path: at + "/tokens", header: token}, trespass{what: "delete token by token", method: "DELETE", path: at + "/tokens/" + link.ID, header: token})
				}
				return append(by, []trespass{
					{what: "info", method: "GET", path: at + "/info"}, {what: "rename", method: "PATCH", path: at, body: `{"name":"mine"}`, header: jsonBody()},
					{what: "delete", method: "DELETE", path: at}, {what: "tokens", method: "GET", path: at + "/tokens"}, {what: "make token", method: "POST", path: at + "/tokens"},
					{what: "delete token", method: "DELETE", path: at + "/tokens/" + link.ID},
				}...), func() string { return string(h.do("GET", at, "", nil).body) }
			},
			lists: []trespass{{method: "GET", path: "/uploads", list: true}, {method: "GET", path: "/uploads?tag=t", list: true}, {method: "GET", path: "/sessions", list: true}, {method: "GET", path: "/events", list: true}},
		},
		"sessions": {
			make: func(h *house, user, name string) ([]trespass, func() string) {
				var s api.Session
				var f api.File
				var tok api.Token
				h.do("POST", "/sessions", user, strings.NewReader(`{"name":"`+name+`"}`), jsonBody()...).want(h.t, 201).into(h.t, &s)
				at := "/sessions/" + s.ID
				h.do("POST", at+"/files", user, strings.NewReader(`{"name":"`+name+`"}`), jsonBody()...).want(h.t, 201).into(h.t, &f)
				file := at + "/files/" + f.ID
				h.do("PUT", file, user, strings.NewReader(isolated)).want(h.t, 200)
				h.do("POST", file+"/tokens", user, nil).want(h.t, 201).into(h.t, &tok)
				// Somebody has bob's session by a link, and alice another of her own.
				var sent, hers api.Recipient
				var other api.Session
				h.do("POST", at+"/recipients", user, strings.NewReader(`{"email":"r@example.com"}`), jsonBody()...).want(h.t, 201).into(h.t, &sent)
				h.do("POST", "/sessions", "alice", nil).want(h.t, 201).into(h.t, &other)
				h.do("POST", "/sessions/"+other.ID+"/recipients", "alice", nil).want(h.t, 201).into(h.t, &hers)
				return []trespass{
					{what: "recipients", method: "GET", path: at + "/recipients"}, {what: "send", method: "POST", path: at + "/recipients", body: `{"email":"me@example.com"}`, header: jsonBody()},
					{what: "take back", method: "DELETE", path: at + "/recipients/" + sent.ID}, {what: "take back by another session", method: "DELETE", path: "/sessions/" + other.ID + "/recipients/" + sent.ID},
					{what: "file by another link", method: "GET", path: "/shares/" + hers.ID + "/files/" + f.ID},
					{what: "session", method: "GET", path: at}, {what: "rename session", method: "PATCH", path: at, body: `{"name":"mine"}`, header: jsonBody()},
					{what: "files", method: "GET", path: at + "/files"}, {what: "archive", method: "GET", path: at + "/archive"},
					{what: "add", method: "POST", path: at + "/files"}, {what: "read", method: "GET", path: file}, {what: "info", method: "GET", path: file + "/info"},
					{what: "rename", method: "PATCH", path: file, body: `{"name":"mine"}`, header: jsonBody()}, {what: "store", method: "PUT", path: file, body: "mine"},
					{what: "tokens", method: "GET", path: file + "/tokens"}, {what: "make token", method: "POST", path: file + "/tokens"},
					{what: "delete token", method: "DELETE", path: file + "/tokens/" + tok.ID}, {what: "delete", method: "DELETE", path: file},
					{what: "delete session", method: "DELETE", path: at},
				}, func() string { return string(h.do("GET", file, user, nil).body) }
			},
		},
		"extrahorizon": {
			make: func(h *house, user, name string) ([]trespass, func() string) {
				body, ct := bobForm(name)
				bob := extraHorizonLogin(h, user)
				mine := extraHorizonToken(h, h.do("POST", "/files/v1/", "", body, append(bob, "Content-Type", ct)...))
				var read struct{ Token string }
				h.do("POST", "/files/v1/"+mine+"/tokens", "", nil, bob...).want(h.t, 200).into(h.t, &read)
				// Alice has a file and its token, and what the first half of a
				// token tells: of which file it is.
				body, ct = form(field{name: "file", file: "alice's", value: "x"})
				hers := extraHorizonToken(h, h.do("POST", "/files/v1/", "", body, append(extraHorizonLogin(h, "alice"), "Content-Type", ct)...))
				mixed := mine[:24] + hers[24:]
				try := []trespass{
					{what: "token through another file", method: "DELETE", path: "/files/v1/" + hers + "/tokens/" + mine},
					{what: "mixed token, delete", method: "DELETE", path: "/files/v1/" + mixed},
				}
				for _, end := range []string{"/file", "/details"} {
					try = append(try, trespass{what: "mixed token " + end, method: "GET", path: "/files/v1/" + mixed + end})
				}
				for _, token := range []string{read.Token, mixed} {
					try = append(try,
						trespass{what: "delete by " + token[24:], method: "DELETE", path: "/files/v1/" + token},
						trespass{what: "token by " + token[24:], method: "POST", path: "/files/v1/" + token + "/tokens"},
						trespass{what: "delete token by " + token[24:], method: "DELETE", path: "/files/v1/" + token + "/tokens/" + mine})
				}
				if a := h.do("GET", "/files/v1/"+read.Token+"/details", "", nil).want(h.t, 200); strings.Contains(string(a.body), mine) || strings.Contains(string(a.body), "tokens") {
					h.t.Errorf("a token that reads tells of tokens: %s", a.body)
				}
				return try, func() string { return string(h.do("GET", "/files/v1/"+mine+"/file", "", nil).body) }
			},
			as: extraHorizonLogin,
			lists: []trespass{{method: "GET", path: "/files/v1/", list: true}, {method: "GET", path: "/files/v1/?ne(name,x)&limit(200)", list: true},
				{method: "GET", path: "/files/v1/?contains(tokens)", list: true}, {method: "GET", path: "/files/v1/?excludes(creatorId)", list: true}},
		},
		"opentera": {
			make: func(h *house, user, name string) ([]trespass, func() string) {
				bob := openTeraLogin(h, user)
				var s []struct {
					ID   int64  `json:"id_session"`
					UUID string `json:"session_uuid"`
				}
				h.do("POST", "/api/user/sessions", "", strings.NewReader(`{"session":{"id_session":0,"session_name":"`+name+`"}}`), bob...).want(h.t, 200).into(h.t, &s)
				body, ct := form(field{name: "file_asset", value: fmt.Sprintf(`{"id_session":%d,"asset_name":%q}`, s[0].ID, name)}, field{name: "file", file: name, value: isolated})
				var a openTeraAsset
				h.do("POST", "/file/api/assets", "", body, append(bob, "Content-Type", ct)...).want(h.t, 200).into(h.t, &a)
				session := fmt.Sprint(s[0].ID)
				one := fmt.Sprintf(`{"asset_uuid":%q,"access_token":%q,"asset_original_filename":"mine"}`, a.UUID, a.AccessToken)
				return []trespass{
						{what: "read", method: "GET", path: "/file/api/assets" + a.query("asset_uuid")},
						{what: "infos", method: "GET", path: "/file/api/assets/infos" + a.query("asset_uuid")},
						{what: "list of infos", method: "POST", path: "/file/api/assets/infos", body: `{"assets":[` + one + `]}`},
						{what: "rename", method: "POST", path: "/file/api/assets/infos", body: `{"file_asset":` + one + `}`},
						{what: "delete", method: "DELETE", path: "/file/api/assets" + a.query("uuid")},
						{what: "assets", method: "GET", path: "/api/user/assets?with_urls=1&id_session=" + session},
						{what: "asset by UUID", method: "GET", path: "/api/user/assets?with_urls=1&asset_uuid=" + a.UUID},
						{what: "asset by number", method: "GET", path: fmt.Sprint("/api/user/assets?with_only_token=1&id_asset=", a.IDAsset)},
						{what: "session", method: "GET", path: "/api/user/sessions?id_session=" + session},
						{what: "session by UUID", method: "GET", path: "/api/user/sessions?session_uuid=" + s[0].UUID},
						{what: "rename session", method: "POST", path: "/api/user/sessions", body: `{"session":{"id_session":` + session + `,"session_users":["alice"]}}`},
						{what: "delete session", method: "DELETE", path: "/api/user/sessions?id=" + session},
						{what: "archive", method: "GET", path: "/file/api/archives?archive_uuid=" + s[0].UUID},
					}, func() string {
						return string(h.do("GET", "/file/api/assets"+a.query("asset_uuid"), "", nil, bob...).body)
					}
			},
			as:    openTeraLogin,
			lists: []trespass{{method: "GET", path: "/api/user/sessions", list: true}},
		},
		"tus": {
			make: func(h *house, user, name string) ([]trespass, func() string) {
				begin := func(kv ...string) string {
					return h.tus("POST", "/tus/", user, nil, append(kv, "Upload-Metadata", "filename "+b64(name))...).want(h.t, 201).Header.Get("Location")
				}
				half, n := len(isolated)/2, strconv.Itoa(len(isolated))
				done := begin("Upload-Length", n)
				h.tus("PATCH", done, user, strings.NewReader(isolated[:half]), "Upload-Offset", "0").want(h.t, 204)
				link := h.tus("PATCH", done, user, strings.NewReader(isolated[half:]), "Upload-Offset", strconv.Itoa(half)).want(h.t, 204).Header.Get("Upload-File")
				open, part := begin("Upload-Length", n), begin("Upload-Length", "1", "Upload-Concat", "partial")
				h.tus("PATCH", open, user, strings.NewReader(isolated[:half]), "Upload-Offset", "0").want(h.t, 204)
				h.tus("PATCH", part, user, strings.NewReader("x"), "Upload-Offset", "0").want(h.t, 204)
				var try []trespass
				for _, url := range []string{done, open, part} {
					at := strings.TrimPrefix(url, h.url)
					for _, speaks := range [][]string{{"Tus-Resumable", "1.0.0", "Content-Type", offsetStream}, {"Upload-Complete", "?0", "Content-Type", partialUpload}} {
						for _, method := range []string{"HEAD", "GET", "DELETE"} {
							try = append(try, trespass{what: "resource", method: method, path: at, header: speaks})
						}
						try = append(try, trespass{what: "append", method: "PATCH", path: at, body: "mine", header: append(speaks, "Upload-Offset", strconv.Itoa(half))},
							trespass{what: "download", method: "GET", path: strings.Replace(at, "/tus/", "/uploads/", 1) + "/info"})
					}
				}
				return append(try, trespass{what: "join", method: "POST", path: "/tus/", header: []string{"Tus-Resumable", "1.0.0", "Upload-Concat", "final;" + part}}), func() string {
					h.tus("HEAD", open, user, nil).want(h.t, 200).has(h.t, "Upload-Offset", strconv.Itoa(half))
					h.tus("HEAD", part, user, nil).want(h.t, 200).has(h.t, "Upload-Offset", "1")
					return string(h.do("GET", link, "", nil).body)
				}
			},
		},
		"filesender":  fileSenderFace(),
		"invitations": invitationFace(),
		"molgenis": {
			make: func(h *house, user, name string) ([]trespass, func() string) {
				var m struct{ ID string }
				h.do("POST", "/api/files", user, strings.NewReader(isolated), "Content-Type", "text/plain", "X-Molgenis-Filename", name).want(h.t, 201).into(h.t, &m)
				at := "/api/files/" + m.ID
				return []trespass{{what: "info", method: "GET", path: at}, {what: "read", method: "GET", path: at + "?alt=media"}, {what: "delete", method: "DELETE", path: at}},
					func() string { return string(h.do("GET", at+"?alt=media", user, nil).body) }
			},
		},
	}
}

func jsonBody() []string { return []string{"Content-Type", "application/json"} }

func extraHorizonLogin(h *house, user string) []string {
	var login struct {
		Token string `json:"access_token"`
	}
	h.do("POST", "/auth/v2/oauth2/tokens", "", strings.NewReader(`{"client_id":"x","grant_type":"password","username":"`+user+`","password":"pw"}`), jsonBody()...).want(h.t, 200).into(h.t, &login)
	return []string{"Authorization", "Bearer " + login.Token}
}

func openTeraLogin(h *house, user string) []string {
	var l struct {
		Token string `json:"user_token"`
	}
	h.do("GET", "/api/user/login", user, nil).want(h.t, 200).into(h.t, &l)
	return []string{"Authorization", "OpenTera " + l.Token}
}

func extraHorizonToken(h *house, a answer) string {
	var f struct{ Tokens []struct{ Token string } }
	a.want(h.t, 200).into(h.t, &f)
	return f.Tokens[0].Token
}

// TestIsolation: through no API does a user see, read, rename, delete or list
// what is another's. What bob stores through each, alice and a stranger try to
// reach through it; and no list of any API that alice asks for has it.
func TestIsolation(t *testing.T) {
	all := faces()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			o := goldenOptions()
			o.Tus = true
			h := newHouse(t, store.Options{}, o)
			const secret = "plans-of-bob.txt"
			f := all[name]
			try, still := f.make(h, "bob", secret)
			if got := still(); got != isolated {
				t.Fatalf("bob's file has %q", got)
			}
			for _, user := range []string{"alice", ""} {
				for _, a := range try {
					h.trespass(t, f, user, a, secret)
				}
				for through, other := range all {
					for _, a := range other.lists {
						a.what = "list of " + through
						h.trespass(t, other, user, a, secret)
					}
				}
			}
			if got := still(); got != isolated {
				t.Errorf("bob's file has %q after all attempts", got)
			}
			// An administrator does see it, where lists are of everybody.
			if a := h.do("GET", "/uploads", "root", nil).want(t, 200); !strings.Contains(string(a.body), secret) {
				t.Errorf("the administrator's list: %s", a.body)
			}
		})
	}
}

func (h *house) trespass(t *testing.T, f face, user string, a trespass, secret string) {
	t.Helper()
	header, basic := slices.Clone(a.header), user
	path := a.path
	if f.sign != nil {
		path, basic = f.sign(h, user, a.method, a.path, a.body), ""
	}
	if f.as != nil && user != "" {
		header, basic = append(header, f.as(h, user)...), ""
	}
	got := h.do(a.method, path, basic, strings.NewReader(a.body), header...)
	where := fmt.Sprintf("%q: %s: %s %s answered %d %s", user, a.what, a.method, a.path, got.StatusCode, got.body)
	switch {
	case strings.Contains(string(got.body), secret), strings.Contains(string(got.body), isolated):
		t.Errorf("%s", where)
	case got.StatusCode >= 500:
		t.Errorf("%s", where)
	case a.list && got.StatusCode == 200:
		if !json.Valid(got.body) && !strings.HasPrefix(got.Header.Get("Content-Type"), "text/event-stream") {
			t.Errorf("%s", where)
		}
	case got.StatusCode < 400:
		t.Errorf("%s", where)
	}
}
