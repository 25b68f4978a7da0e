package storetest_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
)

func engine(b *testing.B, o store.Options) *store.Store {
	b.Helper()
	path := b.TempDir()
	records, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	blobs, err := dir.Open(filepath.Join(path, "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	o.Exclusive = true
	s, err := store.New(context.Background(), records, blobs, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.Close()
		records.Close()
		blobs.Close()
	})
	return s
}

var caller = store.Caller{Name: "bench"}

func upload(b testing.TB, s *store.Store, data []byte, ttl time.Duration) *store.File {
	c, err := s.Receive(context.Background(), caller, bytes.NewReader(data), store.Incoming{Size: -1})
	if err != nil {
		b.Fatal(err)
	}
	f, err := s.CreateUpload(context.Background(), caller, store.FileSpec{Name: new("bench.txt"), Type: new("text/plain"), TTL: &ttl}, c)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// parallel runs n calls in so many goroutines.
func parallel(workers, n int, call func()) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				call()
			}
		})
	}
	wg.Wait()
}

func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		for _, workers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("size=%d/c=%d", size, workers), func(b *testing.B) {
				s := engine(b, store.Options{})
				data := make([]byte, size)
				b.ResetTimer()
				parallel(workers, b.N, func() { upload(b, s, data, time.Hour) })
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
			})
		}
	}
}

// BenchmarkPurge reports how many expired 1 KiB uploads are purged in a second.
func BenchmarkPurge(b *testing.B) {
	s := engine(b, store.Options{})
	data := make([]byte, 1<<10)
	parallel(64, b.N, func() { upload(b, s, data, time.Second) })
	time.Sleep(1100 * time.Millisecond)
	b.ResetTimer()
	r, err := s.Purge(context.Background())
	if err != nil || r.Files != b.N {
		b.Fatalf("%+v, %v, want %d", r, err, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
