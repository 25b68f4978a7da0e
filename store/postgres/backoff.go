package postgres

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the wait between tries: random, up to a bound that doubles.
type backoff struct{ most time.Duration }

const (
	leastPause = 2 * time.Millisecond
	mostPause  = 500 * time.Millisecond
)

func (b *backoff) pause(ctx context.Context) {
	b.most = min(max(2*b.most, leastPause), mostPause)
	t := time.NewTimer(rand.N(b.most))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
