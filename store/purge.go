package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// PurgeResult is what one Purge did.
type PurgeResult struct {
	Files, Sessions, Tombstones, Blobs int           // removed
	Bytes                              int64         // of the files
	Lag                                time.Duration // of the file that was due longest
	Held                               bool          // nothing was done: the clock has just jumped
	Summaries                          int           // of sessions that live on
}

// Purge works in batches. One batch is one Update, which others wait for: its
// size is steered by the time it takes, and it is small, with a pause after it,
// while others are at work.
const (
	leastBatch = 32
	mostBatch  = 4096
	quietBatch = 40 * time.Millisecond // when nobody else writes
	busyBatch  = 2 * time.Millisecond
)

// Purge reclaims what is due, in bounded batches, until nothing is left or ctx
// ends. Several may run, on several nodes. What it does not reach stays due.
//
// After a jump of the wall clock it holds still for a while: content that only
// seems to be over must not be lost (readers are refused meanwhile, as ever).
func (s *Store) Purge(ctx context.Context) (PurgeResult, error) {
	var r PurgeResult
	if wait := s.clock.check(time.Now(), time.Since(s.started)); wait > 0 {
		s.o.Log.Error("the clock has jumped, purging is held", "for", wait.Round(time.Second))
		r.Held = true
		return r, nil
	}
	steps := []func(context.Context, *PurgeResult, int) (int, error){s.purgeSessions, s.purgeFiles, s.purgeTrash,
		s.forget(OnceRecords), s.forget(EventRecords), s.forget(IndexRecords), s.forget(LoginRecords), s.forget(HoldRecords), s.forgetInvitations}
	for _, step := range steps {
		if err := s.drain(ctx, &r, step); err != nil {
			return r, fmt.Errorf("purge: %w", err)
		}
	}
	return r, nil
}

// drain repeats a step until it finds less than it could take.
func (s *Store) drain(ctx context.Context, r *PurgeResult, step func(context.Context, *PurgeResult, int) (int, error)) error {
	for batch := 8 * leastBatch; ; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		begin, others := time.Now(), s.stats.updates.Load()
		n, err := step(ctx, r, batch)
		if err != nil {
			return err
		}
		if n < batch {
			return nil
		}
		took, target := time.Since(begin), quietBatch
		// A step updates once, or twice when it deletes blobs.
		if s.stats.updates.Load()-others > 2 {
			target = busyBatch
			pause(ctx, took)
		}
		switch {
		case took > 2*target:
			batch = max(batch/2, leastBatch)
		case took < target:
			batch = min(batch*2, mostBatch)
		}
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// forget is the step that removes what is due in a collection whose records
// mean nothing to others. (Of the index only entries of events are ever due.)
func (s *Store) forget(in Collection) func(context.Context, *PurgeResult, int) (int, error) {
	return func(ctx context.Context, _ *PurgeResult, limit int) (n int, err error) {
		err = s.update(ctx, func(tx Tx) error {
			items, err := tx.Due(in, s.now(), limit)
			if err != nil {
				return err
			}
			n = len(items)
			for _, item := range items {
				if err := tx.Delete(in, item.ID); err != nil {
					return err
				}
			}
			return nil
		})
		return n, err
	}
}

// purgeFiles ends files that are due, and removes tombstones that are.
func (s *Store) purgeFiles(ctx context.Context, r *PurgeResult, limit int) (n int, err error) {
	var now time.Time
	var sum PurgeResult
	err = s.update(ctx, func(tx Tx) error {
		now, sum = s.now(), PurgeResult{}
		d := newDropper(s, now)
		items, err := tx.Due(FileRecords, now, limit)
		if err != nil {
			return err
		}
		n = len(items)
		for _, item := range items {
			key, ok := keyOf(item.ID)
			if !ok {
				return fmt.Errorf("file record %x: %w", item.ID, errCodec)
			}
			rec, err := decodeFile(item.Doc)
			if err != nil {
				return fmt.Errorf("file record %x: %w", item.ID, err)
			}
			if err := s.purgeFile(tx, d, key, rec, &sum); err != nil {
				return err
			}
			if lag := now.Sub(item.Due); rec.reason == alive {
				sum.Lag = max(sum.Lag, lag)
			}
		}
		if d.more {
			n = limit // look again
		}
		return d.finish(tx)
	})
	if err == nil {
		r.add(sum)
	}
	return n, err
}

// purgeFile does what is due about one file or tombstone.
func (s *Store) purgeFile(tx Tx, d *dropper, key Key, rec *fileRec, r *PurgeResult) error {
	switch rec.reason {
	case alive:
		why := expired
		if d.now.Before(rec.expires) { // it is due because it seemed used up
			u, err := getUses(tx, key)
			if err != nil {
				return err
			}
			if rec.max == 0 || u.complete < rec.max {
				return putFile(tx, key, rec) // no longer so
			}
			why = usedUp
		}
		r.Files++
		r.Bytes += rec.bytes()
		if err := s.emitEnd(tx, d.now, &found{file: rec, fileKey: key}, why, false); err != nil {
			return err
		}
		return d.drop(tx, key, rec, why)
	case deleted:
		return d.drop(tx, key, rec, deleted) // goes on with its tokens
	}
	r.Tombstones++
	more, err := d.tokens(tx, key)
	if err != nil || more {
		d.more = more
		return err
	}
	return tx.Delete(FileRecords, key[:])
}

// sessionFiles is how many files of a session one step ends.
const sessionFiles = 500

// purgeSessions ends sessions that are due, and their files, then their
// tombstones.
func (s *Store) purgeSessions(ctx context.Context, r *PurgeResult, _ int) (n int, err error) {
	const limit = 16
	var sum PurgeResult
	more := false
	err = s.update(ctx, func(tx Tx) error {
		now := s.now()
		sum = PurgeResult{}
		d := newDropper(s, now)
		items, err := tx.Due(SessionRecords, now, limit)
		if err != nil {
			return err
		}
		n = len(items)
		left := sessionFiles
		for _, item := range items {
			key, ok := keyOf(item.ID)
			if !ok {
				return fmt.Errorf("session record %x: %w", item.ID, errCodec)
			}
			rec, err := decodeSession(item.Doc)
			if err != nil {
				return fmt.Errorf("session record %x: %w", item.ID, err)
			}
			if left, err = s.purgeSession(tx, d, key, rec, left, &sum); err != nil {
				return err
			}
		}
		more = d.more
		return d.finish(tx)
	})
	if err == nil {
		r.add(sum)
	}
	if more || sum.Files > 0 || sum.Sessions > 0 || sum.Tombstones > 0 || sum.Summaries > 0 {
		n = 1 << 30 // something was done, so there may be more
	}
	return n, err
}

// purgeSession removes at most left files of a session that is over; it returns
// how many more the step may remove.
func (s *Store) purgeSession(tx Tx, d *dropper, key Key, rec *sessionRec, left int, r *PurgeResult) (int, error) {
	if rec.reason == alive && d.now.Before(rec.expires) { // it is due for its summary
		r.Summaries++
		return left, s.tellSummary(tx, d.now, key, rec)
	}
	keeps, err := s.keeps(tx, key, rec)
	switch {
	case err != nil:
		return left, err
	case keeps && rec.reason == alive:
		r.Sessions++
		return left, s.expireKept(tx, d.now, key, rec)
	}
	prefix := bySession(key)
	why := expired // what became of the files
	if rec.reason != alive {
		why = rec.reason
	}
	var files []Key
	for item, err := range tx.Scan(IndexRecords, prefix, nil) {
		if err != nil {
			return left, err
		}
		if len(files) == left {
			return 0, s.dropFiles(tx, d, files, why, r) // more than one step takes
		}
		if k, ok := keyOf(item.ID[len(prefix):]); ok {
			files = append(files, k)
		}
	}
	if rec.reason == alive { // before its files go, of which it tells
		if err := s.emitTransferEnd(tx, d.now, TransferExpired, key, rec); err != nil {
			return left, err
		}
	}
	if err := s.dropFiles(tx, d, files, why, r); err != nil {
		return left, err
	}
	left -= len(files)
	if rec.remains != nil {
		if due := rec.remainsUntil(s.o.Tombstones); d.now.Before(due) {
			if d.more = true; rec.reason == deleted {
				r.Sessions++ // of what has expired it was told before
			}
			return left, tx.Put(SessionRecords, key[:], rec.encode(), due)
		}
	}
	switch {
	case rec.reason == alive:
		if err := unlistSession(tx, key, rec); err != nil {
			return left, err
		}
		r.Sessions++
		if err := s.emitSession(tx, d.now, SessionExpired, key, rec); err != nil {
			return left, err
		}
		end := &sessionRec{reason: expired, audit: rec.audit}
		return left, tx.Put(SessionRecords, key[:], end.encode(), rec.expires.Add(s.o.Tombstones))
	case rec.audit:
		if more, err := dropEvents(tx, key, left); err != nil || more {
			d.more = more
			return 0, err
		}
	}
	switch {
	case rec.reason == expired, rec.remains != nil:
		r.Tombstones++
	default:
		r.Sessions++
	}
	if err := s.eachShare(tx, key, func(share Key, h *shareRec) error { return dropShare(tx, share, h) }); err != nil {
		return left, err
	}
	if rec.remains != nil { // it was kept
		if err := rec.remains.eachNumber(key, func(id []byte) error { return tx.Delete(IndexRecords, id) }); err != nil {
			return left, err
		}
		if err := unnumber(tx, rec.sequence, rec.number, key); err != nil {
			return left, err
		}
	}
	return left, tx.Delete(SessionRecords, key[:])
}

// dropFiles removes files of a session, which ended for the reason why, without
// tombstones: the session's own speaks for them.
func (s *Store) dropFiles(tx Tx, d *dropper, files []Key, why reason, r *PurgeResult) error {
	for _, key := range files {
		rec, err := getFile(tx, key)
		if err != nil {
			return err
		}
		if rec == nil {
			continue
		}
		if rec.reason == alive {
			r.Files++
			r.Bytes += rec.bytes()
			if err := s.emitEnd(tx, d.now, &found{file: rec, fileKey: key}, why, true); err != nil {
				return err
			}
		}
		if err := d.drop(tx, key, rec, deleted); err != nil {
			return err
		}
	}
	return nil
}

func (r *PurgeResult) add(o PurgeResult) {
	r.Files += o.Files
	r.Sessions += o.Sessions
	r.Tombstones += o.Tombstones
	r.Blobs += o.Blobs
	r.Bytes += o.Bytes
	r.Summaries += o.Summaries
	r.Lag = max(r.Lag, o.Lag)
}

// dropper removes files within one Update. It sums up what the accounts get
// back, so that a batch writes each account's record once.
type dropper struct {
	s    *Store
	now  time.Time
	back map[string]usageRec
	more bool // something was too large for one step and is due again
}

func newDropper(s *Store, now time.Time) *dropper {
	return &dropper{s: s, now: now, back: map[string]usageRec{}}
}

// tokenBatch is how many tokens of a file one step removes.
const tokenBatch = 100

// drop removes a file: content, lists, downloads, tokens. What remains is a
// tombstone, or for a deleted one nothing.
func (d *dropper) drop(tx Tx, key Key, rec *fileRec, why reason) error {
	if rec.reason == alive {
		if err := d.content(tx, key, rec); err != nil {
			return err
		}
		if err := unindex(tx, &found{file: rec, fileKey: key}); err != nil {
			return err
		}
		if err := unnumber(tx, rec.sequence, rec.number, key); err != nil {
			return err
		}
		if err := tx.Delete(UseRecords, key[:]); err != nil {
			return err
		}
	}
	more, err := d.tokens(tx, key)
	if err != nil {
		return err
	}
	d.more = d.more || more
	end := &fileRec{reason: why, session: rec.session}
	switch {
	case more && why == deleted:
		return tx.Put(FileRecords, key[:], end.encode(), d.now)
	case why == deleted:
		return tx.Delete(FileRecords, key[:])
	}
	// Tokens that are left go with the tombstone.
	return tx.Put(FileRecords, key[:], end.encode(), d.now.Add(d.s.o.Tombstones))
}

// content removes the content of a file and gives back its room.
func (d *dropper) content(tx Tx, key Key, rec *fileRec) error {
	u := d.back[rec.owner]
	if rec.open != nil && rec.open.used() {
		return nil
	}
	if rec.open != nil {
		d.back[rec.owner] = usageRec{u.files, u.bytes + rec.open.got}
		return d.s.abandon(tx, key, rec.open, d.now)
	}
	if !rec.stored {
		return nil
	}
	d.back[rec.owner] = usageRec{u.files + 1, u.bytes + rec.size}
	if rec.inline {
		return tx.Delete(ContentRecords, key[:])
	}
	for _, r := range rec.runs {
		if err := tx.Delete(IndexRecords, runID(r.key)); err != nil {
			return err
		}
		if err := d.s.trash(tx, r, 1, d.now); err != nil {
			return err
		}
	}
	return nil
}

// tokens removes tokens of a file; more tells that there are still some.
func (d *dropper) tokens(tx Tx, file Key) (more bool, err error) {
	prefix := tokensOf(file)
	n := 0
	for item, err := range tx.Scan(IndexRecords, prefix, nil) {
		if err != nil {
			return false, err
		}
		if n == tokenBatch {
			return true, nil
		}
		n++
		if token, ok := keyOf(slices.Clone(item.ID[len(prefix):])); ok {
			if err := dropToken(tx, file, token); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// finish writes what the accounts got back.
func (d *dropper) finish(tx Tx) error {
	for owner, back := range d.back {
		u, err := getUsage(tx, owner)
		if err != nil {
			return err
		}
		u.files, u.bytes = max(u.files-back.files, 0), max(u.bytes-back.bytes, 0)
		if u == (usageRec{}) {
			err = tx.Delete(UsageRecords, usageID(owner))
		} else {
			err = tx.Put(UsageRecords, usageID(owner), u.encode(), time.Time{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
