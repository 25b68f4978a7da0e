package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"fileshare/api"
	"fileshare/server/reply"
	"fileshare/store"
)

// inDoubt is how much of what was written may still have been in the buffers
// of the two kernels when a connection broke.
const inDoubt = 8 << 20

// settleTimeout bounds the Update after a download; its request may be gone.
const settleTimeout = 30 * time.Second

func (s *server) getUpload(w http.ResponseWriter, r *http.Request) error { return s.serve(w, r) }
func (s *server) getFile(w http.ResponseWriter, r *http.Request) error   { return s.serve(w, r) }
func (s *server) getToken(w http.ResponseWriter, r *http.Request) error  { return s.serve(w, r) }

// serve answers with the bytes of the content that the path names.
func (s *server) serve(w http.ResponseWriter, r *http.Request) error {
	x := state(r)
	ref := x.ref()
	if end := s.tails.current(ref); end != nil && (r.Method == http.MethodHead || s.wantsPage(r)) {
		end.wait(r.Context()) // so that what is shown of the link has it counted
	}
	d, err := s.store.Open(r.Context(), x.caller, ref)
	if err != nil {
		return err
	}
	defer d.Close()
	if d.Counted() {
		w.Header().Set("Vary", "Accept, Sec-Fetch-Mode, User-Agent")
		if s.wantsPage(r) {
			return s.landing(w, d)
		}
	}
	s.contentHeaders(w.Header(), r, d)
	to, err := elsewhere(r, w.Header(), d)
	if err != nil || to != "" {
		clearHeaders(w.Header())
	}
	switch {
	case err != nil:
		return err
	case to != "":
		return reply.Elsewhere(w, to)
	}
	return s.send(w, r, ref, d)
}

// send answers with the bytes of an opened content; what else is to be said of
// it is in the headers already.
func (s *server) send(w http.ResponseWriter, r *http.Request, ref store.Ref, d *store.Download) error {
	f := d.File()
	if d.Counted() {
		w.Header().Set("X-Accel-Buffering", "no")
	}
	tidyRange(r.Header, f.Size)
	t := &transfer{ResponseWriter: w, s: s, r: r, d: d, ref: ref, size: f.Size}
	defer t.abandon()
	http.ServeContent(t, r, "", contentTime(f), &content{t: t})
	return t.finish()
}

// contentTime is when the content got its present form: of an upload its
// creation, of a file in a session, whose content comes later, its last change.
func contentTime(f *store.File) time.Time {
	if f.Session == "" {
		return f.Created
	}
	return f.Updated
}

func (s *server) contentHeaders(h http.Header, r *http.Request, d *store.Download) {
	f := d.File()
	inline := r.URL.RawQuery != "" && r.URL.Query().Get("inline") == "1" && s.inline.shows(f.Type)
	set(h, []headerField{
		{"Content-Type", f.Type},
		{"Content-Disposition", disposition(inline, f.Name)},
		{"Etag", f.ETag()},
		{"Cache-Control", "private, no-store"},
		{"X-Content-Type-Options", "nosniff"},
		{"Content-Security-Policy", "sandbox"},
		{"X-Fileshare-Expires", d.Expires().UTC().Format(http.TimeFormat)},
		{"Repr-Digest", reprDigest(f)}, // of the whole representation, also in a 206
	})
}

// headerField is one of a header; its name is in canonical form.
type headerField struct{ name, value string }

// set sets fields of a header that have a value, with one allocation for all.
func set(h http.Header, fields []headerField) {
	values := make([]string, len(fields))
	for i, f := range fields {
		if f.value != "" {
			values[i] = f.value
			h[f.name] = values[i : i+1 : i+1]
		}
	}
}

// transfer stands between http.ServeContent and the answer: it reserves what
// is about to go out, keeps sendfile, and settles what went out.
type transfer struct {
	http.ResponseWriter // the exchange
	s                   *server
	r                   *http.Request
	d                   *store.Download
	ref                 store.Ref
	size                int64

	mu     sync.Mutex // multiple ranges are read in a goroutine that may outlive ServeContent
	closed bool       // guarded by mu: d is not to be read any more
	read   int64      // guarded by mu: bytes handed out by content.Read

	spans    []store.Span // that go out
	reserved bool         // spans are reserved
	multi    bool         // multipart/byteranges
	sent     int64        // bytes of the content written, of a single span
	whole    bool         // all of the body has been written
	tail     *tail        // announced
	failed   error        // of writing
	refused  error        // what is answered instead; nothing has been written
}

var errSwallowed = errors.New("answered otherwise")

// WriteHeader reserves, or turns what ServeContent says of a bad request into
// errors of ours.
func (t *transfer) WriteHeader(status int) {
	switch status {
	case http.StatusOK, http.StatusPartialContent:
		if t.r.Method == http.MethodGet {
			if t.refused = t.reserve(status); t.refused != nil {
				return
			}
		}
	case http.StatusRequestedRangeNotSatisfiable:
		t.refused = reply.Refuse(reply.Range, "no byte of the content is in the range", nil)
		return
	case http.StatusPreconditionFailed:
		t.refused = errPrecondition
		return
	case http.StatusNotModified:
	default:
		t.refused = errors.New("serving a content: " + http.StatusText(status))
		return
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *transfer) reserve(status int) error {
	spans := []store.Span{{From: 0, To: t.size}}
	if status == http.StatusPartialContent {
		if cr := t.Header().Get("Content-Range"); cr != "" {
			sp, ok := parseContentRange(cr)
			if !ok {
				return errors.New("reading our own Content-Range " + cr)
			}
			spans[0] = sp
		} else if spans = parseRanges(t.r.Header.Get("Range"), t.size); len(spans) < 2 {
			return errors.New("reading the ranges of a multiple answer")
		} else {
			t.multi = true
		}
	}
	t.spans = spans
	if !t.multi {
		if err := t.d.Prepare(); err != nil {
			return fmt.Errorf("opening a content: %w", err)
		}
	}
	if !t.d.Counted() {
		return nil
	}
	before := t.s.tails.current(t.ref)
	err := t.d.Reserve(t.r.Context(), spans)
	if store.KindOf(err) == store.Busy && before.wait(t.r.Context()) {
		err = t.d.Reserve(t.r.Context(), spans)
	}
	t.reserved = err == nil
	return err
}

// Write gets the parts of multipart/byteranges, and the text of errors, which
// is dropped.
func (t *transfer) Write(p []byte) (int, error) {
	if t.refused != nil {
		return 0, errSwallowed
	}
	n, err := t.ResponseWriter.Write(p)
	if err != nil {
		t.failed = err
	}
	return n, err
}

// ReadFrom gets the content of everything else, limited to the span.
func (t *transfer) ReadFrom(src io.Reader) (int64, error) {
	if t.refused != nil {
		return 0, errSwallowed
	}
	lr, ok := src.(*io.LimitedReader)
	if ok {
		_, ok = lr.R.(*content)
	}
	if !ok || t.multi {
		t.announce()
		n, err := io.Copy(struct{ io.Writer }{t}, src)
		t.whole = err == nil && (lr == nil || lr.N == 0)
		return n, err
	}
	n := lr.N
	t.send(n - min(n, tailSize))
	if t.failed == nil {
		t.announce()
		t.send(min(n, tailSize))
	}
	t.whole = t.failed == nil
	return t.sent, t.failed
}

// announce is called before the last bytes of a counted download go out: who
// has seen them and asks again at once is made to wait for settle, so that it
// learns that the link is used and not that it is busy.
func (t *transfer) announce() {
	if t.reserved && t.tail == nil {
		t.tail = t.s.tails.begin(t.ref)
	}
}

func (t *transfer) send(n int64) {
	if n <= 0 {
		return
	}
	sent, err := t.d.SendTo(t.ResponseWriter, n)
	t.sent += sent
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	t.failed = err
}

// finish answers what was refused, or settles what went out.
func (t *transfer) finish() error {
	t.mu.Lock()
	t.closed = true // from here on the download is this goroutine's alone
	t.mu.Unlock()
	if t.refused != nil {
		clearHeaders(t.Header())
		if reply.Of(t.refused).Code == api.CodeRange {
			t.Header().Set("Content-Range", unsatisfied(t.size))
		}
		return t.refused
	}
	if t.spans != nil {
		if t.reserved && t.whole && t.failed == nil {
			t.failed = http.NewResponseController(t.ResponseWriter).Flush()
		}
		if err := t.settle(); err != nil {
			return err
		}
	}
	switch {
	case t.failed == nil:
		return nil
	case t.r.Context().Err() != nil || isGone(t.failed):
		return reply.Gone(t.failed)
	default:
		return fmt.Errorf("sending a content: %w", t.failed)
	}
}

// settle tells the engine what went out for certain and what perhaps.
func (t *transfer) settle() error {
	defer t.abandon()
	var total int64
	for _, sp := range t.spans {
		total += sp.To - sp.From
	}
	c := connOf(t.r.Context())
	if t.r.ProtoMajor != 1 {
		c = nil // streams share it
	}
	certain := t.whole && t.failed == nil
	sent, doubt := total, int64(0)
	switch {
	case !certain && t.multi:
		sent, doubt = min(t.read, total), inDoubt
	case !certain:
		sent, doubt = t.sent, inDoubt
	case t.reserved && c != nil && t.r.Context().Err() != nil:
		// The client has closed its side. Had it received everything, it
		// would have acknowledged everything.
		doubt = unacked(c.TCPConn)
	}
	delivered, doubtful := split(t.spans, sent, doubt)
	ctx := context.WithoutCancel(t.r.Context())
	if t.reserved {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, settleTimeout)
		defer cancel()
	}
	if err := t.d.Settle(ctx, delivered, doubtful); err != nil {
		return fmt.Errorf("settling a download: %w", err)
	}
	if t.reserved && c != nil && certain && doubt == 0 {
		_, last := take(t.spans, total-min(total, inDoubt))
		c.watch(t.r.Context(), t.d, last)
	}
	return nil
}

// abandon ends the announcement, if there is one: after a panic, too, no one
// shall wait for a settlement that never comes.
func (t *transfer) abandon() {
	if t.tail != nil {
		t.s.tails.end(t.ref, t.tail)
		t.tail = nil
	}
}

// isGone tells errors of the connection from those of the storage.
func isGone(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	for _, e := range []error{syscall.EPIPE, syscall.ECONNRESET, os.ErrDeadlineExceeded, net.ErrClosed, http.ErrHandlerTimeout, context.Canceled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// content is the io.ReadSeeker for http.ServeContent.
type content struct{ t *transfer }

func (c *content) Read(p []byte) (int, error) {
	t := c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, io.ErrClosedPipe
	}
	n, err := t.d.Read(p)
	t.read += int64(n)
	return n, err
}

func (c *content) Seek(off int64, whence int) (int64, error) {
	t := c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, io.ErrClosedPipe
	}
	return t.d.Seek(off, whence)
}
