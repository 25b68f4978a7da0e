package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"fileshare/store"
)

// CompactResult is what one Compact did.
type CompactResult struct {
	Segments int   // rewritten
	Moved    int64 // bytes of live documents that were appended again
	Freed    int64 // bytes of the files that are gone
}

// A step of Compact holds up other Updates: it is kept small.
const (
	compactBytes   = 1 << 20
	compactRecords = 256
)

// candidate is a document that may still live in the segment.
type candidate struct {
	in  store.Collection
	id  []byte
	doc []byte
	ptr pointer
}

// Compact rewrites closed segments of the value log of which less than half is
// alive, in small Updates, until none is left or ctx ends. Calls wait for each
// other.
func (db *DB) Compact(ctx context.Context) (CompactResult, error) {
	var res CompactResult
	db.closing.Lock()
	defer db.closing.Unlock()
	var todo []uint32
	var known map[uint32]usage
	// The books belong to the committer: look at them in its goroutine.
	err := db.Update(ctx, func(store.Tx) error {
		l := db.log
		todo, known = nil, maps.Clone(l.known)
		for n, u := range known {
			if (l.active == nil || n != l.active.number) && 2*u.live < u.end {
				todo = append(todo, n)
			}
		}
		return nil
	})
	if err != nil {
		return res, err
	}
	slices.Sort(todo)
	for _, n := range todo {
		moved, err := db.compactSegment(ctx, n, known[n])
		res.Moved += moved
		if err != nil {
			return res, fmt.Errorf("compact segment %s: %w", db.log.name(n), err)
		}
		res.Segments++
		res.Freed += known[n].end
	}
	return res, nil
}

func (db *DB) compactSegment(ctx context.Context, n uint32, u usage) (moved int64, err error) {
	table := db.log.acquire()
	defer table.release()
	s := table.segments[n]
	if s == nil {
		return 0, nil // died meanwhile
	}
	var batch []candidate
	size := 0
	move := func() error {
		if len(batch) == 0 {
			return nil
		}
		n, err := db.moveLive(ctx, batch)
		moved += n
		batch, size = batch[:0], 0
		return err
	}
	for off := int64(0); off < u.end; {
		c, n, err := readCandidate(s, off, u.end)
		if err != nil {
			return moved, fmt.Errorf("at %d: %w", off, err)
		}
		off += n
		live := false
		if err := db.View(ctx, func(tx store.Tx) error {
			live, err = tx.(*reader).pointsTo(c)
			return err
		}); err != nil {
			return moved, err
		}
		if !live {
			continue
		}
		batch, size = append(batch, c), size+len(c.doc)
		if size >= compactBytes || len(batch) >= compactRecords {
			if err := move(); err != nil {
				return moved, err
			}
		}
	}
	if err := move(); err != nil {
		return moved, err
	}
	return moved, db.dropDead(ctx, n)
}

// readCandidate reads and verifies the record at off. n is its length.
func readCandidate(s *segment, off, end int64) (c candidate, n int64, err error) {
	head := make([]byte, min(recordHeader, end-off))
	if _, err := s.file.ReadAt(head, off); err != nil && !errors.Is(err, io.EOF) {
		return c, 0, err
	}
	h, err := parseHeader(head)
	if err == nil && h.size() > end-off {
		err = errors.New("record beyond the end")
	}
	if err != nil {
		return c, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	b := make([]byte, h.size())
	if _, err := s.file.ReadAt(b, off); err != nil {
		return c, 0, err
	}
	c.in = store.Collection(b[recordHeader:][:h.coll])
	c.id = b[recordHeader+h.coll:][:h.id]
	c.ptr = pointer{segment: s.number, offset: uint32(off), length: h.doc, crc: h.crc}
	if c.doc, err = parseRecord(b, c.in, c.id, h.crc); err != nil {
		return c, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return c, h.size(), nil
}

// pointsTo reports whether the tree has this very record.
func (r *reader) pointsTo(c candidate) (bool, error) {
	s, err := r.storedAt(c)
	return s.inLog && s.ptr == c.ptr, err
}

func (r *reader) storedAt(c candidate) (stored, error) {
	coll, err := r.collection(c.in)
	if err != nil {
		return stored{}, err
	}
	v, err := r.raw(coll, c.id)
	if v == nil || err != nil {
		return stored{}, err
	}
	s, err := decode(v)
	if err != nil {
		return stored{}, r.db.damaged(err)
	}
	return s, nil
}

// moveLive appends again what still lives, with the due time it has.
func (db *DB) moveLive(ctx context.Context, batch []candidate) (moved int64, err error) {
	err = db.Update(ctx, func(tx store.Tx) error {
		t := tx.(*writeTx)
		moved = 0
		for _, c := range batch {
			s, err := t.storedAt(c)
			if err != nil {
				return err
			}
			if !s.inLog || s.ptr != c.ptr {
				continue // changed since we looked
			}
			coll, err := t.collection(c.in)
			if err != nil {
				return err
			}
			if err := t.put(coll, c.id, c.doc, s.due, s.hasDue); err != nil {
				return err
			}
			moved += int64(len(c.doc))
		}
		return nil
	})
	if err != nil {
		moved = 0
	}
	return moved, err
}

// dropDead makes sure that the books have no life left in the segment, and
// that they are looked at by a commit.
func (db *DB) dropDead(ctx context.Context, n uint32) error {
	return db.Update(ctx, func(tx store.Tx) error {
		u, ok := db.log.known[n]
		if !ok {
			return nil
		}
		if u.live != 0 {
			return fmt.Errorf("%w: %d bytes said to live were not found", ErrDamaged, u.live)
		}
		db.log.changed[n] = true
		tx.(*writeTx).g.wrote = true
		return nil
	})
}
