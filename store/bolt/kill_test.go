package bolt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"fileshare/store"
)

const childDir = "BOLT_TEST_CHILD_DIR"

// killSizes are small, large, and larger than what a small group spares.
var killSizes = []int{10, 1000, 3000, 9000, 20_000}

func killDoc(n uint64, i int) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, n*8+uint64(i)), killSizes[i]/8)
}

// childMain writes until it is killed, if this process is the child of
// TestKill, and prints the number of each Update that was acknowledged.
func childMain() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	db, err := Open(dir, Options{SegmentSize: 256 << 10})
	if err != nil {
		fmt.Println("error", err)
		return true
	}
	start, _ := strconv.ParseUint(os.Getenv(childDir+"_START"), 10, 64)
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range uint64(8) {
		wg.Go(func() {
			for n := start + w; ; n += 8 {
				err := db.Update(context.Background(), func(tx store.Tx) error {
					for i := range killSizes {
						id := binary.BigEndian.AppendUint64([]byte{byte(i)}, n)
						if err := tx.Put(store.ContentRecords, id, killDoc(n, i), time.UnixMilli(int64(n))); err != nil {
							return err
						}
					}
					return nil
				})
				out.Lock()
				if err != nil {
					fmt.Println("error", err)
				}
				fmt.Println(n)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return true
}

// TestKill kills a writing process several times: what it had acknowledged is
// there, whole and readable, and of the rest all or nothing.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[uint64]bool{}
	for round := range 4 {
		killChild(t, dir, uint64(round)*1_000_000, 60+round*47, acked)
		db, err := Open(dir, Options{SegmentSize: 256 << 10})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		seen := checkKilled(t, db)
		for n := range acked {
			if !seen[n] {
				t.Errorf("round %d: acknowledged %d is not there", round, n)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func killChild(t *testing.T, dir string, start uint64, after int, acked map[uint64]bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s_START=%d", childDir, start))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		v, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("child says %q", lines.Text())
			break
		}
		acked[v] = true
		if n == after {
			// It goes on writing meanwhile; what it still says counts, too.
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
}

// checkKilled returns the Updates that are there.
func checkKilled(t *testing.T, db *DB) map[uint64]bool {
	t.Helper()
	parts := map[uint64]int{}
	err := db.View(t.Context(), func(tx store.Tx) error {
		for it, err := range tx.Scan(store.ContentRecords, nil, nil) {
			if err != nil {
				return err
			}
			n := binary.BigEndian.Uint64(it.ID[1:])
			if !bytes.Equal(it.Doc, killDoc(n, int(it.ID[0]))) {
				t.Errorf("document %d of %d differs", it.ID[0], n)
			}
			parts[n]++
		}
		items, err := tx.Due(store.ContentRecords, time.UnixMilli(1<<40), 1<<30)
		if len(items) != len(parts)*len(killSizes) {
			t.Errorf("%d due times of %d Updates", len(items), len(parts))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for n, have := range parts {
		seen[n] = true
		if have != len(killSizes) {
			t.Errorf("%d of %d documents of Update %d", have, len(killSizes), n)
		}
	}
	return seen
}
