package bolt

import (
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// segment is one open file of the log. Its descriptor lives as long as a table
// refers to it: a reader of an old snapshot can read what is unlinked.
type segment struct {
	number uint32
	file   *os.File
	nonce  uint64
	end    atomic.Int64 // behind the last batch; 0 while it may grow
	refs   atomic.Int64 // tables
}

// segmentTable is an immutable set of segments, referred to by every View that
// began under it and, while it is the current one, by the log. One that has
// been replaced refers to its successor, so that it ends before that one: at
// its end no reader is left that began before the replacement.
type segmentTable struct {
	segments map[uint32]*segment
	refs     atomic.Int64
	next     *segmentTable
	dead     []pointer // documents of which later tables know nothing
	holes    *holes
}

func newTable(segments map[uint32]*segment, h *holes) *segmentTable {
	t := &segmentTable{segments: segments, holes: h}
	t.refs.Store(1)
	for _, s := range segments {
		s.refs.Add(1)
	}
	return t
}

func (t *segmentTable) release() {
	for t != nil && t.refs.Add(-1) == 0 {
		t.holes.add(t.dead)
		for _, s := range t.segments {
			if s.refs.Add(-1) == 0 {
				s.file.Close() // only read from by now: nothing can be lost
			}
		}
		t = t.next
	}
}

// tables holds the current table.
type tables struct {
	mu      sync.Mutex // of those that replace it
	current atomic.Pointer[segmentTable]
	holes   holes
}

// acquire returns the current table with a reference to it.
func (t *tables) acquire() *segmentTable {
	for {
		c := t.current.Load()
		n := c.refs.Load()
		if n > 0 && c.refs.CompareAndSwap(n, n+1) {
			return c
		}
	}
}

// change replaces the current table by a changed one. dead is what only
// readers that began before may still read.
func (t *tables) change(dead []pointer, fn func(map[uint32]*segment)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.current.Load()
	segments := maps.Clone(old.segments)
	fn(segments)
	next := newTable(segments, &t.holes)
	old.dead = dead
	old.next = next
	next.refs.Add(1)
	t.current.Store(next)
	old.release()
}

// holes are the places of dead documents that nobody reads any more.
type holes struct {
	mu   sync.Mutex
	list []pointer
}

func (h *holes) add(list []pointer) {
	if len(list) == 0 {
		return
	}
	h.mu.Lock()
	h.list = append(h.list, list...)
	h.mu.Unlock()
}

func (h *holes) take() (list []pointer) {
	h.mu.Lock()
	list, h.list = h.list, nil
	h.mu.Unlock()
	return list
}

const (
	fallocKeepSize  = 1 // FALLOC_FL_KEEP_SIZE
	fallocPunchHole = 2 // FALLOC_FL_PUNCH_HOLE
	blockSize       = 4096
)

// punch gives the blocks of a dead document back. The heads around it stay for
// Compact. Best effort: not every file system can.
func (s *segment) punch(p pointer) {
	if p.offset == segmentHeader { // all batches up to one, which Compact finds behind zeros
		_ = syscall.Fallocate(int(s.file.Fd()), fallocPunchHole|fallocKeepSize, segmentHeader, int64(p.length))
		return
	}
	from := (int64(p.offset) + blockSize - 1) &^ (blockSize - 1)
	to := (int64(p.offset) + int64(p.length)) &^ (blockSize - 1)
	if to > from {
		_ = syscall.Fallocate(int(s.file.Fd()), fallocPunchHole|fallocKeepSize, from, to-from)
	}
}
