package reaper

import (
	"testing"
	"time"
)

func TestBack(t *testing.T) {
	for _, c := range []struct {
		wall, mono time.Duration
		want       bool
	}{
		{time.Second, time.Second, false},
		{999 * time.Millisecond, time.Second, false}, // slewed
		{time.Hour, time.Second, false},              // set forward
		{-time.Hour, time.Second, true},
		{-10 * time.Second, time.Second, true},
		{time.Second, time.Minute, true},
	} {
		if got := back(c.wall, c.mono); got != c.want {
			t.Errorf("wall %v, monotonic %v: %v", c.wall, c.mono, got)
		}
	}
}
