package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"fileshare/store"
)

// TestPromises: long segments while half of the memory is left, shorter ones
// then, and at the end none, until some comes back.
func TestPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const long, bound = 8 << 20, 64 << 20
		m := newMemory(bound, time.Minute)
		grants := map[int64]int{}
		var total, last int64
		for total < bound {
			n, promised, err := m.segment(t.Context(), long, 0)
			if err != nil {
				t.Fatal(err)
			}
			if promised != n {
				t.Fatalf("%d bytes are promised for a segment of %d", promised, n)
			}
			grants[n]++
			total, last = total+promised, promised
		}
		if total != bound || len(grants) != 3 || grants[long] != 4 || grants[long/8] != 16 || grants[block] != 64 {
			t.Errorf("%d bytes are promised: %v", total, grants)
		}
		if _, _, err := m.segment(t.Context(), long, 0); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("none is left, and segment says %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := m.segment(ctx, long, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its context ends, and segment says %v", err)
		}
		time.AfterFunc(time.Second, func() { m.giveBack(last) })
		if n, _, err := m.segment(t.Context(), long, 0); n != block || err != nil {
			t.Errorf("what comes back is not given: %d, %v", n, err)
		}
	})
}

// TestPromiseForShort: a body that is known to be short is promised no more than
// it may need.
func TestPromiseForShort(t *testing.T) {
	m := newMemory(64<<20, time.Minute)
	if n, promised, err := m.segment(t.Context(), 8<<20, 300_000); n != 8<<20 || promised != 2*block || err != nil {
		t.Errorf("segments of %d, %d promised, %v", n, promised, err)
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
