package bolt

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fileshare/store"
)

func put(ctx context.Context, db *DB, id string, doc []byte) error {
	return db.Update(ctx, func(tx store.Tx) error { return tx.Put(store.FileRecords, []byte(id), doc, time.Time{}) })
}

func get(t *testing.T, db *DB, id string) (doc []byte, err error) {
	t.Helper()
	err = db.View(t.Context(), func(tx store.Tx) error {
		b, err := tx.Get(store.FileRecords, []byte(id))
		doc = bytes.Clone(b)
		return err
	})
	return doc, err
}

// force has the tree take what is in the log.
func force(t testing.TB, db *DB) {
	t.Helper()
	if err := db.checkpoint(t.Context()); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
}

func TestOpenInUse(t *testing.T) {
	dir := t.TempDir()
	openIn(t, dir, Options{})
	_, err := Open(dir, Options{LockWait: 1})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open = %v, want ErrInUse with the directory", err)
	}
}

// TestOpenDamaged damages the tree as a crash has left it.
func TestOpenDamaged(t *testing.T) {
	db := openIn(t, t.TempDir(), Options{})
	for i := range 4 {
		if err := db.Update(t.Context(), func(tx store.Tx) error {
			for j := range 100 {
				if err := tx.Put(store.FileRecords, fmt.Appendf(nil, "%d-%06d", i, j), make([]byte, 1000), time.Time{}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	force(t, db)
	whole, err := os.ReadFile(db.Path()) // as a crash would leave it
	if err != nil {
		t.Fatal(err)
	}
	logs := filepath.Dir(db.logName(1))
	good := t.TempDir()
	copyTo := func(dir string, tree []byte) {
		t.Helper()
		if err := cmp.Or(os.CopyFS(filepath.Join(dir, "log"), os.DirFS(logs)), os.WriteFile(filepath.Join(dir, "records.db"), tree, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	copyTo(good, whole)
	openIn(t, good, Options{})
	overwrite := func(from int) func(b []byte) []byte {
		return func(b []byte) []byte {
			for i := from; i < min(len(b), 1<<20); i++ {
				b[i] ^= 0x5a
			}
			return b
		}
	}
	for name, damage := range map[string]func([]byte) []byte{
		"garbage":    func([]byte) []byte { return bytes.Repeat([]byte("garbage "), 5000) },
		"short":      func(b []byte) []byte { return b[:100] },
		"truncated":  func(b []byte) []byte { return b[:5*4096] },
		"heads lost": overwrite(0),
		"pages lost": overwrite(2 * 4096),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "records.db")
			copyTo(dir, damage(bytes.Clone(whole)))
			if _, err := Open(dir, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), file) {
				t.Errorf("Open = %v, want ErrDamaged with the file", err)
			}
		})
	}
}

// TestDamageWhileOpen: pages and values that go bad give errors, not a crash.
func TestDamageWhileOpen(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if err := put(t.Context(), db, fmt.Sprintf("%06d", i), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(t.Context(), db, "large", bytes.Repeat([]byte("v"), 20_000)); err != nil {
		t.Fatal(err)
	}
	force(t, db)
	segment, err := os.OpenFile(db.logName(1), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer segment.Close()
	info, err := segment.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := segment.WriteAt(make([]byte, info.Size()), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, db, "large"); !errors.Is(err, ErrDamaged) {
		t.Errorf("Get of a changed value = %v, want ErrDamaged", err)
	}
	if err := os.Truncate(db.Path(), 3*4096); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, db, "000001"); !errors.Is(err, ErrDamaged) {
		t.Errorf("Get of a page that is gone = %v, want ErrDamaged", err)
	}
	// The log takes what the tree cannot; after the checkpoint nothing more.
	_ = put(t.Context(), db, "000001", nil)
	if err := db.checkpoint(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("checkpoint to a page that is gone = %v, want ErrDamaged", err)
	}
	if err := put(t.Context(), db, "000002", nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("Put to a tree that is damaged = %v, want ErrDamaged", err)
	}
	_ = db.Close() // what it says of such a file is not promised; it returns
}

// TestContextEndsTheWait: a function whose turn has not come is withdrawn.
func TestContextEndsTheWait(t *testing.T) {
	db := openIn(t, t.TempDir(), Options{})
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	ran := false
	err := db.Update(t.Context(), func(store.Tx) error {
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel(why)
		wg.Go(func() {
			if err := db.Update(ctx, func(store.Tx) error { ran = true; return nil }); err != why {
				t.Errorf("Update = %v, want the cause", err)
			}
		})
		for { // until it waits
			db.queue.mu.Lock()
			n := len(db.queue.list)
			db.queue.mu.Unlock()
			if n > 0 {
				return nil
			}
			runtime.Gosched()
		}
	})
	if err != nil || ran {
		t.Errorf("Update = %v, the other one ran: %v", err, ran)
	}
}

// TestGoexit: what a failed test does in a function ends only its caller.
func TestGoexit(t *testing.T) {
	db := openIn(t, t.TempDir(), Options{})
	for i := range 3 {
		returned := false
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = db.Update(t.Context(), func(tx store.Tx) error {
				if err := tx.Put(store.FileRecords, []byte("never"), make([]byte, 9000), time.Time{}); err != nil {
					return err
				}
				runtime.Goexit()
				return nil
			})
			returned = true
		})
		wg.Go(func() {
			if err := put(t.Context(), db, fmt.Sprint(i), nil); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if doc, err := get(t, db, "never"); returned || doc != nil || err != nil {
			t.Errorf("returned %v, left %d bytes, %v", returned, len(doc), err)
		}
		if doc, err := get(t, db, fmt.Sprint(i)); doc == nil || err != nil {
			t.Errorf("the other one of the group is not there: %v", err)
		}
	}
}

// mountSmall mounts a file system of n bytes.
func mountSmall(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", n)); err != nil {
		t.Fatalf("mount a small tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestFullDisk fills a disk through the tree and through the value log, with
// nothing lost, and goes on when there is room again.
func TestFullDisk(t *testing.T) {
	for name, size := range map[string]int{"tree": 1500, "log": 30_000} {
		t.Run(name, func(t *testing.T) {
			dir := mountSmall(t, 6<<20)
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			db := openIn(t, filepath.Join(dir, "data"), Options{})
			doc := func(i int) []byte { return bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(i)), size/8) }
			n, failures := 0, 0
			for failures < 5 {
				if err := put(t.Context(), db, fmt.Sprintf("%06d", n), doc(n)); err == nil {
					n++
				} else if failures++; !errors.Is(err, store.ErrNoSpace) {
					t.Fatalf("Put = %v, want ErrNoSpace", err)
				}
			}
			checkFrom := func(first int) func(string) {
				return func(when string) {
					t.Helper()
					for i := first; i < n; i++ {
						if got, err := get(t, db, fmt.Sprintf("%06d", i)); err != nil || !bytes.Equal(got, doc(i)) {
							t.Fatalf("%s: document %d: %d bytes, %v", when, i, len(got), err)
						}
					}
				}
			}
			check := checkFrom(0)
			check("full")
			// What is deleted on a full disk gives room for more.
			for i := range n {
				if err := db.Update(t.Context(), func(tx store.Tx) error { return tx.Delete(store.FileRecords, fmt.Appendf(nil, "%06d", i)) }); err != nil {
					t.Fatalf("deletion %d of %d on a full disk: %v", i, n, err)
				}
			}
			force(t, db)
			first := n
			for end := n + n/2; n < end; n++ {
				if err := put(t.Context(), db, fmt.Sprintf("%06d", n), doc(n)); err != nil {
					t.Fatalf("after deletions: %d fit, of %d: %v", n-first, first, err)
				}
			}
			check = checkFrom(first)
			check("after deletions")
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			for end := n + 20; n < end; n++ {
				if err := put(t.Context(), db, fmt.Sprintf("%06d", n), doc(n)); err != nil {
					t.Fatalf("with room again: %v", err)
				}
			}
			check("with room again")
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = openIn(t, filepath.Join(dir, "data"), Options{})
			check("reopened")
		})
	}
}

// TestCompact: dead segments go at once, half-dead ones when compacted, and
// a View that began before still reads them.
func TestCompact(t *testing.T) {
	dir := t.TempDir()
	db := openIn(t, dir, Options{SegmentSize: 100_000})
	doc := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 10_000) }
	due := time.UnixMilli(77).UTC()
	for i := range 100 {
		if err := db.Update(t.Context(), func(tx store.Tx) error {
			return tx.Put(store.FileRecords, fmt.Appendf(nil, "%03d", i), doc(i), due)
		}); err != nil {
			t.Fatal(err)
		}
	}
	before := db.Stats().Segments
	check := func(keep func(i int) bool) error {
		return db.View(t.Context(), func(tx store.Tx) error { return checkDocs(tx, doc, keep) })
	}
	kept := func(i int) bool { return i%10 == 0 && i >= 30 }
	err := db.View(t.Context(), func(old store.Tx) error {
		if err := db.Update(t.Context(), func(tx store.Tx) error {
			for i := range 100 {
				if kept(i) {
					continue
				}
				if err := tx.Delete(store.FileRecords, fmt.Appendf(nil, "%03d", i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if err := db.checkpoint(t.Context()); err != nil {
			return err
		}
		dead := db.Stats().Segments
		if dead >= before {
			t.Errorf("%d segments after deletions, %d before", dead, before)
		}
		res, err := db.Compact(t.Context())
		if err != nil {
			return err
		}
		if res.Segments == 0 || res.Moved == 0 || db.Stats().Segments >= dead {
			t.Errorf("Compact = %+v, %d segments after %d", res, db.Stats().Segments, dead)
		}
		return checkDocs(old, doc, func(int) bool { return true })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := check(kept); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "log", "*.log"))
	if err != nil || len(files) != db.Stats().Segments {
		t.Errorf("%d files of %d segments, %v", len(files), db.Stats().Segments, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openIn(t, dir, Options{SegmentSize: 100_000})
	if err := check(kept); err != nil {
		t.Error(err)
	}
}

func checkDocs(tx store.Tx, doc func(int) []byte, keep func(int) bool) error {
	for i := range 100 {
		got, err := tx.Get(store.FileRecords, fmt.Appendf(nil, "%03d", i))
		if err != nil {
			return err
		}
		if keep(i) && !bytes.Equal(got, doc(i)) || !keep(i) && got != nil {
			return fmt.Errorf("document %d has %d bytes", i, len(got))
		}
	}
	return nil
}

// TestScanBehindDeletions: in one group, Scan goes on behind pages that an
// earlier function has emptied.
func TestScanBehindDeletions(t *testing.T) {
	db := openIn(t, t.TempDir(), Options{})
	id := func(i int) []byte { return fmt.Appendf(nil, "%05d", i) }
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for i := range 1000 {
			if err := tx.Put(store.FileRecords, id(i), make([]byte, 200), time.Time{}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for i := 100; i < 900; i++ {
			if err := tx.Delete(store.FileRecords, id(i)); err != nil {
				return err
			}
		}
		wg.Go(func() {
			if err := db.Update(t.Context(), func(tx store.Tx) error {
				n := 0
				for _, err := range tx.Scan(store.FileRecords, nil, nil) {
					if err != nil {
						return err
					}
					n++
				}
				if n != 200 {
					t.Errorf("Scan yields %d documents, want 200", n)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
		for { // until it waits: it then joins this group
			db.queue.mu.Lock()
			n := len(db.queue.list)
			db.queue.mu.Unlock()
			if n > 0 {
				return nil
			}
			runtime.Gosched()
		}
	}); err != nil {
		t.Fatal(err)
	}
}
