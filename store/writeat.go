package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"time"
)

// errThere tells that a piece by position is there already.
var errThere = errors.New("there already")

// WriteAt adds size bytes at an offset of an unfinished file whose length is
// known. Any number of calls may run at once, in any order; Finish completes the
// file. The bytes are committed, all of them, if nothing is there yet. If just
// this stretch is there already they are passed over and it is no error, so that
// a client may repeat what it is not sure of, also encrypted anew. If some of
// it is there, the bytes in the holes are committed, hole by hole; the others must
// be the same (Conflict). check, if given, is called after the body was read and
// before anything is committed; from its argument it may read the body once more.
func (s *Store) WriteAt(ctx context.Context, c Caller, ref Ref, r io.Reader, offset, size int64, check func(again io.Reader) error) (*Progress, error) {
	if err := s.permit(c, ref.appending(), nil); err != nil {
		return nil, err
	}
	f, err := s.openFileView(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	if f.file.open == nil {
		return nil, errComplete()
	}
	if err := f.file.open.fits(offset, size); err != nil {
		return nil, err
	}
	if err := s.mayHold(ctx, f.owner(), size); err != nil {
		return nil, err
	}
	content, err := s.receivePiece(ctx, f, r, offset, size)
	if err != nil {
		return nil, err
	}
	defer content.Discard()
	if check != nil {
		again := content.again(ctx)
		err := check(again)
		again.Close()
		if err != nil {
			return nil, err
		}
	}
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err = s.updateContent(commit, content, func(tx Tx) error {
		now := s.now()
		if f, err = s.openFile(tx, c, ref, now); err != nil {
			return err
		}
		if f.file.open == nil {
			return errComplete()
		}
		return s.place(tx, f, content, offset, now)
	})
	if errors.Is(err, errOverlap) {
		if err = s.fillHoles(ctx, c, ref, content, offset); err == nil {
			f, err = s.openFileView(ctx, c, ref)
		}
	}
	if err != nil && !errors.Is(err, errThere) {
		return nil, err
	}
	s.prehash(f, offset)
	return s.progress(f, 0), nil
}

// again reads what was received.
func (c *Content) again(ctx context.Context) io.ReadCloser {
	if c.inline != nil {
		return io.NopCloser(bytes.NewReader(*c.inline))
	}
	return &pieceReader{ctx: ctx, s: c.s, left: []piece{{run: c.run}}}
}

// fits refuses a stretch that cannot belong to the file.
func (u *unfinished) fits(offset, size int64) error {
	switch {
	case u.mode == inOrder:
		return Refuse(Conflict, "this upload gets its content in order")
	case u.length < 0:
		return Refuse(Conflict, "the length of this upload is not known")
	case offset < 0, size <= 0, offset > u.length-size:
		return RefuseCause(Invalid, "the bytes do not lie within the file", ErrLength)
	}
	return nil
}

// receivePiece makes a body of exactly size bytes durable, or keeps it in memory
// where it is all of a small file.
func (s *Store) receivePiece(ctx context.Context, f *found, r io.Reader, offset, size int64) (*Content, error) {
	b := &body{ctx: ctx, s: s, r: io.LimitReader(r, min(size, math.MaxInt64-1)+1), want: size, space: spaceStep}
	defer b.announce()()
	whole := offset == 0 && size == f.file.open.length && !f.file.open.part
	if whole {
		b.hash = s.newHash(nil)
	}
	c := &Content{s: s}
	var err error
	if whole && size <= s.o.Inline {
		c, err = s.receive(ctx, b)
	} else {
		err = s.receiveRun(ctx, b, c)
	}
	if err != nil {
		return nil, refusal(err)
	}
	c.crc = b.crc
	if b.hash != nil {
		c.sha = b.hash.Sum(nil)
	}
	return c, nil
}

// place puts a received content at its offset.
func (s *Store) place(tx Tx, f *found, content *Content, offset int64, now time.Time) error {
	u := f.file.open
	size := content.size
	if u.used() {
		return errComplete()
	}
	if err := u.fits(offset, size); err != nil {
		return err
	}
	if u.tail && size == u.got { // all of it is there
		return errThere
	}
	below, ok, err := pieceBelow(tx, f.fileKey, offset+size)
	switch {
	case err != nil:
		return err
	case ok && below.from == offset && below.run.size == size:
		return errThere
	case u.tail, ok && below.end() > offset:
		return errOverlap
	}
	if err := s.charge(tx, f, size); err != nil {
		return err
	}
	if offset == 0 {
		f.file.mime = typeOf(f.file.mime, f.file.name, content.head)
	}
	if u.got == 0 {
		if err := s.note(tx, now, fileEvent(FileBegun, f)); err != nil {
			return err
		}
	}
	u.mode = byPosition
	u.got += size
	f.file.touch(now, s.o.UnfinishedTTL)
	if len(content.sha) > 0 {
		f.file.sha = content.sha // until Finish
	}
	if content.inline != nil {
		u.tail, f.file.crc = true, content.crc
		if err := tx.Put(ContentRecords, f.fileKey[:], *content.inline, time.Time{}); err != nil {
			return err
		}
		return putFile(tx, f.fileKey, f.file)
	}
	if u.pieces++; u.pieces > maxPieces {
		return errPieces()
	}
	p := piece{from: offset, run: content.run, crc: content.crc}
	if err := s.refer(tx, p.run.key, f.fileKey); err != nil {
		return err
	}
	if err := p.put(tx, f.fileKey); err != nil {
		return err
	}
	return putFile(tx, f.fileKey, f.file)
}
