package reaper

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"fileshare/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Reaper {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	return r
}

func TestPurgeRunsOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, observed int
		r := start(t, Options{
			Purge:   func(context.Context) (store.PurgeResult, error) { runs++; return store.PurgeResult{Files: 3}, nil },
			Observe: func(p store.PurgeResult, _ time.Duration, _ error) { observed += p.Files },
		})
		time.Sleep(time.Minute + time.Second)
		r.Stop()
		if runs != 6 || observed != 18 {
			t.Errorf("in a minute of @every 10s: %d runs, %d files observed; want 6, 18", runs, observed)
		}
		time.Sleep(time.Minute)
		if runs != 6 {
			t.Errorf("%d runs after Stop, want none", runs-6)
		}
	})
}

func TestPanicDoesNotStopLaterRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var runs int
		r := start(t, Options{
			Schedule: "@every 1s",
			Purge: func(context.Context) (store.PurgeResult, error) {
				if runs++; runs == 1 {
					panic("a bad run")
				}
				return store.PurgeResult{}, nil
			},
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		time.Sleep(4*time.Second + time.Millisecond)
		r.Stop()
		if runs != 4 {
			t.Errorf("%d runs in 4 s, the first panicking; want 4", runs)
		}
		if !strings.Contains(log.String(), `err="a bad run"`) {
			t.Errorf("the panic is not in the log:\n%s", log.String())
		}
	})
}

func TestRunsDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, runs atomic.Int32
		r := start(t, Options{
			Schedule: "* * * * * *", // every second, seconds field given
			Purge: func(context.Context) (store.PurgeResult, error) {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				runs.Add(1)
				time.Sleep(2500 * time.Millisecond)
				return store.PurgeResult{}, nil
			},
		})
		time.Sleep(12*time.Second + 100*time.Millisecond)
		r.Stop()
		if most.Load() != 1 || runs.Load() != 4 {
			t.Errorf("%d at once, %d runs in 12 s of 2.5 s each; want 1 and 4", most.Load(), runs.Load())
		}
	})
}

func TestStopCancelsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var began, ended bool
		r := start(t, Options{
			Schedule: "@every 1s",
			Purge: func(ctx context.Context) (store.PurgeResult, error) {
				began = true
				<-ctx.Done()
				time.Sleep(time.Minute) // a last batch that cannot be cut short
				ended = true
				return store.PurgeResult{}, ctx.Err()
			},
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		time.Sleep(1500 * time.Millisecond)
		r.Stop()
		if !began || !ended {
			t.Errorf("began %t, ended before Stop returned %t; want both", began, ended)
		}
		if log.Len() > 0 {
			t.Errorf("stopping is no failure, yet the log has:\n%s", log.String())
		}
		r.Stop()
	})
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ages []time.Duration
		var compacts int
		r := start(t, Options{
			Purge: func(context.Context) (store.PurgeResult, error) { return store.PurgeResult{}, nil },
			Sweep: func(_ context.Context, age time.Duration) (store.SweepResult, error) {
				ages = append(ages, age)
				return store.SweepResult{}, errors.New("one bad disk")
			},
			Compact: func(context.Context) error { compacts++; return nil },
		})
		time.Sleep(12*time.Hour + time.Minute)
		r.Stop()
		if diff := cmp.Diff([]time.Duration{0, time.Hour, time.Hour}, ages); diff != "" {
			t.Errorf("minimum ages of the sweeps at the start and in 12 h (-want +got):\n%s", diff)
		}
		if compacts != 2 {
			t.Errorf("%d compactions, want 2", compacts)
		}
	})
}

func TestSweepDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, observed, failed int
		r := start(t, Options{
			SweepSchedule: "@every 2h", SweepAge: 30 * time.Minute,
			Purge: func(context.Context) (store.PurgeResult, error) { return store.PurgeResult{}, nil },
			SweepDue: func(ctx context.Context, age time.Duration, next func(time.Time) time.Time) (store.SweepResult, error) {
				if now := time.Now().Truncate(time.Second); age != 30*time.Minute || !next(now).Equal(now.Add(2*time.Hour)) {
					t.Errorf("called with age %v, and %v for %v", age, next(now), now)
				}
				switch runs++; runs {
				case 2:
					return store.SweepResult{}, errors.New("one bad disk")
				case 4, 5:
					return store.SweepResult{Shards: 1, Removed: 1}, nil
				case 8:
					<-ctx.Done()
					return store.SweepResult{Removed: 100}, ctx.Err()
				}
				return store.SweepResult{}, nil
			},
			ObserveSweep: func(res store.SweepResult, err error) {
				if observed++; err != nil {
					failed++
				}
			},
		})
		time.Sleep(time.Minute + time.Second)
		r.Stop()
		if runs != 8 || observed != 3 || failed != 1 {
			t.Errorf("in a minute of @every 10s: %d runs, %d observed, %d failed; want 8, 3, 1", runs, observed, failed)
		}
	})
}

func TestCheck(t *testing.T) {
	for _, good := range []string{"@every 10s", "@hourly", "*/5 * * * *", "30 */5 * * * *", "CRON_TZ=UTC 0 3 * * *", "TZ=UTC @every 1h"} {
		if err := Check(good); err != nil {
			t.Errorf("Check(%q) = %v", good, err)
		}
	}
	for _, bad := range []string{"", "TZ=0", "CRON_TZ=UTC", "TZ=Nowhere/Land * * * * *", "@every", "@every 0s", "@every -1h", "@every 500ms",
		"@every soon", "* * *", "61 * * * *", "0 0 31 2 *", "@never", "* * * * * * *"} {
		if err := Check(bad); err == nil {
			t.Errorf("Check(%q) accepts it", bad)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("New without Purge is accepted")
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"@every 10s", "TZ=0", "CRON_TZ=UTC 0 3 * * *", "*/5 1-3,7 * JAN MON", "?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		if Check(spec) != nil {
			return
		}
		schedule, err := parse(spec)
		if err != nil {
			t.Fatalf("%q is accepted once and then refused: %v", spec, err)
		}
		now := time.Now()
		if next := schedule.Next(now); next.Before(now) {
			t.Fatalf("%q fires in the past: %v", spec, next)
		}
	})
}
