package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// count adds one to a counter.
func count(tx store.Tx, id string) error {
	b, err := tx.Get(store.UsageRecords, []byte(id))
	if err != nil {
		return err
	}
	var n uint64
	if b != nil {
		n = binary.BigEndian.Uint64(b)
	}
	return tx.Put(store.UsageRecords, []byte(id), binary.BigEndian.AppendUint64(nil, n+1), time.Time{})
}

func counted(t *testing.T, db *DB, id string) (n uint64) {
	t.Helper()
	if err := db.View(t.Context(), func(tx store.Tx) error {
		b, err := tx.Get(store.UsageRecords, []byte(id))
		if len(b) == 8 {
			n = binary.BigEndian.Uint64(b)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTwoNodes: two nodes change the same counter and take from the same queue.
func TestTwoNodes(t *testing.T) {
	u := server.Schema(t)
	nodes := []*DB{openIn(t, u, Options{Timeout: 20 * time.Second}), openIn(t, u, Options{Timeout: 20 * time.Second})}
	const workers, rounds = 6, 15
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				if err := nodes[w%2].Update(t.Context(), func(tx store.Tx) error {
					if err := tx.Put(store.TrashRecords, fmt.Appendf(nil, "%d-%d", w, i), nil, time.Now()); err != nil {
						return err
					}
					return count(tx, "hot")
				}); err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := counted(t, nodes[0], "hot"); n != workers*rounds {
		t.Errorf("the counter says %d, want %d", n, workers*rounds)
	}
	var taken atomic.Int64
	for w := range 4 {
		wg.Go(func() {
			for empty := 0; empty < 3; {
				n := 0
				if err := nodes[w%2].Update(t.Context(), func(tx store.Tx) error {
					items, err := tx.Due(store.TrashRecords, time.Now(), 7)
					n = len(items)
					for _, it := range items {
						if err := tx.Delete(store.TrashRecords, it.ID); err != nil {
							return err
						}
					}
					return err
				}); err != nil {
					t.Errorf("Update: %v", err)
				}
				if taken.Add(int64(n)); n == 0 {
					empty++
				}
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != workers*rounds {
		t.Errorf("%d were taken, want %d", n, workers*rounds)
	}
}

// knife is a line to the server that can be cut.
type knife struct {
	after   atomic.Int32 // so many messages of the client are let through; negative: all
	deliver atomic.Bool  // the last one is, too, and only its answer is lost
}

// startKnife returns the line and the URL that leads over it.
func startKnife(t *testing.T, u string) (*knife, string) {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	q := parsed.Query()
	const name = ".s.PGSQL.5432"
	to := filepath.Join(q.Get("host"), name)
	here, err := os.MkdirTemp("", "pg") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(here) })
	l, err := net.Listen("unix", filepath.Join(here, name))
	if err != nil {
		t.Fatal(err)
	}
	k := &knife{}
	k.after.Store(-1)
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { k.serve(client, to) })
		}
	})
	q.Set("host", here)
	parsed.RawQuery = q.Encode()
	return k, parsed.String()
}

func (k *knife) serve(client net.Conn, to string) {
	defer client.Close()
	up, err := net.Dial("unix", to)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer up.Close()
	wg.Go(func() {
		_, _ = io.Copy(client, up)
		_ = client.Close()
	})
	buf := make([]byte, 256<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if left := k.after.Load(); left >= 0 && k.after.Add(-1) < 0 {
			_ = client.Close()
			if k.deliver.Load() {
				_, _ = up.Write(buf[:n])
				time.Sleep(20 * time.Millisecond) // it is at work
			}
			return
		}
		if _, err := up.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestLostAnswers: the line is cut at every place of an Update, before or after
// the server has got the message. What Update acknowledges took place once.
func TestLostAnswers(t *testing.T) {
	k, u := startKnife(t, server.Schema(t))
	db := openIn(t, u, Options{Timeout: 20 * time.Second})
	want := uint64(0)
	for _, deliver := range []bool{false, true} {
		for after := range int32(6) {
			k.deliver.Store(deliver)
			k.after.Store(after)
			if err := db.Update(t.Context(), func(tx store.Tx) error { return count(tx, "n") }); err != nil {
				t.Fatalf("cut after %d: %v", after, err)
			}
			k.after.Store(-1)
			want++
			if n := counted(t, db, "n"); n != want {
				t.Fatalf("cut after %d messages, delivered %v: the counter says %d, want %d", after, deliver, n, want)
			}
		}
	}
}

// TestLostSettling: the line is cut, too, when it is asked what became of a commit.
// What did not take place is not said to have.
func TestLostSettling(t *testing.T) {
	k, u := startKnife(t, server.Schema(t))
	db := openIn(t, u, Options{Timeout: 20 * time.Second})
	cause := errors.New("the answer was lost")
	for _, took := range []bool{false, true} {
		for after := range int32(4) {
			id := []byte{byte(after)}
			if took {
				id = append(id, 1)
				if _, err := db.writers.Exec(t.Context(), mark, id); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.resolve(append(id, 2), cause); !retryable(err) { // the connection knows the statement from now on
				t.Fatal(err)
			}
			k.deliver.Store(true)
			k.after.Store(after)
			err := db.resolve(id, cause)
			k.after.Store(-1)
			if (err == nil) != took || !took && !retryable(err) {
				t.Errorf("cut after %d, it took place: %v: %v", after, took, err)
			}
		}
	}
}

// TestNewerTables: a database of a later version is left alone.
func TestNewerTables(t *testing.T) {
	u := server.Schema(t)
	db := openIn(t, u, Options{})
	if _, err := db.writers.Exec(t.Context(), "UPDATE fileshare_version SET version = version + 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), u, Options{Timeout: time.Second}); err == nil {
		t.Error("Open succeeds")
	}
}
