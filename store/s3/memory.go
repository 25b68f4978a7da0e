package s3

import (
	"context"
	"errors"
	"hash"
	"io"
	"sync"
	"time"
)

// block is the unit in which memory is lent: a body holds what has come of it,
// and a little more.
const block = 256 << 10

// memory lends blocks, no more than fit into its bound.
type memory struct {
	out     chan struct{} // one for each block that is lent
	timeout time.Duration
	pool    sync.Pool
}

func newMemory(bytes int64, timeout time.Duration) *memory {
	m := &memory{out: make(chan struct{}, bytes/block), timeout: timeout}
	m.pool.New = func() any { return new([block]byte) }
	return m
}

// free is how many bytes may still be lent.
func (m *memory) free() int64 { return int64(cap(m.out)-len(m.out)) * block }

// lend waits for a block, at most the timeout.
func (m *memory) lend(ctx context.Context) (*[block]byte, error) {
	select {
	case m.out <- struct{}{}:
		return m.pool.Get().(*[block]byte), nil
	default:
	}
	timer := time.NewTimer(m.timeout)
	defer timer.Stop()
	select {
	case m.out <- struct{}{}:
		return m.pool.Get().(*[block]byte), nil
	case <-timer.C:
		return nil, errMemory
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (m *memory) giveBack(b *[block]byte) {
	m.pool.Put(b)
	<-m.out
}

// errTooLong refuses a body that is longer than was announced, or one of unknown
// length than a segment.
var errTooLong = errors.New("the body is too long")

// buffered is a body in memory. It can be read again, so that its upload can be
// tried again.
type buffered struct {
	m      *memory
	blocks []*[block]byte
	size   int64
	pos    int64
}

// fill reads r to its end, at most most bytes, into memory.
func (m *memory) fill(ctx context.Context, r io.Reader, most int64) (*buffered, error) {
	b := &buffered{m: m}
	for {
		p, err := m.lend(ctx)
		if err != nil {
			b.release()
			return nil, err
		}
		b.blocks = append(b.blocks, p)
		n, err := readBlock(r, p[:])
		b.size += int64(n)
		switch {
		case err != nil && err != io.EOF:
		case b.size > most:
			err = errTooLong
		case err == io.EOF:
			return b, nil
		case err == nil:
			err = ctx.Err()
		}
		if err != nil {
			b.release()
			return nil, err
		}
	}
}

// readBlock fills p, or reads to the reader's end or error.
func readBlock(r io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; idle++ {
		var m int
		m, err = r.Read(p[n:])
		if n += m; m > 0 {
			idle = 0
		}
		if idle == 100 {
			return n, io.ErrNoProgress
		}
	}
	if n == len(p) && err != io.EOF {
		return n, nil // an error comes again, the end does not count as one
	}
	return n, err
}

// release gives the memory back.
func (b *buffered) release() {
	for _, p := range b.blocks {
		b.m.giveBack(p)
	}
	b.blocks = nil
}

// sum hashes the body.
func (b *buffered) sum(h hash.Hash) []byte {
	for left, i := b.size, 0; left > 0; i++ {
		n := min(left, block)
		h.Write(b.blocks[i][:n])
		left -= n
	}
	return h.Sum(nil)
}

// Read implements io.Reader.
func (b *buffered) Read(p []byte) (int, error) {
	if b.pos >= b.size {
		return 0, io.EOF
	}
	from := b.pos % block
	n := copy(p, b.blocks[b.pos/block][from:min(block, from+b.size-b.pos)])
	b.pos += int64(n)
	return n, nil
}

// Seek implements io.Seeker, as far as a request is begun anew.
func (b *buffered) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart || offset < 0 || offset > b.size {
		return 0, errors.New("seek to another place than one of the body")
	}
	b.pos = offset
	return offset, nil
}
