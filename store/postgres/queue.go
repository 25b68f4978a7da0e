package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fileshare/store"
)

// request is one Update. Its function runs in the goroutine that called Update,
// whenever the group says so.
type request struct {
	fn    func(store.Tx) error
	state atomic.Int32
	run   chan *updateTx // the function is to run with this
	done  chan error     // one element: the result
}

// States of a request. Who turns waiting into something else owns it.
const (
	waiting int32 = iota
	running
	withdrawn // by its caller; the group throws it away
)

// Update implements [store.Records].
func (db *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := &request{fn: fn, run: make(chan *updateTx), done: make(chan error, 1)}
	if err := db.queue.put(r); err != nil {
		return err
	}
	turn := time.NewTimer(db.o.Timeout)
	defer turn.Stop()
	stop := ctx.Done()
	for {
		select {
		case t := <-r.run:
			t.call(fn)
		case err := <-r.done:
			return err
		case <-stop:
			if r.state.CompareAndSwap(waiting, withdrawn) {
				return context.Cause(ctx)
			}
			stop = nil
		case <-turn.C:
			if r.state.CompareAndSwap(waiting, withdrawn) {
				return fmt.Errorf("postgres: no turn within %v: %w", db.o.Timeout, store.ErrUnavailable)
			}
		}
	}
}

// queue holds the requests that wait for a group.
type queue struct {
	mu     sync.Mutex
	list   []*request    // guarded by mu
	closed bool          // guarded by mu
	wake   chan struct{} // one element after a change
}

func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.list = append(q.list, r)
	q.signal()
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// take waits for requests and adds those that come next to a group, which may
// have some already; it returns an empty group when no more will come. What it
// takes is running.
func (q *queue) take(group []*request) []*request {
	for {
		q.mu.Lock()
		n := min(groupSize-len(group), len(q.list))
		for _, r := range q.list[:n] {
			if r.state.CompareAndSwap(waiting, running) {
				group = append(group, r)
			}
		}
		q.list = slices.Delete(q.list, 0, n)
		closed := q.closed && len(q.list) == 0
		q.mu.Unlock()
		if len(group) > 0 || closed {
			return group
		}
		<-q.wake
	}
}
