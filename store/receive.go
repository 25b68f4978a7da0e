package store

import (
	"context"
	"crypto/subtle"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"
)

// Incoming describes a body that is about to be received.
type Incoming struct {
	Size   int64  // length if known, -1 if not
	Most   int64  // an upper bound of the length if one is known, else 0; it saves memory
	SHA256 []byte // expected digest, nil if the client sent none
}

// Content is a durable body that no record refers to yet, or a small one that
// will become durable with its record. It is attached by CreateUpload or
// StoreFile, else it must be discarded.
type Content struct {
	s      *Store
	size   int64
	sha    []byte
	crc    uint32  // CRC-32 (IEEE)
	head   []byte  // at most sniffLen bytes, to guess a type from
	inline *[]byte // nil: in the blobs
	held   bool    // has a place of buffers.hold
	run    run
	over   bool // attached or discarded
}

// mostInline is the largest buffer of a small content that is kept for another.
const mostInline = 64 << 10

// sniffLen is how many bytes of a content are looked at to guess its type.
const sniffLen = 512

// Size is the length in bytes.
func (c *Content) Size() int64 { return c.size }

// Discard gives the content up; nothing happens if it was attached.
func (c *Content) Discard() {
	if c == nil || c.over {
		return
	}
	c.release()
	if c.inline == nil {
		c.s.dropRun(context.Background(), c.run)
		c.s.unpend(c.run.key)
	}
}

// release returns what was lent. The content is of no use afterwards.
func (c *Content) release() {
	c.over = true
	c.s.buffers.drop(&c.held)
	if c.inline != nil && cap(*c.inline) <= 2*mostInline {
		c.s.buffers.inline.Put(c.inline)
	}
}

// attached is called when a record refers to the content.
func (c *Content) attached() {
	c.release()
	if c.inline == nil {
		c.s.unpend(c.run.key)
	}
}

func (s *Store) unpend(key Key) {
	s.mu.Lock()
	delete(s.pending, key)
	s.mu.Unlock()
}

// MayUpload refuses what Receive would refuse of this caller and size (-1 =
// unknown), without reading anything.
func (s *Store) MayUpload(ctx context.Context, c Caller, size int64) error {
	if err := s.permit(c, toUpload, nil); err != nil {
		return err
	}
	return s.mayHold(ctx, c.Name, size)
}

// mayHold refuses a body that is too large for the limits, the owner's quota or
// the disk.
func (s *Store) mayHold(ctx context.Context, owner string, size int64) error {
	if s.o.FileSize > 0 && size > s.o.FileSize {
		return errTooLarge(s.o.FileSize)
	}
	return s.mayKeep(ctx, owner, size)
}

// mayKeep is mayHold for bytes of several files.
func (s *Store) mayKeep(ctx context.Context, owner string, size int64) error {
	if s.o.UserQuota > 0 {
		err := s.view(ctx, func(tx Tx) error {
			u, err := getUsage(tx, owner)
			if err != nil {
				return err
			}
			return s.quota(u, max(size, 0))
		})
		if err != nil {
			return err
		}
	}
	return s.room(max(size, 0))
}

// room refuses n more bytes when the disk's reserve would be touched.
func (s *Store) room(n int64) error {
	if s.o.Free == nil || s.o.FreeSpace <= 0 {
		return nil
	}
	free, err := s.free.get(s.o.Free, s.stats.bytesIn.Load())
	if err != nil {
		return RefuseCause(Unavailable, "the storage does not answer", err)
	}
	if free-s.incoming.Load()-n < s.o.FreeSpace {
		return Refuse(NoSpace, "no space left on the server")
	}
	return nil
}

// freeSpace remembers for a moment how much of the disk is free, less what has
// come in since: many small uploads in a row need not all ask the kernel.
type freeSpace struct {
	mu sync.Mutex
	at time.Time // guarded by mu, as the others
	n  int64     // free at that time
	in int64     // bytes received until then
}

// freeFor is how long an answer is good.
const freeFor = 50 * time.Millisecond

func (f *freeSpace) get(ask func() (int64, error), in int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.at) < freeFor {
		return f.n - max(in-f.in, 0), nil
	}
	n, err := ask()
	if err != nil {
		return 0, err
	}
	f.at, f.n, f.in = time.Now(), n, in
	return n, nil
}

// Receive reads body to its end and makes it durable. It refuses early, before
// the first byte, what cannot succeed (no account, too large, no space, quota).
// Errors of body itself come back wrapped.
//
// It is also the way to the content of a session's file; MayStore has then
// been asked before, so that a session whose id is enough (open sessions) needs
// no account here.
func (s *Store) Receive(ctx context.Context, c Caller, r io.Reader, in Incoming) (*Content, error) {
	if err := s.mayHold(ctx, c.Name, in.Size); err != nil {
		return nil, err
	}
	b := &body{ctx: ctx, s: s, r: r, limit: s.o.FileSize, want: max(in.Size, -1), most: in.Most, hash: s.newHash(in.SHA256), space: spaceStep}
	defer b.announce()()
	content, err := s.receive(ctx, b)
	if err != nil {
		return nil, refusal(err)
	}
	content.crc = b.crc
	if b.hash != nil {
		content.sha = b.hash.Sum(nil)
	}
	if in.SHA256 != nil && subtle.ConstantTimeCompare(in.SHA256, content.sha) != 1 {
		content.Discard()
		return nil, Refuse(Mismatch, "the content does not match its digest")
	}
	if s.o.NoDigest {
		content.sha = nil
	}
	return content, nil
}

// receive keeps a body that turns out to be small in memory and sends any other
// to the blobs.
func (s *Store) receive(ctx context.Context, b *body) (*Content, error) {
	c := &Content{s: s}
	if b.want > s.o.Inline {
		return c, s.receiveRun(ctx, b, c)
	}
	buf := s.buffers.inline.Get().(*[]byte)
	err := b.readSmall(buf, &c.held)
	if err == io.EOF {
		c.inline, c.size, c.head = buf, int64(len(*buf)), (*buf)[:min(len(*buf), sniffLen)]
		return c, nil
	}
	if err == nil {
		b.head = *buf
		err = s.receiveRun(ctx, b, c)
	}
	s.buffers.drop(&c.held)
	s.buffers.inline.Put(buf)
	return c, err
}

// receiveRun sends a body to the blobs.
func (s *Store) receiveRun(ctx context.Context, b *body, c *Content) error {
	c.run = run{key: newKey(time.Now()), count: 1}
	s.mu.Lock()
	s.pending[c.run.key] = time.Time{}
	s.mu.Unlock()
	if err := s.putRun(ctx, b, &c.run); err != nil {
		s.unpend(c.run.key)
		return fmt.Errorf("store content: %w", err)
	}
	if c.head == nil {
		c.head = b.first
	}
	c.size = c.run.size
	return nil
}

// dropRun deletes what there is of a run that did not become whole.
func (s *Store) dropRun(ctx context.Context, r run) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := s.deleteRun(ctx, r); err != nil {
		s.o.Log.Warn("discard content", "error", err) // the sweep will find it
	}
}

// readSmall reads into buf until the end (io.EOF), or until there is more than
// is kept in memory (nil; what was read is then in buf, and the body's count and
// hash know nothing of it). buf grows only when the bytes are there.
func (b *body) readSmall(buf *[]byte, held *bool) error {
	limit := b.s.o.Inline
	p := (*buf)[:0]
	defer func() { *buf = p }()
	for {
		room := min(limit, freeInline)
		if *held {
			room = limit
		}
		if int64(len(p)) > room {
			if room == limit || !b.s.buffers.hold() {
				return nil
			}
			*held = true
			continue
		}
		if int64(len(p)) == int64(cap(p)) {
			p = b.grow(p, room+1)
		}
		n, err := b.r.Read(p[len(p):min(int64(cap(p)), room+1)])
		p = p[:len(p)+n]
		switch {
		case err == io.EOF && int64(len(p)) <= room:
			return b.whole(p)
		case err != nil && err != io.EOF:
			return &bodyError{err}
		case err == io.EOF:
			b.r = eof{} // one byte too many; the next read says so again
		case n == 0:
			if err := context.Cause(b.ctx); err != nil {
				return err
			}
		}
	}
}

// grow makes room in p, which is full, at most for most bytes.
func (b *body) grow(p []byte, most int64) []byte {
	size := max(4<<10, 2*int64(cap(p)))
	if likely := max(b.want, b.most); likely > 0 {
		size = likely + 1
	}
	q := make([]byte, len(p), max(min(size, most), int64(len(p))+1))
	copy(q, p)
	return q
}

// eof is a reader at its end.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// whole takes p as the whole body.
func (b *body) whole(p []byte) error {
	b.n = int64(len(p))
	b.crc = crc32.ChecksumIEEE(p)
	b.s.stats.bytesIn.Add(b.n)
	if b.want >= 0 {
		b.s.incoming.Add(-b.n)
	}
	if b.limit > 0 && b.n > b.limit {
		return errTooLarge(b.limit)
	}
	if b.hash != nil {
		b.hash.Write(p)
	}
	return b.end(io.EOF)
}
