package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// SweepResult is what one Sweep, or one SweepDue, did.
type SweepResult struct {
	Shards        int   // of the blobs, looked at from beginning to end
	Seen, Removed int   // blobs
	Bytes         int64 // removed
}

// sweepBatch is how many blobs are looked up in one View.
const sweepBatch = 256

// Sweep removes blobs that no record refers to and that are older than minAge
// (and not being written by this process): what a crash has left. Where the
// records are this process's alone minAge may be zero. Contents that are labelled as
// those of others it leaves alone ([ErrForeign]).
func (s *Store) Sweep(ctx context.Context, minAge time.Duration) (r SweepResult, err error) {
	begun := s.now()
	if err := s.sweepShard(ctx, AllShards, minAge, &r, func(time.Duration) error { return nil }); err != nil {
		return r, fmt.Errorf("sweep: %w", err)
	}
	r.Shards = Shards
	s.swept.Store(&begun)
	return r, nil
}

// sweepShard sweeps one shard, or all, of contents that are ours. between is called after each batch with the
// time it took; its error ends the sweep.
func (s *Store) sweepShard(ctx context.Context, shard int, minAge time.Duration, r *SweepResult, between func(took time.Duration) error) error {
	is, err := readLabel(ctx, s.blobs)
	if err == nil {
		err = s.own(ctx, is)
	}
	if err != nil {
		return err
	}
	var batch []BlobInfo
	limit := time.Now().Add(-minAge)
	begin := time.Now()
	look := func() error {
		r.Seen += len(batch)
		if minAge > 0 {
			batch = slices.DeleteFunc(batch, func(info BlobInfo) bool { return info.Modified.After(limit) })
		}
		if len(batch) > 0 {
			if err := s.sweep(ctx, batch, r); err != nil {
				return err
			}
		}
		if err := between(time.Since(begin)); err != nil {
			return err
		}
		batch, begin = batch[:0], time.Now()
		return nil
	}
	for info, err := range s.blobs.List(ctx, shard) {
		if err != nil {
			return err
		}
		if info.Key == labelKey {
			continue
		}
		if batch = append(batch, info); len(batch) < sweepBatch {
			continue
		}
		if err := look(); err != nil {
			return err
		}
	}
	return look()
}

// sweep removes the orphans of a batch. Whether a run is being written is asked
// before the records are: what is not being written any more has its record by
// then or will never have one.
func (s *Store) sweep(ctx context.Context, batch []BlobInfo, r *SweepResult) error {
	var idle []BlobInfo
	s.mu.Lock()
	for _, info := range batch {
		key, ours := runOf(info.Key)
		if _, busy := s.pending[key]; ours && !busy {
			idle = append(idle, info)
		}
	}
	s.mu.Unlock()
	var orphans []BlobInfo
	err := s.view(ctx, func(tx Tx) error {
		orphans = orphans[:0]
		for _, info := range idle {
			key, _ := runOf(info.Key)
			used, err := referred(tx, key)
			if err != nil {
				return err
			}
			if !used {
				orphans = append(orphans, info)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, info := range orphans {
		if err := s.blobs.Delete(ctx, info.Key); err != nil {
			return err
		}
		s.o.Log.Info("removed an orphan", "blob", info.Key, "size", info.Size)
		r.Removed++
		r.Bytes += info.Size
	}
	return context.Cause(ctx)
}

// runOf reads the run out of a blob's key.
func runOf(blob string) (k Key, ok bool) {
	name, _, ok := strings.Cut(blob, "/")
	if !ok || len(name) != 2*len(k) {
		return k, false
	}
	_, err := hex.Decode(k[:], []byte(name))
	return k, err == nil
}
