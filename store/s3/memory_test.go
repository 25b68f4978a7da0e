package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/store"
)

// TestReserve: long segments while half of the memory is left, shorter ones then,
// one at a time in the end, and at last none, until some comes back.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const long, bound = 8 << 20, 64 << 20
		m := newMemory(bound, time.Minute)
		type grant struct {
			segment int64
			atOnce  int
		}
		grants := map[grant]int{}
		var last store.Cut
		for m.promised < bound {
			before := m.promised
			var err error
			if last, err = m.reserve(t.Context(), long, 0); err != nil {
				t.Fatal(err)
			}
			if promised := m.promised - before; promised != last.Segment*int64(last.AtOnce) {
				t.Fatalf("%d bytes are promised for %d segments of %d", promised, last.AtOnce, last.Segment)
			}
			grants[grant{last.Segment, last.AtOnce}]++
		}
		want := map[grant]int{{long, 2}: 2, {long / 8, 2}: 8, {block, 1}: 64}
		if diff := cmp.Diff(want, grants, cmp.AllowUnexported(grant{})); diff != "" || m.promised != bound {
			t.Errorf("%d bytes are promised (-want +got):\n%s", m.promised, diff)
		}
		if _, err := m.reserve(t.Context(), long, 0); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("none is left, and reserve says %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.reserve(ctx, long, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its context ends, and reserve says %v", err)
		}
		time.AfterFunc(time.Second, last.Done)
		if c, err := m.reserve(t.Context(), long, 0); c.Segment != block || err != nil {
			t.Errorf("what comes back is not given: %d, %v", c.Segment, err)
		}
	})
}

// TestReserveForShort: a body that is known to be short is promised no more than
// it may need.
func TestReserveForShort(t *testing.T) {
	m := newMemory(64<<20, time.Minute)
	if c, err := m.reserve(t.Context(), 8<<20, 300_000); c.Segment != 8<<20 || m.promised != 2*block || err != nil {
		t.Errorf("segments of %d, %d promised, %v", c.Segment, m.promised, err)
	}
}

// TestSpare: blocks are used again as long as they are promised to somebody.
func TestSpare(t *testing.T) {
	m := newMemory(64<<20, time.Minute)
	if !m.promise(3*block, m.bound) {
		t.Fatal("nothing is promised")
	}
	a, b, c := m.take(), m.take(), m.take()
	m.put(a)
	m.put(b)
	if again := m.take(); again != b {
		t.Error("a block is not used again")
	}
	m.put(b)
	m.giveBack(block) // c is used, so one remains
	if len(m.spare) != 1 || m.used != 1 {
		t.Errorf("%d are spare, %d used", len(m.spare), m.used)
	}
	m.put(c)
	m.giveBack(2 * block)
	if len(m.spare) != 0 || m.used != 0 || m.promised != 0 {
		t.Errorf("%d are spare, %d used, %d bytes promised", len(m.spare), m.used, m.promised)
	}
}

func TestFill(t *testing.T) {
	m := newMemory(64<<20, time.Minute)
	content := make([]byte, 3*block+1)
	for i := range content {
		content[i] = byte(i * i >> 3)
	}
	for _, size := range []int{0, 1, block - 1, block, block + 1, 3 * block, len(content)} {
		for _, most := range []int{size, size + 1, len(content) + block} {
			b, err := m.fill(t.Context(), bytes.NewReader(content[:size]), int64(most))
			if err != nil {
				t.Fatalf("%d bytes of %d: %v", size, most, err)
			}
			for range 2 { // it can be read again
				if got, err := io.ReadAll(b.reader()); err != nil || !bytes.Equal(got, content[:size]) {
					t.Errorf("%d bytes of %d: %d come back, %v", size, most, len(got), err)
				}
			}
			if need := max(1, (size+block-1)/block); len(b.blocks) > need+1 || most == size && len(b.blocks) > need {
				t.Errorf("%d bytes of %d take %d blocks", size, most, len(b.blocks))
			}
			b.release()
		}
		if _, err := m.fill(t.Context(), bytes.NewReader(append(content[:size:size], 0)), int64(size)); !errors.Is(err, errTooLong) {
			t.Errorf("one byte more than %d: %v", size, err)
		}
	}
}
