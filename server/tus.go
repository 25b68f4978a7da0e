package server

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"fileshare/server/reply"
	"fileshare/store"
)

// The tus protocol, version 1.0.0 of 2016-03-25, with every extension it names
// but concatenation of unfinished parts. Sections below are those of its text.

const (
	tusResumable  = "1.0.0"
	tusExtensions = "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,concatenation"
	tusAlgorithms = "sha1,sha256,md5"
	offsetStream  = "application/offset+octet-stream"

	// statusChecksum is "460 Checksum Mismatch", of the extension Checksum.
	statusChecksum = 460

	// The attributes in which an upload keeps what HEAD must repeat.
	tusMetadata = "tus.metadata"
	tusConcat   = "tus.concat"
	// mostMetadata bounds Upload-Metadata: it is kept with the file.
	mostMetadata = 4 << 10
)

// isTus tells which protocol a request without a telling media type speaks.
func isTus(r *http.Request) bool { return r.Header.Get("Tus-Resumable") != "" }

// tusHeaders are on every answer below /tus. Browsers of any origin may upload:
// the credentials are in a header that a page must know, never in a cookie.
func tusHeaders(h http.Header, r *http.Request) {
	h.Set("Tus-Resumable", tusResumable)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, Tus-Version, Tus-Resumable, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, "+
		"Upload-Length, Upload-Defer-Length, Upload-Metadata, Upload-Expires, Upload-Concat, Upload-File, Upload-Complete, Upload-Limit, "+
		"Upload-Draft-Interop-Version, X-Request-Id, X-Fileshare-Error, Retry-After, WWW-Authenticate")
}

// tusOptions answers discovery (Requests, OPTIONS) and preflights alike.
func (s *server) tusOptions(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Allow", state(r).route.allow)
	h.Set("Tus-Version", tusResumable)
	h.Set("Tus-Extension", tusExtensions)
	h.Set("Tus-Checksum-Algorithm", tusAlgorithms)
	if most := s.store.MaxFileSize(); most > 0 {
		h.Set("Tus-Max-Size", strconv.FormatInt(most, 10))
	}
	h.Set("Upload-Limit", s.uploadLimit(r, nil))
	h.Set("Access-Control-Allow-Methods", "POST, GET, HEAD, PATCH, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Length, Content-Disposition, Tus-Resumable, Upload-Offset, Upload-Length, "+
		"Upload-Defer-Length, Upload-Metadata, Upload-Concat, Upload-Checksum, Upload-Complete, Upload-Draft-Interop-Version, Repr-Digest, Content-Digest, "+
		"X-HTTP-Method-Override, X-Requested-With, X-Request-Id, X-Fileshare-TTL, X-Fileshare-Max-Downloads, X-Fileshare-Tags")
	h.Set("Access-Control-Max-Age", "86400")
	return reply.None(w)
}

// tusVersion refuses another version than ours.
func tusVersion(r *http.Request) error {
	if v := r.Header.Get("Tus-Resumable"); v != tusResumable {
		return reply.Refuse(reply.Precondition, "Tus-Resumable: only "+tusResumable+" is spoken here", nil)
	}
	return nil
}

// tusCreate is the extension Creation, with those that add to it.
func (s *server) tusCreate(w http.ResponseWriter, r *http.Request) error {
	c, err := s.uploader(r)
	if err == nil {
		err = tusVersion(r)
	}
	if err != nil {
		return err
	}
	meta, err := parseMetadata(r.Header.Get("Upload-Metadata"))
	if err != nil {
		return err
	}
	spec, err := meta.spec(r)
	if err != nil {
		return err
	}
	concat := r.Header.Get("Upload-Concat")
	if list, ok := strings.CutPrefix(concat, "final;"); ok {
		return s.tusConcat(w, r, c, spec, concat, list)
	}
	if concat != "" && concat != "partial" {
		return invalid(`Upload-Concat must be "partial" or "final;" and addresses of uploads`)
	}
	begin := store.Begin{Length: -1, Part: concat == "partial"}
	switch length, deferred := r.Header.Get("Upload-Length"), r.Header.Get("Upload-Defer-Length"); {
	case length != "" && deferred != "", length == "" && deferred != "1":
		return invalid(`either Upload-Length, or Upload-Defer-Length with the value 1, is needed`)
	case length != "":
		if begin.Length, err = parseDigits("Upload-Length", length); err != nil {
			return err
		}
	}
	body := hasBody(r)
	if body && !mediaTypeIs(r, offsetStream) {
		return errOffsetStream
	}
	p, err := s.begin(r, c, meta.session, spec, begin)
	if err != nil {
		return err
	}
	w.Header().Set("Location", s.links.base(r, state(r).prefix)+uploadPath(p.File))
	if body && !p.Complete() {
		ref := store.Ref{Session: p.File.Session, File: p.File.ID}
		if p, err = s.tusStore(r, c, ref, s.piece(r, 0)); err != nil {
			if store.KindOf(err) == store.Mismatch { // nobody will come back for it
				_ = s.store.Cancel(r.Context(), c, ref)
			}
			return err
		}
	}
	s.tusProgress(w, r, p)
	w.Header().Set("Upload-Offset", strconv.FormatInt(p.Offset, 10))
	w.WriteHeader(http.StatusCreated)
	return nil
}

var errOffsetStream = reply.Refuse(reply.MediaType, "the Content-Type must be "+offsetStream, nil)

// begin makes an unfinished upload, in a session if one is named.
func (s *server) begin(r *http.Request, c store.Caller, session string, spec store.FileSpec, b store.Begin) (*store.Progress, error) {
	if session == "" {
		return s.store.BeginUpload(r.Context(), c, spec, b)
	}
	if b.Part {
		return nil, invalid("a part does not belong to a session yet")
	}
	f, err := s.store.CreateFile(r.Context(), c, session, spec)
	if err != nil {
		return nil, err
	}
	return s.store.BeginFile(r.Context(), c, store.Ref{Session: session, File: f.ID}, store.FileSpec{}, b)
}

// tusConcat is the extension Concatenation. The parts are used up.
func (s *server) tusConcat(w http.ResponseWriter, r *http.Request, c store.Caller, spec store.FileSpec, concat, list string) error {
	if r.Header.Get("Upload-Length") != "" {
		return invalid("Upload-Length does not belong to a concatenation")
	}
	parts, err := parseParts(list)
	if err != nil {
		return err
	}
	if len(concat) <= 3<<10 {
		(*spec.Attrs)[tusConcat] = concat
	} else {
		(*spec.Attrs)[tusConcat] = "final;"
	}
	p, err := s.store.Concat(r.Context(), c, spec, parts)
	if err != nil {
		return err
	}
	w.Header().Set("Location", s.links.base(r, state(r).prefix)+uploadPath(p.File))
	s.tusProgress(w, r, p)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// parseParts reads the addresses behind "final;" (Concatenation, Upload-Concat),
// whole ones or paths. How many there may be is the engine's to say.
func parseParts(list string) (parts []store.Ref, err error) {
	for text := range strings.FieldsSeq(list) {
		u, err := url.Parse(text)
		if err != nil {
			return nil, invalid("Upload-Concat: an address is malformed")
		}
		i := strings.LastIndex(u.Path, "/tus/")
		if i < 0 {
			return nil, invalid("Upload-Concat: that is no upload of this server")
		}
		id := u.Path[i+len("/tus/"):]
		if id == "" || strings.Contains(id, "/") {
			return nil, invalid("Upload-Concat: that is no part")
		}
		parts = append(parts, store.Ref{File: id})
	}
	return parts, nil
}

// tusAppend is PATCH of the core protocol.
func (s *server) tusAppend(w http.ResponseWriter, r *http.Request) error {
	c, err := s.uploader(r)
	if err == nil {
		err = tusVersion(r)
	}
	if err != nil {
		return err
	}
	if !mediaTypeIs(r, offsetStream) {
		return errOffsetStream
	}
	offset, err := parseDigits("Upload-Offset", r.Header.Get("Upload-Offset"))
	if err != nil {
		return err
	}
	p := s.piece(r, offset)
	if said := r.Header.Get("Upload-Length"); said != "" {
		if p.Length, err = parseDigits("Upload-Length", said); err != nil {
			return err
		}
	}
	ref := state(r).ref()
	got, err := s.tusStore(r, c, ref, p)
	if errors.Is(err, store.ErrComplete) {
		got, err = s.tusAgain(r, c, ref, p, err)
	}
	if err != nil {
		return err
	}
	s.tusProgress(w, r, got)
	w.Header().Set("Upload-Offset", strconv.FormatInt(got.Offset, 10))
	return reply.None(w)
}

// tusAgain is for who adds nothing to what is complete, since he has not heard
// that it is. A final upload is never to be patched (Concatenation).
func (s *server) tusAgain(r *http.Request, c store.Caller, ref store.Ref, p store.Piece, refused error) (*store.Progress, error) {
	got, err := s.store.Progress(r.Context(), c, ref)
	switch {
	case err != nil:
		return nil, err
	case strings.HasPrefix(got.File.Attrs[tusConcat], "final;"):
		return nil, store.Refuse(store.Denied, "this upload was made of parts")
	case p.Size == 0 && p.Offset == got.Offset && (p.Length < 0 || p.Length == got.Length):
		return got, nil
	}
	return nil, refused
}

// tusStore appends the body, and checks it if there is an Upload-Checksum.
func (s *server) tusStore(r *http.Request, c store.Caller, ref store.Ref, p store.Piece) (*store.Progress, error) {
	said, trailer := r.Header.Get("Upload-Checksum"), false
	if said == "" {
		_, trailer = r.Trailer["Upload-Checksum"]
	}
	var body io.Reader = r.Body
	switch {
	case trailer:
		// The algorithm is not known before the end, so all of them run.
		all := map[string]hash.Hash{}
		var to []io.Writer
		for name := range strings.SplitSeq(tusAlgorithms, ",") {
			all[name] = newChecksum(name)
			to = append(to, all[name])
		}
		body = io.TeeReader(body, io.MultiWriter(to...))
		p.Check = func() error {
			name, want, err := parseChecksum(r.Trailer.Get("Upload-Checksum"))
			if err != nil {
				return err
			}
			return checksum(all[name], want)
		}
	case said != "":
		name, want, err := parseChecksum(said)
		if err != nil {
			return nil, err
		}
		h := newChecksum(name)
		body = io.TeeReader(body, h)
		p.Check = func() error { return checksum(h, want) }
	}
	return s.store.Append(r.Context(), c, ref, body, p)
}

func checksum(h hash.Hash, want []byte) error {
	if subtle.ConstantTimeCompare(h.Sum(nil), want) != 1 {
		return store.Refuse(store.Mismatch, "the bytes do not match Upload-Checksum")
	}
	return nil
}

// newChecksum makes one of tusAlgorithms.
func newChecksum(name string) hash.Hash {
	switch name {
	case "sha1":
		return sha1.New()
	case "sha256":
		return sha256.New()
	}
	return md5.New()
}

// parseChecksum reads the value of Upload-Checksum.
func parseChecksum(said string) (name string, sum []byte, err error) {
	name, text, _ := strings.Cut(said, " ")
	for known := range strings.SplitSeq(tusAlgorithms, ",") {
		if name != known {
			continue
		}
		if sum, err = decode64(base64.StdEncoding.Strict(), text); err != nil || len(sum) != newChecksum(name).Size() {
			return "", nil, invalid("Upload-Checksum is malformed")
		}
		return name, sum, nil
	}
	return "", nil, invalid("Upload-Checksum: only " + tusAlgorithms + " are known")
}

// tusOffset answers HEAD. GET tells the same.
func tusOffset(s *server, w http.ResponseWriter, r *http.Request, p *store.Progress) error {
	h := w.Header()
	if p.Length < 0 {
		h.Set("Upload-Defer-Length", "1")
	}
	if v := p.File.Attrs[tusMetadata]; v != "" {
		h.Set("Upload-Metadata", v)
	}
	if v := p.File.Attrs[tusConcat]; v != "" {
		h.Set("Upload-Concat", v)
	} else if p.Part {
		h.Set("Upload-Concat", "partial")
	}
	s.tusProgress(w, r, p)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}

// tusProgress says until when an upload can be continued, or where the file is.
func (s *server) tusProgress(w http.ResponseWriter, r *http.Request, p *store.Progress) {
	h := w.Header()
	switch {
	case p.File.State == store.StateUploaded:
		link := s.fileURL(r, p.File)
		h.Set("Upload-File", link)
		if r.Method == http.MethodPatch {
			h.Set("Location", link)
		}
	default:
		h.Set("Upload-Expires", p.Expires.UTC().Format(http.TimeFormat))
	}
}

// metadata is what Upload-Metadata says of a file.
type metadata struct {
	raw     string
	values  map[string]string
	session string
}

// parseMetadata reads Upload-Metadata (Creation, Headers).
func parseMetadata(raw string) (m metadata, err error) {
	m = metadata{raw: raw, values: map[string]string{}}
	if len(raw) > mostMetadata {
		return m, invalid("Upload-Metadata is too long")
	}
	if strings.TrimSpace(raw) == "" {
		m.raw = ""
		return m, nil
	}
	for pair := range strings.SplitSeq(raw, ",") {
		key, text, _ := strings.Cut(strings.Trim(pair, " \t"), " ")
		value, err := decode64(base64.StdEncoding, text)
		if _, twice := m.values[key]; err != nil || key == "" || twice || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return m, invalid("Upload-Metadata is malformed")
		}
		m.values[key] = string(value)
	}
	m.session = m.values["session"]
	return m, nil
}

// decode64 reads Base64, without the ends of lines that the library passes over.
func decode64(enc *base64.Encoding, text string) ([]byte, error) {
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	return enc.DecodeString(text)
}

// spec is what the metadata says in the words of the native API. filename and
// filetype are those that most clients send, name and type those of Uppy.
func (m metadata) spec(r *http.Request) (store.FileSpec, error) {
	spec, err := headerSpec(r)
	if err != nil {
		return spec, err
	}
	form := url.Values{}
	for key, v := range m.values {
		if limitMeant(key) != "" {
			form.Set(key, v)
		}
	}
	if v, ok := m.values["tags"]; ok {
		form["tags"] = strings.Split(v, ",")
	}
	said, err := fields{form: form}.fileSpec()
	if err != nil {
		return spec, err
	}
	spec.TTL, spec.MaxDownloads, spec.Tags = or(said.TTL, spec.TTL), or(said.MaxDownloads, spec.MaxDownloads), or(said.Tags, spec.Tags)
	for _, key := range []string{"name", "filename"} {
		if v := m.values[key]; v != "" {
			spec.Name = &v
		}
	}
	for _, key := range []string{"type", "filetype"} {
		if t := mediaType(m.values[key]); t != nil {
			spec.Type = t
		}
	}
	spec.Attrs = &map[string]string{}
	if m.raw != "" {
		(*spec.Attrs)[tusMetadata] = m.raw
	}
	return spec, nil
}

// failUpload answers errors below /tus.
func (s *server) failUpload(w http.ResponseWriter, r *http.Request, err error) reply.Answer {
	w.Header().Del("Location") // of what the error is about
	if _, ok := errors.AsType[problemError](err); ok {
		return s.ietfFail(w, r, err)
	}
	a := reply.Statuses{store.Mismatch: statusChecksum}.Of(err)
	switch {
	case errors.Is(err, store.ErrLength):
		a.Status = http.StatusBadRequest
	case a.Status == http.StatusPreconditionFailed:
		w.Header().Set("Tus-Version", tusResumable)
	}
	return a.JSON(w)
}
