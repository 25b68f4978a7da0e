package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// BenchmarkUpdate writes what an upload writes: six documents of 200 bytes at
// ascending ids, two of them with a due time, and one content.
func BenchmarkUpdate(b *testing.B) {
	for _, size := range []int{0, 1 << 10, 4 << 10, 16 << 10} {
		for _, workers := range []int{1, 2, 4, 16, 64, 256} {
			b.Run(fmt.Sprintf("content=%d/c=%d", size, workers), func(b *testing.B) {
				db := openIn(b, b.TempDir(), Options{})
				doc, content := make([]byte, 200), make([]byte, size)
				due := time.Now().Add(time.Hour)
				var seq atomic.Uint64
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							n := seq.Add(1)
							err := db.Update(context.Background(), func(tx store.Tx) error {
								return upload(tx, n, doc, content, due)
							})
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
				if s := db.Stats(); s.Groups > 0 {
					b.ReportMetric(float64(s.Updates)/float64(s.Groups), "updates/group")
				}
			})
		}
	}
}

func upload(tx store.Tx, n uint64, doc, content []byte, due time.Time) error {
	id := binary.BigEndian.AppendUint64(make([]byte, 0, 16), n)
	id = append(id, "12345678"...)
	for i, in := range []store.Collection{store.FileRecords, store.UseRecords, store.SessionRecords, store.TokenRecords, store.IndexRecords, store.TrashRecords} {
		var at time.Time
		if i < 2 {
			at = due.Add(time.Duration(n) * time.Microsecond)
		}
		if err := tx.Put(in, id, doc, at); err != nil {
			return err
		}
	}
	if len(content) == 0 {
		return nil
	}
	return tx.Put(store.ContentRecords, id, content, time.Time{})
}

// fill writes n documents of 200 bytes with a due time.
func fill(b *testing.B, db *DB, n int) {
	doc := make([]byte, 200)
	due := time.Now()
	for from := 0; from < n; from += 10_000 {
		if err := db.Update(b.Context(), func(tx store.Tx) error {
			for i := from; i < min(from+10_000, n); i++ {
				if err := tx.Put(store.FileRecords, binary.BigEndian.AppendUint64(nil, uint64(i)), doc, due.Add(time.Duration(i)*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	db := openIn(b, b.TempDir(), Options{})
	const n = 100_000
	fill(b, db, n)
	big := make([]byte, 16<<10)
	if err := db.Update(b.Context(), func(tx store.Tx) error {
		return tx.Put(store.ContentRecords, []byte("big"), big, time.Time{})
	}); err != nil {
		b.Fatal(err)
	}
	get := func(b *testing.B, in store.Collection, id func(int) []byte) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			if err := db.View(b.Context(), func(tx store.Tx) error {
				doc, err := tx.Get(in, id(i))
				if err == nil && doc == nil {
					err = fmt.Errorf("%d is not there", i)
				}
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("small", func(b *testing.B) {
		get(b, store.FileRecords, func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i*7919%n)) })
	})
	b.Run("16KiB", func(b *testing.B) {
		get(b, store.ContentRecords, func(int) []byte { return []byte("big") })
	})
}

// BenchmarkOpen opens a million records: after Close, and after a crash.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	db, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, db, 1_000_000)
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, end func(*DB) error) {
		for b.Loop() {
			db, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := db.Update(b.Context(), func(tx store.Tx) error {
				return tx.Put(store.MetaRecords, []byte("x"), nil, time.Time{})
			}); err != nil {
				b.Fatal(err)
			}
			force(b, db) // so that the tree is newer than its free list
			if err := end(db); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
	b.Run("clean", func(b *testing.B) { run(b, (*DB).Close) })
	crash := (*DB).crash
	if db, err = Open(dir, Options{}); err != nil {
		b.Fatal(err)
	}
	if err := crash(db); err != nil {
		b.Fatal(err)
	}
	b.Run("crashed", func(b *testing.B) { run(b, crash) })
}

// crash ends a DB as a kill does, except that it lets go of its files.
func (db *DB) crash() error {
	db.queue.close()
	db.checkpoints.close()
	db.committer.Wait()
	close(db.checkpoints.stop)
	db.checkpointer.Wait()
	err := db.bolt.Close() // without writing the free list
	db.tables.current.Load().release()
	db.closeOnce.Do(func() {})
	return err
}
