package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/s3"
	"fileshare/store/s3/s3test"
)

// The engine cuts bodies into segments.

// engine is the engine over a bucket, and records of its own.
func engine(t *testing.T, b *s3.Bucket) *store.Store {
	t.Helper()
	records, err := bolt.Open(t.TempDir(), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { records.Close() })
	s, err := store.New(t.Context(), records, b, store.Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestAhead: while a segment is on its way the next one is read and sent.
func TestAhead(t *testing.T) {
	b, line := faulty(t, s3.Options{Segment: s3.MinSegment, Timeout: time.Minute})
	s := engine(t, b)
	const segments = 5
	var seen atomic.Int64
	second := make(chan struct{})
	line.Decide(func(r *http.Request) s3test.Fault {
		if r.Method == http.MethodPut {
			switch seen.Add(1) {
			case 1:
				<-second
			case 2:
				close(second)
			}
		}
		return s3test.Fault{}
	})
	c, err := s.Receive(t.Context(), store.Caller{Name: "a"}, bytes.NewReader(content((segments-1)*s3.MinSegment+1)), store.Incoming{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(keys(t, b)); n != segments {
		t.Errorf("%d objects, want %d", n, segments)
	}
	c.Discard()
	if left := keys(t, b); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestSegmentFails: whichever segment fails, with others on their way, and
// whenever the client goes away, nothing is left.
func TestSegmentFails(t *testing.T) {
	b, line := faulty(t, s3.Options{Segment: s3.MinSegment})
	s := engine(t, b)
	body := content(4*s3.MinSegment + 200_000)
	for _, nth := range []int{0, 2, 4} {
		line.Decide(func(r *http.Request) s3test.Fault {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, fmt.Sprintf("/%d", nth)) {
				return s3test.Fault{Status: 503}
			}
			return s3test.Fault{}
		})
		if _, err := s.Receive(t.Context(), store.Caller{Name: "a"}, bytes.NewReader(body), store.Incoming{Size: -1}); store.KindOf(err) != store.Unavailable {
			t.Errorf("segment %d fails: %v", nth, err)
		}
		line.Decide(nil)
		gone := errors.New("the client went away")
		cut := io.MultiReader(bytes.NewReader(body[:nth*s3.MinSegment+100_000]), iotest.ErrReader(gone))
		if _, err := s.Receive(t.Context(), store.Caller{Name: "a"}, cut, store.Incoming{Size: -1}); !errors.Is(err, gone) {
			t.Errorf("cut in segment %d: %v", nth, err)
		}
		if left := keys(t, b); len(left) > 0 {
			t.Errorf("segment %d fails: %v are left", nth, left)
		}
	}
}

// TestManyBodies: many more bodies of unknown length than there is memory for
// long segments come at once, slowly, and none waits for another.
func TestManyBodies(t *testing.T) {
	b := open(t, s3.Options{Segment: 2 << 20, Memory: 8 << 20, Timeout: time.Minute})
	s := engine(t, b)
	const bodies = 10
	want := content(2_500_000)
	caller := store.Caller{Name: "a"}
	together := make(chan struct{})
	var begun, work sync.WaitGroup
	begun.Add(bodies)
	ids := make([]string, bodies)
	for i := range bodies {
		work.Go(func() {
			// All have begun, and hold what they may, before one goes on.
			r := io.MultiReader(bytes.NewReader(want[:200_000]), &gate{begun: begun.Done, open: together}, bytes.NewReader(want[200_000:]))
			c, err := s.Receive(t.Context(), caller, r, store.Incoming{Size: -1})
			if err != nil {
				t.Errorf("Receive: %v", err)
				return
			}
			defer c.Discard()
			f, err := s.CreateUpload(t.Context(), caller, store.FileSpec{Name: new("a.bin")}, c)
			if err != nil {
				t.Errorf("CreateUpload: %v", err)
				return
			}
			ids[i] = f.ID
		})
	}
	begun.Wait()
	close(together)
	work.Wait()
	if t.Failed() {
		return
	}
	for _, id := range ids {
		d, err := s.Open(t.Context(), caller, store.Ref{File: id})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes come back, %v", len(got), err)
		}
		d.Close()
	}
	sizes := map[int64]int{}
	for info, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		sizes[info.Size]++
	}
	if all := slices.Sorted(maps.Keys(sizes)); all[len(all)-1] > 2<<20 || sizes[2<<20] == 0 || sizes[s3.MinSegment] == 0 {
		t.Errorf("objects by size: %v", sizes)
	}
}

// gate is a pause in a body.
type gate struct {
	begun func()
	open  chan struct{}
}

func (g *gate) Read([]byte) (int, error) {
	if g.begun != nil {
		g.begun()
		g.begun = nil
		<-g.open
	}
	return 0, io.EOF
}
