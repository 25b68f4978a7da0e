package store

import (
	"sync"
	"sync/atomic"
)

// The sizes of the pieces in which large bodies travel.
const (
	smallPiece = 16 << 10
	largePiece = 1 << 20
	// maxLarge bounds the large rings in use, and so the memory of uploads
	// (three pieces each); further and slow bodies travel in small pieces.
	maxLarge = 8
	ringSize = 3 // one is filled, one is written, one is hashed
)

// Small contents wait in memory for their record. Up to freeInline bytes anyone
// may; of larger ones maxHeld may wait at a time, further ones go to the blobs.
const (
	freeInline = 16 << 10
	maxHeld    = 64
)

// ring is a set of equal buffers.
type ring [ringSize][]byte

// buffers lends rings and the buffers of small contents.
type buffers struct {
	small, large, inline sync.Pool
	grants               chan struct{} // one for each large ring in use
	held                 atomic.Int64  // small contents above freeInline in memory
}

// hold takes a place for a small content above freeInline; drop gives it back.
func (b *buffers) hold() bool {
	if b.held.Add(1) <= maxHeld {
		return true
	}
	b.held.Add(-1)
	return false
}

func (b *buffers) drop(held *bool) {
	if *held {
		*held = false
		b.held.Add(-1)
	}
}

func newBuffers() *buffers {
	b := &buffers{grants: make(chan struct{}, maxLarge)}
	b.small.New = func() any { return newRing(smallPiece) }
	b.large.New = func() any { return newRing(largePiece) }
	b.inline.New = func() any { return new([]byte) }
	return b
}

func newRing(size int) *ring {
	r := new(ring)
	for i := range r {
		r[i] = make([]byte, size)
	}
	return r
}

// tryLarge lends a large ring, nil if all that may be are in use.
func (b *buffers) tryLarge() *ring {
	select {
	case b.grants <- struct{}{}:
		return b.large.Get().(*ring)
	default:
		return nil
	}
}

// put takes a ring back.
func (b *buffers) put(r *ring) {
	if len(r[0]) == largePiece {
		b.large.Put(r)
		<-b.grants
		return
	}
	b.small.Put(r)
}
