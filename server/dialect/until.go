package dialect

import (
	"math"
	"time"
)

// Until is the TTL of what is to end at t, in whole milliseconds, as the store keeps
// ends. It is rounded up: what ends a moment before a second is shown as of the second
// before, which is not what its client asked for.
func Until(t time.Time) time.Duration {
	left := min(time.Until(t), math.MaxInt64-time.Second)
	return (left + time.Millisecond - 1).Truncate(time.Millisecond)
}
