package server

import (
	"net/http"
	"strings"

	"fileshare/server/reply"
	"fileshare/store"
)

// errPrecondition answers a request whose condition on the content is not met.
var errPrecondition = reply.Refuse(reply.Precondition, "the content is not the one expected", nil)

// condition refuses to change a file whose content is not as the request wants it
// (RFC 9110 §13.1). A content never changes, so what holds here still holds when
// the change is made.
func (s *server) condition(r *http.Request) error {
	h := r.Header
	if h.Get("If-Match") == "" && h.Get("If-None-Match") == "" && h.Get("If-Unmodified-Since") == "" {
		return nil
	}
	f, err := s.store.File(r.Context(), state(r).caller, state(r).ref())
	switch {
	case err != nil:
		return nil // the change will be told so, too
	case f.State != store.StateUploaded && h.Get("If-Match") != "":
		return errPrecondition
	case f.State != store.StateUploaded:
		return nil
	}
	v := verdict{h: http.Header{"Etag": {f.ETag()}}}
	http.ServeContent(&v, r, "", contentTime(f), strings.NewReader(""))
	if v.status == http.StatusPreconditionFailed {
		return errPrecondition
	}
	return nil
}

// verdict is what http.ServeContent finds of the conditions of a request.
type verdict struct {
	h      http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.h }
func (v *verdict) Write(p []byte) (int, error) { return len(p), nil }
func (v *verdict) WriteHeader(status int)      { v.status = status }
