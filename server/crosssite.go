package server

import (
	"net/http"
	"strings"

	"fileshare/store"
)

// account tells who sends Basic credentials. A browser that remembers a password
// adds it to what pages of other sites have it send as well: with a form they
// could upload, or invite themselves, on the account of whoever opens them.
// Scripts of other sites that bring credentials of their own are not meant: they
// have to ask first (CORS), and only APIs that do not come here allow it.
func (s *server) account(r *http.Request) (store.Caller, error) {
	c, err := s.basic(r)
	if err == nil && c.Name != "" && s.crossSite(r) {
		return store.Caller{}, store.Refuse(store.Denied, "pages of other sites may change nothing here")
	}
	return c, err
}

// crossSite tells whether a browser sends r for a page of another site, and r is
// no mere reading.
func (s *server) crossSite(r *http.Request) bool {
	if new(http.CrossOriginProtection).Check(r) == nil {
		return false
	}
	// A proxy may have given another Host than the browser did.
	origin := r.Header.Get("Origin")
	return origin == "" || !strings.HasPrefix(s.links.base(r, "")+"/", origin+"/")
}
