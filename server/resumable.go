package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

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
	one := dialect.Route{Get: s.getOffset, Post: s.overridden, Patch: s.patchUpload, Delete: s.cancelUpload, Options: s.tusOptions}
	routes := []dialect.Route{
		{Path: "/tus", Post: s.tusCreate, Options: s.tusOptions},
		{Path: "/tus/", Post: s.tusCreate, Options: s.tusOptions},
	}
	for _, path := range []string{"/tus/{id}", "/tus/{sid}/{id}"} {
		one.Path = path
		routes = append(routes, one)
	}
	return dialect.API{Name: "tus", Routes: routes, Headers: tusHeaders, Fail: s.failUpload}
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

// patchUpload adds bytes, in the protocol that the media type tells.
func (s *server) patchUpload(w http.ResponseWriter, r *http.Request) error {
	if mediaTypeIs(r, partialUpload) {
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
