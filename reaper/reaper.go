// Package reaper runs the engine's housekeeping on a schedule: purging what is
// due, and from time to time sweeping up what crashes have left. It decides
// nothing; expiry is checked on every read, whether the reaper runs or not.
package reaper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"fileshare/store"
)

// Options says what runs when. Purge is needed; a nil Sweep, SweepDue or Compact does not run.
type Options struct {
	// Schedule is when Purge runs: a cron expression of five fields, or six
	// with seconds first, or a descriptor ("@every 10s", at least 1 s). It
	// may begin with "CRON_TZ=Zone ". Default "@every 10s".
	Schedule string
	Purge    func(context.Context) (store.PurgeResult, error)

	// SweepSchedule is when Sweep, and then Compact, runs; default "@every 6h".
	SweepSchedule string
	// Sweep is for a process that alone writes blobs. It runs once at the start,
	// with minAge 0, since what is there then and belongs to no record is
	// garbage, however young; then on its schedule with SweepAge.
	Sweep   func(ctx context.Context, minAge time.Duration) (store.SweepResult, error)
	Compact func(context.Context) error
	// SweepDue is for processes that share the sweep. It runs whenever Purge
	// does, and again until its result has no shard; it is told of the schedule.
	SweepDue func(ctx context.Context, minAge time.Duration, next func(time.Time) time.Time) (store.SweepResult, error)
	// SweepAge is how old an orphan must be; default 1 h.
	SweepAge time.Duration

	// Observe is told of every Purge, ObserveSweep of every sweep, for metrics.
	Observe      func(result store.PurgeResult, took time.Duration, err error)
	ObserveSweep func(result store.SweepResult, err error)

	Log *slog.Logger // default: discards
}

// Reaper owns the goroutines of the housekeeping from Start to Stop.
type Reaper struct {
	o      Options
	clock  *clockwork
	sweep  cron.Job // the same wrapped job for the first and the scheduled runs, so that they never overlap
	ctx    context.Context
	cancel context.CancelFunc
	first  sync.WaitGroup // the clockwork, and the sweep at the start
	swept  bool           // the sweep at the start has begun; touched by sweeps only, and they run one at a time
}

// New checks the schedules; nothing runs before Start.
func New(o Options) (*Reaper, error) {
	if o.Purge == nil {
		return nil, errors.New("reaper: no purge function")
	}
	if o.Schedule == "" {
		o.Schedule = "@every 10s"
	}
	if o.SweepSchedule == "" {
		o.SweepSchedule = "@every 6h"
	}
	if o.SweepAge <= 0 {
		o.SweepAge = time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	purge, err := parse(o.Schedule)
	if err != nil {
		return nil, fmt.Errorf("purge schedule: %w", err)
	}
	sweep, err := parse(o.SweepSchedule)
	if err != nil {
		return nil, fmt.Errorf("sweep schedule: %w", err)
	}

	r := &Reaper{o: o}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	log := cronLog{o.Log}
	// Recover stands inside: outside of SkipIfStillRunning it would see the
	// panic only after the token of "still running" is lost, and the job would
	// never run again.
	chain := cron.NewChain(cron.SkipIfStillRunning(log), cron.Recover(log))
	r.clock = &clockwork{log: log}
	r.clock.add(purge, chain.Then(cron.FuncJob(r.purgeOnce)))
	if o.SweepDue != nil {
		r.clock.add(purge, chain.Then(cron.FuncJob(func() { r.sweepDue(sweep.Next) })))
	}
	if o.Sweep != nil || o.Compact != nil {
		r.sweep = chain.Then(cron.FuncJob(r.sweepOnce))
		r.clock.add(sweep, r.sweep)
	}
	return r, nil
}

// Start begins the schedule, and the first sweep, in the background. It is
// called once.
func (r *Reaper) Start() {
	r.first.Go(func() { r.clock.run(r.ctx) })
	if r.o.Sweep != nil {
		r.first.Go(r.sweep.Run)
	}
}

// Stop ends the schedule, cancels what runs and waits for it. It may be called
// without Start, and more than once.
func (r *Reaper) Stop() {
	r.cancel()
	r.first.Wait()
}

func (r *Reaper) purgeOnce() {
	if r.ctx.Err() != nil {
		return
	}
	start := time.Now()
	result, err := r.o.Purge(r.ctx)
	took := time.Since(start)
	if r.o.Observe != nil {
		r.o.Observe(result, took, err)
	}
	switch {
	case err != nil && r.ctx.Err() == nil:
		r.o.Log.Error("purge failed", "err", err, "took", took)
	case result.Files+result.Sessions+result.Blobs > 0:
		r.o.Log.Info("purged", "files", result.Files, "sessions", result.Sessions, "blobs", result.Blobs,
			"tombstones", result.Tombstones, "bytes", result.Bytes, "lag", result.Lag, "took", took)
	}
}

func (r *Reaper) sweepOnce() {
	if r.ctx.Err() != nil {
		return
	}
	scheduled, age := r.swept, r.o.SweepAge
	if !scheduled {
		age = 0
	}
	r.swept = true
	if r.o.Sweep != nil {
		r.observeSweep(func() (store.SweepResult, error) { return r.o.Sweep(r.ctx, age) })
	}
	// Compacting competes with uploads, so it is not part of a start.
	if r.o.Compact != nil && scheduled && r.ctx.Err() == nil {
		if err := r.o.Compact(r.ctx); err != nil && r.ctx.Err() == nil {
			r.o.Log.Error("compaction failed", "err", err)
		}
	}
}

func (r *Reaper) sweepDue(next func(time.Time) time.Time) {
	for more := true; more && r.ctx.Err() == nil; {
		more = r.observeSweep(func() (store.SweepResult, error) { return r.o.SweepDue(r.ctx, r.o.SweepAge, next) })
	}
}

// observeSweep says what a sweep has done; more is false if that was nothing.
func (r *Reaper) observeSweep(sweep func() (store.SweepResult, error)) (more bool) {
	start := time.Now()
	result, err := sweep()
	failed := err != nil && r.ctx.Err() == nil // else it was stopped
	if more = err == nil && result.Shards > 0; r.o.ObserveSweep != nil && (failed || more) {
		r.o.ObserveSweep(result, err)
	}
	if failed {
		r.o.Log.Error("sweep failed", "err", err)
	}
	if result.Removed > 0 {
		r.o.Log.Info("swept orphans", "seen", result.Seen, "removed", result.Removed, "bytes", result.Bytes, "took", time.Since(start))
	}
	return more
}
