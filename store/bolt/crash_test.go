package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fileshare/store"
)

// TestKillAnywhere copies the files at every step of commits and checkpoints,
// as a kill would leave them, and opens the copies: what was acknowledged is
// there, and what was not is there as a whole or not at all.
func TestKillAnywhere(t *testing.T) {
	dir, copies := t.TempDir(), t.TempDir()
	var mu sync.Mutex
	acked, begun := 0, 0 // guarded by mu
	type moment struct {
		dir          string
		acked, begun int
	}
	var moments []moment       // guarded by mu
	points := map[string]int{} // guarded by mu
	busy := false              // guarded by mu: the tree is being written
	take := func(at string) {
		mu.Lock()
		defer mu.Unlock()
		switch at {
		case "before tree commit":
			busy = true
		case "chunk committed":
			busy = false
		}
		// A copy of a tree that changes meanwhile is no moment of it.
		if points[at]++; points[at] > 12 || busy && at != "before tree commit" {
			return
		}
		m := moment{filepath.Join(copies, fmt.Sprint(len(moments), at)), acked, begun}
		if err := copySparse(m.dir, dir); err != nil {
			t.Error(err)
		}
		moments = append(moments, m)
	}
	o := Options{Threshold: 30, SegmentSize: 3000, memtable: 4000, age: time.Hour, hook: take}
	db := openIn(t, dir, o)
	db.chunk = 5
	// Round n writes document n, deletes n-10 and changes one that all have.
	for n := range 120 {
		mu.Lock()
		begun = n + 1
		mu.Unlock()
		if err := db.Update(t.Context(), func(tx store.Tx) error { return crashRound(tx, n) }); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		acked = n + 1
		mu.Unlock()
	}
	force(t, db)
	for _, at := range []string{"segment created", "batch written", "batch synced", "before tree commit", "chunk committed", "tree committed", "segments dropped"} {
		if points[at] == 0 {
			t.Errorf("%q was never reached (%v)", at, points)
		}
	}
	for _, m := range moments {
		// Twice: what the first Open does must itself be right.
		for range 2 {
			again, err := Open(m.dir, Options{Threshold: 30, SegmentSize: 3000, age: time.Hour})
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(m.dir), err)
				break
			}
			n := crashRounds(t, again, filepath.Base(m.dir))
			if n < m.acked || n > m.begun {
				t.Errorf("%s: %d rounds are there, %d were acknowledged and %d begun", filepath.Base(m.dir), n, m.acked, m.begun)
			}
			if err := again.crash(); err != nil {
				t.Error(err)
			}
		}
		if err := os.RemoveAll(m.dir); err != nil {
			t.Error(err)
		}
	}
}

func crashRound(tx store.Tx, n int) error {
	err := tx.Put(store.FileRecords, fmt.Appendf(nil, "doc%04d", n), bytes.Repeat([]byte{byte(n)}, n%7*10), time.UnixMilli(int64(n)))
	if err == nil {
		err = tx.Delete(store.FileRecords, fmt.Appendf(nil, "doc%04d", n-10))
	}
	if err == nil {
		err = tx.Put(store.MetaRecords, []byte("rounds"), fmt.Append(nil, n+1), time.Time{})
	}
	return err
}

// crashRounds returns how many rounds there were, after it has verified what
// they must have left.
func crashRounds(t *testing.T, db *DB, when string) (n int) {
	t.Helper()
	err := db.View(t.Context(), func(tx store.Tx) error {
		b, err := tx.Get(store.MetaRecords, []byte("rounds"))
		if err != nil {
			return err
		}
		if b != nil {
			if _, err := fmt.Sscan(string(b), &n); err != nil {
				return err
			}
		}
		want := n
		for it, err := range tx.Scan(store.FileRecords, nil, nil) {
			if err != nil {
				return err
			}
			if want--; string(it.ID) != fmt.Sprintf("doc%04d", want) || !bytes.Equal(it.Doc, bytes.Repeat([]byte{byte(want)}, want%7*10)) {
				return fmt.Errorf("%s of %d bytes, want doc%04d", it.ID, len(it.Doc), want)
			}
		}
		due, err := tx.Due(store.FileRecords, time.Now(), 100)
		if left := min(n, 10); err == nil && (want != n-left || len(due) != left) {
			err = fmt.Errorf("%d documents and %d due, want %d", n-want, len(due), left)
		}
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", when, err)
	}
	return n
}

// copySparse copies a data directory without the zeros at the ends of files.
func copySparse(to, from string) error {
	if err := os.MkdirAll(filepath.Join(to, "log"), 0o700); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(from, "log", "*.log"))
	if err != nil {
		return err
	}
	for _, f := range append(files, filepath.Join(from, "records.db")) {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // unlinked meanwhile
		} else if err != nil {
			return err
		}
		name, _ := filepath.Rel(from, f)
		name = filepath.Join(to, name)
		if err := os.WriteFile(name, bytes.TrimRight(b, "\x00"), 0o600); err != nil {
			return err
		}
		if err := os.Truncate(name, int64(len(b))); err != nil {
			return err
		}
	}
	return nil
}

// tornLog returns a log of four batches and the places where they begin and
// the last ends.
func tornLog(t *testing.T) (dir string, at []int64) {
	t.Helper()
	dir = t.TempDir()
	db := openIn(t, dir, Options{age: time.Hour})
	for n := range 4 {
		at = append(at, db.log.tail)
		if err := db.Update(t.Context(), func(tx store.Tx) error { return crashRound(tx, n) }); err != nil {
			t.Fatal(err)
		}
	}
	at = append(at, db.log.tail)
	origin := dir
	dir = t.TempDir()
	if err := copySparse(dir, origin); err != nil {
		t.Fatal(err)
	}
	return dir, at
}

// TestTornTail cuts and garbles the last batch at every byte: all before it is
// there, and the log goes on.
func TestTornTail(t *testing.T) {
	dir, at := tornLog(t)
	file := logName(filepath.Join(dir, "log"), 1)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := os.ReadFile(filepath.Join(dir, "records.db"))
	if err != nil {
		t.Fatal(err)
	}
	size := at[4] + 500 // some of what was reserved
	for off := at[3]; off < at[4]; off++ {
		garbled := bytes.Clone(whole[:size])
		garbled[off] ^= 0x40
		zeroed := bytes.Clone(whole[:size])
		clear(zeroed[off:])
		if bytes.Equal(zeroed, whole[:size]) {
			continue // it ends with zeros
		}
		for name, b := range map[string][]byte{"cut": whole[:off], "zeroed": zeroed, "garbled": garbled} {
			if err := errors.Join(os.WriteFile(file, b, 0o600), os.WriteFile(filepath.Join(dir, "records.db"), tree, 0o600)); err != nil {
				t.Fatal(err)
			}
			for want := 3; want <= 4; want++ {
				db, err := Open(dir, Options{age: time.Hour})
				if err != nil {
					t.Fatalf("%s at %d: %v", name, off, err)
				}
				if n := crashRounds(t, db, name); n != want {
					t.Fatalf("%s at %d: %d rounds, want %d", name, off, n, want)
				}
				if want == 3 {
					if err := db.Update(t.Context(), func(tx store.Tx) error { return crashRound(tx, 3) }); err != nil {
						t.Fatal(err)
					}
				}
				if err := db.crash(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestDamageInTheMiddle: a batch that is not whole before one that is, a head
// that is not whole, and a segment that is missing, are damage.
func TestDamageInTheMiddle(t *testing.T) {
	dir, at := tornLog(t)
	file := logName(filepath.Join(dir, "log"), 1)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string) {
		t.Helper()
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Join(dir, "log")) {
			t.Errorf("%s: Open = %v, want ErrDamaged with the file", name, err)
		}
	}
	for off := int64(0); off < at[3]; off++ {
		if off >= 40 && off < segmentHeader {
			continue // room for later; the checksum covers it
		}
		b := bytes.Clone(whole[:at[4]+100])
		b[off] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("byte %d", off))
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, b) {
			t.Errorf("byte %d: Open has changed a damaged file (%v)", off, err)
		}
	}
	if err := os.WriteFile(file, whole[:at[4]], 0o600); err != nil {
		t.Fatal(err)
	}
	other := segmentHead{number: 3, nonce: 1, first: 5, prevEnd: 64}.encode()
	if err := os.WriteFile(logName(filepath.Join(dir, "log"), 3), other, 0o600); err != nil {
		t.Fatal(err)
	}
	check("missing segment")
}

// TestFailedWrite: what failed is not there, not even after a crash, and the
// log goes on in another segment.
func TestFailedWrite(t *testing.T) {
	for _, at := range []string{"first", "later"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			var db *DB
			fail := false
			o := Options{age: time.Hour, hook: func(at string) {
				if fail && at == "batch written" {
					fail = false
					// The descriptor cannot be synced any more.
					if err := syscall.Dup3(pipe(t), int(db.log.active.file.Fd()), 0); err != nil {
						t.Error(err)
					}
				}
			}}
			db = openIn(t, dir, o)
			n := 0
			round := func() error {
				return db.Update(t.Context(), func(tx store.Tx) error { return crashRound(tx, n) })
			}
			for at == "later" && n < 3 {
				if err := round(); err != nil {
					t.Fatal(err)
				}
				n++
			}
			fail = true
			if err := round(); err == nil {
				t.Fatal("Update succeeds though the sync failed")
			}
			if got := crashRounds(t, db, "after the failure"); got != n {
				t.Errorf("%d rounds after the failure, want %d", got, n)
			}
			for range 3 {
				if err := round(); err != nil {
					t.Fatal(err)
				}
				n++
			}
			copied := t.TempDir()
			if err := copySparse(copied, dir); err != nil {
				t.Fatal(err)
			}
			if got := crashRounds(t, openIn(t, copied, Options{}), "after a crash"); got != n {
				t.Errorf("%d rounds after a crash, want %d", got, n)
			}
		})
	}
}

// pipe returns a descriptor that cannot be synced.
func pipe(t *testing.T) int {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return int(w.Fd())
}

// TestViewDuringCheckpoints: Views that begin and end while the tree is
// written see all documents of one Update.
func TestViewDuringCheckpoints(t *testing.T) {
	db := openIn(t, t.TempDir(), Options{memtable: 2000, Threshold: 100, SegmentSize: 50_000})
	db.chunk = 7
	const docs = 30
	write := func(n int) error {
		return db.Update(t.Context(), func(tx store.Tx) error {
			for i := range docs {
				id := fmt.Appendf(nil, "%02d-%d", i, n%3)
				old := fmt.Appendf(nil, "%02d-%d", i, (n+2)%3)
				if err := errors.Join(tx.Put(store.FileRecords, id, bytes.Repeat([]byte{byte(n)}, 10*i+1), time.UnixMilli(int64(n))), tx.Delete(store.FileRecords, old)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := db.View(t.Context(), oneUpdate(docs)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := 1; n <= 300; n++ {
		if err := write(n); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if n := db.Stats().Checkpoints; n < 3 {
		t.Errorf("only %d checkpoints", n)
	}
}

// TestCheckpointWhileViewBegins: a View whose transaction of the tree is older
// than what a checkpoint takes out of the memtables begins again.
func TestCheckpointWhileViewBegins(t *testing.T) {
	var db *DB
	arm := false
	o := Options{age: time.Hour, hook: func(at string) {
		if arm && at == "tree begun" {
			arm = false
			force(t, db)
		}
	}}
	db = openIn(t, t.TempDir(), o)
	if err := put(t.Context(), db, "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	arm = true
	if doc, err := get(t, db, "a"); string(doc) != "1" || err != nil {
		t.Errorf("Get = %q, %v", doc, err)
	}
	if arm || db.Stats().Checkpoints != 1 {
		t.Error("there was no checkpoint while the View began")
	}
}

func oneUpdate(docs int) func(store.Tx) error {
	return func(tx store.Tx) error {
		seen := map[byte]int{}
		for it, err := range tx.Scan(store.FileRecords, nil, nil) {
			if err != nil {
				return err
			}
			seen[it.Doc[0]]++
		}
		due, err := tx.Due(store.FileRecords, time.Now(), 1000)
		if err != nil {
			return err
		}
		if len(seen) != 1 || len(due) != docs || slices.Max(slices.Collect(maps.Values(seen))) != docs {
			return fmt.Errorf("a View sees %v, %d due", seen, len(due))
		}
		return nil
	}
}
