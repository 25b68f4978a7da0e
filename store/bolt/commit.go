package bolt

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// group is the commit under way. It belongs to the committer.
type group struct {
	db      *DB
	reader  reader
	mem     *memtable // the active one with what the group has written
	tx      writeTx
	arena   arena
	taken   []*request // from the queue
	next    int        // the first of taken that has not run
	ran     []*request // to be answered together
	current *request   // running
	wrote   bool
	last    int // size of the group before
}

func (g *group) init(db *DB) {
	g.db = db
	g.reader.db, g.reader.batch = db, &db.log
	g.tx = writeTx{reader: &g.reader, g: g}
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
		db.freezeIfDue(db.queue.takeKick())
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
	_ = g.reader.end() // the next group meets what is wrong with the tree
	g.reset()
	r.done <- struct{}{}
}

func (g *group) reset() {
	g.last = len(g.ran)
	clear(g.ran)
	clear(g.taken)
	g.ran, g.taken, g.next, g.current, g.wrote, g.mem = g.ran[:0], g.taken[:0], 0, nil, false, nil
}

// runGroup runs what waits, and what comes while it runs, and commits it.
func (db *DB) runGroup() {
	g := &db.group
	g.taken = db.queue.take(g.taken, db.opts.GroupSize)
	if len(g.taken) == 0 {
		return
	}
	err := db.waitForRoom()
	if err == nil {
		err = db.begin(&g.reader)
	}
	if err != nil {
		for _, r := range g.taken {
			if r.state.CompareAndSwap(waiting, running) {
				g.ran = append(g.ran, r)
			} else {
				db.recycle(r)
			}
		}
		db.answer(err)
		return
	}
	g.mem = g.reader.active.copy()
	g.reader.active = g.mem
	db.log.begin()
	for yields := 0; ; {
		for g.next < len(g.taken) && g.hasRoom() {
			g.next++
			g.run(g.taken[g.next-1])
		}
		if !g.hasRoom() {
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
	db.finish()
}

// more takes what has come meanwhile.
func (g *group) more() bool {
	g.taken = g.db.queue.take(g.taken, g.db.opts.GroupSize-len(g.ran))
	return g.next < len(g.taken)
}

func (g *group) hasRoom() bool {
	return len(g.ran) < g.db.opts.GroupSize && len(g.db.log.buf) < groupBytes
}

// run runs one function.
func (g *group) run(r *request) {
	if !r.state.CompareAndSwap(waiting, running) {
		g.db.recycle(r)
		return
	}
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		r.done <- struct{}{}
		return
	}
	g.db.stats.updates.Add(1)
	l := &g.db.log
	mark, ops := len(l.buf), l.ops
	g.tx.begin()
	ok := g.call(r)
	g.ran = append(g.ran, r)
	if ok && len(g.tx.ops) > 0 {
		if err := g.admit(); err != nil {
			r.err = fmt.Errorf("commit to %s: %w", l.dir, diskError(err))
			ok = false
		}
	}
	if !ok {
		l.buf, l.ops = l.buf[:mark], ops
		return
	}
	for _, o := range g.tx.ops {
		g.mem.put(o.coll, o.e)
	}
	g.wrote = g.wrote || len(g.tx.ops) > 0
}

// admit says whether the disk has room for what the function wrote. Others of
// the group do not suffer from one that asks for too much.
func (g *group) admit() error {
	db := g.db
	if err := db.log.room(g.tx.largest, g.tx.deletes); err != nil {
		db.tight.Store(true)
		return err
	}
	need := g.mem.tree
	if g.reader.frozen != nil {
		need += g.reader.frozen.tree
	}
	for _, o := range g.tx.ops {
		need += int64(2*len(o.e.id)+o.e.size()) + 64
	}
	if err := db.treeRoom(need); err != nil && !g.tx.deletes && db.treeUsed.Load()+need*3/2+db.log.disk.least/2 > db.treeReserved {
		db.tight.Store(true)
		return err
	}
	if g.mem.bytes > db.opts.memtable*mostTables {
		if err := db.checkpoints.lastError(); err != nil && !g.tx.deletes {
			return err
		}
	}
	return nil
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

// finish commits the group and answers.
func (db *DB) finish() {
	g := &db.group
	err := g.reader.end()
	if err != nil || !g.wrote {
		db.answer(err)
		return
	}
	start, n := time.Now(), len(db.log.buf)
	if err := db.log.commit(); err != nil {
		db.stats.failed.Add(1)
		db.answer(fmt.Errorf("commit: %w", diskError(err)))
		return
	}
	db.stats.groups.Add(1)
	db.stats.commitTime.Add(int64(time.Since(start)))
	db.stats.logBytes.Add(int64(n))
	m := g.mem
	m.end = db.log.position()
	m.logBytes += int64(n)
	first := m.begun.IsZero()
	if first {
		m.begun = start
	}
	db.publish(func(v *version) { v.active = m })
	db.answer(nil)
	if first {
		db.checkpoints.signal()
	}
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

// version is what readers see above the tree.
type version struct {
	active *memtable
	frozen *memtable // being written into the tree; nil: none
	base   int       // transaction of the tree without which the above is not whole
}

// publish replaces the current version by a changed one.
func (db *DB) publish(change func(*version)) {
	db.publishing.Lock()
	v := *db.version.Load()
	change(&v)
	db.version.Store(&v)
	db.publishing.Unlock()
}

const (
	mostTables = 3 // of opts.memtable: more than that waits for the checkpoint
	mostOps    = 64 << 10
	mostLog    = 64 << 20 // bytes that Open may have to read again
)

// isDue reports whether the active memtable is to be frozen though nobody asks.
func (db *DB) isDue() bool {
	m := db.version.Load().active
	return m.ops > 0 && (db.tight.Load() || m.bytes >= db.opts.memtable || m.ops >= mostOps || m.logBytes >= mostLog)
}

// freezeIfDue hands the active memtable to the checkpoint.
func (db *DB) freezeIfDue(wanted bool) {
	v := db.version.Load()
	m := v.active
	if v.frozen != nil || m.ops == 0 {
		return
	}
	if !wanted && !db.isDue() {
		return
	}
	db.publish(func(v *version) { v.active, v.frozen = &memtable{end: m.end}, m })
	db.checkpoints.signal()
}

// waitForRoom waits while the memtable is too large and a checkpoint is about
// to make room.
func (db *DB) waitForRoom() error {
	if err := db.broken.Load(); err != nil {
		return *err
	}
	limit := db.opts.memtable * mostTables
	for {
		v := db.version.Load()
		if v.active.bytes < limit {
			return nil
		}
		db.freezeIfDue(true)
		err := db.checkpoints.lastError()
		if err != nil {
			if v.active.bytes < 2*limit {
				return nil // deletions still have room
			}
			return fmt.Errorf("checkpoint: %w", err)
		}
		if v.frozen != nil {
			db.checkpoints.waitWhile(func() bool { return db.version.Load().frozen == v.frozen })
		}
	}
}
