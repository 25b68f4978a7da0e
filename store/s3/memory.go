package s3

import (
	"bytes"
	"context"
	"errors"
	"hash"
	"io"
	"sync"
	"time"

	"fileshare/store"
)

// block is the unit of memory: a body holds what has come of it, and a little
// more.
const block = 256 << 10

// memory bounds what bodies hold. Each is promised all that it may need before
// it begins, so that none waits for memory while it holds some.
type memory struct {
	bound   int64
	timeout time.Duration

	mu       sync.Mutex
	promised int64          // guarded by mu, as the others
	freed    chan struct{}  // closed and made anew when less is promised
	used     int64          // blocks
	spare    []*[block]byte // as many as were promised and are not used, at most: garbage would need as much again
}

func newMemory(bound int64, timeout time.Duration) *memory {
	return &memory{bound: bound, timeout: timeout, freed: make(chan struct{})}
}

// take returns a block.
func (m *memory) take() *[block]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used++
	if n := len(m.spare); n > 0 {
		b := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return b
	}
	return new([block]byte)
}

// put gives a block back.
func (m *memory) put(b *[block]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used--
	m.spare = append(m.spare, b)
	m.trim()
}

// trim drops what is not spare any more. The caller holds mu.
func (m *memory) trim() {
	n := min(max(m.promised/block-m.used, 0), int64(len(m.spare)))
	clear(m.spare[n:])
	m.spare = m.spare[:n]
}

// promise grants n bytes if that many are left of so many.
func (m *memory) promise(n, of int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.promised+n > of {
		return false
	}
	m.promised += n
	return true
}

// giveBack ends a promise.
func (m *memory) giveBack(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.promised -= n
	m.trim()
	close(m.freed)
	m.freed = make(chan struct{})
}

// reserve chooses the segments of a body that has at most most bytes, 0 if that is
// not known, and promises the memory for them: long ones while much is left, short
// ones when little is, one at a time when nearly nothing is. It waits for the
// shortest, at most the timeout.
func (m *memory) reserve(ctx context.Context, longest, most int64) (store.Cut, error) {
	timer := time.NewTimer(m.timeout)
	defer timer.Stop()
	middle := max(longest/8, min(longest, 4*block))
	for {
		m.mu.Lock()
		freed := m.freed // before it is asked for
		m.mu.Unlock()
		for _, c := range []struct {
			segment int64
			atOnce  int
			of      int64
		}{
			{longest, 2, m.bound / 2}, {longest, 1, m.bound / 2}, {middle, 2, m.bound / 4 * 3}, {middle, 1, m.bound / 4 * 3}, {block, 1, m.bound},
		} {
			n := blocks(c.segment) * int64(c.atOnce)
			if most > 0 {
				n = min(n, blocks(most))
			}
			if m.promise(n, c.of) {
				return store.Cut{Segment: c.segment, AtOnce: c.atOnce, Done: func() { m.giveBack(n) }}, nil
			}
		}
		select {
		case <-freed:
		case <-timer.C:
			return store.Cut{}, errMemory
		case <-ctx.Done():
			return store.Cut{}, context.Cause(ctx)
		}
	}
}

// blocks is how much memory n bytes take.
func blocks(n int64) int64 { return (n + block - 1) / block * block }

// errTooLong refuses a body that is longer than was announced, or one of unknown
// length than a segment.
var errTooLong = errors.New("the body is too long")

// buffered is a body in memory.
type buffered struct {
	m      *memory
	blocks []*[block]byte
	size   int64
}

// fill reads r to its end, at most most bytes, into memory that was promised.
func (m *memory) fill(ctx context.Context, r io.Reader, most int64) (*buffered, error) {
	b := &buffered{m: m}
	for {
		p := m.take()
		b.blocks = append(b.blocks, p)
		n, err := readBlock(r, p[:min(block, most-b.size)])
		b.size += int64(n)
		if err == nil && b.size == most {
			var more [1]byte
			if n, err = readBlock(r, more[:]); n > 0 {
				err = errTooLong
			}
		}
		if err == io.EOF {
			return b, nil
		}
		if err == nil {
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
		b.m.put(p)
	}
	b.blocks = nil
}

// sum hashes the body.
func (b *buffered) sum(h hash.Hash) []byte {
	_, _ = io.Copy(h, b.reader()) // neither fails
	return h.Sum(nil)
}

// reader reads the body from its beginning. It must not be read after release.
func (b *buffered) reader() io.Reader {
	parts := make([]io.Reader, len(b.blocks))
	for i, p := range b.blocks {
		parts[i] = bytes.NewReader(p[:min(block, b.size-int64(i)*block)])
	}
	return io.MultiReader(parts...)
}
