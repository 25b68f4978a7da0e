package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

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

// wait returns true when something may wait, false when nothing will any more.
func (q *queue) wait() bool {
	for {
		q.mu.Lock()
		some, closed := len(q.list) > 0, q.closed
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

// group is the commit under way. It belongs to the committer.
type group struct {
	db      *DB
	reader  reader
	tx      writeTx
	arena   arena
	key     []byte     // room for a due key
	taken   []*request // from the queue
	next    int        // the first of taken that has not run
	ran     []*request // to be answered together
	current *request   // running
	wrote   bool
	spare   int // bytes of large documents that may still go into the tree
	last    int // size of the group before
}

func (g *group) init(db *DB) {
	g.db = db
	g.reader.db = db
	g.tx = writeTx{reader: &g.reader, g: g}
	g.key = make([]byte, 0, 8+maxID)
}

// In a group of few, spareBytes of large documents go into the tree: writing
// their pages twice is cheaper than one more sync.
const (
	fewRequests = 3
	spareBytes  = 8 << 10
)

func (g *group) belongsInLog(n int) bool {
	if n <= g.db.opts.Threshold {
		return false
	}
	if n <= g.spare {
		g.spare -= n
		return false
	}
	return true
}

// commitLoop runs groups until the queue is closed and empty.
func (db *DB) commitLoop() {
	debug.SetPanicOnFault(true)
	normal := false
	defer func() {
		if normal {
			return
		}
		// A function ended this goroutine (a failed test does): its caller's
		// goroutine shall end instead, and the others of the group run again.
		db.afterExit()
		db.committer.Go(db.commitLoop)
	}()
	for db.queue.wait() {
		db.runGroup()
	}
	normal = true
}

func (db *DB) afterExit() {
	g := &db.group
	r := g.current
	r.exited = true
	again := append(g.ran, g.taken[g.next:]...)
	for _, o := range again {
		o.err, o.panicked = nil, nil
		o.state.CompareAndSwap(running, waiting)
	}
	db.queue.putBack(again)
	if err := db.rollback(false); err != nil {
		db.broken = err
	}
	g.reset()
	r.done <- struct{}{}
}

func (g *group) reset() {
	g.last = len(g.ran)
	clear(g.ran)
	clear(g.taken)
	g.ran, g.taken, g.next, g.current, g.wrote = g.ran[:0], g.taken[:0], 0, nil, false
	g.arena.reset()
}

// runGroup runs what waits, and what comes while it runs, and commits it.
func (db *DB) runGroup() {
	g := &db.group
	err := db.broken
	if err == nil {
		err = db.beginGroup()
	}
	if err != nil {
		g.ran = db.queue.take(g.ran, db.opts.GroupSize)
		db.answer(err)
		return
	}
	g.taken = db.queue.take(g.taken, db.opts.GroupSize)
	if g.spare = 0; len(g.taken) <= fewRequests {
		g.spare = spareBytes
	}
	for yields := 0; ; {
		for g.next < len(g.taken) && g.hasRoom() && err == nil {
			g.next++
			err = g.run(g.taken[g.next-1])
		}
		if err != nil || !g.hasRoom() {
			break
		}
		if g.more() {
			continue
		}
		// Those who were answered last are about to come again: let them run,
		// so that the group does not begin with the first of them alone.
		if yields++; yields > 3 || len(g.ran) >= g.last {
			break
		}
		runtime.Gosched()
		g.more()
	}
	if g.next < len(g.taken) {
		db.queue.putBack(g.taken[g.next:])
	}
	db.finish(err)
}

// more takes what has come meanwhile.
func (g *group) more() bool {
	g.taken = g.db.queue.take(g.taken, g.db.opts.GroupSize-len(g.ran))
	return g.next < len(g.taken)
}

func (g *group) hasRoom() bool {
	return len(g.ran) < g.db.opts.GroupSize && g.arena.used+len(g.db.log.buf) < groupBytes
}

func (db *DB) beginGroup() (err error) {
	defer db.guard(&err)
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return fmt.Errorf("begin writing %s: %w", db.path, err)
	}
	r := &db.group.reader
	r.bolt = tx
	clear(r.data[:])
	clear(r.due[:])
	return nil
}

// run runs one function. An error means that the group must be given up.
func (g *group) run(r *request) error {
	if !r.state.CompareAndSwap(waiting, running) {
		g.db.recycle(r)
		return nil
	}
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		r.done <- struct{}{}
		return nil
	}
	g.db.stats.updates.Add(1)
	mark := len(g.db.log.buf)
	spare := g.spare
	g.tx.ops, g.tx.at = g.tx.ops[:0], nil
	ok := g.call(r)
	g.ran = append(g.ran, r)
	if !ok {
		// Nothing points to what it wrote.
		g.db.log.buf, g.spare = g.db.log.buf[:mark], spare
		return nil
	}
	if len(g.tx.ops) == 0 {
		return nil
	}
	g.wrote = true
	return g.tx.apply()
}

// call reports whether the function's writes count.
func (g *group) call(r *request) (ok bool) {
	g.current = r
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		switch {
		case p == nil:
			return // Goexit goes on; commitLoop deals with it
		case isFault(p):
			r.err = g.db.damaged(p)
		default:
			r.panicked = p
		}
		g.current = nil
	}()
	r.err = r.fn(&g.tx)
	returned = true
	g.current = nil
	return r.err == nil
}

// finish commits the group, or gives it up if err is not nil, and answers.
func (db *DB) finish(err error) {
	g := &db.group
	if err == nil && !g.wrote {
		err = db.rollback(false)
		db.answer(err)
		return
	}
	wrote := false
	var drop []uint32
	if err == nil {
		wrote = len(db.log.buf) > 0
		err = db.flushLog()
	}
	if err == nil {
		drop, err = db.writeSegments()
	}
	if err == nil {
		db.preallocate()
		err = db.commitTree()
	} else {
		err = errors.Join(err, db.rollback(wrote))
	}
	g.reader.freeBuffers()
	if err == nil {
		db.stats.groups.Add(1)
		db.log.committed(drop)
		db.answer(nil)
		return
	}
	db.stats.failed.Add(1)
	if db.broken == nil && g.reader.bolt != nil {
		// The failed commit has closed its transaction.
		g.reader.bolt = nil
		if known, loadErr := db.readSegments(); loadErr != nil {
			db.broken = loadErr
		} else {
			db.log.reload(known, wrote)
		}
	}
	db.answer(fmt.Errorf("commit to %s: %w", db.path, diskError(err)))
}

// answer ends the group. With an error nothing of it has happened, and what
// its functions returned was said of a state that never was.
func (db *DB) answer(err error) {
	g := &db.group
	for _, r := range g.ran {
		if err != nil && r.panicked == nil {
			r.err = err
		}
		r.done <- struct{}{}
	}
	g.reset()
}

// rollback gives the group's transaction up and sets the log back.
func (db *DB) rollback(wroteLog bool) (err error) {
	defer db.guard(&err)
	g := &db.group
	g.reader.freeBuffers()
	tx := g.reader.bolt
	g.reader.bolt = nil
	if err := tx.Rollback(); err != nil {
		return err
	}
	if !g.wrote && !wroteLog && len(db.log.buf) == 0 {
		return nil // nothing has touched the log's books
	}
	known, err := db.readSegments()
	if err != nil {
		db.broken = err
		return err
	}
	db.log.reload(known, wroteLog)
	return nil
}

func (db *DB) flushLog() error {
	n := len(db.log.buf)
	if n == 0 {
		return nil
	}
	start := time.Now()
	err := db.log.flush()
	db.stats.logTime.Add(int64(time.Since(start)))
	db.stats.logSyncs.Add(1)
	if err == nil {
		db.stats.logBytes.Add(int64(n))
	}
	return err
}

// writeSegments writes the log's books into the group's transaction, and
// returns the segments that are dead after it.
func (db *DB) writeSegments() (drop []uint32, err error) {
	defer db.guard(&err)
	l := db.log
	if len(l.buf) > 0 {
		u := l.known[l.active.number]
		u.end = l.tail + int64(len(l.buf))
		l.known[l.active.number] = u
		l.changed[l.active.number] = true
	}
	if len(l.changed) == 0 {
		return nil, nil
	}
	b := db.group.reader.bolt.Bucket([]byte(segmentsName))
	for n := range l.changed {
		u := l.known[n]
		key := binary.BigEndian.AppendUint32(nil, n)
		if u.live == 0 && (l.active == nil || n != l.active.number) {
			drop = append(drop, n)
			if err := b.Delete(key); err != nil {
				return nil, err
			}
			continue
		}
		v := binary.BigEndian.AppendUint64(nil, uint64(u.live))
		if err := b.Put(key, binary.BigEndian.AppendUint64(v, uint64(u.end))); err != nil {
			return nil, err
		}
	}
	return drop, nil
}

// readSegments reads the log's books.
func (db *DB) readSegments() (known map[uint32]usage, err error) {
	defer db.guard(&err)
	known = map[uint32]usage{}
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(segmentsName)).ForEach(func(k, v []byte) error {
			if len(k) != 4 || len(v) != 16 {
				return db.damaged("malformed segment entry")
			}
			known[binary.BigEndian.Uint32(k)] = usage{
				live: int64(binary.BigEndian.Uint64(v)),
				end:  int64(binary.BigEndian.Uint64(v[8:])),
			}
			return nil
		})
	})
	return known, err
}

// preallocate keeps blocks reserved behind the last page of the tree, so that
// deletions find room on a full disk. Best effort: without blocks (or a file
// system that reserves them) bbolt grows the file itself.
func (db *DB) preallocate() {
	used := db.group.reader.bolt.Size()
	info, err := db.file.Stat()
	if err != nil || used+growBy/2 <= info.Size() {
		return
	}
	_ = syscall.Fallocate(int(db.file.Fd()), 0, info.Size(), used+growBy-info.Size())
}

// commitTree commits the group's transaction. A panic leaves bbolt's locks
// held: nothing can be written any more.
func (db *DB) commitTree() (err error) {
	start := time.Now()
	defer func() {
		db.stats.commitTime.Add(int64(time.Since(start)))
		if p := recover(); p != nil {
			err = db.damaged(p)
			db.broken = err
		}
	}()
	return db.group.reader.bolt.Commit()
}
