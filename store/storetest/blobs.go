package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/store"
)

// Blobs runs the contract of [store.Blobs] against a backend. open returns an
// empty one and cleans up after the test.
func Blobs(t *testing.T, open func(t *testing.T) store.Blobs) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, store.Blobs)
	}{
		{"Sizes", blobSizes},
		{"WrongSize", blobWrongSize},
		{"BrokenReader", blobBrokenReader},
		{"Cancelled", blobCancelled},
		{"Duplicate", blobDuplicate},
		{"DuplicateRace", blobDuplicateRace},
		{"Ranges", blobRanges},
		{"Missing", blobMissing},
		{"Delete", blobDelete},
		{"Keys", blobKeys},
		{"List", blobList},
		{"ListStops", blobListStops},
		{"Concurrent", blobConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// blobBytes returns n bytes that are the same for the same n.
func blobBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

// onlyReader hides every method but Read, and yields odd amounts.
type onlyReader struct{ r io.Reader }

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 77_777)]) }

// pieceReader is like the engine's readers: WriteTo yields pieces of 1 MiB.
type pieceReader struct {
	io.Reader // for a backend that does not use WriteTo
	b         []byte
	end       error // nil = the end of the body
}

func (p pieceReader) WriteTo(w io.Writer) (total int64, err error) {
	for c := range slices.Chunk(p.b, 1<<20) {
		n, err := w.Write(c)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, p.end
}

// blobReaders are the ways in which a body may come.
func blobReaders(b []byte, end error) map[string]io.Reader {
	plain := func() io.Reader { return onlyReader{io.MultiReader(bytes.NewReader(b), blobEnd{end})} }
	readers := map[string]io.Reader{"plain": plain(), "pieces": pieceReader{plain(), b, end}}
	if end == nil {
		readers["whole"] = bytes.NewReader(b) // one Write of any length
	}
	return readers
}

type blobEnd struct{ err error }

func (e blobEnd) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}

func blobPut(t *testing.T, b store.Blobs, key string, content []byte) {
	t.Helper()
	n, err := b.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)))
	if err != nil || n != int64(len(content)) {
		t.Fatalf("Put(%q) = %d, %v; want %d", key, n, err, len(content))
	}
}

// blobGet reads n bytes from offset and limits the reader as the engine does.
func blobGet(t *testing.T, b store.Blobs, key string, offset, n int64) []byte {
	t.Helper()
	r, err := b.Open(t.Context(), key, offset, n)
	if err != nil {
		t.Fatalf("Open(%q, %d, %d): %v", key, offset, n, err)
	}
	got, err := io.ReadAll(io.LimitReader(r, n))
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("reading %q: %v", key, err)
	}
	return got
}

func blobWantSame(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) { // a diff of megabytes says nothing
		t.Fatalf("read %d bytes that are not the %d written", len(got), len(want))
	}
}

// blobWantGone fails if anything is left under key.
func blobWantGone(t *testing.T, b store.Blobs, key string) {
	t.Helper()
	if r, err := b.Open(t.Context(), key, 0, 1); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			r.Close()
		}
		t.Errorf("Open(%q) = %v, want fs.ErrNotExist", key, err)
	}
	for info, err := range b.List(t.Context(), store.AllShards) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Key == key {
			t.Errorf("List yields %q, which must be gone", key)
		}
	}
}

func blobSizes(t *testing.T, b store.Blobs) {
	i := 0
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 9 << 20} {
		want := blobBytes(size)
		for how, r := range blobReaders(want, nil) {
			announced := int64(size)
			if i++; i%2 == 0 {
				announced = -1
			}
			key := fmt.Sprintf("size%d/%s", size, how)
			n, err := b.Put(t.Context(), key, r, announced)
			if err != nil || n != int64(size) {
				t.Fatalf("Put(%q, announced %d) = %d, %v; want %d", key, announced, n, err, size)
			}
			blobWantSame(t, blobGet(t, b, key, 0, int64(size)), want)
		}
	}
	for _, announced := range []int64{-1, 300_000} { // each way with each announcement, once
		for how, r := range blobReaders(blobBytes(300_000), nil) {
			key := fmt.Sprintf("announced%d/%s", announced+1, how)
			if n, err := b.Put(t.Context(), key, r, announced); err != nil || n != 300_000 {
				t.Fatalf("Put(%q) = %d, %v", key, n, err)
			}
			blobWantSame(t, blobGet(t, b, key, 0, 300_000), blobBytes(300_000))
		}
	}
}

func blobWrongSize(t *testing.T, b store.Blobs) {
	for _, c := range []struct{ size, announced int }{
		{0, 1}, {1, 0}, {10, 11}, {11, 10}, {1 << 20, 1<<20 + 1}, {1<<20 + 1, 1 << 20}, {3 << 20, 9 << 20}, {9 << 20, 3 << 20},
	} {
		for how, r := range blobReaders(blobBytes(c.size), nil) {
			key := fmt.Sprintf("wrong%d/%d%s", c.size, c.announced, how)
			if _, err := b.Put(t.Context(), key, r, int64(c.announced)); err == nil {
				t.Errorf("Put of %d bytes announced as %d (%s): no error", c.size, c.announced, how)
			}
			blobWantGone(t, b, key)
		}
	}
}

func blobBrokenReader(t *testing.T, b store.Blobs) {
	broken := errors.New("client went away")
	for _, end := range []error{broken, io.ErrUnexpectedEOF} {
		for _, size := range []int{0, 1, 100_000, 1 << 20, 1<<20 + 5, 9 << 20} {
			for _, announced := range []int64{-1, int64(size), int64(size) + 10} {
				for how, r := range blobReaders(blobBytes(size), end) {
					key := fmt.Sprintf("broken%d/%s", size, how)
					if _, err := b.Put(t.Context(), key, r, announced); !errors.Is(err, end) {
						t.Errorf("Put(%q, announced %d) = %v, want the reader's %v", key, announced, err, end)
					}
					blobWantGone(t, b, key)
				}
			}
		}
	}
}

// cancelReader ends its context after some bytes and goes on for ever.
type cancelReader struct {
	cancel context.CancelFunc
	left   int
}

func (c *cancelReader) Read(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		c.cancel()
	}
	return len(p), nil
}

func blobCancelled(t *testing.T, b store.Blobs) {
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := b.Put(ctx, "cancelled/a", &cancelReader{cancel, 3 << 20}, 1<<32); !errors.Is(err, context.Canceled) {
		t.Errorf("Put, cancelled in the middle: %v, want context.Canceled", err)
	}
	blobWantGone(t, b, "cancelled/a")
	if _, err := b.Put(ctx, "cancelled/b", strings.NewReader("x"), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Put, cancelled before: %v, want context.Canceled", err)
	}
	blobWantGone(t, b, "cancelled/b")
	blobPut(t, b, "cancelled/c", []byte("x"))
	if _, err := b.Open(ctx, "cancelled/c", 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Open, cancelled: %v, want context.Canceled", err)
	}
	if err := b.Delete(ctx, "cancelled/c"); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete, cancelled: %v, want context.Canceled", err)
	}
	var last error
	for _, err := range b.List(ctx, store.AllShards) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List, cancelled, ends with %v, want context.Canceled", last)
	}
}

func blobDuplicate(t *testing.T, b store.Blobs) {
	blobPut(t, b, "twice/a", []byte("first"))
	if _, err := b.Put(t.Context(), "twice/a", strings.NewReader("other"), 5); err == nil {
		t.Error("Put of a key that exists: no error")
	}
	blobWantSame(t, blobGet(t, b, "twice/a", 0, 5), []byte("first"))
}

func blobDuplicateRace(t *testing.T, b store.Blobs) {
	const writers = 8
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			_, errs[i] = b.Put(t.Context(), "race/a", bytes.NewReader(bytes.Repeat([]byte{byte('a' + i)}, 100_000)), 100_000)
		})
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err != nil {
			continue
		}
		if won >= 0 {
			t.Fatalf("writers %d and %d both have the key", won, i)
		}
		won = i
	}
	if won < 0 {
		t.Fatalf("no writer got the key: %v", errors.Join(errs...))
	}
	blobWantSame(t, blobGet(t, b, "race/a", 0, 100_000), bytes.Repeat([]byte{byte('a' + won)}, 100_000))
}

func blobRanges(t *testing.T, b store.Blobs) {
	const size = 1<<20 + 1000
	want := blobBytes(size)
	blobPut(t, b, "range/a", want)
	for _, c := range []struct{ offset, n int64 }{
		{0, size}, {0, 1}, {0, 0}, {1, 1}, {1 << 20, 1000}, {size - 1, 1}, {4095, 8194}, {123_456, 700_000}, {size / 2, size - size/2},
	} {
		blobWantSame(t, blobGet(t, b, "range/a", c.offset, c.n), want[c.offset:c.offset+c.n])
	}
	for _, c := range []struct{ offset, n int64 }{{-1, 1}, {0, -1}} {
		if r, err := b.Open(t.Context(), "range/a", c.offset, c.n); err == nil {
			r.Close()
			t.Errorf("Open(%d, %d): no error", c.offset, c.n)
		}
	}
}

func blobMissing(t *testing.T, b store.Blobs) {
	blobWantGone(t, b, "missing/a") // in a backend that is empty
	if err := b.Delete(t.Context(), "missing/a"); err != nil {
		t.Errorf("Delete of a missing key: %v", err)
	}
	for i := range 300 { // and in one that has everything else
		blobPut(t, b, fmt.Sprintf("other/%d", i), nil)
	}
	blobWantGone(t, b, "missing/a")
	if err := b.Delete(t.Context(), "missing/a"); err != nil {
		t.Errorf("Delete of a missing key: %v", err)
	}
}

func blobDelete(t *testing.T, b store.Blobs) {
	blobPut(t, b, "delete/a", []byte("a"))
	blobPut(t, b, "delete/b", []byte("b"))
	for range 2 {
		if err := b.Delete(t.Context(), "delete/a"); err != nil {
			t.Fatal(err)
		}
	}
	blobWantGone(t, b, "delete/a")
	blobWantSame(t, blobGet(t, b, "delete/b", 0, 1), []byte("b"))
	blobPut(t, b, "delete/a", []byte("again"))
	blobWantSame(t, blobGet(t, b, "delete/a", 0, 5), []byte("again"))
}

func blobKeys(t *testing.T, b store.Blobs) {
	for _, key := range []string{"abc", "0/1", strings.Repeat("k", 120), strings.Repeat("k", 118) + "/0", "con", "a/b"} {
		blobPut(t, b, key, []byte(key))
		blobWantSame(t, blobGet(t, b, key, 0, int64(len(key))), []byte(key))
		if err := b.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	for _, key := range []string{
		"", "a", "ab", strings.Repeat("k", 121), "/ab", "ab/", "a/b/c", "a//b", "ABC", "a.b", "../x", "a/..", "...", "a b", "a\x00b", "a\\b", "äöü", "a-b", "a_b",
	} {
		if _, err := b.Put(t.Context(), key, strings.NewReader("x"), 1); err == nil {
			t.Errorf("Put(%q): no error", key)
		}
		if r, err := b.Open(t.Context(), key, 0, 1); err == nil {
			r.Close()
			t.Errorf("Open(%q): no error", key)
		}
		if err := b.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete(%q): no error", key)
		}
	}
}

func blobListed(t *testing.T, b store.Blobs, shard int) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	for info, err := range b.List(t.Context(), shard) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[info.Key]; twice {
			t.Errorf("List yields %q twice", info.Key)
		}
		if age := time.Since(info.Modified); age.Abs() > time.Hour {
			t.Errorf("List: %q was modified at %v", info.Key, info.Modified)
		}
		got[info.Key] = info.Size
	}
	return got
}

func blobList(t *testing.T, b store.Blobs) {
	if diff := cmp.Diff(map[string]int64{}, blobListed(t, b, store.AllShards)); diff != "" {
		t.Errorf("an empty backend lists (-want +got):\n%s", diff)
	}
	all := map[string]int64{}
	for i := range 300 {
		key := fmt.Sprintf("%c%02x/%x", 'a'+i%3, i%7, i)
		all[key] = int64(i)
		blobPut(t, b, key, blobBytes(i))
	}
	all["plain"] = 1
	blobPut(t, b, "plain", []byte("x"))
	if diff := cmp.Diff(all, blobListed(t, b, store.AllShards)); diff != "" {
		t.Errorf("List of all (-want +got):\n%s", diff)
	}
	got, used := map[string]int64{}, 0
	for shard := range store.Shards {
		some := blobListed(t, b, shard)
		for key, size := range some {
			if _, twice := got[key]; twice {
				t.Errorf("%q is in two shards", key)
			}
			got[key] = size
		}
		if len(some) > 0 {
			used++
		}
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("List of shard by shard (-want +got):\n%s", diff)
	}
	if used < store.Shards/2 { // of 301 blobs some 177 shards have one
		t.Errorf("%d shards of %d are used", used, store.Shards)
	}
}

func blobListStops(t *testing.T, b store.Blobs) {
	for i := range 20 {
		blobPut(t, b, fmt.Sprintf("stop/%d", i), nil)
	}
	seen := 0
	for _, err := range b.List(t.Context(), store.AllShards) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("saw %d entries before the break, want 3", seen)
	}
	for info, err := range b.List(t.Context(), store.AllShards) { // as a sweep does
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), info.Key); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]int64{}, blobListed(t, b, store.AllShards)); diff != "" {
		t.Errorf("after deleting what was listed (-want +got):\n%s", diff)
	}
}

func blobConcurrent(t *testing.T, b store.Blobs) {
	const workers, each = 16, 12
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("both/%dx%d", w, i)
				want := blobBytes(w*5000 + i)
				if _, err := b.Put(t.Context(), key, bytes.NewReader(want), -1); err != nil {
					t.Errorf("Put(%q): %v", key, err)
					return
				}
				r, err := b.Open(t.Context(), key, 0, int64(len(want)))
				if err != nil {
					t.Errorf("Open(%q): %v", key, err)
					return
				}
				got, err := io.ReadAll(io.LimitReader(r, int64(len(want))))
				if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%q: read %d bytes, %v; want the %d written", key, len(got), err, len(want))
				}
				if i%3 == 0 {
					if err := b.Delete(t.Context(), key); err != nil {
						t.Errorf("Delete(%q): %v", key, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got, want := len(blobListed(t, b, store.AllShards)), workers*each*2/3; got != want {
		t.Errorf("%d blobs are left, want %d", got, want)
	}
}
