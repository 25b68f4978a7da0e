package store

import (
	"context"
	"iter"
	"time"
)

// Collection names a family of records: letters a–z only, at most 16. The
// engine's are listed by [Collections].
type Collection string

// The engine's collections.
const (
	FileRecords    Collection = "file"    // file key → file, or its tombstone
	ContentRecords Collection = "content" // file key → bytes of its content, a small one
	UseRecords     Collection = "uses"    // file or token key → downloads so far; share key ‖ file key → what its holder has of the file
	SessionRecords Collection = "session" // session key → session, or its tombstone
	TokenRecords   Collection = "token"   // token key → token
	IndexRecords   Collection = "index"   // list prefix ‖ key → nothing, mostly; of a piece or a run, what it is
	UsageRecords   Collection = "usage"   // owner → files and bytes stored
	TrashRecords   Collection = "trash"   // blobs that wait for their deletion
	NodeRecords    Collection = "node"    // running daemons
	MetaRecords    Collection = "meta"    // the id secret, settings, the last number of each sequence, the mark of a copy
	OnceRecords    Collection = "once"    // hash of what must not come again → until when
	EventRecords   Collection = "event"   // turned-over event key → event
	ShareRecords   Collection = "share"   // share key → what it lets its holder see
	OutboxRecords  Collection = "outbox"  // event key ‖ recipient → message that waits for its delivery
	LoginRecords   Collection = "login"   // hash of a token of a login → whose it is
	InviteRecords  Collection = "invite"  // invitation key → invitation, also for a while after its end
	HoldRecords    Collection = "hold"    // run key → nothing: it is being written
	SweepRecords   Collection = "sweep"   // shard of the blobs → when it was swept; due when it is to be
)

// Collections returns every collection of the engine.
func Collections() []Collection {
	return []Collection{FileRecords, ContentRecords, UseRecords, SessionRecords, TokenRecords, IndexRecords, UsageRecords, TrashRecords, NodeRecords, MetaRecords,
		OnceRecords, EventRecords, OutboxRecords, LoginRecords, ShareRecords, InviteRecords, HoldRecords, SweepRecords}
}

// passing tells whether records are about daemons that are at work, and mean
// nothing in a copy.
func (c Collection) passing() bool {
	return c == NodeRecords || c == HoldRecords || c == SweepRecords
}

// Records is the transactional side of a backend: small documents, each under
// a collection and an id, each with an optional due time.
//
// Implementations are safe for concurrent use. Errors that are not the
// function's own are infrastructure errors: they wrap [ErrNoSpace] where the
// disk is full, [ErrReadOnly] where it cannot be written and [ErrUnavailable]
// where a server does not answer, and mean that
// nothing of the Update is visible or will be after a crash — unless the commit
// itself was interrupted, when it is all visible or not at all.
type Records interface {
	// View calls fn with a consistent snapshot. fn must not write.
	// It returns fn's error as it is.
	View(ctx context.Context, fn func(Tx) error) error

	// Update calls fn and commits what it wrote, atomically, isolated
	// (serializable) and durably: when Update returns nil the writes have
	// survived a power cut. When fn returns an error nothing is written and
	// that error is returned as it is. fn may run more than once, and may
	// share its commit with others. ctx bounds the wait for the turn; once fn
	// has begun, Update ends by itself.
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for running calls and releases the backend. Calls after it
	// fail.
	Close() error
}

// Tx is one transaction. It is used by one goroutine, and not after the
// function it was passed to has returned. Byte slices that it returns may be
// kept only until then; byte slices that it is given may be changed by the
// caller after the function has returned.
type Tx interface {
	// Get returns the document, nil if there is none. It sees this
	// transaction's own writes. A stored empty document is empty and not nil.
	Get(in Collection, id []byte) ([]byte, error)

	// Put stores doc under id (1 to 1024 bytes), replacing what was there and
	// its due time. A zero due means never. Due times have the resolution of
	// a millisecond (rounded up).
	Put(in Collection, id, doc []byte, due time.Time) error

	// Delete removes the document and its due time; nil if there is none.
	Delete(in Collection, id []byte) error

	// Scan yields the documents whose id begins with prefix in descending
	// order of their ids; with a non-empty from only those whose id is below
	// from. It does not see this transaction's own writes. An error ends the
	// sequence as its last element (Item zero).
	Scan(in Collection, prefix, from []byte) iter.Seq2[Item, error]

	// Due returns at most limit documents that are due at now,
	// those due longest first. It does not see this transaction's own
	// writes. Where several nodes share the records, a Due inside an Update
	// may leave out what another node is working on.
	Due(in Collection, now time.Time, limit int) ([]Item, error)
}

// Item is one record as Scan and Due return it.
type Item struct {
	ID  []byte
	Doc []byte
	Due time.Time // UTC, in milliseconds; zero: never
}
