package bolt

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
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
	coll int
	id   []byte
	ptr  pointer
}

// Compact rewrites segments of the log of which less than half is alive, in
// small Updates, until none is left or ctx ends. Calls wait for each other.
func (db *DB) Compact(ctx context.Context) (CompactResult, error) {
	var res CompactResult
	db.closing.Lock()
	defer db.closing.Unlock()
	if err := db.checkpoint(ctx); err != nil {
		return res, err
	}
	table := db.tables.acquire()
	defer table.release()
	var todo []*segment
	var freed int64
	for n, s := range table.segments {
		if u := db.usage(n); s.end.Load() != 0 && 0 < u.live && u.live < u.end/2 {
			todo = append(todo, s)
			freed += u.end
		}
	}
	if len(todo) == 0 {
		return res, nil
	}
	slices.SortFunc(todo, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	for _, s := range todo {
		moved, err := db.compactSegment(ctx, s)
		res.Moved += moved
		if err != nil {
			return res, fmt.Errorf("compact segment %s: %w", db.logName(s.number), err)
		}
	}
	if err := db.checkpoint(ctx); err != nil { // unlinks them
		return res, err
	}
	for _, s := range todo {
		if u := db.usage(s.number); u.live != 0 {
			return res, fmt.Errorf("log segment %s: %w: %d bytes said to live were not found", db.logName(s.number), ErrDamaged, u.live)
		}
	}
	res.Segments, res.Freed = len(todo), freed
	return res, nil
}

// compactSegment walks the heads of a segment that the tree has as a whole.
// Dead documents in it may be holes.
func (db *DB) compactSegment(ctx context.Context, s *segment) (moved int64, err error) {
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
	err = walkSegment(s, func(h opHead, name, id []byte, at int64) error {
		c := candidate{id: bytes.Clone(id), ptr: pointer{segment: s.number, offset: uint32(at), length: h.doc}}
		var ok bool
		if c.coll, ok = db.index[store.Collection(name)]; !ok || h.flags&flagDelete != 0 {
			return nil
		}
		live := false
		if err := db.View(ctx, func(tx store.Tx) (err error) {
			live, _, err = tx.(*reader).pointsTo(c)
			return err
		}); err != nil || !live {
			return err
		}
		batch, size = append(batch, c), size+int(h.doc)
		if size >= compactBytes || len(batch) >= compactRecords {
			return move()
		}
		return nil
	})
	if err == nil {
		err = move()
	}
	return moved, err
}

// walkSegment calls fn with every operation and the place of its document.
func walkSegment(s *segment, fn func(h opHead, coll, id []byte, at int64) error) error {
	end := s.end.Load()
	buf := make([]byte, 2*maxID)
	read := func(off int64, n int) ([]byte, error) {
		if off+int64(n) > end {
			return nil, fmt.Errorf("at %d: %w: cut off", off, ErrDamaged)
		}
		if _, err := s.file.ReadAt(buf[:n], off); err != nil {
			return nil, fmt.Errorf("at %d: %w", off, err)
		}
		return buf[:n], nil
	}
	begin, err := nextNonZero(s.file, segmentHeader, end)
	if err != nil {
		return err
	}
	for off := begin; off < end; {
		b, err := read(off, batchHeader)
		if err != nil {
			return err
		}
		batch, err := parseBatchHead(b)
		if err != nil {
			return fmt.Errorf("at %d: %w: %w", off, ErrDamaged, err)
		}
		off += batchHeader
		for range batch.ops {
			if b, err = read(off, opHeader); err != nil {
				return err
			}
			h, err := parseOpHead(b)
			if err != nil {
				return fmt.Errorf("at %d: %w: %w", off, ErrDamaged, err)
			}
			names := h.coll + h.id
			if b, err = read(off+opHeader, names); err != nil {
				return err
			}
			if err := fn(h, b[:h.coll], b[h.coll:], off+opHeader+int64(names)); err != nil {
				return err
			}
			off += h.size()
		}
	}
	return nil
}

// nextNonZero returns the place of the first byte that is not zero: batches are
// punched out of a segment from its beginning on.
func nextNonZero(f *os.File, off, end int64) (int64, error) {
	b := make([]byte, 64<<10)
	for off < end {
		n, err := f.ReadAt(b[:min(int64(len(b)), end-off)], off)
		if err != nil {
			return 0, fmt.Errorf("at %d: %w", off, err)
		}
		rest := bytes.TrimLeft(b[:n], "\x00")
		off += int64(n - len(rest))
		if len(rest) > 0 {
			break
		}
	}
	return off, nil
}

// pointsTo reports whether the document is still the one in the log.
func (r *reader) pointsTo(c candidate) (bool, stored, error) {
	s, ok, err := r.lookup(c.coll, c.id)
	return ok && s.inLog && s.ptr == c.ptr, s, err
}

// moveLive appends again what still lives, with the due time it has.
func (db *DB) moveLive(ctx context.Context, batch []candidate) (moved int64, err error) {
	err = db.Update(ctx, func(tx store.Tx) error {
		t := tx.(*writeTx)
		moved = 0
		for _, c := range batch {
			live, s, err := t.pointsTo(c)
			if err != nil {
				return err
			}
			if !live {
				continue // changed since we looked
			}
			doc, err := t.document(c.coll, c.id, &s)
			if err != nil {
				return err
			}
			t.put(c.coll, c.id, doc, s.due, s.hasDue)
			moved += int64(len(doc))
		}
		return nil
	})
	if err != nil {
		moved = 0
	}
	return moved, err
}
