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

// slow is a client that takes nothing until it is told.
type slow struct {
	bytes.Buffer
	until chan struct{}
	late  bool
}

func (s *slow) Write(p []byte) (int, error) {
	select {
	case <-s.until:
	case <-time.After(time.Minute):
		s.late = true
	}
	return s.Buffer.Write(p)
}

// TestLookAhead: the next segment is asked for while one is sent, if it is wanted.
func TestLookAhead(t *testing.T) {
	b, line := faulty(t, s3.Options{Segment: s3.MinSegment})
	s := engine(t, b)
	caller := store.Caller{Name: "a"}
	want := content(3*s3.MinSegment + 1)
	c, err := s.Receive(t.Context(), caller, bytes.NewReader(want), store.Incoming{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.CreateUpload(t.Context(), caller, store.FileSpec{Name: new("a.bin")}, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ from, n, asked int64 }{
		{0, int64(len(want)), 4}, {100, s3.MinSegment, 2}, {0, s3.MinSegment, 1}, {s3.MinSegment + 1, 10, 1}, {3 * s3.MinSegment, 1, 1},
	} {
		var asked atomic.Int64
		w := &slow{until: make(chan struct{})}
		line.Decide(func(r *http.Request) s3test.Fault {
			if asked.Add(1) == min(test.asked, 2) {
				close(w.until)
			}
			return s3test.Fault{}
		})
		d, err := s.Open(t.Context(), caller, store.Ref{File: f.ID})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Seek(test.from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		n, err := d.SendTo(w, test.n)
		if n != test.n || err != nil || !bytes.Equal(w.Bytes(), want[test.from:test.from+n]) || w.late || asked.Load() != test.asked {
			t.Errorf("%d bytes from %d: %d, %v; %d requests, want %d; late: %v", test.n, test.from, n, err, asked.Load(), test.asked, w.late)
		}
		d.Close()
	}

	// What was for nothing ends; what fails ahead of time is asked for again.
	line.Decide(func(r *http.Request) s3test.Fault {
		if strings.HasSuffix(r.URL.Path, "/1") {
			return s3test.Fault{Silent: true}
		}
		return s3test.Fault{}
	})
	d, err := s.Open(t.Context(), caller, store.Ref{File: f.ID})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the client went away")
	if _, err := d.SendTo(writeFunc(func([]byte) (int, error) { return 0, broken }), int64(len(want))); !errors.Is(err, broken) {
		t.Errorf("SendTo: %v", err)
	}
	d.Close()                                                   // does not wait for the server
	fail := first(3, http.MethodGet, s3test.Fault{Status: 503}) // as often as it is tried
	line.Decide(func(r *http.Request) s3test.Fault {
		if strings.HasSuffix(r.URL.Path, "/1") {
			return fail(r)
		}
		return s3test.Fault{}
	})
	if d, err = s.Open(t.Context(), caller, store.Ref{File: f.ID}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var all bytes.Buffer
	if n, err := d.SendTo(&all, int64(len(want))); n != int64(len(want)) || err != nil || !bytes.Equal(all.Bytes(), want) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type writeFunc func([]byte) (int, error)

func (w writeFunc) Write(p []byte) (int, error) { return w(p) }

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
	for info, err := range b.List(t.Context(), store.AllShards) {
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
