package store

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// An unfinished file is one whose content arrives in several requests: in
// order (Append), or by position (WriteAt). What of it is durable is told by
// its record alone:
//
//   - Beginning to append raises the epoch in the record, and what is appended is
//     committed under that epoch or not at all. The newest writer wins at once,
//     without a lock: one that hangs is too old when it comes back.
//   - A piece is committed in the Update that checks the offset it belongs to. Of
//     a piece by position the bytes that lie in holes are committed.
//   - In order, a small last piece is written again together with what comes after
//     it (see joinBelow); by position, small neighbours are joined when the file
//     is complete. So many small requests do not become many small blobs.

// Bounds of unfinished files.
const (
	minPiece  = 1 << 20 // pieces are joined until they are so large
	mostPiece = 16 << 20
	maxPieces = 20_000
)

// How an unfinished file gets its content.
const (
	undecided uint8 = iota
	inOrder
	byPosition
)

// Begin describes a content that arrives in several requests.
type Begin struct {
	Length int64 // bytes of the whole, -1 = not known yet
	// Part makes a part for Concat: it is in no list and cannot be downloaded.
	Part bool
	// SHA256 is the digest that the whole must have (Mismatch refuses its last
	// bytes), nil if the client told none. Contents by position are not checked.
	SHA256 []byte
	// Wait is how long the file is kept after its last byte while it is
	// unfinished; default Options.UnfinishedTTL. A session's file ends with that.
	Wait time.Duration
}

// Progress is what a client must know to go on.
type Progress struct {
	File    *File     // StateUploading, or StateUploaded once it is complete
	Offset  int64     // bytes that are durable, from the beginning without a hole
	Length  int64     // of the whole, -1 = not known yet
	Part    bool      // a part for Concat: complete when Offset is Length
	Expires time.Time // when an unfinished file is given up; else when the file ends
}

// Complete tells whether all of the content is there.
func (p *Progress) Complete() bool { return p.Offset == p.Length }

// OffsetError is the cause of a refusal (Conflict) of bytes for another offset
// than the one that is next. [errors.As] finds it.
type OffsetError struct{ Offset int64 }

func (e *OffsetError) Error() string {
	return fmt.Sprintf("the next byte is that at offset %d", e.Offset)
}

// Causes of refusals (Conflict) that [errors.Is] finds.
var (
	ErrComplete = errors.New("the content is complete")
	ErrLength   = errors.New("the length contradicts what is known")
	ErrChanged  = errors.New("changed meanwhile") // see [SessionSpec]
)

func errComplete() *Error {
	return RefuseCause(Conflict, "the upload is complete", ErrComplete)
}

func errLength() *Error {
	return RefuseCause(Conflict, "the length contradicts what was said or sent before", ErrLength)
}

func errOffset(n int64) *Error {
	return RefuseCause(Conflict, fmt.Sprintf("the upload goes on at offset %d", n), &OffsetError{n})
}

func errPieces() *Error {
	return Refuse(TooLarge, fmt.Sprintf("too many pieces: at most %d, larger ones are needed", maxPieces))
}

var errSuperseded = Refuse(Conflict, "another request goes on with this upload")

// BeginUpload makes an unfinished upload. A length of 0 completes it at once.
// Its TTL begins when it is complete; until then it is given up
// Options.UnfinishedTTL after its last byte.
func (s *Store) BeginUpload(ctx context.Context, c Caller, spec FileSpec, b Begin) (*Progress, error) {
	if err := s.permit(c, toUpload, nil); err != nil {
		return nil, err
	}
	if err := s.mayHold(ctx, c.Name, max(b.Length, 0)); err != nil {
		return nil, err
	}
	now := s.now()
	f := &found{fileKey: newKey(now), file: &fileRec{owner: c.Name, ttl: s.o.UploadTTL, created: now}}
	if err := f.file.apply(spec, now, s.o.MaxUploadTTL); err != nil {
		return nil, err
	}
	if f.file.size = 0; !b.Part { // a part is nothing by itself
		f.file.sequence = spec.Sequence
	}
	err := s.update(ctx, func(tx Tx) error {
		if err := number(tx, f.file.sequence, &f.file.number, f.fileKey); err != nil {
			return err
		}
		if err := s.begin(tx, f, b, now); err != nil {
			return err
		}
		return s.index(tx, f)
	})
	if err != nil {
		return nil, err
	}
	return s.progress(f, 0), nil
}

// BeginFile makes a session's file without content an unfinished one; spec is as
// of StoreFile.
func (s *Store) BeginFile(ctx context.Context, c Caller, ref Ref, spec FileSpec, b Begin) (*Progress, error) {
	if err := s.MayStore(ctx, c, ref, max(b.Length, 0)); err != nil {
		return nil, err
	}
	b.Part = false
	var f *found
	err := s.update(ctx, func(tx Tx) error {
		var err error
		if f, err = s.storable(tx, c, ref); err != nil {
			return err
		}
		now := s.now()
		if _, err := s.fill(tx, f, spec, now); err != nil {
			return err
		}
		return s.begin(tx, f, b, now)
	})
	if err != nil {
		return nil, err
	}
	return s.progress(f, 0), nil
}

// begin makes a file unfinished and writes its record.
func (s *Store) begin(tx Tx, f *found, b Begin, now time.Time) error {
	f.file.open = &unfinished{length: max(b.Length, -1), part: b.Part, want: b.SHA256, wait: max(b.Wait, 0)}
	f.file.touch(now, s.o.UnfinishedTTL)
	if err := f.claim(tx, 0, max(b.Length, -1)); err != nil {
		return err
	}
	if b.Length == 0 {
		return s.finish(tx, f, nil, nil, now)
	}
	return putFile(tx, f.fileKey, f.file)
}

// touch notes that an unfinished file goes on; wait is how long one is kept that
// does not say.
func (f *fileRec) touch(now time.Time, wait time.Duration) {
	f.updated, f.expires = now, now.Add(cmp.Or(f.open.wait, wait))
}

// openFile finds a file whose content the caller may add to, or has added.
func (s *Store) openFile(tx Tx, c Caller, ref Ref, now time.Time) (*found, error) {
	f, err := s.find(tx, Ref{Session: ref.Session, File: ref.File}, now)
	if err != nil {
		return nil, err
	}
	a := f.action()
	if f.session == nil {
		a = toAppend
	}
	w, err := s.whoseFile(tx, c, f)
	if err != nil {
		return nil, err
	}
	if err := s.permit(c, a, w); err != nil {
		return nil, err
	}
	if f.file.open == nil && !f.file.stored {
		return nil, Refuse(Conflict, "no upload has begun")
	}
	return f, nil
}

// unfinishedFile is openFile for one that is not complete.
func (s *Store) unfinishedFile(tx Tx, c Caller, ref Ref, now time.Time) (*found, error) {
	f, err := s.openFile(tx, c, ref, now)
	if err == nil && (f.file.stored || f.file.open.complete()) {
		return nil, errComplete()
	}
	return f, err
}

// progress makes the public form of how far a file is, of a file that has been
// downloaded so often.
func (s *Store) progress(f *found, downloads int64) *Progress {
	p := &Progress{File: s.render(f, downloads), Offset: f.file.size, Length: f.file.size, Expires: f.expires()}
	if u := f.file.open; u != nil {
		p.Offset, p.Length, p.Part = u.got, u.length, u.part
	}
	return p
}

// Progress tells how far a file is. A writer that is at work on it is ended, so
// that the offset stays true until the caller goes on; what that writer had
// received by then is kept. (Downloads of a complete file are not told.)
func (s *Store) Progress(ctx context.Context, c Caller, ref Ref) (p *Progress, err error) {
	if err := s.permit(c, ref.appending(), nil); err != nil {
		return nil, err
	}
	f, err := s.openFileView(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	if f.file.open != nil && f.file.open.mode != byPosition {
		s.writers.at(f.fileKey).end(ctx)
		if f, err = s.openFileView(ctx, c, ref); err != nil {
			return nil, err
		}
	}
	if u := f.file.open; u != nil && u.writing {
		// It is on another node, or died: its epoch is over.
		err = s.update(ctx, func(tx Tx) error {
			var err error
			if f, err = s.openFile(tx, c, ref, s.now()); err != nil || f.file.open == nil || !f.file.open.writing {
				return err
			}
			f.file.open.epoch++
			f.file.open.writing = false
			return putFile(tx, f.fileKey, f.file)
		})
		if err != nil {
			return nil, err
		}
	}
	p = s.progress(f, 0)
	if u := f.file.open; u != nil && u.mode == byPosition && !u.tail {
		err = s.view(ctx, func(tx Tx) error {
			p.Offset = 0
			all, err := pieces(tx, f.fileKey)
			for _, piece := range all {
				if piece.from != p.Offset {
					break
				}
				p.Offset = piece.end()
			}
			return err
		})
	}
	return p, err
}

func (s *Store) openFileView(ctx context.Context, c Caller, ref Ref) (f *found, err error) {
	err = s.view(ctx, func(tx Tx) error {
		f, err = s.openFile(tx, c, ref, s.now())
		return err
	})
	return f, err
}

// SetLength tells the length of a whole whose length was not known. The same
// length may be told again; another one, or one below what is there already, is
// refused (Conflict, ErrLength).
func (s *Store) SetLength(ctx context.Context, c Caller, ref Ref, length int64) (*Progress, error) {
	if err := s.permit(c, ref.appending(), nil); err != nil {
		return nil, err
	}
	var f *found
	err := s.update(ctx, func(tx Tx) error {
		var err error
		now := s.now()
		if f, err = s.openFile(tx, c, ref, now); err != nil {
			return err
		}
		u := f.file.open
		if u == nil {
			if length != f.file.size {
				return errLength()
			}
			return nil
		}
		if err := s.tell(f, length); err != nil {
			return err
		}
		if u.mode != byPosition && u.complete() {
			all, err := pieces(tx, f.fileKey)
			if err != nil {
				return err
			}
			return s.finish(tx, f, all, sumOf(s.resumeHash(u)), now)
		}
		return putFile(tx, f.fileKey, f.file)
	})
	if err != nil {
		return nil, err
	}
	return s.progress(f, 0), nil
}

// tell notes the length of the whole, -1 = not told.
func (s *Store) tell(f *found, length int64) error {
	u := f.file.open
	switch {
	case length < 0 || length == u.length:
		return nil
	case u.length >= 0 || length < u.got:
		return errLength()
	case s.o.FileSize > 0 && length > s.o.FileSize:
		return errTooLarge(s.o.FileSize)
	}
	u.length = length
	return nil
}

// finish makes a file that has all of its content a finished one, with the
// pieces given (in order, without holes; none: the content is a record of its
// own, or empty), and writes its record. sum is the digest, nil: none is known. A
// part stays as it is until it is used.
func (s *Store) finish(tx Tx, f *found, all []piece, sum []byte, now time.Time) error {
	rec := f.file
	u := rec.open
	u.writing = false
	if !u.tail {
		rec.crc = 0
		for _, p := range all {
			rec.crc = combineCRC(rec.crc, p.crc, p.run.size)
		}
	}
	if u.part {
		return putFile(tx, f.fileKey, rec)
	}
	rec.open, rec.stored, rec.size, rec.updated = nil, true, u.got, now
	if rec.sha = sum; sum == nil && u.got == 0 {
		rec.sha = sumOf(s.newHash(u.want))
	}
	if len(u.want) > 0 && u.mode != byPosition && subtle.ConstantTimeCompare(u.want, rec.sha) != 1 {
		return Refuse(Mismatch, "the content does not match its digest")
	}
	if s.o.NoDigest {
		rec.sha = nil
	}
	if rec.name == "" {
		rec.name, rec.original = "unnamed", "unnamed"
	}
	if rec.mime == "" {
		rec.mime = typeOf("", rec.name, nil)
	}
	rec.expires = time.Time{}
	if rec.ttl > 0 {
		rec.expires = now.Add(rec.ttl)
	}
	rec.runs = nil
	if rec.inline = u.tail; u.got == 0 {
		rec.inline = true
		if err := tx.Put(ContentRecords, f.fileKey[:], nil, time.Time{}); err != nil {
			return err
		}
	}
	for _, p := range all {
		rec.runs = append(rec.runs, p.run)
		if err := tx.Delete(IndexRecords, pieceID(f.fileKey, p.from)); err != nil {
			return err
		}
	}
	usage, err := getUsage(tx, f.owner())
	if err != nil {
		return err
	}
	usage.files++
	if err := tx.Put(UsageRecords, usageID(f.owner()), usage.encode(), time.Time{}); err != nil {
		return err
	}
	if err := s.emitFile(tx, now, FileUploaded, f); err != nil {
		return err
	}
	return putFile(tx, f.fileKey, rec)
}

// Cancel gives an unfinished file up, and ends a writer that is at work on it.
// Whoever may go on with it may cancel it; a complete one is deleted, as
// DeleteFile does it.
func (s *Store) Cancel(ctx context.Context, c Caller, ref Ref) error {
	if err := s.permit(c, ref.appending(), nil); err != nil {
		return err
	}
	f, err := s.openFileView(ctx, c, ref)
	if err != nil {
		return err
	}
	if f.file.open == nil {
		return s.DeleteFile(ctx, c, ref)
	}
	s.writers.at(f.fileKey).end(ctx)
	return s.update(ctx, func(tx Tx) error {
		f, err := s.openFile(tx, c, ref, s.now())
		if err != nil {
			return err
		}
		if f.file.open == nil {
			return errComplete()
		}
		if err := f.unclaim(tx); err != nil {
			return err
		}
		d := newDropper(s, s.now())
		if err := d.drop(tx, f.fileKey, f.file, deleted); err != nil {
			return err
		}
		return d.finish(tx)
	})
}

// MaxFileSize is the most bytes that a file may have, 0 = no limit.
func (s *Store) MaxFileSize() int64 { return s.o.FileSize }

// charge adds bytes to what the owner of a file has stored.
func (s *Store) charge(tx Tx, f *found, n int64) error {
	usage, err := getUsage(tx, f.owner())
	if err != nil {
		return err
	}
	if err := s.quota(usage, n); err != nil {
		return err
	}
	usage.bytes += n
	return tx.Put(UsageRecords, usageID(f.owner()), usage.encode(), time.Time{})
}

// abandon removes the pieces of an unfinished file; the room they take is given
// back by the dropper.
func (s *Store) abandon(tx Tx, key Key, u *unfinished, now time.Time) error {
	if u.tail {
		if err := tx.Delete(ContentRecords, key[:]); err != nil {
			return err
		}
	}
	all, err := pieces(tx, key)
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := tx.Delete(IndexRecords, pieceID(key, p.from)); err != nil {
			return err
		}
		if err := s.discardRun(tx, p.run, now); err != nil {
			return err
		}
	}
	return nil
}

// discardRun queues a run that a record refers to for deletion.
func (s *Store) discardRun(tx Tx, r run, now time.Time) error {
	if err := tx.Delete(IndexRecords, runID(r.key)); err != nil {
		return err
	}
	return s.trash(tx, r, 1, now)
}
