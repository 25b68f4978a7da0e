package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"fileshare/api"
	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// Resumable uploads are spoken in two protocols, tus 1.0 (tus.go) and the IETF
// draft (ietf.go). An upload that was begun in one of them can be continued in
// the other: below /tus there is one resource for it, and the headers of a
// request tell which protocol it speaks.
//
// What a finished upload is, is told by the native API: the same id names it.

// uploadPath is the path of the resource of an unfinished upload.
func uploadPath(f *store.File) string {
	if f.Session != "" {
		return "/tus/" + f.Session + "/" + f.ID
	}
	return "/tus/" + f.ID
}

// resumable is the table of the resources of resumable uploads.
func (s *server) resumable() dialect.API {
	all := dialect.Route{Post: s.createResumable, Options: s.tusOptions}
	one := dialect.Route{Get: s.getOffset, Post: noMethod("GET, HEAD, PATCH, DELETE, OPTIONS"), Patch: s.patchUpload, Delete: s.cancelUpload, Options: s.tusOptions}
	var routes []dialect.Route
	for i, path := range []string{"/tus/", "/tus"} {
		all.Alias = i > 0
		routes = append(routes, overridable(path, all))
	}
	for i, path := range []string{"/tus/{id}", "/tus/{sid}/{id}"} {
		one.Alias = i > 0
		routes = append(routes, overridable(path, one))
	}
	return dialect.API{Name: "tus", Routes: routes, Headers: tusHeaders, Fail: s.failUpload}
}

// noMethod refuses a method that only stands for others.
func noMethod(allow string) dialect.Handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", allow)
		return reply.Refuse(reply.Method, "method not allowed", nil)
	}
}

// overridable makes the methods of a route give way to X-HTTP-Method-Override
// (tus 1.0, Headers), for clients that cannot send PATCH or DELETE.
func overridable(path string, rt dialect.Route) dialect.Route {
	plain := rt
	give := func(own dialect.Handler) dialect.Handler {
		if own == nil {
			return nil
		}
		return func(w http.ResponseWriter, r *http.Request) error {
			said := strings.ToUpper(r.Header.Get("X-Http-Method-Override"))
			if said == "" || said == r.Method {
				return own(w, r)
			}
			h := map[string]dialect.Handler{"GET": plain.Get, "HEAD": plain.Get, "POST": plain.Post, "PATCH": plain.Patch, "DELETE": plain.Delete, "OPTIONS": plain.Options}[said]
			if h == nil {
				h = noMethod(state(r).route.allow)
			}
			as := *r
			as.Method = said
			return h(w, &as)
		}
	}
	rt.Path = path
	rt.Get, rt.Post, rt.Patch, rt.Delete = give(plain.Get), give(plain.Post), give(plain.Patch), give(plain.Delete)
	return rt
}

// createResumable begins an upload, in the protocol that the request speaks.
func (s *server) createResumable(w http.ResponseWriter, r *http.Request) error {
	if _, ok := drafted(r); ok && !isTus(r) {
		if _, err := s.uploader(r); err != nil {
			return err
		}
		return s.postUpload(w, r)
	}
	return s.tusCreate(w, r)
}

// getOffset answers how far an upload is.
func (s *server) getOffset(w http.ResponseWriter, r *http.Request) error {
	c, err := s.uploader(r)
	if err != nil {
		return err
	}
	if isTus(r) {
		if err := tusVersion(r); err != nil {
			return err
		}
	}
	p, err := s.store.Progress(r.Context(), c, state(r).ref())
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Upload-Offset", strconv.FormatInt(p.Offset, 10))
	h.Set("Cache-Control", "no-store")
	if p.Length >= 0 {
		h.Set("Upload-Length", strconv.FormatInt(p.Length, 10))
	}
	if isTus(r) {
		return tusOffset(s, w, r, p)
	}
	return s.ietfOffset(w, r, p)
}

// patchUpload adds bytes, in the protocol that the media type tells, or else the
// headers.
func (s *server) patchUpload(w http.ResponseWriter, r *http.Request) error {
	if mediaTypeIs(r, partialUpload) || !isTus(r) && r.Header.Get("Upload-Complete") != "" {
		return s.ietfAppend(w, r)
	}
	return s.tusAppend(w, r)
}

// cancelUpload ends an upload, finished or not.
func (s *server) cancelUpload(w http.ResponseWriter, r *http.Request) error {
	c, err := s.uploader(r)
	if err != nil {
		return err
	}
	if isTus(r) {
		if err := tusVersion(r); err != nil {
			return err
		}
	}
	if err := s.store.Cancel(r.Context(), c, state(r).ref()); err != nil {
		return err
	}
	return reply.None(w)
}

// uploader tells who asks.
func (s *server) uploader(r *http.Request) (store.Caller, error) {
	c, err := s.basic(r)
	if err == nil {
		c.Invite = r.Header.Get(api.InvitationHeader)
		state(r).caller = c
	}
	return c, err
}

// piece is what every request that adds bytes says to the engine.
func (s *server) piece(r *http.Request, offset int64) store.Piece {
	p := store.Piece{Offset: offset, Size: r.ContentLength, Length: -1}
	if b := state(r).body; b != nil {
		p.Interrupt = b.interrupt
	}
	return p
}

// fileURL is the address of a finished upload.
func (s *server) fileURL(r *http.Request, f *store.File) string { return s.file(r, f).URL }

func mediaTypeIs(r *http.Request, want string) bool {
	ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(ct), want)
}

// hasBody tells whether a request has a content, or may have one.
func hasBody(r *http.Request) bool { return r.ContentLength != 0 }

// secondsLeft is how long something lives, at least a second.
func secondsLeft(end time.Time) int64 { return max(int64(time.Until(end)/time.Second), 1) }
