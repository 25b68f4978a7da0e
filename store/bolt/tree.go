package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// openTree opens the bbolt file. What bbolt would meet with a panic (possibly
// in a goroutine of its own, where nobody can recover it) is looked for first.
func (db *DB) openTree(dir, logs string) (err error) {
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
		InitialMmapSize: max(minMap, 2*size),
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(path, flag, mode)
			if err != nil {
				return nil, err
			}
			if err := lockFile(f, db.opts.LockWait); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			if err := checkBeforeOpen(f, logs); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			db.file = f
			return f, nil
		},
	})
	switch {
	case err == nil:
		db.bolt.AllocSize = 0 // bbolt's growth is a truncation that reserves nothing; see treeRoom
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
func checkBeforeOpen(f *os.File, logs string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		return checkTree(f, info.Size())
	}
	// A new tree would begin a new log beside the old one.
	old, err := filepath.Glob(filepath.Join(logs, "*.log"))
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
	names := [][]byte{[]byte(logBucket)}
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
		b := tx.Bucket([]byte(logBucket))
		if b.Get([]byte(positionKey)) != nil {
			return nil
		}
		return b.Put([]byte(positionKey), position{segment: 1, offset: segmentHeader, seq: 1}.encode())
	})
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
