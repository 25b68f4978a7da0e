package store

import (
	"context"
	"io"
	"iter"
	"time"
)

// Blobs is the write-once side of a backend. Keys are chosen by the engine:
// lower-case letters, digits and at most one '/' that is neither first nor
// last, 3 to 120 characters. Implementations are safe for concurrent use.
type Blobs interface {
	// Put stores all that r yields under key and returns how much that was.
	// size is the length if the caller knows it, else -1; a body of another
	// length than size is an error. When Put returns nil the bytes are durable
	// (file and directory entry). After an error nothing is left under key,
	// as far as the backend can still tell. A key that exists is an error.
	// If r implements io.WriterTo the backend may use it: the engine's
	// readers then write pieces of 16 KiB, on a fast line 1 MiB. r's own error is returned wrapped;
	// a full disk wraps [ErrNoSpace], a disk that cannot be written
	// [ErrReadOnly], a server that does not answer [ErrUnavailable]; so do the
	// errors of the other methods.
	Put(ctx context.Context, key string, r io.Reader, size int64) (int64, error)

	// Open returns a reader of n bytes from offset. A key that is not there
	// gives an error that wraps fs.ErrNotExist. If the reader is a file (a
	// syscall.Conn), it is positioned at offset and may yield more than n bytes:
	// the engine limits it and passes the file to the kernel (sendfile).
	Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error)

	// Delete removes the blob; nil if it is not there.
	Delete(ctx context.Context, key string) error

	// List yields every blob of a shard (0 to Shards-1, or AllShards), in no
	// order. Blobs that are being written may be among them. An error ends the
	// sequence.
	List(ctx context.Context, shard int) iter.Seq2[BlobInfo, error]
}

// Shards is into how many parts of about the same size a backend divides its
// blobs. Which one a blob is in depends on its key alone; each backend decides
// it as suits its listing, which reads no more than the shard it is asked for.
const Shards = 256

// AllShards stands for all of them where one is asked for.
const AllShards = -1

// Segmented is what Blobs implement that cannot take a body of any length at
// once.
type Segmented interface {
	// Segment returns how many bytes the engine is to put into each blob of a
	// body that has size bytes; its last blob has what remains. It is at least 1.
	Segment(size int64) int64

	// Reserve is Segment for a body whose length is not known but for an upper
	// bound, most (0: nothing is known). It is asked once for a body, before
	// the first Put, and sets aside what the backend needs for it until Done is
	// called. When that cannot be had soon the error wraps [ErrUnavailable].
	Reserve(ctx context.Context, most int64) (Cut, error)
}

// Cut is how a body becomes blobs.
type Cut struct {
	Segment int64  // bytes of each but the last, at least 1
	AtOnce  int    // how many may be written at once, 1 or 2
	Done    func() // is called when the body is over
}

// BatchDeleter is what Blobs implement that delete many as fast as one.
type BatchDeleter interface {
	// DeleteAll removes blobs as Delete does. After an error any of them may
	// still be there.
	DeleteAll(ctx context.Context, keys []string) error
}

// Linker is what Blobs implement whose server lets others fetch a blob.
type Linker interface {
	// Link returns a URL under which whoever knows it may GET the blob, as long
	// as that begins within valid (at least 1 s), with these two headers.
	Link(ctx context.Context, key string, valid time.Duration, mediaType, disposition string) (string, error)
}

// BlobInfo is one entry of [Blobs.List].
type BlobInfo struct {
	Key      string
	Size     int64
	Modified time.Time
}
