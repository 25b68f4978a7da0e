package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// checkpoints is what others know of the goroutine that writes frozen
// memtables into the tree.
type checkpoints struct {
	mu     sync.Mutex
	cond   sync.Cond     // of all below
	err    error         // guarded by mu: of the last checkpoint
	failed int           // guarded by mu: checkpoints that failed
	done   uint64        // guarded by mu: the tree has all batches below
	closed bool          // guarded by mu
	wake   chan struct{} // one element after a change
	stop   chan struct{}
}

func (c *checkpoints) init(done uint64) {
	c.cond.L = &c.mu
	c.done = done
	c.wake, c.stop = make(chan struct{}, 1), make(chan struct{})
}

func (c *checkpoints) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *checkpoints) ended(done uint64, err error) {
	c.mu.Lock()
	if c.err = err; err != nil {
		c.failed++
	} else {
		c.done = done
	}
	c.mu.Unlock()
	c.cond.Broadcast()
}

func (c *checkpoints) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cond.Broadcast()
}

func (c *checkpoints) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// waitWhile waits while the condition holds and checkpoints do not fail.
func (c *checkpoints) waitWhile(condition func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for condition() && c.err == nil {
		c.cond.Wait()
	}
}

// checkpoint waits until the tree has what was committed before the call.
func (db *DB) checkpoint(ctx context.Context) error {
	c := &db.checkpoints
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock() // so that it comes before or within Wait
		defer c.mu.Unlock()
		c.cond.Broadcast()
	})()
	target := db.version.Load().active.end.seq
	c.mu.Lock()
	defer c.mu.Unlock()
	for failed := c.failed; c.done < target; {
		switch {
		case c.closed:
			return ErrClosed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.failed != failed:
			return c.err
		}
		db.queue.kick()
		c.signal()
		c.cond.Wait()
	}
	return nil
}

const retryAfter = 200 * time.Millisecond // a failed checkpoint

// checkpointLoop has the memtable frozen when it has become old, and writes
// frozen ones into the tree.
func (db *DB) checkpointLoop() {
	debug.SetPanicOnFault(true)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	armed := false
	for {
		timeout := false
		select {
		case <-db.checkpoints.stop:
			return
		case <-db.checkpoints.wake:
		case <-timer.C:
			armed, timeout = false, true
		}
		v := db.version.Load()
		switch {
		case v.frozen != nil:
			if db.checkpointFrozen() != nil && db.broken.Load() == nil {
				timer.Reset(retryAfter)
				armed = true
				continue
			}
			db.checkpoints.signal() // there may be more
			db.queue.kickIf(db.isDue)
		case v.active.ops > 0 && timeout:
			db.queue.kick()
		case v.active.ops > 0 && !armed:
			timer.Reset(db.opts.age)
			armed = true
		}
	}
}

// checkpointFrozen writes the frozen memtable into the tree.
func (db *DB) checkpointFrozen() error {
	if err := db.broken.Load(); err != nil {
		return *err
	}
	start := time.Now()
	m := db.version.Load().frozen
	w := treeWriter{db: db, chunk: db.chunk}
	err := w.run(m)
	db.unread = append(db.unread, w.dead...)
	db.stats.checkpointTime.Add(int64(time.Since(start)))
	if err != nil {
		err = fmt.Errorf("checkpoint to %s: %w", db.path, diskError(err))
		if errors.Is(err, ErrDamaged) {
			db.broken.CompareAndSwap(nil, &err)
		}
		// The pages that one transaction frees are there for the next.
		db.chunk = max(db.chunk/4, leastChunk)
		db.checkpoints.ended(0, err)
		return err
	}
	db.chunk = mostChunk
	db.hook("tree committed")
	db.stats.checkpoints.Add(1)
	db.publish(func(v *version) { v.frozen, v.base = nil, w.id })
	db.done = m.end
	db.dropDead(append(db.unread, m.dead...))
	db.unread = nil
	db.punchHoles()
	db.tight.Store(false)
	db.checkpoints.ended(m.end.seq, nil)
	return nil
}

// dropDead unlinks segments that nothing needs any more. dead are documents
// that the tree does not point to any more.
func (db *DB) dropDead(dead []pointer) {
	var drop []uint32
	for n := range db.tables.current.Load().segments {
		if n < db.done.segment && db.usage(n).live == 0 {
			drop = append(drop, n)
		}
	}
	if at := db.done; at.offset > segmentHeader && db.usage(at.segment).live == 0 && db.low() {
		dead = append(dead, pointer{segment: at.segment, offset: segmentHeader, length: uint32(at.offset - segmentHeader)})
	}
	if len(drop) == 0 && len(dead) == 0 {
		return
	}
	db.tables.change(dead, func(segments map[uint32]*segment) {
		for _, n := range drop {
			delete(segments, n)
			_ = os.Remove(db.logName(n)) // the next Open tries again
		}
	})
	db.hook("segments dropped")
}

// punchHoles gives the blocks of dead documents back, if there are few left:
// mostly a segment dies as a whole, a little later.
func (db *DB) punchHoles() {
	list := db.tables.holes.take()
	if len(list) == 0 || !db.low() {
		return
	}
	table := db.tables.acquire()
	defer table.release()
	for _, p := range list {
		if s := table.segments[p.segment]; s != nil {
			s.punch(p)
		}
	}
	db.hook("holes punched")
}

func (db *DB) low() bool {
	var s syscall.Statfs_t
	if db.tight.Load() || syscall.Fstatfs(int(db.file.Fd()), &s) != nil {
		return true
	}
	return int64(s.Bavail)*s.Bsize < max(int64(s.Blocks)*s.Bsize/10, 1<<30)
}

// treeRoom makes sure that the tree can take so many bytes. It belongs to the
// committer.
func (db *DB) treeRoom(bytes int64) error {
	end := db.treeUsed.Load() + bytes*3/2
	if end+db.log.disk.least <= db.treeReserved {
		return nil
	}
	return db.log.disk.extend(db.file, &db.treeReserved, end)
}

// usage is what the tree knows of a segment.
type usage struct {
	live int64 // bytes of documents that the tree points to
	end  int64 // behind its last batch
}

func (db *DB) usage(n uint32) usage {
	db.booksLock.Lock()
	defer db.booksLock.Unlock()
	return db.books[n]
}

const (
	mostChunk  = 8 << 10 // operations of one transaction
	leastChunk = 64
)

// treeWriter writes one memtable in transactions of the tree.
type treeWriter struct {
	db    *DB
	chunk int
	tx    *bbolt.Tx
	data  [maxCollections]*bbolt.Bucket
	due   [maxCollections]*bbolt.Bucket
	at    [maxCollections]*bbolt.Cursor // in data
	n     int                           // operations in tx
	id    int                           // of the last transaction
	books map[uint32]usage
	key   []byte
	dead  []pointer
}

func (w *treeWriter) run(m *memtable) error {
	for coll, tree := range m.data {
		if tree == nil {
			continue
		}
		var err error
		tree.Ascend(func(e *entry) bool {
			err = w.put(coll, e)
			return err == nil
		})
		if err != nil {
			return w.giveUp(err)
		}
	}
	if err := w.begin(); err != nil {
		return w.giveUp(err)
	}
	if err := w.finish(m.end); err != nil {
		return w.giveUp(err)
	}
	return w.commit()
}

func (w *treeWriter) giveUp(err error) error {
	if w.tx == nil {
		return err
	}
	return errors.Join(err, func() (err error) {
		defer w.db.guard(&err)
		return w.tx.Rollback()
	}())
}

func (w *treeWriter) begin() (err error) {
	if w.tx != nil {
		return nil
	}
	defer w.db.guard(&err)
	if w.tx, err = w.db.bolt.Begin(true); err != nil {
		return err
	}
	clear(w.data[:])
	clear(w.due[:])
	clear(w.at[:])
	w.n, w.id = 0, w.tx.ID()
	w.db.booksLock.Lock()
	w.books = maps.Clone(w.db.books)
	w.db.booksLock.Unlock()
	return nil
}

func (w *treeWriter) bucket(list *[maxCollections]*bbolt.Bucket, coll int, name []byte) *bbolt.Bucket {
	if b := list[coll]; b != nil {
		return b
	}
	b := w.tx.Bucket(name)
	b.FillPercent = fillPercent
	list[coll] = b
	return b
}

// get is Get of a data bucket by a cursor that is made once.
func (w *treeWriter) get(coll int, id []byte) []byte {
	c := w.at[coll]
	if c == nil {
		c = w.bucket(&w.data, coll, w.db.colls[coll].data).Cursor()
		w.at[coll] = c
	}
	if k, v := c.Seek(id); bytes.Equal(k, id) {
		return v
	}
	return nil
}

func (w *treeWriter) put(coll int, e *entry) error {
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.apply(coll, e); err != nil {
		return err
	}
	if w.n++; w.n%32 == 0 {
		runtime.Gosched() // Updates wait for this core
	}
	if w.n < w.chunk {
		return nil
	}
	return w.commit()
}

// apply carries one entry over. It may have been applied before.
func (w *treeWriter) apply(coll int, e *entry) (err error) {
	defer w.db.guard(&err)
	c := &w.db.colls[coll]
	data := w.bucket(&w.data, coll, c.data)
	var old stored
	v := w.get(coll, e.id)
	if v != nil {
		if old, err = decode(v); err != nil {
			return w.db.damaged(err)
		}
	}
	if old.inLog && !(e.inLog && e.ptr == old.ptr) {
		w.count(old.ptr, -1)
		w.dead = append(w.dead, old.ptr)
	}
	if e.inLog && !(old.inLog && e.ptr == old.ptr) {
		w.count(e.ptr, 1)
	}
	sameDue := old.hasDue && e.hasDue && old.due == e.due
	if old.hasDue && !sameDue {
		w.key = appendDueKey(w.key[:0], old.due, e.id)
		if err := w.bucket(&w.due, coll, c.due).Delete(w.key); err != nil {
			return err
		}
	}
	if e.deleted {
		if v == nil {
			return nil
		}
		return data.Delete(e.id)
	}
	if e.hasDue && !sameDue {
		w.key = appendDueKey(w.key[:0], e.due, e.id)
		if err := w.bucket(&w.due, coll, c.due).Put(w.key, nil); err != nil {
			return err
		}
	}
	return data.Put(e.id, e.value) // bbolt keeps the value until the commit
}

// count changes the life of a segment by one document.
func (w *treeWriter) count(p pointer, sign int64) {
	u := w.books[p.segment]
	u.live += sign * int64(p.length)
	w.books[p.segment] = u
}

// finish adds to the last transaction up to where the log is in the tree now.
func (w *treeWriter) finish(end position) (err error) {
	defer w.db.guard(&err)
	segments := w.db.tables.current.Load().segments
	for n, u := range w.books {
		if s := segments[n]; n == end.segment {
			u.end = end.offset
		} else if s != nil && s.end.Load() != 0 {
			u.end = s.end.Load()
		}
		w.books[n] = u
	}
	return w.tx.Bucket([]byte(logBucket)).Put([]byte(positionKey), end.encode())
}

// commit commits the transaction with the books.
func (w *treeWriter) commit() error {
	if err := w.writeBooks(); err != nil {
		return w.giveUp(err)
	}
	tx := w.tx
	w.tx = nil
	w.db.hook("before tree commit")
	if err := w.commitTx(tx); err != nil {
		return err
	}
	w.db.booksLock.Lock()
	w.db.books = w.books
	w.db.booksLock.Unlock()
	w.db.hook("chunk committed")
	_, err := w.db.readUsed()
	return err
}

func (w *treeWriter) writeBooks() (err error) {
	defer w.db.guard(&err)
	b := w.tx.Bucket([]byte(logBucket))
	for n, u := range w.books {
		key := binary.BigEndian.AppendUint32(nil, n)
		if u.live == 0 {
			delete(w.books, n)
			err = b.Delete(key)
		} else if old, ok := w.db.books[n]; !ok || old != u {
			err = b.Put(key, u.encode())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// commitTx commits. A panic leaves bbolt's locks held: nothing can be written
// any more.
func (w *treeWriter) commitTx(tx *bbolt.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = w.db.damaged(p)
			w.db.stuck = true
		}
	}()
	return tx.Commit()
}

func (u usage) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(u.live))
	b = binary.BigEndian.AppendUint64(b, uint64(u.end))
	return binary.BigEndian.AppendUint32(b, crcUpdate(0, b))
}

// readBooks reads what the tree knows of the log.
func (db *DB) readBooks() (at position, err error) {
	defer db.guard(&err)
	db.books = map[uint32]usage{}
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(logBucket)).ForEach(func(k, v []byte) (err error) {
			if string(k) == positionKey {
				if at, err = decodePosition(v); err != nil {
					return db.damaged(err)
				}
				return nil
			}
			if len(k) != 4 || len(v) != 20 || crcUpdate(0, v[:16]) != binary.BigEndian.Uint32(v[16:]) {
				return db.damaged("malformed entry of a segment")
			}
			db.books[binary.BigEndian.Uint32(k)] = usage{
				live: int64(binary.BigEndian.Uint64(v)),
				end:  int64(binary.BigEndian.Uint64(v[8:])),
			}
			return nil
		})
	})
	if err == nil && at.segment == 0 {
		err = db.damaged("position in the log is missing")
	}
	return at, err
}

// readUsed notes how much of the file the tree takes: of its free pages half
// are left out, because a transaction needs new pages before it frees the old.
func (db *DB) readUsed() (size int64, err error) {
	defer db.guard(&err)
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		stats := db.bolt.Stats()
		db.treeUsed.Store(size - int64(stats.FreePageN+stats.PendingPageN)/2*int64(db.bolt.Info().PageSize))
		return nil
	})
	return size, err
}
