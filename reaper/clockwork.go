package reaper

import (
	"context"
	"time"

	"github.com/robfig/cron/v3"
)

// clockwork runs jobs by cron, which goes by the wall clock alone: when that
// jumps back, cron waits until the time it had in mind comes again, be it a
// year. The clockwork notices, and lets cron think anew.
type clockwork struct {
	log     cron.Logger
	entries []cron.Entry // Schedule and Job
}

func (c *clockwork) add(s cron.Schedule, j cron.Job) {
	c.entries = append(c.entries, cron.Entry{Schedule: s, Job: j})
}

// How often the clock is looked at, and by how much it must have gone back.
const (
	clockLook = time.Second
	clockBack = time.Second
)

// run runs the jobs until ctx ends, and waits for those that run then.
func (c *clockwork) run(ctx context.Context) {
	tick := time.NewTicker(clockLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		begun := c.start()
		for last := time.Now(); ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			now := time.Now()
			if back(now.Round(0).Sub(last.Round(0)), now.Sub(last)) {
				c.log.Info("the clock was set back, the schedule begins anew")
				break
			}
			last = now
		}
		<-begun.Stop().Done()
	}
}

func (c *clockwork) start() *cron.Cron {
	begun := cron.New(cron.WithLogger(c.log))
	for _, e := range c.entries {
		begun.Schedule(e.Schedule, e.Job)
	}
	begun.Start()
	return begun
}

// back tells whether the wall clock was set back, from how far it and the
// monotonic clock went on.
func back(wall, mono time.Duration) bool { return wall < mono-clockBack }
