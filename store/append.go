package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync/atomic"
	"time"
)

// Piece is one body of Append.
type Piece struct {
	Offset int64 // where it begins; only Progress.Offset is accepted (Conflict, OffsetError)
	Size   int64 // of the body, -1 = not known
	Length int64 // of the whole, if this request tells it, else -1
	Last   bool  // the end of the body is the end of the whole
	// Check is called after the whole body was read and before any of it is
	// committed; its error is Append's, and nothing was appended. Without it
	// stretches are committed as they come, and a body that breaks off has
	// left what arrived of it.
	Check func() error
	// Committed is told of the offset after each stretch but the last.
	Committed func(offset int64)
	// Interrupt makes a Read of the body that waits fail soon. It is called
	// when a newer request goes on with the upload, from another goroutine,
	// possibly after Append has returned.
	Interrupt func()
}

// A stretch of a body is committed when it is stretchSize long, or has taken
// stretchTime and is large enough for a piece of its own: so much may have to be
// sent again when a daemon dies.
const (
	stretchSize = 64 << 20
	stretchTime = 10 * time.Second
)

// Append adds a body at the end of an unfinished file. A writer that is still at
// work there is ended; what it had received is kept, if it was committed before.
// When the body breaks off its error is returned together with the progress
// that was made.
func (s *Store) Append(ctx context.Context, c Caller, ref Ref, r io.Reader, p Piece) (*Progress, error) {
	if err := s.permit(c, ref.appending(), nil); err != nil {
		return nil, err
	}
	f, err := s.openFileView(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	own, newest := s.writers.enter(ctx, f.fileKey, p.Interrupt)
	defer s.writers.leave(f.fileKey, own)
	if !newest {
		return nil, errSuperseded
	}
	a := &appender{s: s, caller: c, ref: ref, piece: p, body: r, writer: own}
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	// What is received is kept even if the client goes away meanwhile: its body
	// ends by itself then.
	ctx = context.WithoutCancel(ctx)
	for !a.ended {
		if err := a.stretch(ctx); err != nil {
			return nil, refusal(a.outrun(ctx, err))
		}
		if !a.ended && p.Committed != nil {
			p.Committed(a.offset)
		}
	}
	if a.broken != nil {
		return s.progress(a.found, 0), &bodyError{a.broken}
	}
	return s.progress(a.found, 0), nil
}

// appender is one Append.
type appender struct {
	s      *Store
	caller Caller
	ref    Ref
	piece  Piece
	body   io.Reader
	writer *writer

	epoch  uint64
	found  *found
	offset int64     // of the next byte
	hash   hash.Hash // of what is before it, nil = not known
	last   *piece    // the last one, if it is to be joined with what comes
	tail   bool      // what there is is a record, to be joined with what comes
	ended  bool      // the body is read to its end, or broken
	broken error     // what it broke with
}

// begin raises the epoch.
func (a *appender) begin(ctx context.Context) error {
	s := a.s
	if a.piece.Size > 0 {
		if err := s.room(a.piece.Size); err != nil {
			return err
		}
	}
	return s.update(ctx, func(tx Tx) error {
		now := s.now()
		f, err := s.unfinishedFile(tx, a.caller, a.ref, now)
		if err != nil {
			return err
		}
		u := f.file.open
		switch {
		case u.mode == byPosition:
			return Refuse(Conflict, "this upload gets its content by position")
		case a.piece.Offset != u.got:
			return errOffset(u.got)
		}
		if err := s.tell(f, a.piece.Length); err != nil {
			return err
		}
		if u.complete() { // it will be when the end of the body is seen, in commit
			u.length = -1
		}
		if n := a.piece.Size; n >= 0 {
			switch left := u.length - u.got; {
			case u.length >= 0 && (n > left || a.piece.Last && n != left):
				return errLength()
			case s.o.FileSize > 0 && n > s.o.FileSize-u.got:
				return errTooLarge(s.o.FileSize)
			}
			usage, err := getUsage(tx, f.owner())
			if err == nil {
				err = s.quota(usage, n)
			}
			if err != nil {
				return err
			}
		}
		u.mode, u.writing = inOrder, true
		u.epoch++
		f.file.touch(now, s.o.UnfinishedTTL)
		a.epoch, a.offset, a.hash, a.tail, a.last = u.epoch, u.got, s.resumeHash(u), u.tail, nil
		if u.part {
			a.hash = nil // the whole will have one
		}
		if u.pieces > 0 {
			p, ok, err := pieceBelow(tx, f.fileKey, u.got)
			if err != nil {
				return err
			}
			if ok && p.run.size < joinBelow(u.pieces) {
				a.last = &p
			}
		}
		a.found = f
		return putFile(tx, f.fileKey, f.file)
	})
}

// stretch receives and commits what comes next of the body.
func (a *appender) stretch(ctx context.Context) error {
	u := a.found.file.open
	in := &inflow{r: a.body, room: -1, strict: a.piece.Check != nil, least: joinBelow(u.pieces), begin: time.Now(), done: &a.writer.settling}
	in.done.Store(false)
	if length := max(u.length, a.piece.Length); length >= 0 {
		in.room, in.over = length-a.offset, errLength()
	}
	if most := a.s.o.FileSize; most > 0 && (in.room < 0 || most-a.offset < in.room) {
		in.room, in.over = most-a.offset, errTooLarge(most)
	}
	content, prefix, err := a.receive(ctx, in)
	if err != nil {
		return err
	}
	defer content.Discard()
	a.ended, a.broken = in.ended, in.broken
	if a.ended && a.broken == nil && a.piece.Check != nil {
		if err := a.piece.Check(); err != nil {
			return err
		}
	}
	return a.commit(ctx, content, prefix, in.n)
}

// outrun explains why something stored is not there any more: somebody else has
// gone on with the file, or ended it.
func (a *appender) outrun(ctx context.Context, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	because := a.s.view(ctx, func(tx Tx) error {
		f, err := a.s.unfinishedFile(tx, a.caller, a.ref, a.s.now())
		if err == nil && f.file.open.epoch != a.epoch {
			err = errSuperseded
		}
		return err
	})
	if because != nil {
		return because
	}
	return err
}

// prefix is what is written again together with what comes, and how much that is.
func (a *appender) prefix(ctx context.Context) (*pieceReader, io.Reader, int64, error) {
	stored := &pieceReader{ctx: ctx, s: a.s}
	switch {
	case a.last != nil:
		stored.left = []piece{*a.last}
		return stored, stored, a.last.run.size, nil
	case !a.tail:
		return stored, stored, 0, nil
	}
	var doc []byte
	err := a.s.view(ctx, func(tx Tx) error {
		d, err := tx.Get(ContentRecords, a.found.fileKey[:])
		doc = bytes.Clone(d)
		return err
	})
	if err == nil && int64(len(doc)) != a.offset {
		err = fmt.Errorf("content of %s: %d bytes of %d: %w", a.found.fileKey, len(doc), a.offset, fs.ErrNotExist)
	}
	return stored, bytes.NewReader(doc), int64(len(doc)), err
}

// receive makes a stretch durable, behind a prefix that was there, or keeps them
// in memory where they are all there is and little. It returns nil if the stretch
// is empty.
func (a *appender) receive(ctx context.Context, in *inflow) (c *Content, prefix int64, err error) {
	// Nothing is written for nothing.
	first := make([]byte, 512)
	n, err := in.Read(first)
	for n == 0 && err == nil {
		n, err = in.Read(first)
	}
	if err != nil && err != io.EOF {
		return nil, 0, &bodyError{err}
	}
	if n == 0 {
		return nil, 0, nil
	}
	stored, before, prefix, err := a.prefix(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer stored.Close()
	b := &body{ctx: ctx, s: a.s, r: io.MultiReader(before, bytes.NewReader(first[:n]), in), want: -1, space: spaceStep}
	if a.piece.Size >= 0 {
		b.most = prefix + a.piece.Size
	}
	if a.hash != nil {
		b.hash = &skipHash{a.hash, prefix}
	}
	c = &Content{s: a.s}
	u := a.found.file.open
	if u.pieces == 0 && !u.part && b.most <= a.s.o.Inline {
		c, err = a.s.receive(ctx, b)
	} else {
		err = a.s.receiveRun(ctx, b, c)
	}
	a.s.stats.bytesIn.Add(-prefix)
	c.crc = b.crc
	return c, prefix, err
}

// commit appends what was received: n bytes behind a prefix that was there.
func (a *appender) commit(ctx context.Context, content *Content, prefix, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	s := a.s
	complete := false
	work := func(tx Tx) error {
		now := s.now()
		f, err := s.unfinishedFile(tx, a.caller, a.ref, now)
		if err != nil {
			return err
		}
		u := f.file.open
		if u.epoch != a.epoch || u.got != a.offset {
			return errSuperseded
		}
		if err := s.tell(f, a.piece.Length); err != nil {
			return err
		}
		if u.length >= 0 && n > u.length-u.got { // it was told meanwhile
			return errLength()
		}
		u.writing = !a.ended
		var added *piece
		if content != nil {
			if err := s.charge(tx, f, n); err != nil {
				return err
			}
			if u.got == 0 {
				f.file.mime = typeOf(f.file.mime, f.file.name, content.head)
			}
			if added, err = a.keep(tx, f, content, prefix, now); err != nil {
				return err
			}
			u.got += n
			u.keepHash(a.hash)
			f.file.touch(now, s.o.UnfinishedTTL)
		}
		if a.ended && a.broken == nil && a.piece.Last {
			if err := s.tell(f, u.got); err != nil {
				return err
			}
			if !u.complete() {
				return errLength()
			}
		}
		a.found = f
		if complete = u.complete(); !complete {
			return putFile(tx, f.fileKey, f.file)
		}
		all, err := pieces(tx, f.fileKey)
		if err != nil {
			return err
		}
		if added != nil {
			if i := len(all) - 1; i >= 0 && all[i].from == added.from {
				all = all[:i]
			}
			all = append(all, *added)
		}
		return s.finish(tx, f, all, sumOf(a.hash), now)
	}
	var err error
	if content == nil {
		err = s.update(ctx, work)
	} else {
		err = s.updateContent(ctx, content, work)
	}
	if err != nil {
		return err
	}
	a.offset += n
	if content != nil {
		a.tail, a.last = content.inline != nil, nil
	}
	a.ended = a.ended || complete
	return nil
}

// commitTimeout bounds an Update whose client may be gone.
const commitTimeout = 30 * time.Second

// keep puts a received content in the place of what it was joined with.
func (a *appender) keep(tx Tx, f *found, content *Content, prefix int64, now time.Time) (*piece, error) {
	u := f.file.open
	if content.inline != nil {
		u.tail, f.file.crc = true, content.crc
		return nil, tx.Put(ContentRecords, f.fileKey[:], *content.inline, time.Time{})
	}
	if u.tail {
		u.tail = false
		if err := tx.Delete(ContentRecords, f.fileKey[:]); err != nil {
			return nil, err
		}
	}
	if a.last != nil {
		if err := a.s.discardRun(tx, a.last.run, now); err != nil {
			return nil, err
		}
		u.pieces--
	}
	if u.pieces++; u.pieces > maxPieces {
		return nil, errPieces()
	}
	p := &piece{from: a.offset - prefix, run: content.run, crc: content.crc}
	if err := a.s.refer(tx, p.run.key, f.fileKey); err != nil {
		return nil, err
	}
	return p, p.put(tx, f.fileKey)
}

// inflow is what is read of a body until it is committed.
type inflow struct {
	r      io.Reader
	room   int64 // bytes that may come, -1 = any number
	over   error // what more than that are refused with
	strict bool  // all of the body, or nothing
	least  int64 // bytes of a stretch that is committed because of its time
	begin  time.Time
	done   *atomic.Bool // set when no more will be read of this stretch

	n      int64
	ended  bool  // the body is at its end, or broken
	broken error // what it broke with; not if strict
}

func (s *inflow) Read(p []byte) (int, error) {
	if s.done.Load() || !s.strict && (s.n >= stretchSize || s.n >= s.least && time.Since(s.begin) > stretchTime) {
		s.done.Store(true)
		return 0, io.EOF
	}
	most := int64(len(p))
	if !s.strict {
		most = min(most, stretchSize-s.n)
	}
	if left := s.room - s.n; s.room >= 0 && left < most {
		most = left + 1 // one more tells whether there are more
	}
	n, err := s.r.Read(p[:most])
	s.n += int64(n)
	switch {
	case s.room >= 0 && s.n > s.room:
		return 0, s.over
	case err == nil:
		return n, nil
	case err != io.EOF && s.strict:
		return n, err
	case err != io.EOF:
		s.broken = err
	}
	s.ended = true
	s.done.Store(true)
	return n, io.EOF
}
