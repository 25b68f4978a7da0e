package extrahorizon

import (
	"net/http"

	"fileshare/server/reply"
)

// What pages of other origins may send and see.
const (
	corsMethods = "GET, POST, PUT, DELETE, OPTIONS"
	corsAnswer  = "Content-Disposition, Content-Length, Etag, Retry-After, X-Fileshare-Expires, X-Request-Id"
	corsSeconds = "7200"
	corsWanted  = 4 << 10 // bytes of the names of headers
)

// allowOrigin lets pages of every origin use the service (the Fetch standard's
// CORS protocol). It gives them nothing that a program does not have: nothing
// here is permitted by what a browser adds by itself. Credentials are allowed
// since the SDK's proxy client asks for them.
func allowOrigin(h http.Header, r *http.Request) {
	h.Set("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", corsAnswer)
}

// preflight answers what a browser asks before a request.
func (a *api) preflight(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Access-Control-Request-Method") != "" {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", corsMethods)
		// Whatever the page's program adds (options.headers of the SDK).
		if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" && len(wanted) <= corsWanted {
			h.Set("Access-Control-Allow-Headers", wanted)
		}
		h.Set("Access-Control-Max-Age", corsSeconds)
	}
	return reply.None(w)
}
