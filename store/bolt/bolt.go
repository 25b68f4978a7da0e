// Package bolt keeps records in a log and, a little later, in one bbolt file:
//
//	dir/records.db         the tree: documents, due times, pointers into the log
//	dir/log/NNNNNNNN.log   segments of the log
//
// # Commit
//
// Updates that wait at the same time share one commit. What they write becomes
// one batch: it is appended to the log and synced, once, then it is put into a
// memtable and the Updates are answered. The tree is not touched. Batches have
// consecutive numbers and a checksum each. Behind a small one go zeros, over which
// the next ones are written, since that is cheaper to sync.
//
// # Reading
//
// A View sees the memtable over the one that is being written into the tree,
// over a transaction of the tree. Memtables are trees that share what they have
// in common: a View keeps the ones that it began with. An Update stands on the
// same, and on what earlier functions of its group have written.
//
// # Checkpoint
//
// When the memtable has grown large, or old, it is frozen and a goroutine writes
// it into the tree, together with the position in the log up to which the tree
// has all. A document above [Options.Threshold] stays in the log and the tree
// points to it. A segment is unlinked when it lies before the position and
// the tree points to nothing in it; [DB.Compact] empties those that are half
// dead; on a disk that is nearly full dead documents are punched out of them.
//
// # Recovery
//
// Open reads the log from the position on. Where the batches end it stops: a
// crash leaves at most one behind that is not whole, and nobody was told that
// it is there. A batch that is not whole before one that is, is damage. After a
// failed write the log goes on in a new segment, which says where the one before
// ends, so that what failed cannot come back.
//
// # A full disk
//
// Blocks are reserved ahead in the log, and in the tree for all that the
// memtables hold. Updates that delete something may use the last of them;
// others are refused with [store.ErrNoSpace] before anything is written. A
// checkpoint that fails is tried again; the memtables keep what it could not write.
package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"fileshare/store"
)

// Errors of this backend.
var (
	// ErrInUse means that another process (or another DB) has the directory.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged means that a file holds what this package never wrote, or
	// lacks what it did write.
	ErrDamaged = errors.New("damaged")
	// ErrClosed means that the DB has been closed.
	ErrClosed = errors.New("records are closed")
)

// Options configures a [DB]. The zero value works.
type Options struct {
	// Threshold is the size in bytes above which a document stays in the log
	// and out of the tree. Default 2 KiB; negative = no document does.
	Threshold int
	// SegmentSize is the size in bytes at which a segment of the log
	// is closed (the group that reaches it is still written whole). Default
	// 64 MiB, at most 1 GiB.
	SegmentSize int64
	// GroupSize is the most Updates that share a commit. Default 1024.
	GroupSize int
	// LockWait is how long Open waits for another process to let go of the
	// directory. Default 1 s.
	LockWait time.Duration

	memtable int64         // bytes at which one is frozen; default 3 MiB
	age      time.Duration // at which one is frozen; default 1 s
	hook     func(string)  // tests look at what a crash would leave there
}

const (
	groupBytes  = 4 << 20 // no further Update joins a group that holds as much
	minMap      = 1 << 30 // address space, not memory; a remap waits for all readers
	maxDocument = 64 << 20
	maxID       = 1024
	fillPercent = 0.9 // ids ascend with time: pages are filled once
	logBucket   = "\x00log"
	positionKey = "position"
	duePrefix   = "\x00due:"
)

func (o Options) withDefaults() Options {
	if o.Threshold == 0 {
		o.Threshold = 2 << 10
	} else if o.Threshold < 0 {
		o.Threshold = maxDocument
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = 64 << 20
	}
	o.SegmentSize = min(o.SegmentSize, 1<<30)
	if o.GroupSize <= 0 {
		o.GroupSize = 1024
	}
	if o.LockWait <= 0 {
		o.LockWait = time.Second
	}
	if o.memtable <= 0 {
		o.memtable = 3 << 20
	}
	if o.age <= 0 {
		o.age = time.Second
	}
	if o.hook == nil {
		o.hook = func(string) {}
	}
	return o
}

// collection is a family of records with the names of its two buckets.
type collection struct {
	name store.Collection
	data []byte // id → stored value
	due  []byte // due time ‖ id → nothing
}

// DB is a [store.Records]. It is safe for concurrent use by one process.
// An Update must not call Update of the same DB.
type DB struct {
	path  string // of the tree
	opts  Options
	hook  func(string)
	bolt  *bbolt.DB
	file  *os.File // bbolt's own; to let go of a tree that cannot be closed
	index map[store.Collection]int
	colls []collection
	stats counters
	queue queue

	// Of the committer.
	log          commitLog
	group        group
	treeReserved int64 // the tree's file has blocks up to here

	tables     tables
	publishing sync.Mutex // of those that replace version
	version    atomic.Pointer[version]
	tight      atomic.Bool           // something was refused for lack of room
	broken     atomic.Pointer[error] // the tree is damaged
	treeUsed   atomic.Int64          // bytes of the tree's file that have been used

	// Of the checkpoint.
	checkpoints checkpoints
	booksLock   sync.Mutex
	books       map[uint32]usage // guarded by booksLock
	chunk       int
	done        position  // the tree has all before it
	unread      []pointer // dead since a checkpoint that has not ended
	stuck       bool      // the tree panicked in a commit

	requests sync.Pool // *request
	views    sync.Pool // *reader
	buffers  sync.Pool // *[]byte, for documents read from the log

	committer    sync.WaitGroup
	checkpointer sync.WaitGroup
	closeOnce    sync.Once
	closeErr     error
	closing      sync.Mutex // held by Compact and Close
}

var _ store.Records = (*DB)(nil)

// Open opens or creates the records in dir, which is created (0700) if it is
// not there. An error wraps [ErrInUse] if another process has them open and
// [ErrDamaged] if they cannot be trusted; then nothing has been changed.
func Open(dir string, o Options) (*DB, error) {
	o = o.withDefaults()
	db := &DB{path: filepath.Join(dir, "records.db"), opts: o, hook: o.hook, chunk: mostChunk, index: map[store.Collection]int{}}
	for i, c := range store.Collections() {
		db.index[c] = i
		db.colls = append(db.colls, collection{name: c, data: []byte(c), due: []byte(duePrefix + string(c))})
	}
	if len(db.colls) > maxCollections {
		return nil, fmt.Errorf("%d collections, at most %d", len(db.colls), maxCollections)
	}
	logs := filepath.Join(dir, "log")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	if err := db.openTree(dir, logs); err != nil {
		return nil, err
	}
	fail := func(err error) (*DB, error) {
		return nil, errors.Join(err, db.closeTree())
	}
	if err := db.createBuckets(); err != nil {
		return fail(fmt.Errorf("create buckets in %s: %w", db.path, diskError(err)))
	}
	db.log = commitLog{dir: logs, segmentSize: o.SegmentSize, disk: newReserve(dir), hook: o.hook, tables: &db.tables}
	if err := db.openLog(logs); err != nil {
		return fail(err)
	}
	failOpen := func(err error) (*DB, error) {
		db.tables.current.Load().release()
		return fail(err)
	}
	var err error
	if db.treeReserved, err = db.readUsed(); err != nil {
		return failOpen(err)
	}
	for _, d := range []string{logs, dir, filepath.Dir(filepath.Clean(dir))} {
		if err := syncDir(d); err != nil {
			return failOpen(fmt.Errorf("sync %s: %w", d, diskError(err)))
		}
	}
	db.requests.New = func() any { return &request{done: make(chan struct{}, 1)} }
	db.views.New = func() any { return new(reader) }
	db.queue.wake = make(chan struct{}, 1)
	db.group.init(db)
	db.checkpoints.init(db.done.seq)
	db.committer.Go(db.commitLoop)
	db.checkpointer.Go(db.checkpointLoop)
	db.checkpoints.signal() // of what was replayed
	return db, nil
}

func (db *DB) logName(n uint32) string { return logName(db.log.dir, n) }

// Path returns the file of the tree.
func (db *DB) Path() string { return db.path }

// Close waits for running calls, writes the memtables into the tree and
// releases the files. Calls after it fail with [ErrClosed]; a second Close
// returns what the first did.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.queue.close()
		db.checkpoints.close()
		db.committer.Wait()
		close(db.checkpoints.stop)
		db.checkpointer.Wait()
		db.closing.Lock()
		defer db.closing.Unlock()
		old := debug.SetPanicOnFault(true)
		defer debug.SetPanicOnFault(old)
		// What the tree cannot take stays in the log, so these errors are
		// dropped: they only cost the next Open time.
		_ = db.checkpointRest()
		if !db.stuck {
			_ = db.writeFreelist()
			db.closeErr = db.closeTree()
		} else {
			// bbolt holds its locks for ever after a panic in a commit.
			db.closeErr = db.file.Close()
		}
		db.tables.change(nil, func(segments map[uint32]*segment) { clear(segments) })
	})
	return db.closeErr
}

// checkpointRest writes all memtables into the tree when the other goroutines
// have ended.
func (db *DB) checkpointRest() error {
	for {
		db.freezeIfDue(true)
		if db.version.Load().frozen == nil {
			return nil
		}
		if err := db.checkpointFrozen(); err != nil {
			return err
		}
	}
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil // a parent that we may not read is not ours to sync
		}
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
