package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkPut measures durable Puts. FILESHARE_BENCH_DIR says on which disk.
func BenchmarkPut(b *testing.B) {
	for _, c := range []int{1, 16} {
		b.Run(fmt.Sprintf("64KiB/c=%d", c), func(b *testing.B) {
			d := open(b, benchDir(b))
			content := bytes.Repeat([]byte("0123456789abcdef"), 4096)
			var next atomic.Int64
			b.SetBytes(int64(len(content)))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range c {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := d.Put(b.Context(), fmt.Sprintf("run/%d", i), bytes.NewReader(content), int64(len(content))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
	b.Run("1GiB", func(b *testing.B) {
		d := open(b, benchDir(b))
		b.SetBytes(1 << 30)
		for b.Loop() {
			if _, err := d.Put(b.Context(), "run/big", make(pieces, 1<<20), 1<<30); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := d.Delete(b.Context(), "run/big"); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

// BenchmarkFsync is the reference: what the disk needs for one small file and
// its directory entry, with nothing around it.
func BenchmarkFsync(b *testing.B) {
	path := benchDir(b)
	parent, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer parent.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	b.SetBytes(int64(len(content)))
	i := 0
	for b.Loop() {
		i++
		f, err := os.Create(filepath.Join(path, fmt.Sprint(i)))
		if err != nil {
			b.Fatal(err)
		}
		_, err = f.Write(content)
		if err := errors.Join(err, f.Sync(), f.Close(), parent.Sync()); err != nil {
			b.Fatal(err)
		}
	}
}

// pieces yields its content 1024 times.
type pieces []byte

func (p pieces) Read([]byte) (int, error) { return 0, errors.New("WriteTo is not used") }

func (p pieces) WriteTo(w io.Writer) (total int64, err error) {
	for range 1024 {
		n, err := w.Write(p)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func benchDir(b *testing.B) string {
	b.Helper()
	path, err := os.MkdirTemp(os.Getenv("FILESHARE_BENCH_DIR"), "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(path) })
	return path
}
