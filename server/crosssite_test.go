package server

import (
	"net/netip"
	"strings"
	"testing"

	"fileshare/store"
)

// TestCrossSite is about browsers that remember a password.
func TestCrossSite(t *testing.T) {
	h := newHouse(t, store.Options{AnonymousUploads: true}, Options{Molgenis: true, Tus: true, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	f := h.upload("hello", "")
	evil := []string{"Origin", "https://evil.example"}
	for _, tc := range []struct {
		method, path, user string
		status             int
		header             []string
	}{
		{"POST", "/sessions", "alice", 403, evil},
		{"POST", "/sessions", "alice", 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"POST", "/sessions", "alice", 403, []string{"Sec-Fetch-Site", "same-site"}},
		{"POST", "/sessions", "alice", 403, []string{"Origin", "null"}},
		{"POST", "/invitations", "alice", 403, evil},
		{"POST", "/uploads", "alice", 403, evil},
		{"DELETE", "/uploads/" + f.ID, "alice", 403, evil},
		{"POST", "/api/files", "alice", 403, evil},
		{"POST", "/sessions", "alice", 201, nil},
		{"POST", "/sessions", "alice", 201, []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://behind.example"}},
		{"POST", "/sessions", "alice", 201, []string{"Sec-Fetch-Site", "none"}},
		{"POST", "/sessions", "alice", 201, []string{"Origin", h.url}},
		{"POST", "/sessions", "alice", 201, []string{"Origin", "https://files.example", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "files.example"}},
		{"POST", "/sessions", "alice", 403, []string{"Origin", "https://files", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "files.example"}},
		{"POST", "/uploads?name=a", "", 201, append([]string{"Content-Type", "text/plain"}, evil...)}, // nobody's account
		{"GET", "/uploads", "alice", 200, evil},
		{"POST", "/tus/", "alice", 201, append([]string{"Tus-Resumable", "1.0.0", "Upload-Length", "5"}, evil...)}, // has to ask first
	} {
		if a := h.do(tc.method, tc.path, tc.user, strings.NewReader(""), tc.header...); a.StatusCode != tc.status {
			t.Errorf("%s %s %v: %d %s, want %d", tc.method, tc.path, tc.header, a.StatusCode, a.body, tc.status)
		}
	}
	h.do("GET", "/uploads/"+f.ID, "", nil).want(t, 200)
}
