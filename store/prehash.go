package store

import (
	"context"
	"hash"
	"io"
	"sync"
	"time"
)

// Bounds of what is hashed ahead.
const (
	maxPrehashes  = 256 // files whose state is kept
	maxPrehashing = 4   // that are hashed at once
	prehashBuffer = 256 << 10
)

// prehashes are digests of files that get their content by position, as far as
// they are there without a hole: hashed behind the writers' backs, so that Finish
// has little left to read. They only save time: what is not here, since the
// daemon was started or the file begun elsewhere, Finish reads.
type prehashes struct {
	mu      sync.Mutex
	of      map[Key]*prehash // guarded by mu
	working int              // goroutines, guarded by mu
}

// prehash is the digest of the beginning of a file.
type prehash struct {
	hash  hash.Hash     // of the first at bytes, nil = lost; the goroutine's while there is one
	at    int64         // as hash
	done  chan struct{} // closed when the goroutine is over, nil = there is none; guarded by mu
	again bool          // something came while it was at work; guarded by mu
	used  time.Time     // guarded by mu
}

// prehash is told of each piece that was committed here. Who got the first one
// hashes: not each node, and none where blobs would have to be fetched.
func (s *Store) prehash(f *found, offset int64) {
	_, far := s.blobs.(Segmented)
	u := f.file.open
	if far || s.o.NoDigest || u == nil || u.part || u.tail || u.length > maxRehash || len(f.file.sha) > 0 {
		return
	}
	all := &s.prehashes
	all.mu.Lock()
	defer all.mu.Unlock()
	h := all.of[f.fileKey]
	if h == nil {
		if offset > 0 || !all.room() {
			return
		}
		h = &prehash{hash: s.newHash(nil)}
		all.of[f.fileKey] = h
	}
	h.used, h.again = time.Now(), true
	if h.done != nil || all.working == maxPrehashing {
		return
	}
	done := make(chan struct{})
	h.done = done
	all.working++
	s.work.Go(func() {
		defer close(done)
		s.hashAhead(f.fileKey, h)
	})
}

// room makes place for one more, in that of the one that nothing came for longest.
func (all *prehashes) room() bool {
	if len(all.of) < maxPrehashes {
		return true
	}
	var oldest Key
	var since time.Time
	for key, h := range all.of {
		if h.done == nil && (since.IsZero() || h.used.Before(since)) {
			oldest, since = key, h.used
		}
	}
	delete(all.of, oldest)
	return !since.IsZero()
}

// hashAhead hashes what has come, and what comes meanwhile, up to the first hole.
func (s *Store) hashAhead(file Key, h *prehash) {
	all := &s.prehashes
	buf := make([]byte, prehashBuffer)
	for {
		all.mu.Lock()
		if !h.again {
			all.working--
			h.done = nil
			all.mu.Unlock()
			return
		}
		h.again = false
		all.mu.Unlock()
		if err := s.hashPieces(s.closing, file, h, buf); err != nil { // as a rule the file is gone
			h.hash = nil
			all.mu.Lock()
			if h.again = false; all.of[file] == h {
				delete(all.of, file)
			}
			all.mu.Unlock()
		}
	}
}

// hashPieces goes on with a digest up to the first hole.
func (s *Store) hashPieces(ctx context.Context, file Key, h *prehash, buf []byte) error {
	for {
		var next []piece
		err := s.view(ctx, func(tx Tx) error {
			id := pieceID(file, h.at)
			doc, err := tx.Get(IndexRecords, id)
			if err != nil || doc == nil {
				return err
			}
			p, err := decodePiece(file, Item{ID: id, Doc: doc})
			next = []piece{p}
			return err
		})
		if err != nil || next == nil {
			return err
		}
		if err := s.hashInto(ctx, h.hash, next, buf); err != nil {
			return err
		}
		h.at = next[0].end()
	}
}

// hashInto reads pieces for a digest.
func (s *Store) hashInto(ctx context.Context, h hash.Hash, all []piece, buf []byte) error {
	r := &pieceReader{ctx: ctx, s: s, left: all}
	defer r.Close()
	_, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, buf)
	return err
}

// takePrehash takes the digest of the beginning of a file, all of which is there
// now, and how much that is; nil if there is none.
func (s *Store) takePrehash(ctx context.Context, file Key) (hash.Hash, int64) {
	all := &s.prehashes
	all.mu.Lock()
	h := all.of[file]
	if h == nil {
		all.mu.Unlock()
		return nil, 0
	}
	delete(all.of, file)
	done := h.done
	all.mu.Unlock()
	if done != nil {
		select { // it is as fast as we would be
		case <-done:
		case <-ctx.Done():
			return nil, 0
		}
	}
	return h.hash, h.at
}

// rehash is the SHA-256 of a file whose pieces are all there; nil where there
// should be none, or where reading them would take too long.
func (s *Store) rehash(ctx context.Context, file Key, all []piece) ([]byte, error) {
	var total int64
	for _, p := range all {
		total += p.run.size
	}
	if s.o.NoDigest || total > maxRehash || total == 0 {
		return nil, nil
	}
	h, at := s.takePrehash(ctx, file)
	if h == nil {
		h, at = s.newHash(nil), 0
	}
	for len(all) > 0 && all[0].end() <= at {
		all = all[1:]
	}
	if err := s.hashInto(ctx, h, all, make([]byte, prehashBuffer)); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
