package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Bounds of what is read again of a content that did not arrive in order. The
// client waits meanwhile, for what is left to do when it is complete.
const (
	// maxRehash is the largest content that gets a digest.
	maxRehash = 4 << 30
	// maxJoin is how many bytes of small pieces are joined at most; what is
	// beyond it stays in small pieces.
	maxJoin = 1 << 30
)

// Finish completes a file that got its content by position: it refuses
// (Conflict) while bytes are missing. For its digest what was not hashed while it
// came is read once more; a file of more than 4 GiB has none. Neighbours that are
// smaller than a piece should be are joined. A complete file is returned as it is.
func (s *Store) Finish(ctx context.Context, c Caller, ref Ref) (*File, error) {
	if err := s.permit(c, ref.appending(), nil); err != nil {
		return nil, err
	}
	var f *found
	var all []piece
	err := s.view(ctx, func(tx Tx) (err error) {
		if f, err = s.openFile(tx, c, ref, s.now()); err != nil || f.file.open == nil {
			return err
		}
		all, err = s.placed(tx, f)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case f.file.open == nil:
		return s.File(ctx, c, ref)
	case f.file.open.part: // complete; the whole will be joined
		return s.render(f, 0), nil
	}
	sum := f.file.sha // known if it came in one piece
	if len(sum) == 0 {
		if sum, err = s.rehash(ctx, f.fileKey, all); err != nil {
			return nil, refusal(err)
		}
	}
	j, err := s.join(ctx, all)
	if err != nil {
		return nil, err
	}
	defer j.discard()
	err = s.updateContents(ctx, j.made, func(tx Tx) error {
		now := s.now()
		if f, err = s.openFile(tx, c, ref, now); err != nil {
			return err
		}
		if f.file.open == nil {
			return ErrComplete // somebody else was quicker
		}
		again, err := s.placed(tx, f)
		if err == nil {
			again, err = j.use(tx, f.fileKey, again, now)
		}
		if err != nil {
			return err
		}
		return s.finish(tx, f, again, sum, now)
	})
	if err == ErrComplete {
		return s.File(ctx, c, ref)
	}
	if err != nil {
		return nil, err
	}
	return s.render(f, 0), nil
}

// placed returns the pieces of a file that got them by position, and refuses
// while some are missing. What is complete does not change any more.
func (s *Store) placed(tx Tx, f *found) ([]piece, error) {
	switch u := f.file.open; {
	case u.length < 0:
		return nil, Refuse(Conflict, "the length of this upload is not known")
	case !u.complete():
		return nil, Refuse(Conflict, fmt.Sprintf("%d bytes are missing", u.length-u.got))
	}
	return pieces(tx, f.fileKey)
}

// joined are small pieces of a complete content that were written again as
// larger ones, which no record refers to yet.
type joined struct {
	s      *Store
	groups [][]piece // neighbours
	made   []*Content
}

// join writes small neighbours again, together. What it returns is used or
// discarded.
func (s *Store) join(ctx context.Context, all []piece) (*joined, error) {
	j := &joined{s: s, groups: smallNeighbours(all)}
	for _, g := range j.groups {
		content, err := s.copyPieces(ctx, g)
		if err != nil {
			j.discard()
			return nil, fmt.Errorf("join pieces: %w", refusal(err))
		}
		j.made = append(j.made, content)
	}
	return j, nil
}

// smallNeighbours finds pieces to be joined: two or more small ones, up to
// mostPiece together.
func smallNeighbours(all []piece) (groups [][]piece) {
	var total int64
	for i := 0; i < len(all); {
		end, size := i, int64(0)
		for end < len(all) && all[end].run.size < minPiece && size+all[end].run.size <= mostPiece {
			size += all[end].run.size
			end++
		}
		if total += size; total > maxJoin {
			return groups
		}
		if end-i > 1 {
			groups = append(groups, all[i:end])
		}
		i = max(end, i+1)
	}
	return groups
}

// copyPieces makes one run of some pieces.
func (s *Store) copyPieces(ctx context.Context, group []piece) (*Content, error) {
	r := &pieceReader{ctx: ctx, s: s, left: group}
	defer r.Close()
	size := group[len(group)-1].end() - group[0].from
	b := &body{ctx: ctx, s: s, r: r, want: size, space: spaceStep}
	defer b.announce()()
	c := &Content{s: s}
	err := s.receiveRun(ctx, b, c)
	s.stats.bytesIn.Add(-b.n)
	if err != nil {
		return nil, err
	}
	c.crc = b.crc
	crc := uint32(0)
	for _, p := range group {
		crc = combineCRC(crc, p.crc, p.run.size)
	}
	if crc != c.crc {
		c.Discard()
		return nil, errDamaged
	}
	return c, nil
}

// use puts what was made in the place of what it was made of, in the pieces of a
// file.
func (j *joined) use(tx Tx, file Key, all []piece, now time.Time) ([]piece, error) {
	var out []piece
	for i, g := range j.groups {
		at := slices.Index(all, g[0])
		if at < 0 || at+len(g) > len(all) || !slices.Equal(all[at:at+len(g)], g) {
			return nil, errSuperseded
		}
		out = append(out, all[:at]...)
		all = all[at+len(g):]
		for _, p := range g {
			if err := j.s.discardRun(tx, p.run, now); err != nil {
				return nil, err
			}
			if err := tx.Delete(IndexRecords, pieceID(file, p.from)); err != nil {
				return nil, err
			}
		}
		c := j.made[i]
		if err := j.s.refer(tx, c.run.key, file); err != nil {
			return nil, err
		}
		out = append(out, piece{from: g[0].from, run: c.run, crc: c.crc})
	}
	return append(out, all...), nil
}

func (j *joined) discard() {
	for _, c := range j.made {
		c.Discard()
	}
}
