package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Where several nodes share the records they share the sweep, too: each shard of
// the blobs is a record that is due when the shard is to be swept. A node claims
// one for the time of a lease, which it renews while it is at work; the shard of
// a node that died is due when its lease is over. Who loses a lease and does not
// know it does no harm: an orphan is an orphan to both, and deleting what is gone
// is no error.

const (
	sweepLease = 2 * time.Minute  // of a shard that is being swept
	sweepBeat  = 30 * time.Second // how often it is renewed
	sweepPause = time.Second      // the longest after a batch
)

// shardRec is the record of a shard.
type shardRec struct {
	since   time.Time // when its last whole sweep began; before the first one, when the record was made
	planned time.Time // when it was due, while it is claimed; then the lease is what is due
	claim   Key       // of who sweeps it, zero: nobody
}

func (r *shardRec) encode() []byte {
	var e encoder
	e.time(1, r.since)
	e.time(2, r.planned)
	e.key(3, r.claim)
	return e
}

func decodeShard(b []byte) (*shardRec, error) {
	r := new(shardRec)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			r.since = x.time()
		case 2:
			r.planned = x.time()
		case 3:
			r.claim = x.key()
		}
	}
	return r, nil
}

func shardID(shard int) []byte { return []byte{byte(shard)} }

// SweepDue is Sweep of the one shard that is due longest; where none is, Shards of
// the result is 0. Several may run, on several nodes: each is given another shard.
// next is the schedule, the same on all nodes: when what is swept at a time is due
// again. The shards of a new store become due one by one until the schedule's next
// time.
//
// It works half of the time at most, so that others are not held up by it. After a
// jump of the wall clock it holds still as Purge does: what others are writing may
// only seem to be old.
func (s *Store) SweepDue(ctx context.Context, minAge time.Duration, next func(time.Time) time.Time) (r SweepResult, err error) {
	if s.clock.check(time.Now(), time.Since(s.started)) > 0 {
		return r, nil // Purge says so
	}
	if !s.laid.Load() {
		if err := s.layShards(ctx, next); err != nil {
			return r, fmt.Errorf("sweep: %w", err)
		}
		s.laid.Store(true)
	}
	c, err := s.claimShard(ctx)
	if err == nil && c != nil {
		err = s.sweepClaimed(ctx, c, minAge, next, &r)
	}
	if err != nil && !errors.Is(err, errShardLost) {
		return r, fmt.Errorf("sweep: %w", err)
	}
	return r, nil
}

// layShards makes the records that are not there, and draws nearer what is further
// off than the schedule says: it may be another one since.
func (s *Store) layShards(ctx context.Context, next func(time.Time) time.Time) error {
	return s.update(ctx, func(tx Tx) error {
		var known [Shards]bool
		now := s.now()
		end := next(now)
		lay := func(shard int, since time.Time) error {
			due := now.Add(end.Sub(now) / Shards * time.Duration(shard))
			return tx.Put(SweepRecords, shardID(shard), (&shardRec{since: since}).encode(), due)
		}
		for item, err := range tx.Scan(SweepRecords, nil, nil) {
			if err != nil {
				return err
			}
			shard, since := int(item.ID[0]), now
			r, err := decodeShard(item.Doc)
			if known[shard] = true; err == nil {
				since = r.since
			}
			if err == nil && !item.Due.IsZero() && (!r.claim.zero() || !item.Due.After(end)) {
				continue
			}
			if err := lay(shard, since); err != nil {
				return err
			}
		}
		for shard := range known {
			if known[shard] {
				continue
			}
			if err := lay(shard, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// shardClaim is a shard that is ours for a while.
type shardClaim struct {
	shard   int
	key     Key
	begun   time.Time
	renewed time.Time // read by the monotonic clock
}

// errShardLost says that a lease was over before it was renewed.
var errShardLost = errors.New("another node sweeps the shard")

// claimShard takes the shard that is due longest, nil if none is.
func (s *Store) claimShard(ctx context.Context) (c *shardClaim, err error) {
	some := false
	err = s.view(ctx, func(tx Tx) error { // mostly there is none, and a View costs no commit
		items, err := tx.Due(SweepRecords, s.now(), 1)
		some = len(items) > 0
		return err
	})
	if err != nil || !some {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		c = nil
		now := s.now()
		items, err := tx.Due(SweepRecords, now, 1)
		if err != nil || len(items) == 0 {
			return err
		}
		rec, err := decodeShard(items[0].Doc)
		if err != nil { // it is written anew
			rec = &shardRec{since: now}
		}
		if rec.claim.zero() {
			rec.planned = items[0].Due
		}
		rec.claim = newKey(now)
		c = &shardClaim{shard: int(items[0].ID[0]), key: rec.claim, begun: now, renewed: time.Now()}
		return tx.Put(SweepRecords, items[0].ID, rec.encode(), now.Add(sweepLease))
	})
	return c, err
}

// sweepClaimed sweeps a shard, and says when it is due again. After an error it
// is due when the lease is over.
func (s *Store) sweepClaimed(ctx context.Context, c *shardClaim, minAge time.Duration, next func(time.Time) time.Time, r *SweepResult) error {
	err := s.sweepShard(ctx, c.shard, minAge, r, func(took time.Duration) error {
		pause(ctx, min(took, sweepPause))
		if time.Since(c.renewed) < sweepBeat {
			return context.Cause(ctx)
		}
		c.renewed = time.Now()
		return s.changeShard(ctx, c, func(*shardRec) time.Time { return s.now().Add(sweepLease) })
	})
	if err != nil {
		return err
	}
	err = s.changeShard(ctx, c, func(rec *shardRec) time.Time {
		due := dueAgain(rec.planned, s.now(), next)
		*rec = shardRec{since: c.begun}
		return due
	})
	if err == nil {
		r.Shards++
	}
	return err
}

// changeShard changes the record of a shard that is still ours, and when it is due.
func (s *Store) changeShard(ctx context.Context, c *shardClaim, change func(*shardRec) (due time.Time)) error {
	return s.update(ctx, func(tx Tx) error {
		doc, err := tx.Get(SweepRecords, shardID(c.shard))
		if err != nil {
			return err
		}
		rec, err := decodeShard(doc)
		if err != nil {
			return fmt.Errorf("shard %d: %w", c.shard, err)
		}
		if rec.claim != c.key {
			return errShardLost
		}
		due := change(rec)
		return tx.Put(SweepRecords, shardID(c.shard), rec.encode(), due)
	})
}

// mostRounds is how many rounds that nobody was there for keep their rhythm.
const mostRounds = 1000

// dueAgain is when what was due is due after now. It goes round by round, so that
// shards which were spread over the time stay so, even if they are late.
func dueAgain(due, now time.Time, next func(time.Time) time.Time) time.Time {
	for range mostRounds {
		if due = next(due); due.After(now) {
			return due
		}
	}
	return next(now)
}

// SweepState tells how far the sweep that nodes share has come.
type SweepState struct {
	Oldest time.Time // since when everything has been looked at at least once; zero: not known
	Due    int       // shards that are to be swept now, those that are being swept among them
}

// SweepState reads it from the records of the shards. Where the records are ours
// alone it is about the last Sweep since the start.
func (s *Store) SweepState(ctx context.Context) (st SweepState, err error) {
	if s.o.Exclusive {
		if at := s.swept.Load(); at != nil {
			st.Oldest = *at
		}
		return st, nil
	}
	err = s.view(ctx, func(tx Tx) error {
		st = SweepState{}
		now := s.now()
		for item, err := range tx.Scan(SweepRecords, nil, nil) {
			if err != nil {
				return err
			}
			rec, err := decodeShard(item.Doc)
			if err != nil {
				return fmt.Errorf("shard %x: %w", item.ID, err)
			}
			if !rec.claim.zero() || !item.Due.After(now) {
				st.Due++
			}
			if st.Oldest.IsZero() || rec.since.Before(st.Oldest) {
				st.Oldest = rec.since
			}
		}
		return nil
	})
	return st, err
}
