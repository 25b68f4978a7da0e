package store

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"
)

// errThere tells that a piece by position is there already.
var errThere = errors.New("there already")

// WriteAt adds size bytes at an offset of an unfinished file whose length is
// known. Any number of calls may run at once, in any order; Finish completes the
// file. The bytes are committed, all of them, if nothing is there yet. If just
// this stretch is there already they are passed over and it is no error, so that
// a client may repeat what it is not sure of; any other overlap is refused
// (Conflict). check, if given, is called after the body was read and before
// anything is committed.
func (s *Store) WriteAt(ctx context.Context, c Caller, ref Ref, r io.Reader, offset, size int64, check func() error) (*Progress, error) {
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
	content, err := s.receivePiece(ctx, f, r, offset, size)
	if err != nil {
		return nil, err
	}
	defer content.Discard()
	if check != nil {
		if err := check(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err = s.updateContent(ctx, content, func(tx Tx) error {
		now := s.now()
		if f, err = s.openFile(tx, c, ref, now); err != nil {
			return err
		}
		if f.file.open == nil {
			return errComplete()
		}
		return s.place(tx, f, content, offset, now)
	})
	if err != nil && !errors.Is(err, errThere) {
		return nil, err
	}
	return s.progress(f, 0), nil
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
	if err := s.room(size); err != nil {
		return nil, err
	}
	s.incoming.Add(size)
	b := &body{ctx: ctx, s: s, r: r, want: size, space: spaceStep}
	defer func() { s.incoming.Add(-max(size-b.n, 0)) }()
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
	if err := u.fits(offset, size); err != nil {
		return err
	}
	if u.tail { // all of it is there
		return errThere
	}
	below, ok, err := pieceBelow(tx, f.fileKey, offset+size)
	switch {
	case err != nil:
		return err
	case ok && below.from == offset && below.run.size == size:
		return errThere
	case ok && below.end() > offset:
		return Refuse(Conflict, "some of these bytes are there already")
	}
	if err := s.charge(tx, f, size); err != nil {
		return err
	}
	if offset == 0 {
		f.file.mime = typeOf(f.file.mime, f.file.name, content.head)
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
		return Refuse(TooLarge, fmt.Sprintf("too many pieces: at most %d, larger ones are needed", maxPieces))
	}
	p := piece{from: offset, run: content.run, crc: content.crc}
	if err := tx.Put(IndexRecords, runID(p.run.key), f.fileKey[:], time.Time{}); err != nil {
		return err
	}
	if err := p.put(tx, f.fileKey); err != nil {
		return err
	}
	return putFile(tx, f.fileKey, f.file)
}

// Finish completes a file that got its content by position: it refuses
// (Conflict) while bytes are missing. Its digest is computed by reading it once
// more, up to 4 GiB; a larger one has none. A complete file is returned as it is.
func (s *Store) Finish(ctx context.Context, c Caller, ref Ref) (*File, error) {
	if err := s.permit(c, ref.appending(), nil); err != nil {
		return nil, err
	}
	f, err := s.openFileView(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	if f.file.open == nil {
		return s.File(ctx, c, ref)
	}
	var all []piece
	err = s.view(ctx, func(tx Tx) error {
		all, err = pieces(tx, f.fileKey)
		return err
	})
	if err != nil {
		return nil, err
	}
	known := hash.Hash(knownSum(f.file.sha))
	if len(f.file.sha) == 0 {
		if known, err = s.rehash(ctx, all); err != nil {
			return nil, err
		}
	}
	err = s.update(ctx, func(tx Tx) error {
		now := s.now()
		if f, err = s.openFile(tx, c, ref, now); err != nil || f.file.open == nil {
			return err
		}
		u := f.file.open
		if !u.complete() || u.mode == inOrder {
			return Refuse(Conflict, fmt.Sprintf("%d bytes are missing", max(u.length, 0)-u.got))
		}
		all, err := pieces(tx, f.fileKey)
		if err != nil {
			return err
		}
		return s.finish(tx, f, all, known, now)
	})
	if err != nil {
		return nil, err
	}
	return s.render(f, 0), nil
}

// rehash reads what is in the blobs for its SHA-256; nil where there should be
// none, or where it would take too long.
func (s *Store) rehash(ctx context.Context, all []piece) (hash.Hash, error) {
	h := s.newHash(nil)
	var total int64
	for _, p := range all {
		total += p.run.size
	}
	if h == nil || total > maxRehash {
		return nil, nil
	}
	for _, p := range all {
		d := &Download{s: s, file: &File{Size: p.run.size}, runs: []run{p.run}}
		_, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{d}, make([]byte, 256<<10))
		d.closePart()
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("read content: %w", err)
		}
	}
	return h, nil
}

// knownSum is a digest that is known already.
type knownSum []byte

func (k knownSum) Sum(b []byte) []byte       { return append(b, k...) }
func (k knownSum) Write([]byte) (int, error) { return 0, errors.New("the digest is known") }
func (k knownSum) Reset()                    {}
func (k knownSum) Size() int                 { return len(k) }
func (k knownSum) BlockSize() int            { return crc32.Size }
