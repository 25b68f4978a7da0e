package server

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"fileshare/server/reply"
	"fileshare/store"
)

// Resumable Uploads for HTTP, draft-ietf-httpbis-resumable-upload-12, interop
// version 8, and what 7 and 6 (drafts 08 and 05) have otherwise. Any upload of a
// body as it is (POST and PUT /uploads, PUT of a session's file) becomes a
// resumable one when it says Upload-Complete; the resource of the upload lies
// below /tus.

const (
	partialUpload = "application/partial-upload"

	newestInterop = 8
	oldestInterop = 6
	// interopExpires is the last version whose Upload-Limit says expires where
	// later ones say max-age.
	interopExpires = 6

	// statusResumption is "104 (Upload Resumption Supported)", §5.
	statusResumption = 104

	problemOffset    = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
	problemLength    = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"
	problemCompleted = "https://iana.org/assignments/http-problem-types#completed-upload"
)

// draft is what the headers of a request say.
type draft struct {
	complete bool  // Upload-Complete
	interop  int64 // Upload-Draft-Interop-Version, 0 = none that we speak
	length   int64 // Upload-Length, -1 = not said
}

// drafted reads the headers of the draft. ok is false where a request does not
// ask for resumption: it says nothing of Upload-Complete, or it brings all there
// is and would not understand how to go on.
func drafted(r *http.Request) (d draft, ok bool) {
	h := r.Header
	d = draft{length: -1}
	if v, ok := structuredInt(h.Get("Upload-Draft-Interop-Version")); ok && v >= oldestInterop && v <= newestInterop {
		d.interop = v
	}
	if v, ok := structuredInt(h.Get("Upload-Length")); ok {
		d.length = v
	}
	d.complete, ok = structuredBool(h.Get("Upload-Complete"))
	return d, ok && (!d.complete || d.interop > 0)
}

// formAlone refuses a form that is to be continued: it is read as it comes.
func (s *server) formAlone(r *http.Request) error {
	if d, ok := drafted(r); ok && !d.complete {
		return invalid("a form cannot be resumed: send the file as it is")
	}
	return nil
}

// structuredBool reads an Item that is a Boolean (RFC 9651 §3.3.6).
func structuredBool(s string) (v, ok bool) {
	s = strings.Trim(s, " ")
	if rest, found := strings.CutPrefix(s, "?1"); found {
		s, v = rest, true
	} else if s, found = strings.CutPrefix(s, "?0"); !found {
		return false, false
	}
	rest, ok := skipParams(s)
	return v, ok && rest == ""
}

// structuredInt reads an Item that is an Integer (RFC 9651 §3.3.1) and not
// negative.
func structuredInt(s string) (int64, bool) {
	s = strings.Trim(s, " ")
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	rest, ok := skipParams(s[n:])
	if n == 0 || n > 15 || !ok || rest != "" {
		return 0, false
	}
	v, err := strconv.ParseInt(s[:n], 10, 64)
	return v, err == nil
}

// ietfCreate begins a resumable upload with a request to another resource
// (§4.2); begin makes it.
func (s *server) ietfCreate(w http.ResponseWriter, r *http.Request, d draft, begin func(store.Begin) (*store.Progress, error)) error {
	b := store.Begin{Length: d.length}
	if d.complete && r.ContentLength >= 0 {
		if b.Length = r.ContentLength; d.length >= 0 && d.length != b.Length {
			return ietfRefuse(errLengths)
		}
	}
	var err error
	if b.SHA256, err = headerDigest(r.Header, "Repr-Digest"); err != nil {
		return err
	}
	check, body, err := contentDigest(r)
	if err != nil {
		return err
	}
	p, err := begin(b)
	if err != nil {
		return ietfRefuse(err)
	}
	h := w.Header()
	location := s.links.base(r, state(r).prefix) + uploadPath(p.File)
	if d.interop > 0 && !p.Complete() {
		h.Set("Location", location)
		s.interim(w, r, d, p)
		h.Del("Location")
	}
	if !p.Complete() && (hasBody(r) || d.complete) {
		ref := store.Ref{Session: p.File.Session, File: p.File.ID}
		piece := s.draftPiece(w, r, d, 0)
		piece.Check = check
		if p, err = s.store.Append(r.Context(), state(r).caller, ref, body, piece); err != nil {
			return s.ietfFailed(r, ref, err)
		}
	}
	if p.Complete() {
		return s.ietfFinal(w, r, p)
	}
	h.Set("Upload-Limit", s.uploadLimit(r, p))
	h.Set("Upload-Complete", "?0")
	h.Set("Upload-Offset", strconv.FormatInt(p.Offset, 10))
	return reply.Created(w, location, s.file(r, p.File))
}

var errLengths = store.RefuseCause(store.Invalid, "the lengths that the request tells are not the same", store.ErrLength)

// draftPiece is what a request that adds bytes says to the engine. The client
// is told of the progress while they come (§4.4.2).
func (s *server) draftPiece(w http.ResponseWriter, r *http.Request, d draft, offset int64) store.Piece {
	p := s.piece(r, offset)
	p.Length, p.Last = d.length, d.complete
	if d.interop > 0 {
		p.Committed = func(offset int64) {
			w.Header().Set("Upload-Offset", strconv.FormatInt(offset, 10))
			s.interim(w, r, d, nil)
			w.Header().Del("Upload-Offset")
		}
	}
	return p
}

// interim sends a 104 with the headers that are set, of a new upload with its
// limits, too.
func (s *server) interim(w http.ResponseWriter, r *http.Request, d draft, p *store.Progress) {
	h := w.Header()
	h.Set("Upload-Draft-Interop-Version", strconv.FormatInt(d.interop, 10))
	if p != nil {
		h.Set("Upload-Limit", s.uploadLimit(r, p))
	}
	w.WriteHeader(statusResumption)
	h.Del("Upload-Draft-Interop-Version")
	h.Del("Upload-Limit")
}

// uploadLimit is Upload-Limit (§4.1.4), of an upload, or before there is one.
func (s *server) uploadLimit(r *http.Request, p *store.Progress) string {
	limit := "min-size=0"
	if most := s.store.MaxFileSize(); most > 0 {
		limit = "max-size=" + strconv.FormatInt(most, 10)
	}
	if p != nil && p.File.State != store.StateUploaded {
		age := "max-age"
		if v, ok := structuredInt(r.Header.Get("Upload-Draft-Interop-Version")); ok && v <= interopExpires {
			age = "expires"
		}
		limit += ", " + age + "=" + strconv.FormatInt(secondsLeft(p.Expires), 10)
	}
	return limit
}

// ietfAppend is PATCH of the resource of an upload (§4.4).
func (s *server) ietfAppend(w http.ResponseWriter, r *http.Request) error {
	c, err := s.uploader(r)
	if err != nil {
		return err
	}
	if !mediaTypeIs(r, partialUpload) {
		return reply.Refuse(reply.MediaType, "the Content-Type must be "+partialUpload, nil)
	}
	d, _ := drafted(r)
	offset, ok := structuredInt(r.Header.Get("Upload-Offset"))
	if _, said := structuredBool(r.Header.Get("Upload-Complete")); !ok || !said {
		return invalid("Upload-Offset and Upload-Complete are needed")
	}
	check, body, err := contentDigest(r)
	if err != nil {
		return err
	}
	ref := state(r).ref()
	piece := s.draftPiece(w, r, d, offset)
	piece.Check = check
	p, err := s.store.Append(r.Context(), c, ref, body, piece)
	if errors.Is(err, store.ErrComplete) {
		// The last answer may have been lost (§4.4.2): it is given again.
		done, derr := s.store.Progress(r.Context(), c, ref)
		if derr == nil && offset == done.Offset && r.ContentLength == 0 && done.File.State == store.StateUploaded {
			return s.ietfFinal(w, r, done)
		}
	}
	if err != nil {
		return s.ietfFailed(r, ref, err)
	}
	if p.Complete() && !p.Part {
		return s.ietfFinal(w, r, p)
	}
	h := w.Header()
	h.Set("Upload-Complete", "?0")
	h.Set("Upload-Offset", strconv.FormatInt(p.Offset, 10))
	h.Set("Upload-Limit", s.uploadLimit(r, p))
	return reply.None(w)
}

// ietfOffset answers HEAD and GET of the resource of an upload (§4.3).
func (s *server) ietfOffset(w http.ResponseWriter, r *http.Request, p *store.Progress) error {
	h := w.Header()
	h.Set("Upload-Limit", s.uploadLimit(r, p))
	if p.File.State == store.StateUploaded {
		h.Set("Upload-Complete", "?1")
		h.Set("Upload-File", s.fileURL(r, p.File))
	} else {
		h.Set("Upload-Complete", "?0")
	}
	return reply.None(w)
}

// ietfFinal answers what the upload would have been answered in one request.
func (s *server) ietfFinal(w http.ResponseWriter, r *http.Request, p *store.Progress) error {
	h := w.Header()
	h.Set("Upload-Complete", "?1")
	h.Set("Upload-Offset", strconv.FormatInt(p.Offset, 10))
	if r.Header.Get("Want-Repr-Digest") != "" { // §10.1: of the upload, not of the answer
		set(h, []headerField{{"Repr-Digest", reprDigest(p.File)}})
	}
	o := s.file(r, p.File)
	if p.File.Session != "" {
		return reply.JSON(w, o)
	}
	return reply.Created(w, o.URL, o)
}

// ietfFailed looks at what became of bytes that were refused: an upload that
// got more than it was to get is given up (§4.4.2), and one whose content is
// not what its digest says, too.
func (s *server) ietfFailed(r *http.Request, ref store.Ref, err error) error {
	if _, refused := errors.AsType[*store.OffsetError](err); !refused && !errors.Is(err, store.ErrComplete) {
		p, perr := s.store.Progress(r.Context(), state(r).caller, ref)
		digest := store.KindOf(err) == store.Mismatch && r.Header.Get("Content-Digest") == ""
		if perr == nil && p.File.State == store.StateUploading && (digest || errors.Is(err, store.ErrLength) && r.ContentLength < 0) {
			_ = s.store.Cancel(r.Context(), state(r).caller, ref)
		}
	}
	return ietfRefuse(err)
}

// problem is a problem document (RFC 9457) of the draft's types, readable for
// clients of the native API, too.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Message  string `json:"message"`
	Expected *int64 `json:"expected-offset,omitempty"`
	Provided *int64 `json:"provided-offset,omitempty"`
}

// problemError makes an error of the draft answer as such on native paths, too.
type problemError struct{ error }

func (e problemError) Unwrap() error { return e.error }

// ietfRefuse marks an error as one of the draft.
func ietfRefuse(err error) error { return problemError{err} }

// ietfProblem is the type of the problem document of an error, empty: none.
func ietfProblem(err error) string {
	if _, ok := errors.AsType[*store.OffsetError](err); ok {
		return problemOffset
	}
	switch {
	case errors.Is(err, store.ErrComplete):
		return problemCompleted
	case errors.Is(err, store.ErrLength):
		return problemLength
	}
	return ""
}

// ietfFail answers an error of the draft.
func (s *server) ietfFail(w http.ResponseWriter, r *http.Request, err error) reply.Answer {
	a := reply.Of(err)
	h := w.Header()
	p := problem{Type: ietfProblem(err), Message: a.Message}
	h.Set("Upload-Complete", "?0")
	switch p.Type {
	case problemOffset:
		p.Title = "offset from request does not match offset of resource"
		o, _ := errors.AsType[*store.OffsetError](err)
		p.Expected = &o.Offset
		if n, ok := structuredInt(r.Header.Get("Upload-Offset")); ok {
			p.Provided = &n
		}
		h.Set("Upload-Offset", strconv.FormatInt(o.Offset, 10))
	case problemLength:
		p.Title = "inconsistent length values for upload"
		a.Status = http.StatusBadRequest
	case problemCompleted:
		// The answer is none of the file's own resource (§4.1.2), so "?0".
		p.Title = "upload is already completed"
		a.Status = http.StatusBadRequest
	default:
		if a.Status == http.StatusUnprocessableEntity && r.Header.Get("Content-Digest") == "" {
			h.Set("Upload-Complete", "?1") // all of it came
		}
		if a.Status == http.StatusRequestEntityTooLarge { // §4.1.4
			h.Set("Upload-Limit", s.uploadLimit(r, nil))
		}
		return a.JSON(w)
	}
	p.Status = a.Status
	return a.Write(w, "application/problem+json", p)
}

// headerDigest reads the SHA-256 of one of the headers of RFC 9530, nil: none that
// we can check.
func headerDigest(h http.Header, name string) ([]byte, error) {
	if h.Get(name) == "" {
		return nil, nil
	}
	return expectedDigest(http.Header{name: h.Values(name)})
}

// contentDigest makes the body of a request, and if it has a Content-Digest
// (RFC 9530 §2) the check of it.
func contentDigest(r *http.Request) (check func() error, body io.Reader, err error) {
	want, err := headerDigest(r.Header, "Content-Digest")
	if err != nil || want == nil {
		return nil, r.Body, err
	}
	h := sha256.New()
	return func() error {
		if !bytes.Equal(h.Sum(nil), want) {
			return store.Refuse(store.Mismatch, "the bytes do not match Content-Digest")
		}
		return nil
	}, io.TeeReader(r.Body, h), nil
}
