package store

import (
	"testing"
	"time"
)

// Where there are as many as may be, the one that nothing came for longest makes
// room, unless it is at work.
func TestPrehashRoom(t *testing.T) {
	all := prehashes{of: map[Key]*prehash{}}
	begin := time.Now()
	for i := range maxPrehashes {
		if !all.room() {
			t.Fatal("no room")
		}
		all.of[Key{byte(i), 1}] = &prehash{used: begin.Add(time.Duration(i))}
	}
	all.of[Key{0, 1}].done = make(chan struct{})
	if !all.room() || len(all.of) != maxPrehashes-1 || all.of[Key{1, 1}] != nil {
		t.Errorf("%d are left, the oldest idle one is %v", len(all.of), all.of[Key{1, 1}])
	}
	for _, h := range all.of {
		h.done = make(chan struct{})
	}
	all.of[Key{1, 1}] = &prehash{done: make(chan struct{})}
	if all.room() || len(all.of) != maxPrehashes {
		t.Errorf("%d are left of those at work", len(all.of))
	}
}
