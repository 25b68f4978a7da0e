package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options configures a [Store]. The zero value works: the defaults of
// config.yaml that concern the engine, and no disk guard.
type Options struct {
	UploadTTL     time.Duration // of an upload that says none; default 1 h
	MaxUploadTTL  time.Duration // the most a client may ask for; default 30 days
	UnfinishedTTL time.Duration // of an unfinished upload, after its last byte; default 24 h
	SessionTTL    time.Duration // default 7 days
	MaxSessionTTL time.Duration // default 30 days

	AnonymousUploads bool // uploads without an account
	PrivateDownloads bool // links need an account, too
	OpenSessions     bool // who knows a session's id may use it

	FileSize  int64 // most bytes of one file; 0 = no limit
	UserQuota int64 // most bytes stored per account; 0 = no limit
	FreeSpace int64 // bytes of the disk that uploads must leave free
	// Free tells the free bytes of the disk; nil = not known, no guard.
	Free func() (int64, error)

	TokenDownloads int           // default max_downloads of a token; default 1
	BurnAtStart    bool          // a use is spent at its first byte, not at its last
	Lease          time.Duration // how long an untouched use stays open; default 15 min
	Tombstones     time.Duration // how long 410 outlives the content; default 30 days

	// Inline is the size up to which contents are kept as records; default
	// 64 KiB, negative = none.
	Inline int64
	// NoDigest leaves out SHA-256: files have no digest, uploads cost less.
	NoDigest bool
	// Exclusive says that no other process uses these records: what a
	// daemon that died had reserved is then free at once.
	Exclusive bool
	// LateWrites is the longest time after which a write of a dying node may
	// still arrive in the blobs; they are deleted again after it. 0 = never.
	LateWrites time.Duration
	// Redirect is from how many bytes on contents may be fetched from the blobs'
	// own server, where they are a [Linker]; 0 = never.
	Redirect int64

	// Audit is for how long sessions that are made for an audit are kept after
	// their end; 0 = they are not.
	Audit time.Duration

	// EventKeep is how long events are kept for Events; 0 = not at all.
	EventKeep time.Duration
	// Recipients says who is to be told of an event; nil = nobody. It is called
	// within the event's Update, possibly more than once: it must be quick and
	// do nothing else.
	Recipients func(*Event) []Recipient
	// Notices says what people are told of an event; nil = nothing. It is called
	// as Recipients is.
	Notices func(*About) ([]Notice, error)

	Log *slog.Logger // default: discards
}

// Caller is who asks. The zero Caller is a stranger who has at most a link.
type Caller struct {
	Name        string // of the account, empty = none
	Admin       bool
	Permissions Permissions
	// Grant is the id of a token that the caller presents: besides what its
	// account may do, it may do with that token's file what the token's access
	// allows.
	Grant string
	// Share is the id of a share that the caller presents: it lets it read what
	// is in the share's session. Confirm asks that its holder is told when a
	// download by it is complete.
	Share   string
	Confirm bool
	// Address is from where it asks; it is kept in the logs of sessions that are
	// made for an audit. Empty: not known, or not to be kept.
	Address string
	// Invite is the secret of an invitation that the caller presents: it lets it
	// make sessions on the account of who invites, and fill and complete them.
	Invite string
}

// Ref names a file or a token the way its URL does. Session is empty for an
// upload, Token for a file.
type Ref struct {
	Session, File, Token string
}

// State of a file or token, as the wire has it.
type State string

// States. A file is New, Uploading or Uploaded, a token New, Downloading or
// Downloaded (used up).
const (
	StateNew         State = "NEW"
	StateUploading   State = "UPLOADING"
	StateUploaded    State = "UPLOADED"
	StateDownloading State = "DOWNLOADING"
	StateDownloaded  State = "DOWNLOADED"
)

// File is a file as its owner sees it.
type File struct {
	ID           string
	Session      string // empty: an upload
	Owner        string
	Name         string // cleaned: no path, no control characters
	OriginalName string // as the client sent it (valid UTF-8, at most 1024 bytes)
	Type         string // media type
	Size         int64  // bytes that are there; of a New one those announced
	Length       int64  // of the whole, -1 = not known yet
	SHA256       []byte // 32 bytes; nil before the content is there, or with Options.NoDigest
	CRC32        uint32 // IEEE, of a file that is Uploaded
	State        State
	Tags         []string
	Attrs        map[string]string // what faces keep with it, by "dialect.name"
	Number       int64             // of the sequence it was made with; 0 = none
	Downloads    int64             // complete ones
	MaxDownloads int64             // 0 = unlimited
	TTL          time.Duration
	Created      time.Time
	Updated      time.Time
	Expires      time.Time
	Grant        *Token // only of CreateUpload, where FileSpec.Grant asked for one
}

// ETag is a strong validator, with its quotes: the SHA-256, or where there is
// none the id (content is written once).
func (f *File) ETag() string {
	if len(f.SHA256) > 0 {
		var room [2 + 2*sha256.Size]byte
		return string(append(hex.AppendEncode(append(room[:0], '"'), f.SHA256), '"'))
	}
	return `"` + f.ID + `"`
}

// Session is a container of files.
type Session struct {
	ID      string
	Owner   string
	Members []string          // callers who may use it, and what is in it, as the owner may
	Attrs   map[string]string // what faces keep with it, by "dialect.name"
	Number  int64             // of the sequence it was made with; 0 = none
	Name    string
	TTL     time.Duration
	Created time.Time
	Updated time.Time
	Expires time.Time

	Invitation string    // id of the one by which it was made, empty: by its owner
	Completed  time.Time // when it was said that all is there; zero: not yet
}

// Token is a capability to download one file, or with an access to see or
// manage it.
type Token struct {
	ID           string
	Access       Access // empty: to download
	Session      string // empty: of an upload
	File         string
	State        State
	Downloads    int64
	MaxDownloads int64
	Created      time.Time
	Expires      time.Time
}

// FileSpec is what a client says of a file. Nil means: not said.
type FileSpec struct {
	Name         *string
	OriginalName *string // default: Name as the client sent it
	Type         *string // default: by the name's extension, else by the first bytes
	TTL          *time.Duration
	MaxDownloads *int64
	Tags         *[]string
	Attrs        *map[string]string // these are set, an empty value removes one; at most 32 and 8 KiB in all
	Sequence     string             // of a new file: take the next number of this sequence
	Size         *int64             // announced, of a file without content
	Grant        *TokenSpec         // CreateUpload: make this token, too; it is the file's Grant in the answer
}

// SessionSpec is what a client says of a session. Nil means: not said.
type SessionSpec struct {
	Name     *string
	TTL      *time.Duration
	Members  *[]string          // names of callers; at most 100, 256 bytes each
	Attrs    *map[string]string // as of files
	Sequence string             // likewise
	// Audit of a new session: its events are kept as long as it is, and when it
	// has ended after it was handed over, so is what it was (see Ended).
	Audit bool
	// Was are attributes as they must be before the change (empty: not there),
	// else it is refused: Conflict, ErrChanged.
	Was map[string]string
	// Summaries is how often, from when it is complete, the owner is told what
	// became of it (transfer.summarized); at least 1 s, 0 = never.
	Summaries *time.Duration
}

// TokenSpec is what a client says of a token. Nil means: not said.
type TokenSpec struct {
	Access       Access // with one, MaxDownloads is 0 = unlimited by default
	MaxDownloads *int64
	TTL          *time.Duration // default: as long as the file
}

// Query asks for a page of a list, newest first.
type Query struct {
	Session string // files: of this session; empty: uploads and session files
	Tag     string // files: with this tag
	All     bool   // of every owner (administrators); else the caller's own
	// Since and Until bound files by when they were made, both included, to
	// the millisecond. What is outside costs nothing. Zero = no bound.
	Since, Until time.Time
	Limit        int    // 1 to 1000; 0 = 100
	Cursor       string // Next of the page before
}

// Page is one page of a list; Next is empty on the last one.
type Page[T any] struct {
	Items []T
	Next  string
}

// withDefaults fills in what is not said.
func (o Options) withDefaults() Options {
	o.UploadTTL = cmp.Or(o.UploadTTL, time.Hour)
	o.UnfinishedTTL = cmp.Or(o.UnfinishedTTL, 24*time.Hour)
	o.MaxUploadTTL = cmp.Or(o.MaxUploadTTL, 30*24*time.Hour)
	o.SessionTTL = cmp.Or(o.SessionTTL, 7*24*time.Hour)
	o.MaxSessionTTL = cmp.Or(o.MaxSessionTTL, 30*24*time.Hour)
	o.TokenDownloads = cmp.Or(o.TokenDownloads, 1)
	o.Lease = cmp.Or(o.Lease, 15*time.Minute)
	o.Tombstones = cmp.Or(o.Tombstones, 30*24*time.Hour)
	o.Inline = max(cmp.Or(o.Inline, 64<<10), 0)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is the engine. It is safe for concurrent use.
type Store struct {
	records   Records
	blobs     Blobs
	o         Options
	ids       *idCodec
	invites   *idCodec // of the secrets of invitations
	signing   []byte   // key of Sign
	id        Key      // of the store, as the label of the contents has it
	node      Key      // this daemon, since its start
	started   time.Time
	stats     counters
	buffers   *buffers
	tally     *tally
	clock     clockGuard
	probe     probe
	events    eventClock
	writers   writers
	prehashes prehashes

	incoming atomic.Int64 // announced bytes that are not written yet
	free     freeSpace

	mu      sync.Mutex
	pending map[Key]time.Time // runs being written, and when they were held last; guarded by mu

	laid  atomic.Bool               // the records of the shards are there, as the schedule wants them
	swept atomic.Pointer[time.Time] // when the last whole Sweep began; nil: none since the start

	closing context.Context // ends when Close begins
	stop    context.CancelFunc
	work    sync.WaitGroup // the heartbeat, the tally and what is hashed ahead
}

// New opens the engine over a backend and does what a start needs (the id
// secret, whose the contents are, reservations of dead daemons). Close it before the
// backends. Where records and blobs are not of one store the error wraps
// [ErrForeign] or [ErrOrphaned].
func New(ctx context.Context, records Records, blobs Blobs, o Options) (*Store, error) {
	s := &Store{records: records, blobs: blobs, o: o.withDefaults(), node: newKey(time.Now()), started: time.Now(),
		buffers: newBuffers(), pending: map[Key]time.Time{}, writers: writers{m: map[Key]*writer{}}, prehashes: prehashes{of: map[Key]*prehash{}}}
	if err := s.secret(ctx); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.closing, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.tally = newTally(s)
	if !s.o.Exclusive {
		s.work.Go(func() { s.heartbeat(s.closing) })
	}
	return s, nil
}

// Close waits for running work of the engine itself and writes what it still
// holds (download statistics). It leaves the backends open.
func (s *Store) Close() error {
	s.stop()
	s.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.tally.close(ctx)
	return errors.Join(err, s.leave(ctx))
}

var secretID = []byte("secret")

// secret reads the secret of the ids and the id of the store, or makes them at the
// very first start.
func (s *Store) secret(ctx context.Context) error {
	label, unread := readLabel(ctx, s.blobs) // before the records: who writes one has put the id there
	if err := s.mayBegin(ctx, label, unread); err != nil {
		return err
	}
	var secret []byte
	err := s.records.Update(ctx, func(tx Tx) error {
		var err error
		if s.id, err = identify(tx); err != nil {
			return err
		}
		b, err := tx.Get(MetaRecords, secretID)
		if err != nil {
			return err
		}
		if secret = bytes.Clone(b); secret != nil {
			return nil
		}
		secret = make([]byte, 16)
		rand.Read(secret) // never fails
		return tx.Put(MetaRecords, secretID, secret, time.Time{})
	})
	if err != nil {
		return fmt.Errorf("id secret: %w", err)
	}
	if unread == nil {
		if err := s.own(ctx, label); err != nil {
			return err
		}
	}
	s.signing = signingKey(secret)
	if s.invites, err = newIDCodec(s.Sign("secrets of invitations", nil)[:16]); err != nil {
		return err
	}
	s.ids, err = newIDCodec(secret)
	return err
}

// update is records.Update with the errors of the disk as refusals.
func (s *Store) update(ctx context.Context, fn func(Tx) error) error {
	s.stats.updates.Add(1)
	return refusal(s.records.Update(ctx, fn))
}

// view is records.View with the errors of the disk as refusals.
func (s *Store) view(ctx context.Context, fn func(Tx) error) error {
	return refusal(s.records.View(ctx, fn))
}
