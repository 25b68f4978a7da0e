package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"fileshare/server/archive"
	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// archive sends all files of a session that have content and downloads left,
// oldest last.
func (s *server) archive(w http.ResponseWriter, r *http.Request) error {
	c := state(r).caller
	c.Invite = "" // who is invited reads nothing
	sess, err := s.store.Session(r.Context(), c, state(r).vars["sid"])
	if err != nil {
		return err
	}
	return s.archiveOf(w, r, c, sess)
}

func (s *server) archiveOf(w http.ResponseWriter, r *http.Request, c store.Caller, sess *store.Session) error {
	format := r.URL.Query().Get("format")
	if format == "" {
		format = "zip"
	}
	if format != "zip" && format != "tar" {
		return invalid("format must be zip or tar")
	}
	files, err := s.archived(r, c, sess)
	if err != nil {
		return err
	}
	base := sess.Name
	if base == "" {
		base = "session-" + sess.ID
	}
	return s.sendArchive(w, r, c, format, archive.Name(base)+"."+format, files)
}

// archived are the files of a session that have content and downloads left, each
// with a name of its own.
func (s *server) archived(r *http.Request, c store.Caller, sess *store.Session) (files []dialect.Archived, err error) {
	names := archive.Names{}
	for q := (store.Query{Session: sess.ID, Limit: 1000}); ; {
		page, err := s.store.Files(r.Context(), c, q)
		if err != nil {
			return nil, err
		}
		for _, f := range page.Items {
			if f.State == store.StateUploaded && (f.MaxDownloads == 0 || f.Downloads < f.MaxDownloads) {
				files = append(files, dialect.Archived{Ref: store.Ref{Session: f.Session, File: f.ID}, File: f, Name: names.Unique(archive.Name(f.Name))})
			}
		}
		if len(files) > archive.Most {
			return nil, invalid(archive.ErrTooMany.Error())
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return files, nil
		}
	}
}

// sendArchive answers with an archive called name, or with a range of it: it
// has a length and a validator, so that a download that broke goes on. An error
// in the middle breaks the connection, and nobody takes the part for the whole.
func (s *server) sendArchive(w http.ResponseWriter, r *http.Request, c store.Caller, format, name string, files []dialect.Archived) error {
	entries := make([]archive.Entry, len(files))
	for i, f := range files {
		entries[i] = archive.Entry{ID: f.File.ID, Name: f.Name, Size: f.File.Size, CRC32: f.File.CRC32, Modified: contentTime(f.File)}
	}
	a, err := archive.New(format, entries)
	if err != nil {
		return fmt.Errorf("laying out an archive: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", map[string]string{"zip": "application/zip", "tar": "application/x-tar"}[format])
	h.Set("Content-Disposition", disposition(false, name))
	h.Set("Etag", a.ETag())
	if h.Get("Cache-Control") == "" { // a dialect may want more of caches
		h.Set("Cache-Control", "private, no-store")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // RFC 9110 §14.2: a Range may be ignored; several ranges of an archive are of no use
	}
	tidyRange(r.Header, a.Size())
	t := &archiveTransfer{ResponseWriter: w, s: s, r: r, caller: c, a: a, files: files, began: time.Now()}
	http.ServeContent(t, r, "", time.Time{}, &archiveContent{size: a.Size()})
	return t.finish()
}

// archiveTransfer stands between http.ServeContent and the answer, as transfer
// does for a single file.
type archiveTransfer struct {
	http.ResponseWriter // the exchange
	s                   *server
	r                   *http.Request
	caller              store.Caller
	a                   *archive.Archive
	files               []dialect.Archived
	status              int
	failed              error
	began               time.Time
	sent                int64 // bytes
}

// WriteHeader waits for the first byte: until then an error can be answered.
func (t *archiveTransfer) WriteHeader(status int) { t.status = status }

// Write drops the texts of errors.
func (t *archiveTransfer) Write([]byte) (int, error) { return 0, errSwallowed }

// ReadFrom writes the range that src stands for.
func (t *archiveTransfer) ReadFrom(src io.Reader) (n int64, err error) {
	lr, ok := src.(*io.LimitedReader)
	if !ok || t.status >= http.StatusMultipleChoices {
		return 0, errSwallowed
	}
	c, ok := lr.R.(*archiveContent)
	if !ok {
		return 0, errSwallowed
	}
	n, t.failed = t.a.WriteRange(&lateHeader{t.ResponseWriter, t.status}, c.pos, c.pos+lr.N, t.send)
	t.sent = n
	return n, t.failed
}

// lateHeader writes the header when the first bytes come.
type lateHeader struct {
	http.ResponseWriter
	status int
}

func (w *lateHeader) begin() {
	if w.status != 0 {
		w.WriteHeader(w.status)
		w.status = 0
	}
}

func (w *lateHeader) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps sendfile.
func (w *lateHeader) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.ResponseWriter, src)
}

// send sends a stretch of the i-th file and counts it, where a limit does.
func (t *archiveTransfer) send(w io.Writer, i int, from, to int64) (n int64, err error) {
	d, err := t.s.store.Open(t.r.Context(), t.caller, t.files[i].Ref)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	if _, err := d.Seek(from, io.SeekStart); err != nil {
		return 0, err
	}
	if err := d.Prepare(); err != nil {
		return 0, fmt.Errorf("opening a content: %w", err)
	}
	spans := []store.Span{{From: from, To: to}}
	if err := d.Reserve(t.r.Context(), spans); err != nil {
		return 0, err
	}
	n, err = d.SendTo(w, to-from)
	delivered, doubtful := spans, []store.Span(nil)
	if err != nil || n < to-from {
		delivered, doubtful = split(spans, n, inDoubt)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.r.Context()), settleTimeout)
	defer cancel()
	if serr := d.Settle(ctx, delivered, doubtful); err == nil && serr != nil {
		return n, fmt.Errorf("settling a download: %w", serr)
	}
	return n, err
}

// finish answers what was refused; in the middle of an archive its error breaks
// the connection.
func (t *archiveTransfer) finish() error {
	switch {
	case t.failed != nil && (t.r.Context().Err() != nil || isGone(t.failed)):
		return reply.Gone(t.failed)
	case t.failed != nil:
		if state(t.r).status == 0 {
			clearHeaders(t.Header())
		}
		return t.failed
	case t.status == http.StatusRequestedRangeNotSatisfiable:
		clearHeaders(t.Header())
		t.Header().Set("Content-Range", unsatisfied(t.a.Size()))
		return reply.Refuse(reply.Range, "no byte of the archive is in the range", nil)
	case t.status == http.StatusPreconditionFailed:
		clearHeaders(t.Header())
		return reply.Refuse(reply.Precondition, "the archive is not the one expected", nil)
	case t.r.Method == http.MethodHead || t.status == http.StatusNotModified:
		t.ResponseWriter.WriteHeader(t.status)
	case t.sent == t.a.Size() && len(t.files) > 0:
		t.s.store.Archived(t.caller, t.files[0].Ref.Session, t.began)
	}
	return nil
}

// archiveContent tells http.ServeContent how long an archive is and remembers
// where it shall begin.
type archiveContent struct{ pos, size int64 }

func (c *archiveContent) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.pos
	case io.SeekEnd:
		offset += c.size
	}
	c.pos = offset
	return offset, nil
}

func (c *archiveContent) Read([]byte) (int, error) {
	return 0, errors.New("an archive is not read")
}
