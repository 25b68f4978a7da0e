package server

import (
	"strings"
	"testing"

	"fileshare/api"
	"fileshare/store"
)

// TestGrants: a token with an access is presented in a header, and does what
// its access says with its own file, whichever kind that is.
func TestGrants(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	token := func(at, access string) string {
		t.Helper()
		var tok api.Token
		h.do("POST", at+"/tokens", "alice", strings.NewReader(`{"access":"`+access+`"}`), jsonBody()...).want(t, 201).into(t, &tok)
		if tok.Access != access || (access == "download") != (tok.MaxDownloads == 1) || !strings.HasSuffix(tok.URL, at+"/tokens/"+tok.ID) {
			t.Errorf("%+v", tok)
		}
		return tok.ID
	}
	var s api.Session
	var f api.File
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	h.do("POST", "/sessions/"+s.ID+"/files", "alice", nil).want(t, 201).into(t, &f)
	inSession := "/sessions/" + s.ID + "/files/" + f.ID
	h.do("PUT", inSession, "alice", strings.NewReader("abc")).want(t, 200)
	for name, at := range map[string]string{"upload": "/uploads/" + h.upload("abc", "").ID, "file": inSession} {
		t.Run(name, func(t *testing.T) {
			other := "/uploads/" + h.upload("other", "").ID
			full, read, link := token(at, "full"), token(at, "read"), token(at, "download")
			const rename = `{"name":"b.txt"}`
			for _, c := range []struct {
				method, path, body string
				full, read, link   int
			}{
				{"GET", at + "/info", "", 200, 200, 401},
				{"PATCH", at, rename, 200, 403, 401},
				{"GET", at + "/tokens", "", 200, 403, 401},
				{"POST", at + "/tokens", "", 201, 403, 401},
				{"DELETE", at + "/tokens/" + read, "", 0, 403, 401},
				{"GET", "/uploads", "", 401, 401, 401},
				{"GET", "/sessions", "", 401, 401, 401},
				{"GET", "/events", "", 401, 401, 401},
				{"GET", "/sessions/" + s.ID, "", 401, 401, 401},
				{"GET", "/sessions/" + s.ID + "/files", "", 401, 401, 401},
				{"POST", "/sessions/" + s.ID + "/files", "", 401, 401, 401},
				{"DELETE", "/sessions/" + s.ID, "", 401, 401, 401},
				{"GET", "/sessions/" + s.ID + "/archive", "", 401, 401, 401},
				{"PUT", "/uploads/new", "x", 401, 401, 401},
				{"GET", other + "/info", "", 401, 401, 401},
				{"PATCH", other, rename, 401, 401, 401},
				{"DELETE", other, "", 401, 401, 401},
				{"GET", other + "/tokens", "", 401, 401, 401},
			} {
				for presented, want := range map[string]int{full: c.full, read: c.read, link: c.link} {
					if want == 0 {
						continue
					}
					got := h.do(c.method, c.path, "", strings.NewReader(c.body), append(jsonBody(), api.TokenHeader, presented)...)
					if got.StatusCode != want {
						t.Errorf("%s %s with %s: %d %s, want %d", c.method, c.path, presented, got.StatusCode, got.body, want)
					}
				}
			}
			for range 3 {
				if got := h.do("GET", at+"/tokens/"+read, "", nil).want(t, 200); string(got.body) != "abc" {
					t.Errorf("%q", got.body)
				}
			}
			// With an account of one's own besides: no more than the two together.
			h.do("PATCH", at, "bob", strings.NewReader(rename), append(jsonBody(), api.TokenHeader, read)...).want(t, 403)
			h.do("PATCH", at, "bob", strings.NewReader(rename), append(jsonBody(), api.TokenHeader, full)...).want(t, 200)
			h.do("GET", at+"/tokens", "bob", nil).want(t, 403)

			// One that is revoked, or nonsense, is nothing; the last of full access stays.
			h.do("DELETE", at+"/tokens/"+read, "", nil, api.TokenHeader, full).want(t, 204)
			h.do("GET", at+"/info", "", nil, api.TokenHeader, read).want(t, 401)
			h.do("GET", at+"/info", "", nil, api.TokenHeader, "nonsense").want(t, 401)
			h.do("DELETE", at+"/tokens/"+full, "", nil, api.TokenHeader, full).want(t, 409)
			for _, body := range []string{`{"access":"all"}`, `{"access":""}`, `{"access":1}`, `{"access":"full","ttl":60}`} {
				h.do("POST", at+"/tokens", "alice", strings.NewReader(body), jsonBody()...).want(t, 400)
			}
			// A counted one that is used up shows nothing any more.
			var once api.Token
			h.do("POST", at+"/tokens", "alice", strings.NewReader(`{"access":"read","max_downloads":1}`), jsonBody()...).want(t, 201).into(t, &once)
			h.do("GET", at+"/info", "", nil, api.TokenHeader, once.ID).want(t, 200)
			h.do("GET", at+"/tokens/"+once.ID, "", nil).want(t, 200)
			eventually(t, "the token is used up", func() bool {
				return h.do("GET", at+"/info", "", nil, api.TokenHeader, once.ID).StatusCode == 401
			})
			h.do("DELETE", at, "", nil, api.TokenHeader, full).want(t, 204)
		})
	}
}
