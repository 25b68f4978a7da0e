package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	rowStartClean      = "start with 1 M records, after a clean stop"
	rowStartKilled     = "start with 1 M records, after kill -9"
	rowStartMostClean  = "start with 10 M records, after a clean stop"
	rowStartMostKilled = "start with 10 M records, after kill -9"

	rowScaleGet    = "download 1 KiB c=64 at 1 M records"
	rowScaleToken  = "counted token download c=64 at 1 M records"
	rowScaleUpload = "upload 1 KiB c=64 at 1 M records"

	rowPurge     = "purge of 1 M expired records"
	rowPurgeP99  = "p99 of 1 KiB uploads c=16 during the purge"
	rowPurgeBusy = "purge of 1 M expired records, uploads meanwhile"
)

// purgeTimeout ends a purge that is far too slow.
const purgeTimeout = 5 * time.Minute

// manyRecords: starting over, and working with, a large database.
func (b *bench) manyRecords(ctx context.Context) error {
	const size = 1 << 10
	defer os.RemoveAll(filepath.Join(b.dir, "many"))
	many, err := b.fill(ctx, "many", b.sizes.records, size, 24*time.Hour)
	if err != nil {
		return err
	}
	b.starts(ctx, "many", b.sizes.records, rowStartClean, rowStartKilled, 1)
	if !b.wantAny([]string{rowScaleGet, rowScaleToken, rowScaleUpload}) {
		return nil
	}
	few, err := b.fill(ctx, "few", b.sizes.few, size, 24*time.Hour)
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Join(b.dir, "few"))
	large, err := b.daemon(ctx, "many", settings{})
	if err != nil {
		return err
	}
	b.atEnd(large.stop)
	beside := fmt.Sprintf("at %d k", b.sizes.few/1000)

	// Each row has a small database of its own that is still small.
	row := func(name string, of func(d *daemon, paths []string) turn) error {
		if !b.want(name) {
			return nil
		}
		if err := b.clone("few", "few-now"); err != nil {
			return err
		}
		small, err := b.daemon(ctx, "few-now", settings{})
		if err != nil {
			return err
		}
		s := b.compete(ctx, of(small, few), of(large, many))
		b.report.compare(name, "/s", s[1], beside, s[0], leastRatio(0.8), "")
		return small.remove()
	}
	return errors.Join(
		row(rowScaleGet, func(d *daemon, paths []string) turn { return b.gets(d, paths, size) }),
		row(rowScaleToken, func(d *daemon, _ []string) turn { return b.tokenGets(d) }),
		row(rowScaleUpload, func(d *daemon, _ []string) turn { return b.briefUploads(d, size) }))
}

// mostRecords is the start over ten times as many; contents are tiny, so that
// the disk suffices.
func (b *bench) mostRecords(ctx context.Context) error {
	defer os.RemoveAll(filepath.Join(b.dir, "most"))
	if _, err := b.fill(ctx, "most", b.sizes.most, 16, 24*time.Hour); err != nil {
		return err
	}
	b.starts(ctx, "most", b.sizes.most, rowStartMostClean, rowStartMostKilled, 5)
	return nil
}

// starts measures from exec to the line that says that the daemon listens;
// half of the times the daemon before was killed in the middle of uploads.
func (b *bench) starts(ctx context.Context, name string, records int, cleanRow, killedRow string, seconds float64) {
	if !b.want(cleanRow) && !b.want(killedRow) {
		return
	}
	var clean, killed series
	once := func() error {
		d, err := b.daemon(ctx, name, settings{})
		if err != nil {
			return err
		}
		clean.values = append(clean.values, d.took.Seconds())
		if err := d.killUnderLoad(ctx); err != nil {
			return err
		}
		if d, err = b.daemon(ctx, name, settings{}); err != nil {
			return fmt.Errorf("after kill -9: %w", err)
		}
		killed.values = append(killed.values, d.took.Seconds())
		return d.stop()
	}
	for range b.rounds {
		if err := errors.Join(b.settle(), once()); err != nil {
			clean.err, killed.err = err, err
			break
		}
	}
	remark := fmt.Sprintf("%d records, page cache warm", records)
	if b.want(cleanRow) {
		b.report.judge(cleanRow, "s", clean, most(seconds), remark)
	}
	if b.want(killedRow) {
		b.report.judge(killedRow, "s", killed, most(seconds), remark+", killed while 16 clients uploaded")
	}
}

// killUnderLoad kills the daemon while clients upload.
func (d *daemon) killUnderLoad(ctx context.Context) error {
	q, err := d.uploadCall(noise(1 << 10))
	if err != nil {
		return errors.Join(err, d.stop())
	}
	if err := d.b.client.do(ctx, q); err != nil { // the password is known from here on
		return errors.Join(err, d.stop())
	}
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		// Its errors are what the kill is for.
		_, _ = load{workers: 16, until: over}.run(ctx, func(ctx context.Context, _ int) error { return d.b.client.do(ctx, q) })
	})
	time.Sleep(300 * time.Millisecond)
	err = d.kill()
	close(over)
	wg.Wait()
	return err
}

// purge: a database whose records have all expired, alone and with uploads.
func (b *bench) purge(ctx context.Context) error {
	const size = 1 << 10
	if _, err := b.fill(ctx, "expired", b.sizes.records, size, time.Second); err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Join(b.dir, "expired"))
	if b.want(rowPurge) {
		b.report.judge(rowPurge, "/s", b.purgeAlone(ctx), least(50_000), fmt.Sprintf("%d records of 1 KiB, nothing else running; once", b.sizes.records))
	}
	if b.want(rowPurgeP99) || b.want(rowPurgeBusy) {
		rate, busy, quiet := b.purgeUnderLoad(ctx)
		remark := "one run"
		if busy.err == nil {
			remark = fmt.Sprintf("quiet median %s ms, p99.9 %s ms; meanwhile %s, %s", number(quiet.values[1]), number(quiet.values[2]), number(busy.values[1]), number(busy.values[2]))
			busy.values, quiet.values = busy.values[:1], quiet.values[:1]
		}
		if b.want(rowPurgeP99) {
			b.report.compare(rowPurgeP99, "ms", busy, "quiet", quiet, mostRatio(3), remark)
		}
		if b.want(rowPurgeBusy) {
			b.report.show(rowPurgeBusy, "/s", rate, "16 clients upload as fast as they can")
		}
	}
	return nil
}

// purgeAlone returns the rate of a purge without other work.
func (b *bench) purgeAlone(ctx context.Context) series {
	d, err := b.expired(ctx, "@every 2s")
	if err != nil {
		return series{err: err}
	}
	p, err := d.watchPurge(ctx, b.sizes.records)
	if err := errors.Join(err, d.remove()); err != nil {
		return series{err: err}
	}
	return series{values: []float64{p.rate(b.sizes.records)}}
}

// purgeUnderLoad returns the rate of a purge during uploads, and p99, median
// and p99.9 of the uploads' latency in milliseconds, during it and without it.
func (b *bench) purgeUnderLoad(ctx context.Context) (rate, busy, quiet series) {
	fail := func(err error) (rate, busy, quiet series) {
		s := series{err: err}
		return s, s, s
	}
	upload := func(d *daemon, l load) (sample, error) {
		q, err := d.uploadCall(noise(1 << 10))
		if err != nil {
			return sample{}, err
		}
		if err := b.client.do(ctx, q); err != nil {
			return sample{}, err
		}
		l.workers, l.times = 16, true
		return l.run(ctx, func(ctx context.Context, _ int) error { return b.client.do(ctx, q) })
	}

	d, err := b.expired(ctx, "")
	if err != nil {
		return fail(err)
	}
	calm, err := upload(d, load{during: 2 * b.sizes.measure})
	if err == nil {
		var n float64
		if n, _, err = d.purged(ctx); err == nil && n > 0 {
			err = fmt.Errorf("the daemon purged %.0f records although its schedule had not come", n)
		}
	}
	if err := errors.Join(err, d.stop(), b.settle()); err != nil {
		return fail(err)
	}

	if d, err = b.daemon(ctx, "purge", settings{reaper: "@every 2s"}); err != nil {
		return fail(err)
	}
	var (
		p       purgeTime
		pErr    error
		over    = make(chan struct{})
		watcher sync.WaitGroup
	)
	watcher.Go(func() {
		defer close(over)
		p, pErr = d.watchPurge(ctx, b.sizes.records)
	})
	rush, err := upload(d, load{until: over})
	watcher.Wait()
	if err := errors.Join(err, pErr, d.remove()); err != nil {
		return fail(err)
	}
	var during []timing
	for _, t := range rush.times {
		if t.at.Before(p.to) && t.at.Add(t.took).After(p.from) {
			during = append(during, t)
		}
	}
	if len(during) == 0 {
		return fail(errors.New("no upload fell into the purge"))
	}
	return series{values: []float64{p.rate(b.sizes.records)}}, latencies(during), latencies(calm.times)
}

// latencies are p99, median and p99.9 in milliseconds.
func latencies(times []timing) series {
	all := make([]float64, len(times))
	for i, t := range times {
		all[i] = float64(t.took.Microseconds()) / 1e3
	}
	return series{values: []float64{percentile(all, 0.99), percentile(all, 0.5), percentile(all, 0.999)}}
}

// expired starts a daemon over a copy of the expired records.
func (b *bench) expired(ctx context.Context, schedule string) (*daemon, error) {
	if err := errors.Join(b.clone("expired", "purge"), b.settle()); err != nil {
		return nil, err
	}
	return b.daemon(ctx, "purge", settings{reaper: schedule})
}

// purgeTime is when a purge was seen to run.
type purgeTime struct{ from, to time.Time }

func (p purgeTime) rate(n int) float64 { return float64(n) / p.to.Sub(p.from).Seconds() }

// purged is how many files the daemon says it has purged since its start, and
// how long that took; it tells both at the end of a run.
func (d *daemon) purged(ctx context.Context) (files float64, took time.Duration, err error) {
	const filesLine, tookLine = `fileshare_purged_total{kind="file"}`, "fileshare_purge_duration_seconds_sum"
	all, err := d.metrics(ctx)
	if err != nil {
		return 0, 0, err
	}
	seconds, ok := all[tookLine]
	if !ok {
		return 0, 0, fmt.Errorf("/metrics has no %s", tookLine)
	}
	// No line: nothing was purged so far.
	return all[filesLine], time.Duration(seconds * float64(time.Second)), nil
}

// watchPurge waits until n files are purged. As the daemon counts when a run
// is over, the first run began as long before it was seen as the daemon says
// it took; runs and pauses after it count in full.
func (d *daemon) watchPurge(ctx context.Context, n int) (p purgeTime, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		done, took, err := d.purged(ctx)
		if err != nil {
			return p, err
		}
		now := time.Now()
		if done > 0 && p.from.IsZero() {
			p.from = now.Add(-took)
		}
		if done >= float64(n) {
			p.to = now
			return p, nil
		}
		if now.Sub(begun) > purgeTimeout {
			return p, fmt.Errorf("%.0f of %d records were purged in %v", done, n, purgeTimeout)
		}
		select {
		case <-ctx.Done():
			return p, ctx.Err()
		case <-tick.C:
		}
	}
}
