package server

import (
	"context"
	"sync"
	"time"

	"fileshare/store"
)

// tails knows the counted downloads of this process whose last bytes are going
// out or being settled. It guards nothing: it only spares a client that asks
// right after the end the answer that the link is busy, or has a download left.
type tails struct {
	mu sync.Mutex
	m  map[store.Ref]*tail // guarded by mu
}

// tail is one such end, or several of one link at once.
type tail struct {
	n    int // guarded by tails.mu
	done chan struct{}
}

const (
	tailSize = 64 << 10        // bytes that are announced before they go out
	tailWait = 2 * time.Second // the longest wait for a settlement
)

func (t *tails) begin(ref store.Ref) *tail {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.m[ref]
	if e == nil {
		e = &tail{done: make(chan struct{})}
		if t.m == nil {
			t.m = make(map[store.Ref]*tail)
		}
		t.m[ref] = e
	}
	e.n++
	return e
}

func (t *tails) end(ref store.Ref, e *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.n--; e.n == 0 {
		delete(t.m, ref)
		close(e.done)
	}
}

func (t *tails) current(ref store.Ref) *tail {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.m[ref]
}

// settle waits for all ends, as far as there are some now, of downloads of a file,
// whatever link they go by, or of all files of a session.
func (t *tails) settle(ctx context.Context, ref store.Ref) {
	t.mu.Lock()
	var all []*tail
	for r, e := range t.m {
		if r.Session == ref.Session && (r.File == ref.File || ref.File == "") {
			all = append(all, e)
		}
	}
	t.mu.Unlock()
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tailWait)
	defer cancel()
	for _, e := range all {
		e.wait(ctx)
	}
}

// wait waits for the settlement and tells whether there was one. A nil tail
// has none.
func (e *tail) wait(ctx context.Context) bool {
	if e == nil {
		return false
	}
	timer := time.NewTimer(tailWait)
	defer timer.Stop()
	select {
	case <-e.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
