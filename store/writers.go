package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// writers knows the Appends that are at work in this process, so that a newer
// one need not wait until an older one finds out by itself. It only saves time
// and bytes: who may commit is told by the epoch in the record.
type writers struct {
	mu sync.Mutex
	m  map[Key]*writer // guarded by mu
}

type writer struct {
	interrupt func()
	settling  atomic.Bool // its body is over: it will end by itself
	done      chan struct{}
}

// How long an interrupted writer is given to commit what it has: until it
// notices, and if it has, until that is on the disk. What it does not commit must
// be sent again.
const (
	writerWait = 2 * time.Second
	settleWait = 10 * time.Second
)

// enter makes the caller the writer of a file, in the place of an older one,
// which is ended; leave must follow. newest is false if a still newer one has
// come meanwhile.
func (w *writers) enter(ctx context.Context, key Key, interrupt func()) (own *writer, newest bool) {
	if interrupt == nil {
		interrupt = func() {}
	}
	own = &writer{interrupt: interrupt, done: make(chan struct{})}
	w.mu.Lock()
	old := w.m[key]
	w.m[key] = own
	w.mu.Unlock()
	old.end(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	return own, w.m[key] == own
}

func (w *writers) leave(key Key, own *writer) {
	close(own.done)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m[key] == own {
		delete(w.m, key)
	}
}

func (w *writers) at(key Key) *writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.m[key]
}

// end interrupts a writer and waits for it, for a while.
func (w *writer) end(ctx context.Context) {
	if w == nil {
		return
	}
	w.interrupt()
	if !w.wait(ctx, writerWait) && w.settling.Load() {
		w.wait(ctx, settleWait)
	}
}

func (w *writer) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
