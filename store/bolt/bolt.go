// Package bolt keeps records in one bbolt file and large documents in an
// append-only value log beside it:
//
//	dir/records.db           the tree: documents, due times, pointers
//	dir/values/NNNNNNNN.val  segments of the value log
//
// Updates that wait at the same time share one commit. A document above
// [Options.Threshold] is appended to the log and the tree holds a pointer to
// it, so that a page of the tree is not copied with every neighbour's change.
// The log is synced before the tree that points into it: a crash leaves at
// most bytes that nothing points to, and Open cuts them off.
package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

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
	// Threshold is the size in bytes above which a document goes into the
	// value log. Default 2 KiB; negative = no document does.
	Threshold int
	// SegmentSize is the size in bytes at which a segment of the value log
	// is closed (the group that reaches it is still written whole). Default
	// 64 MiB, at most 1 GiB.
	SegmentSize int64
	// GroupSize is the most Updates that share a commit. Default 1024.
	GroupSize int
	// LockWait is how long Open waits for another process to let go of the
	// directory. Default 1 s.
	LockWait time.Duration
}

const (
	groupBytes   = 8 << 20 // no further Update joins a group that holds as much
	growBy       = 16 << 20
	minMap       = 1 << 30 // address space, not memory; a remap waits for all readers
	maxDocument  = 64 << 20
	maxID        = 1024
	fillPercent  = 0.9 // ids ascend with time: pages are filled once
	segmentsName = "\x00segments"
	duePrefix    = "\x00due:"
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
	bolt  *bbolt.DB
	file  *os.File // bbolt's own; to let go of a tree that cannot be closed
	index map[store.Collection]int
	colls []collection
	log   *valueLog
	group group
	stats counters
	queue queue

	requests sync.Pool // *request
	views    sync.Pool // *reader
	buffers  sync.Pool // *[]byte, for documents read from the log

	committer sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
	closing   sync.Mutex // held by Compact and Close
	broken    error      // the tree panicked in a commit; owned by the committer
}

var _ store.Records = (*DB)(nil)

// Open opens or creates the records in dir, which is created (0700) if it is
// not there. An error wraps [ErrInUse] if another process has them open and
// [ErrDamaged] if they cannot be trusted; then nothing has been changed.
func Open(dir string, o Options) (*DB, error) {
	db := &DB{path: filepath.Join(dir, "records.db"), opts: o.withDefaults(), index: map[store.Collection]int{}}
	for i, c := range store.Collections() {
		db.index[c] = i
		db.colls = append(db.colls, collection{name: c, data: []byte(c), due: []byte(duePrefix + string(c))})
	}
	if len(db.colls) > maxCollections {
		return nil, fmt.Errorf("%d collections, at most %d", len(db.colls), maxCollections)
	}
	values := filepath.Join(dir, "values")
	if err := os.MkdirAll(values, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	if err := db.openTree(dir, values); err != nil {
		return nil, err
	}
	fail := func(err error) (*DB, error) {
		return nil, errors.Join(err, db.bolt.Close())
	}
	if err := db.createBuckets(); err != nil {
		return fail(fmt.Errorf("create buckets in %s: %w", db.path, diskError(err)))
	}
	var err error
	if db.log, err = openLog(values, db.opts.SegmentSize, db.readSegments); err != nil {
		return fail(err)
	}
	for _, d := range []string{values, dir, filepath.Dir(filepath.Clean(dir))} {
		if err := syncDir(d); err != nil {
			db.log.close()
			return fail(fmt.Errorf("sync %s: %w", d, diskError(err)))
		}
	}
	db.requests.New = func() any { return &request{done: make(chan struct{}, 1)} }
	db.views.New = func() any { return new(reader) }
	db.queue.wake = make(chan struct{}, 1)
	db.group.init(db)
	db.committer.Go(db.commitLoop)
	return db, nil
}

// openTree opens the bbolt file. What bbolt would meet with a panic (possibly
// in a goroutine of its own, where nobody can recover it) is looked for first.
func (db *DB) openTree(dir, values string) (err error) {
	old := debug.SetPanicOnFault(true) // a truncated file is a fault of the mapping
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			err = db.damaged(p)
		}
		if err != nil && db.file != nil {
			db.file.Close() // also lets go of the lock where bbolt panicked
		}
	}()
	size := 0
	if info, err := os.Stat(db.path); err == nil {
		size = int(info.Size())
	}
	db.bolt, err = bbolt.Open(db.path, 0o600, &bbolt.Options{
		Timeout:         db.opts.LockWait,
		FreelistType:    bbolt.FreelistMapType,
		NoFreelistSync:  true, // the cost of a commit must not grow with the free list; Close writes it
		NoStatistics:    true,
		InitialMmapSize: max(minMap, 2*size),
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(path, flag, mode)
			if err != nil {
				return nil, err
			}
			if err := lockFile(f, db.opts.LockWait); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			if err := checkBeforeOpen(f, values); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			db.file = f
			return f, nil
		},
	})
	switch {
	case err == nil:
		db.bolt.AllocSize = growBy
		return nil
	case errors.Is(err, ErrInUse), errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("data directory %s is %w", dir, ErrInUse)
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("database file %s: %w", db.path, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return db.damaged(err)
	}
	return fmt.Errorf("open %s: %w", db.path, diskError(err))
}

// checkBeforeOpen looks at the locked file of the tree.
func checkBeforeOpen(f *os.File, values string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		return checkTree(f, info.Size())
	}
	// A new tree beside old values would make Open remove them all.
	old, err := filepath.Glob(filepath.Join(values, "*.val"))
	if err == nil && len(old) > 0 {
		err = fmt.Errorf("%w: empty or missing, but %s is there", ErrDamaged, old[0])
	}
	return err
}

// lockFile takes the lock that bbolt will take again on the same descriptor.
func lockFile(f *os.File, wait time.Duration) error {
	const pause = 50 * time.Millisecond
	for end := time.Now().Add(wait); ; time.Sleep(pause) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock: %w", err)
		}
		if time.Now().Add(pause).After(end) {
			return ErrInUse
		}
	}
}

func (db *DB) createBuckets() (err error) {
	defer db.guard(&err)
	missing := false
	names := [][]byte{[]byte(segmentsName)}
	for _, c := range db.colls {
		names = append(names, c.data, c.due)
	}
	if err := db.bolt.View(func(tx *bbolt.Tx) error {
		missing = slices.ContainsFunc(names, func(n []byte) bool { return tx.Bucket(n) == nil })
		return nil
	}); err != nil || !missing {
		return err
	}
	return db.bolt.Update(func(tx *bbolt.Tx) error {
		for _, n := range names {
			if _, err := tx.CreateBucketIfNotExists(n); err != nil {
				return err
			}
		}
		return nil
	})
}

// Path returns the file of the tree.
func (db *DB) Path() string { return db.path }

// Close waits for running calls and releases the files. Calls after it fail
// with [ErrClosed]; a second Close returns what the first did.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.queue.close()
		db.committer.Wait()
		db.closing.Lock()
		defer db.closing.Unlock()
		if db.broken != nil {
			// bbolt holds its locks for ever after a panic in a commit.
			db.log.close()
			db.closeErr = db.file.Close()
			return
		}
		// With the free list on the disk the next Open need not scan the tree.
		// It only costs that scan if this fails, so the error is dropped.
		_ = db.writeFreelist()
		db.closeErr = db.closeTree()
		db.log.close()
	})
	return db.closeErr
}

func (db *DB) writeFreelist() (err error) {
	defer db.guard(&err)
	db.bolt.NoFreelistSync = false
	return db.bolt.Update(func(*bbolt.Tx) error { return nil })
}

func (db *DB) closeTree() (err error) {
	defer db.guard(&err)
	return db.bolt.Close()
}

// guard turns a panic of bbolt over a damaged page into an error. It is
// deferred around calls of bbolt only, never around the caller's code.
func (db *DB) guard(err *error) {
	if p := recover(); p != nil {
		*err = db.damaged(p)
	}
}

func (db *DB) damaged(why any) error {
	return fmt.Errorf("database file %s: %w: %v", db.path, ErrDamaged, why)
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
