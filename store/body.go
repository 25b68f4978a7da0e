package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"
)

// body is what a large content is read through: it checks the limits, counts
// and hashes. Backends take it by WriteTo, in pieces of 16 KiB and, once the
// line has shown to be fast, 1 MiB; pieces are hashed in a second goroutine
// while the next one is read and written, since hashing alone costs most of a
// core.
type body struct {
	ctx   context.Context
	s     *Store
	r     io.Reader
	head  []byte // already read from r
	first []byte // a copy of the first bytes, at most sniffLen
	limit int64  // most bytes; a longer body is refused
	want  int64  // announced length, -1 = unknown
	most  int64  // an upper bound of the length, 0 = unknown
	n     int64  // bytes passed on
	hash  hash.Hash
	crc   uint32 // of the bytes passed on
	space int64  // bytes until the disk is looked at again
}

// spaceStep is how often the disk's free space is looked at, in bytes.
const spaceStep = 4 << 20

// fast is the time in which a piece of a body must come for the line to count
// as fast, slow the time after which it counts as slow.
const (
	fastFill = 100 * time.Millisecond
	slowFill = 2 * time.Second
)

// announce sets room on the disk aside for a body whose length is known; over gives
// back what of it is not used.
func (b *body) announce() (over func()) {
	if b.want < 0 {
		return func() {}
	}
	b.s.incoming.Add(b.want)
	return func() { b.s.incoming.Add(b.n - b.want) } // the bytes that came have been taken off one by one
}

// Read implements io.Reader for backends that cannot use WriteTo.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.fill(p[:min(len(p), largePiece)])
	if n > 0 {
		if b.hash != nil {
			b.hash.Write(p[:n])
		}
		return n, nil
	}
	return 0, err
}

// more tells whether there is more of the body. It may read a byte ahead.
func (b *body) more() (bool, error) {
	var one [1]byte
	for len(b.head) == 0 {
		n, err := b.r.Read(one[:])
		if n > 0 {
			b.head = one[:]
			break
		}
		if err == nil {
			err = context.Cause(b.ctx)
		} else if err = b.end(err); err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	if b.want >= 0 && b.n >= b.want {
		return false, &bodyError{fmt.Errorf("more than the %d bytes that were announced", b.want)}
	}
	return true, nil
}

// WriteTo implements io.WriterTo.
func (b *body) WriteTo(w io.Writer) (total int64, err error) {
	buffers := b.s.buffers
	r := buffers.small.Get().(*ring)
	hasher := startHasher(b.hash)
	defer func() {
		hasher.wait()
		buffers.put(r)
	}()
	for i := 0; ; i++ {
		piece := r[i%ringSize]
		hasher.release() // piece must be hashed before it is filled again
		begin := time.Now()
		n, err := b.fill(piece)
		if err != nil && err != io.EOF {
			return total, err
		}
		if n > 0 {
			hasher.add(piece[:n])
			m, werr := w.Write(piece[:n])
			total += int64(m)
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		r, i = b.fit(r, i, hasher, time.Since(begin))
	}
}

// fit changes to larger pieces on a fast line and back on a slow one.
func (b *body) fit(r *ring, i int, h *hasher, took time.Duration) (*ring, int) {
	var next *ring
	switch large := len(r[0]) == largePiece; {
	case !large && took < fastFill && i >= 2:
		if next = b.s.buffers.tryLarge(); next == nil {
			return r, i
		}
	case large && took > slowFill:
		next = b.s.buffers.small.Get().(*ring)
	default:
		return r, i
	}
	h.drain()
	b.s.buffers.put(r)
	return next, -1
}

// fill fills p as far as the body goes; io.EOF comes with the last bytes.
func (b *body) fill(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		if len(b.head) > 0 {
			m = copy(p[n:], b.head)
			b.head = b.head[m:]
		} else {
			m, err = b.r.Read(p[n:])
		}
		n += m
		if m == 0 && err == nil {
			if err = context.Cause(b.ctx); err != nil {
				return n, err
			}
		}
	}
	if b.n == 0 {
		b.first = bytes.Clone(p[:min(n, sniffLen)])
	}
	b.n += int64(n)
	b.crc = crc32.Update(b.crc, crc32.IEEETable, p[:n])
	b.s.stats.bytesIn.Add(int64(n))
	if b.want >= 0 {
		b.s.incoming.Add(-int64(n))
	}
	if b.limit > 0 && b.n > b.limit {
		return 0, errTooLarge(b.limit)
	}
	if err != nil {
		return n, b.end(err)
	}
	if b.space -= int64(n); b.space <= 0 {
		b.space = spaceStep
		if err := b.s.room(0); err != nil {
			return 0, err
		}
	}
	return n, context.Cause(b.ctx)
}

// end checks at the end of the body that it is as long as announced.
func (b *body) end(err error) error {
	if err != io.EOF {
		return &bodyError{err}
	}
	if b.want >= 0 && b.n != b.want {
		return &bodyError{fmt.Errorf("%w: %d bytes of %d", io.ErrUnexpectedEOF, b.n, b.want)}
	}
	return io.EOF
}

// bodyError marks an error of the client's body, as against one of ours.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

func errTooLarge(limit int64) *Error {
	return Refuse(TooLarge, fmt.Sprintf("file too large: at most %d bytes are allowed", limit))
}

// hasher hashes pieces in a goroutine, in order. A nil hasher does nothing.
type hasher struct {
	in   chan []byte
	done chan *byte // first byte of each hashed piece
	out  int        // pieces added and not yet seen done
}

func startHasher(h hash.Hash) *hasher {
	if h == nil {
		return nil
	}
	x := &hasher{in: make(chan []byte, ringSize), done: make(chan *byte, 2*ringSize)}
	go func() {
		defer close(x.done)
		for p := range x.in {
			h.Write(p)
			x.done <- &p[0]
		}
	}()
	return x
}

func (x *hasher) add(p []byte) {
	if x != nil {
		x.in <- p
		x.out++
	}
}

// release waits until the piece that was added first is hashed, if a ring's
// worth is out.
func (x *hasher) release() {
	if x != nil && x.out >= ringSize {
		<-x.done
		x.out--
	}
}

// drain waits until everything is hashed.
func (x *hasher) drain() {
	for x != nil && x.out > 0 {
		<-x.done
		x.out--
	}
}

// wait ends the goroutine, after which the hash may be read.
func (x *hasher) wait() {
	if x == nil {
		return
	}
	x.drain()
	close(x.in)
	<-x.done // closed
}

// newHash returns a hash unless digests are off and nobody asked for one.
func (s *Store) newHash(want []byte) hash.Hash {
	if s.o.NoDigest && want == nil {
		return nil
	}
	return sha256.New()
}
