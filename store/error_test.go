package store

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestRefusal: what backends wrap becomes a refusal, what they do not wrap stays.
func TestRefusal(t *testing.T) {
	own := errors.New("own")
	for _, c := range []struct {
		err  error
		kind Kind
		wait time.Duration
	}{
		{fmt.Errorf("put: %w", ErrNoSpace), NoSpace, 0},
		{fmt.Errorf("put: %w", ErrReadOnly), Unavailable, 0},
		{fmt.Errorf("put: %w", ErrUnavailable), Unavailable, unavailableFor},
		{Refuse(Used, "used"), Used, 0},
		{own, 0, 0},
		{nil, 0, 0},
	} {
		err := refusal(c.err)
		if KindOf(err) != c.kind || !errors.Is(err, c.err) {
			t.Errorf("refusal(%v) = %v", c.err, err)
		}
		if e, ok := errors.AsType[*Error](err); ok && e.RetryAfter != c.wait {
			t.Errorf("refusal(%v) says to wait %v, want %v", c.err, e.RetryAfter, c.wait)
		}
	}
}
