package store

import (
	"context"
	"io"
	"time"
)

// Incoming describes a body that is about to be received.
type Incoming struct {
	Size   int64  // length if known, -1 if not
	SHA256 []byte // expected digest, nil if the client sent none
}

// Content is a durable body that no record refers to yet. It is attached by
// CreateUpload or StoreFile, else it must be discarded.
type Content struct{}

// Discard gives the content up; nothing happens if it was attached.
func (c *Content) Discard() { panic("soon") }

// Receive reads body to its end and makes it durable. It refuses early, before
// the first byte, what cannot succeed (no account, too large, no space, quota).
// Errors of body itself come back wrapped.
func (s *Store) Receive(ctx context.Context, c Caller, body io.Reader, in Incoming) (*Content, error) {
	panic("soon")
}

// CreateUpload makes an upload of a received content.
func (s *Store) CreateUpload(ctx context.Context, c Caller, spec FileSpec, content *Content) (*File, error) {
	panic("soon")
}

// MayUpload refuses what Receive would refuse of this caller and size (-1 =
// unknown), without reading anything.
func (s *Store) MayUpload(ctx context.Context, c Caller, size int64) error { panic("soon") }

// File returns a file to its owner. ref.Token is ignored.
func (s *Store) File(ctx context.Context, c Caller, ref Ref) (*File, error) { panic("soon") }

// Files lists files, newest first; expired ones are left out.
func (s *Store) Files(ctx context.Context, c Caller, q Query) (Page[*File], error) { panic("soon") }

// PatchFile changes TTL (from now), Name, Tags, MaxDownloads.
func (s *Store) PatchFile(ctx context.Context, c Caller, ref Ref, spec FileSpec) (*File, error) {
	panic("soon")
}

// DeleteFile removes a file, its content and its tokens.
func (s *Store) DeleteFile(ctx context.Context, c Caller, ref Ref) error { panic("soon") }

func (s *Store) CreateSession(ctx context.Context, c Caller, spec SessionSpec) (*Session, error) {
	panic("soon")
}
func (s *Store) Session(ctx context.Context, c Caller, id string) (*Session, error) { panic("soon") }
func (s *Store) Sessions(ctx context.Context, c Caller, q Query) (Page[*Session], error) {
	panic("soon")
}
func (s *Store) PatchSession(ctx context.Context, c Caller, id string, spec SessionSpec) (*Session, error) {
	panic("soon")
}
func (s *Store) DeleteSession(ctx context.Context, c Caller, id string) error { panic("soon") }

// CreateFile makes a file without content (state NEW) in a session.
func (s *Store) CreateFile(ctx context.Context, c Caller, session string, spec FileSpec) (*File, error) {
	panic("soon")
}

// MayStore refuses what StoreFile would refuse before its content is read:
// unknown file, not the owner, content already there, size beyond a limit.
func (s *Store) MayStore(ctx context.Context, c Caller, ref Ref, size int64) error { panic("soon") }

// StoreFile gives a file of a session its content. spec may set Name and Type
// where the file has none yet.
func (s *Store) StoreFile(ctx context.Context, c Caller, ref Ref, spec FileSpec, content *Content) (*File, error) {
	panic("soon")
}

func (s *Store) CreateToken(ctx context.Context, c Caller, ref Ref, spec TokenSpec) (*Token, error) {
	panic("soon")
}
func (s *Store) Tokens(ctx context.Context, c Caller, ref Ref, q Query) (Page[*Token], error) {
	panic("soon")
}
func (s *Store) DeleteToken(ctx context.Context, c Caller, ref Ref) error { panic("soon") }

// Span is a range of bytes, [From, To).
type Span struct{ From, To int64 }

// Download is an opened content: an io.ReadSeeker for http.ServeContent, and
// the counting that goes with it. One goroutine uses it; Close it.
//
// The order of calls on a counted one: Reserve before the first byte, Settle
// after the last. Both do nothing where nothing is counted.
type Download struct{}

// Open checks that the content may be read now (existence, expiry, uses,
// permission) and opens it. It reserves nothing. With ref.Token the token is
// the permission, else the file's own link; a file in a session without token
// needs the session's owner.
func (s *Store) Open(ctx context.Context, c Caller, ref Ref) (*Download, error) { panic("soon") }

// File is the file as it was when it was opened.
func (d *Download) File() *File { panic("soon") }

// Expires is when this link ends: the token's expiry if there is one, else the file's.
func (d *Download) Expires() time.Time { panic("soon") }

// Counted tells whether a limit counts this download.
func (d *Download) Counted() bool { panic("soon") }

// Reserve takes the spans for this download in one Update, or refuses: Busy
// (with RetryAfter), Used, Expired, NotFound.
func (d *Download) Reserve(ctx context.Context, spans []Span) error { panic("soon") }

// Settle ends the reservation: delivered went out for certain; doubtful (may
// be empty) went into the kernel but may not have arrived. It is called once,
// with a context that outlives the request, and also when nothing went out.
func (d *Download) Settle(ctx context.Context, delivered, doubtful []Span) error { panic("soon") }

// Reopen takes back the certainty of the last bytes of a settled download: the
// connection was reset after them.
func (d *Download) Reopen(ctx context.Context, doubtful []Span) error { panic("soon") }

// Read and Seek make the content an io.ReadSeeker.
func (d *Download) Read(p []byte) (int, error)                { panic("soon") }
func (d *Download) Seek(off int64, whence int) (int64, error) { panic("soon") }

// SendTo writes n bytes from the current position to w, file by file, so that
// an io.ReaderFrom on a TCP connection can use sendfile (w.ReadFrom is called
// with an *io.LimitedReader over an *os.File where the backend has files).
func (d *Download) SendTo(w io.Writer, n int64) (int64, error) { panic("soon") }

// Close ends the download. An unsettled reservation is settled as doubtful.
func (d *Download) Close() error { panic("soon") }

// PurgeResult is what one Purge did.
type PurgeResult struct {
	Files, Sessions, Tombstones, Blobs int
	Bytes                              int64
	Lag                                time.Duration // of the oldest file that it found due
	More                               bool          // there was more than one run takes
}

// Purge reclaims what is due, in bounded batches, until nothing is left or ctx
// ends. Several may run, on several nodes.
func (s *Store) Purge(ctx context.Context) (PurgeResult, error) { panic("soon") }

// SweepResult is what one Sweep did.
type SweepResult struct {
	Seen, Removed int
	Bytes         int64
}

// Sweep removes blobs that no record refers to and that are older than minAge
// (and not being written by this process).
func (s *Store) Sweep(ctx context.Context, minAge time.Duration) (SweepResult, error) {
	panic("soon")
}

// Stats are counters since the start, for metrics.
type Stats struct {
	Reserved, Completed, Lapsed, Busy, Reopened int64
	BytesIn, BytesOut                           int64
}

// Stats returns the counters.
func (s *Store) Stats() Stats { panic("soon") }

// Usage sums what is stored, for metrics: files with content and their bytes.
func (s *Store) Usage(ctx context.Context) (files, bytes int64, err error) { panic("soon") }
