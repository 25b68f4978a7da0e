package bolt

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"fileshare/store"
)

// request is one Update on its way through the committer.
type request struct {
	ctx   context.Context
	fn    func(store.Tx) error
	state atomic.Int32
	done  chan struct{} // one element when the result is there

	err      error
	panicked any
	exited   bool // fn ended its goroutine (runtime.Goexit)
}

// States of a request. Who turns waiting into something else owns it.
const (
	waiting int32 = iota
	running
	withdrawn // by its caller; the committer throws it away
)

// queue holds the requests that wait for a group.
type queue struct {
	mu     sync.Mutex
	list   []*request    // guarded by mu
	closed bool          // guarded by mu
	kicked bool          // guarded by mu: the memtable shall be frozen
	wake   chan struct{} // one element after a change
}

func (q *queue) put(r *request) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	q.list = append(q.list, r)
	first := len(q.list) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
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
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// take moves what waits, at most n, to the end of into.
func (q *queue) take(into []*request, n int) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.list))
	into = append(into, q.list[:n]...)
	q.list = slices.Delete(q.list, 0, n)
	return into
}

// putBack puts requests before those that wait.
func (q *queue) putBack(list []*request) {
	q.mu.Lock()
	q.list = slices.Insert(q.list, 0, list...)
	q.mu.Unlock()
	q.signal()
}

// kick wakes the committer to freeze the memtable.
func (q *queue) kick() {
	q.mu.Lock()
	q.kicked = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) takeKick() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := q.kicked
	q.kicked = false
	return k
}

// wait returns true when something may wait, false when nothing will any more.
func (q *queue) wait() bool {
	for {
		q.mu.Lock()
		some, closed := len(q.list) > 0 || q.kicked && !q.closed, q.closed
		q.mu.Unlock()
		if some || closed {
			return some
		}
		<-q.wake
	}
}

// Update implements [store.Records]. fn runs in a goroutine of the DB; its
// panic is raised again in the caller's.
func (db *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := db.requests.Get().(*request)
	r.ctx, r.fn = ctx, fn
	r.state.Store(waiting)
	if err := db.queue.put(r); err != nil {
		db.recycle(r)
		return err
	}
	if stop := ctx.Done(); stop == nil {
		<-r.done
	} else {
		select {
		case <-r.done:
		case <-stop:
			if r.state.CompareAndSwap(waiting, withdrawn) {
				return context.Cause(ctx)
			}
			<-r.done
		}
	}
	err, panicked, exited := r.err, r.panicked, r.exited
	db.recycle(r)
	if panicked != nil {
		panic(panicked)
	}
	if exited {
		runtime.Goexit()
	}
	return err
}

func (db *DB) recycle(r *request) {
	r.ctx, r.fn, r.err, r.panicked, r.exited = nil, nil, nil, nil, false
	db.requests.Put(r)
}

// kickIf kicks if the condition holds.
func (q *queue) kickIf(condition func() bool) {
	if condition() {
		q.kick()
	}
}
