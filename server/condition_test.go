package server

import (
	"strings"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// A change that depends on the content is made only if that is as expected.
func TestConditionalChanges(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	other, past := `"other"`, time.Now().Add(-time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	p := "/uploads/" + h.upload("x", "").ID
	etag := h.do("HEAD", p, "", nil).want(t, 200).Header.Get("Etag")
	for _, tc := range []struct {
		header, value string
		status        int
	}{
		{"If-Match", other, 412}, {"If-Match", "W/" + etag, 412}, {"If-None-Match", etag, 412}, {"If-None-Match", "*", 412}, {"If-Unmodified-Since", past, 412},
		{"If-Match", other + ", " + etag, 200}, {"If-Match", "*", 200}, {"If-None-Match", other, 200}, {"If-Unmodified-Since", "nonsense", 200},
	} {
		a := h.do("PATCH", p, "alice", strings.NewReader(`{"ttl":60}`), "Content-Type", "application/json", tc.header, tc.value)
		if a.StatusCode != tc.status {
			t.Errorf("%s: %s: %d %s, want %d", tc.header, tc.value, a.StatusCode, a.body, tc.status)
		}
	}
	h.do("DELETE", p, "bob", nil, "If-Match", other).want(t, 403)
	h.do("DELETE", p, "alice", nil, "If-Match", other).want(t, 412)
	h.do("DELETE", p, "alice", nil, "If-Match", etag).want(t, 204)
	h.do("DELETE", p, "alice", nil, "If-Match", etag).want(t, 404)

	var s api.Session
	var f api.File
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	h.do("POST", "/sessions/"+s.ID+"/files", "alice", nil).want(t, 201).into(t, &f)
	h.do("PUT", f.URL, "alice", strings.NewReader("x"), "If-Match", "*").want(t, 412)
	h.do("PUT", f.URL, "alice", strings.NewReader("x"), "If-None-Match", "*").want(t, 200)
	// What would be refused without a condition has none.
	for _, condition := range [][]string{nil, {"If-None-Match", "*"}, {"If-Match", other}, {"If-Unmodified-Since", past}} {
		h.do("PUT", f.URL, "alice", strings.NewReader("y"), condition...).want(t, 409)
	}
}
