package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// errOverlap refuses a piece by position of which some other bytes are there.
var errOverlap = Refuse(Conflict, "some of these bytes are there already, and are others")

// fillHoles commits of a content that was received for an offset what lies in holes,
// each hole's bytes as a piece of their own; the others must be there as they were
// received.
func (s *Store) fillHoles(ctx context.Context, c Caller, ref Ref, content *Content, offset int64) error {
	o := overlap{s: s, ctx: ctx, content: content, offset: offset, end: offset + content.size}
	err := s.view(ctx, func(tx Tx) error {
		f, err := s.openFile(tx, c, ref, s.now())
		switch {
		case err != nil:
			return err
		case f.file.open == nil:
			return errComplete()
		case f.file.open.tail: // all of it is there
			doc, err := tx.Get(ContentRecords, f.fileKey[:])
			if err == nil && int64(len(doc)) != f.file.open.got {
				err = fmt.Errorf("content of %s: %d bytes of %d: %w", f.fileKey, len(doc), f.file.open.got, fs.ErrNotExist)
			}
			if err == nil {
				o.tail = bytes.Clone(doc[o.offset:o.end])
			}
			return err
		}
		return o.find(tx, f.fileKey)
	})
	if err != nil {
		return err
	}
	if err := o.walk(discard, o.compare); err != nil {
		return err
	}
	return o.walk(func(r io.Reader, from, n int64) error {
		s.stats.bytesIn.Add(-n) // they came once
		_, err := s.WriteAt(ctx, c, ref, r, from, n, nil)
		return err
	}, func(r io.Reader, _ piece, from, n int64) error { return discard(r, from, n) })
}

// overlap is a received content together with what is there of it already.
type overlap struct {
	s           *Store
	ctx         context.Context
	content     *Content
	offset, end int64
	there       []piece // in order, each with a byte or more between offset and end
	tail        []byte  // or all of it, of a file that is a record of its own
}

// find finds what is there.
func (o *overlap) find(tx Tx, file Key) error {
	for at := o.end; ; {
		p, ok, err := pieceBelow(tx, file, at)
		if err != nil || !ok || p.end() <= o.offset {
			slices.Reverse(o.there)
			return err
		}
		o.there = append(o.there, p)
		at = p.from
	}
}

// walk reads what was received once more, and hands over the n bytes from a
// position on that are in a hole, or in a piece that is there.
func (o *overlap) walk(hole func(r io.Reader, from, n int64) error, there func(r io.Reader, p piece, from, n int64) error) error {
	r := o.content.again(o.ctx)
	defer r.Close()
	if o.tail != nil {
		return there(r, piece{}, o.offset, o.content.size)
	}
	at := o.offset
	for _, p := range append(o.there, piece{from: o.end}) {
		if n := p.from - at; n > 0 {
			if err := hole(io.LimitReader(r, n), at, n); err != nil {
				return err
			}
			at += n
		}
		if n := min(p.end(), o.end) - at; n > 0 {
			if err := there(io.LimitReader(r, n), p, at, n); err != nil {
				return err
			}
			at += n
		}
	}
	return nil
}

// compare refuses bytes that are others than those of a piece.
func (o *overlap) compare(r io.Reader, p piece, from, n int64) error {
	if o.tail != nil {
		return same(r, bytes.NewReader(o.tail))
	}
	stored := &pieceReader{ctx: o.ctx, s: o.s, left: []piece{p}}
	defer stored.Close()
	if err := discard(stored, p.from, from-p.from); err != nil {
		return err
	}
	return same(r, io.LimitReader(stored, n))
}

// same refuses when two readers differ.
func same(x, y io.Reader) error {
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(x, a)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		last := err != nil
		m, err := io.ReadFull(y, b)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		switch {
		case !bytes.Equal(a[:n], b[:m]):
			return errOverlap
		case last:
			return nil
		}
	}
}

// discard passes over n bytes.
func discard(r io.Reader, _, n int64) error {
	_, err := io.CopyN(io.Discard, r, n)
	return err
}
