package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// mostParts is how many parts one file may be made of.
const mostParts = 1000

// Concat makes an upload of parts (Begin.Part) that are complete, in their
// order. No byte is copied but of small pieces: the parts are used by it, in the
// same Update, so that no two files ever share a content. What is left of a part
// stays as long as an unfinished upload does: asking again for the same parts in
// the same order gives the file that was made of them, anything else with one of
// them is refused (Conflict). The digest is computed as Finish does it.
func (s *Store) Concat(ctx context.Context, c Caller, spec FileSpec, parts []Ref) (*Progress, error) {
	if err := s.permit(c, toUpload, nil); err != nil {
		return nil, err
	}
	if len(parts) < 1 || len(parts) > mostParts {
		return nil, Refuse(Invalid, fmt.Sprintf("1 to %d parts are needed", mostParts))
	}
	p, err := s.concat(ctx, c, spec, parts)
	if errors.Is(err, errPartUsed) { // maybe by the same request
		if p, err := s.concatenated(ctx, c, parts); p != nil || err != nil {
			return p, err
		}
	}
	return p, err
}

func (s *Store) concat(ctx context.Context, c Caller, spec FileSpec, parts []Ref) (*Progress, error) {
	now := s.now()
	f := &found{fileKey: newKey(now), file: &fileRec{owner: c.Name, ttl: s.o.UploadTTL, created: now}}
	if err := f.file.apply(spec, now, s.o.MaxUploadTTL); err != nil {
		return nil, err
	}
	var all []piece
	err := s.view(ctx, func(tx Tx) (err error) {
		_, all, err = s.parts(tx, c, parts)
		return err
	})
	if err != nil {
		return nil, err
	}
	sum, err := s.rehash(ctx, f.fileKey, all)
	if err != nil {
		return nil, err
	}
	j, err := s.join(ctx, all)
	if err != nil {
		return nil, err
	}
	defer j.discard()
	head, err := s.headOf(ctx, all)
	if err != nil {
		return nil, err
	}
	f.file.mime = typeOf(f.file.mime, f.file.name, head)
	err = s.updateContents(ctx, j.made, func(tx Tx) error {
		now := s.now()
		found, all, err := s.parts(tx, c, parts)
		if err == nil {
			err = s.takeOver(tx, f, found, all, now)
		}
		if err == nil {
			all, err = j.use(tx, f.fileKey, all, now)
		}
		if err != nil {
			return err
		}
		f.file.sequence = spec.Sequence
		if err := number(tx, f.file.sequence, &f.file.number, f.fileKey); err != nil {
			return err
		}
		if err := s.finish(tx, f, all, sum, now); err != nil {
			return err
		}
		return s.index(tx, f)
	})
	if err != nil {
		return nil, err
	}
	return s.progress(f, 0), nil
}

var errPartUsed = Refuse(Conflict, "a part is used already")

// concatenated finds the file that was made of just these parts; nil if they are
// not all used.
func (s *Store) concatenated(ctx context.Context, c Caller, refs []Ref) (p *Progress, err error) {
	err = s.view(ctx, func(tx Tx) error {
		p = nil
		var whole Key
		for i, ref := range refs {
			f, err := s.openFile(tx, c, Ref{File: ref.File}, s.now())
			if err != nil {
				return err
			}
			u := f.file.open
			if u == nil || !u.used() || u.place != int64(i) || u.parts != int64(len(refs)) || i > 0 && u.whole != whole {
				return nil
			}
			whole = u.whole
		}
		f, err := s.openFile(tx, c, Ref{File: s.ids.id(whole)}, s.now())
		if err == nil {
			p = s.progress(f, 0)
		}
		return err
	})
	return p, err
}

// takeOver makes the pieces of parts those of a new file, and notes in the parts
// that they are used. Who owns the new file has to pay for what was another's.
func (s *Store) takeOver(tx Tx, f *found, parts []*found, all []piece, now time.Time) error {
	f.file.open = &unfinished{}
	d := newDropper(s, now)
	for i, part := range parts {
		n := part.file.open.got
		f.file.open.got += n
		if owner := part.owner(); owner != f.file.owner && n > 0 {
			d.back[owner] = usageRec{0, d.back[owner].bytes + n}
			if err := s.charge(tx, f, n); err != nil {
				return err
			}
		}
		own, err := pieces(tx, part.fileKey)
		if err != nil {
			return err
		}
		for _, p := range own {
			if err := tx.Delete(IndexRecords, pieceID(part.fileKey, p.from)); err != nil {
				return err
			}
		}
		u := part.file.open
		u.pieces, u.whole, u.place, u.parts = 0, f.fileKey, int64(i), int64(len(parts))
		part.file.touch(now, s.o.UnfinishedTTL)
		if err := putFile(tx, part.fileKey, part.file); err != nil {
			return err
		}
	}
	f.file.open.length = f.file.open.got
	for _, p := range all {
		if err := tx.Put(IndexRecords, runID(p.run.key), f.fileKey[:], time.Time{}); err != nil {
			return err
		}
	}
	return d.finish(tx)
}

// parts finds complete parts and their pieces, placed one behind the other.
func (s *Store) parts(tx Tx, c Caller, refs []Ref) (found []*found, all []piece, err error) {
	seen := map[Key]bool{}
	var at int64
	for _, ref := range refs {
		f, err := s.openFile(tx, c, Ref{File: ref.File}, s.now())
		if err != nil {
			return nil, nil, err
		}
		switch u := f.file.open; {
		case u == nil || !u.part:
			return nil, nil, Refuse(Invalid, "only uploads that were begun as parts can be joined")
		case u.used():
			return nil, nil, errPartUsed
		case !u.complete():
			return nil, nil, Refuse(Conflict, "a part is not complete")
		case seen[f.fileKey]:
			return nil, nil, Refuse(Invalid, "a part is named twice")
		}
		seen[f.fileKey] = true
		own, err := pieces(tx, f.fileKey)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range own {
			p.from += at
			all = append(all, p)
		}
		at += f.file.open.got
		found = append(found, f)
		switch {
		case s.o.FileSize > 0 && at > s.o.FileSize:
			return nil, nil, errTooLarge(s.o.FileSize)
		case len(all) > maxPieces:
			return nil, nil, errPieces()
		}
	}
	return found, all, nil
}

// headOf reads the first bytes of a content, to guess a type from.
func (s *Store) headOf(ctx context.Context, all []piece) ([]byte, error) {
	r := &pieceReader{ctx: ctx, s: s, left: all}
	defer r.Close()
	head := make([]byte, sniffLen)
	n, err := io.ReadFull(r, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], err
}
