package store

import (
	"sync"
	"time"
)

// now is the time by which everything expires: the wall clock, in whole
// milliseconds, as records have it.
func (s *Store) now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// A wall clock that jumps forward makes content look expired that is not. It is
// then refused to readers, but purging it would lose it for good; so purging
// holds still until the clock has gone evenly for a while, or has been put
// right.
const (
	clockStep = 5 * time.Minute  // a larger difference of wall and monotonic clock is a jump
	clockHold = 10 * time.Minute // how long purging is held after one
)

// clockGuard compares the wall clock with the monotonic one.
type clockGuard struct {
	mu   sync.Mutex
	wall time.Time     // guarded by mu, as the others: what was seen last
	mono time.Duration //
	off  time.Duration // how far the wall clock has jumped and is not yet believed
	hold time.Duration // how long it has still to go evenly
}

// check takes both clocks (mono is the time since the start) and returns how
// long purging is to be held, 0 for not at all. A jump back to where the wall
// clock was ends the hold.
func (g *clockGuard) check(wall time.Time, mono time.Duration) time.Duration {
	wall = wall.Round(0) // without the monotonic reading
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wall.IsZero() {
		g.wall, g.mono = wall, mono
		return 0
	}
	elapsed := mono - g.mono
	step := wall.Sub(g.wall) - elapsed
	g.wall, g.mono = wall, mono
	g.hold = max(g.hold-elapsed, 0)
	if step > clockStep || step < -clockStep {
		g.off += step
		g.hold = clockHold
	}
	if g.off < clockStep {
		g.hold = 0 // it is not ahead of where it was
	}
	if g.hold == 0 {
		g.off = 0 // the clock is believed
	}
	return g.hold
}
