package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"fileshare/store"
	"fileshare/store/s3"
	"fileshare/store/s3/s3test"
)

// shortly is a timeout for tests in which the server says nothing.
const shortly = 300 * time.Millisecond

// faulty opens an empty bucket over a line that fails as it is told.
func faulty(t *testing.T, o s3.Options) (*s3.Bucket, *s3test.Proxy) {
	t.Helper()
	line, err := server.NewProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := line.Close(); err != nil {
			t.Error(err)
		}
	})
	url, err := line.NewURL("some/where")
	if err != nil {
		t.Fatal(err)
	}
	to, err := s3.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s3.Open(t.Context(), to, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, line
}

// first gives the first n requests of a method a fault.
func first(n int64, method string, f s3test.Fault) func(*http.Request) s3test.Fault {
	var seen atomic.Int64
	return func(r *http.Request) s3test.Fault {
		if r.Method == method && seen.Add(1) <= n {
			return f
		}
		return s3test.Fault{}
	}
}

// always is more than any retry.
const always = 1 << 30

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 4)
	}
	return b
}

// get reads a blob.
func get(t *testing.T, b *s3.Bucket, key string, from, n int64) ([]byte, error) {
	t.Helper()
	r, err := b.Open(t.Context(), key, from, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// keys are those of all blobs but the label.
func keys(t *testing.T, b *s3.Bucket) (all []string) {
	t.Helper()
	for info, err := range b.List(t.Context(), store.AllShards) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != "store/id" {
			all = append(all, info.Key)
		}
	}
	return all
}

// TestPutFaults: what Put says of bodies in memory and bodies that are sent as
// they come, when requests fail in every way. What it says is true.
func TestPutFaults(t *testing.T) {
	const kept, streamed = 100_000, 3_000_000
	for name, test := range map[string]struct {
		times int64
		fault s3test.Fault
		kept  bool // succeeds, if the body is kept
	}{
		"refused once":      {1, s3test.Fault{Status: 503}, true},
		"refused twice":     {2, s3test.Fault{Status: 500}, true},
		"refused":           {always, s3test.Fault{Status: 503}, false},
		"cut once":          {1, s3test.Fault{CutBody: 50_000}, true},
		"cut":               {always, s3test.Fault{CutBody: 50_000}, false},
		"answer lost":       {1, s3test.Fault{Lost: true}, true},
		"all answers lost":  {always, s3test.Fault{Lost: true}, false},
		"silent":            {always, s3test.Fault{Silent: true}, false},
		"silent in between": {always, s3test.Fault{CutBody: 50_000, Silent: true}, false},
		"silent at the end": {always, s3test.Fault{Lost: true, Silent: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, line := faulty(t, s3.Options{Timeout: 30 * time.Second})
			if test.fault.Silent {
				b, line = faulty(t, s3.Options{Timeout: shortly})
			}
			for size, succeeds := range map[int]bool{kept: test.kept, streamed: false} {
				want := content(size)
				key := fmt.Sprintf("blob/%d", size)
				line.Decide(first(test.times, http.MethodPut, test.fault))
				n, err := b.Put(t.Context(), key, bytes.NewReader(want), int64(size))
				line.Decide(nil)
				if !succeeds {
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%d bytes: %v, want one that says that the server does not answer", size, err)
					}
					if left := keys(t, b); slices.Contains(left, key) {
						t.Errorf("%d bytes: something is left", size)
					}
					continue
				}
				if err != nil || n != int64(size) {
					t.Errorf("%d bytes: %d, %v", size, n, err)
				}
				if got, err := get(t, b, key, 0, int64(size)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes: %d come back, %v", size, len(got), err)
				}
			}
		})
	}
}

// TestGivenUp: an upload that is given up ends with a reset. Some servers take a
// body that is merely closed for a whole one.
func TestGivenUp(t *testing.T) {
	ended := make(chan error, 1)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, err = io.Copy(io.Discard, conn)
			conn.Close()
		}
		ended <- err
	}))
	defer other.Close()
	to, err := s3.ParseURL("s3://files?region=r&style=path&endpoint=" + other.URL)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s3.Open(t.Context(), to, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	gone := errors.New("the client went away")
	body := io.MultiReader(bytes.NewReader(content(500_000)), iotest.ErrReader(gone))
	if _, err := b.Put(t.Context(), "blob/0", body, 1_000_000); !errors.Is(err, gone) {
		t.Errorf("Put: %v", err)
	}
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server sees %v", err)
	}
}

// deaf fails requests before anything of their bodies is read.
type deaf struct {
	http.RoundTripper
	left atomic.Int64
}

func (d *deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.left.Add(-1) >= 0 {
		return nil, errors.New("nobody listens")
	}
	return d.RoundTripper.RoundTrip(r)
}

// TestPutAgain: a body of which nothing was taken can be sent again, however long
// it is.
func TestPutAgain(t *testing.T) {
	line := &deaf{RoundTripper: http.DefaultTransport}
	b := open(t, s3.Options{Transport: line})
	want := content(1_000_000)
	line.left.Store(2)
	if _, err := b.Put(t.Context(), "blob/0", bytes.NewReader(want), int64(len(want))); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, b, "blob/0", 0, int64(len(want))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes come back, %v", len(got), err)
	}
}

// TestPutUnsure: where the answer to a Put was lost and nobody says what became of
// it, the server is away; that the object is there is no fault of the caller.
func TestPutUnsure(t *testing.T) {
	b, line := faulty(t, s3.Options{})
	lose := first(1, http.MethodPut, s3test.Fault{Lost: true})
	line.Decide(func(r *http.Request) s3test.Fault {
		if r.Method == http.MethodHead {
			return s3test.Fault{Status: 503}
		}
		return lose(r)
	})
	if _, err := b.Put(t.Context(), "un/sure", bytes.NewReader(content(1000)), 1000); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Put: %v, want ErrUnavailable", err)
	}
}

// TestReadFaults: what is read is right or an error tells.
func TestReadFaults(t *testing.T) {
	const size = 3_000_000
	want := content(size)
	for name, test := range map[string]struct {
		times int64
		fault s3test.Fault
		ok    bool
	}{
		"refused once":         {1, s3test.Fault{Status: 503}, true},
		"refused":              {always, s3test.Fault{Status: 503}, false},
		"lost once":            {1, s3test.Fault{Lost: true}, true},
		"lost":                 {always, s3test.Fault{Lost: true}, false},
		"cut once":             {1, s3test.Fault{CutAnswer: 700_000}, true},
		"cut after each piece": {always, s3test.Fault{CutAnswer: 200_000}, true}, // as long as it goes on
		"silent":               {always, s3test.Fault{Silent: true}, false},
		"silent in between":    {always, s3test.Fault{CutAnswer: 700_000, Silent: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, line := faulty(t, s3.Options{Timeout: 30 * time.Second})
			if test.fault.Silent {
				b, line = faulty(t, s3.Options{Timeout: shortly})
			}
			if _, err := b.Put(t.Context(), "blob/0", bytes.NewReader(want), size); err != nil {
				t.Fatal(err)
			}
			line.Decide(first(test.times, http.MethodGet, test.fault))
			got, err := get(t, b, "blob/0", 1000, size-1000)
			switch {
			case test.ok && (err != nil || !bytes.Equal(got, want[1000:])):
				t.Errorf("%d bytes, %v", len(got), err)
			case !test.ok && !errors.Is(err, store.ErrUnavailable):
				t.Errorf("%v, want one that says that the server does not answer", err)
			case !bytes.HasPrefix(want[1000:], got):
				t.Error("other bytes")
			}
		})
	}
}

// TestReadEnds: a reader stops with its context, also while it waits.
func TestReadEnds(t *testing.T) {
	b, line := faulty(t, s3.Options{})
	const size = 3_000_000
	if _, err := b.Put(t.Context(), "blob/0", bytes.NewReader(content(size)), size); err != nil {
		t.Fatal(err)
	}
	line.Decide(first(always, http.MethodGet, s3test.Fault{CutAnswer: 700_000, Silent: true}))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := b.Open(ctx, "blob/0", 0, size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	time.AfterFunc(100*time.Millisecond, cancel)
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) || n != 700_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestShort: a blob that is shorter than is asked for is no shorter answer.
func TestShort(t *testing.T) {
	b := open(t, s3.Options{})
	if _, err := b.Put(t.Context(), "blob/0", bytes.NewReader(content(1000)), 1000); err != nil {
		t.Fatal(err)
	}
	for _, span := range [][2]int64{{0, 1001}, {500, 501}, {1000, 1}, {2000, 1}, {1001, 0}} {
		if got, err := get(t, b, "blob/0", span[0], span[1]); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes from %d: %d come, %v", span[1], span[0], len(got), err)
		}
	}
}

// TestOtherFaults: what else asks the server has an end, too.
func TestOtherFaults(t *testing.T) {
	for name, f := range map[string]s3test.Fault{"refused": {Status: 503}, "silent": {Silent: true}, "lost": {Lost: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, line := faulty(t, s3.Options{Timeout: shortly})
			if !f.Silent {
				b, line = faulty(t, s3.Options{})
			}
			all := []string{"blob/0", "blob/1", "blob/2"}
			for _, key := range all {
				if _, err := b.Put(t.Context(), key, strings.NewReader("x"), 1); err != nil {
					t.Fatal(err)
				}
			}
			line.Decide(func(*http.Request) s3test.Fault { return f })
			var listed error
			for _, err := range b.List(t.Context(), store.AllShards) {
				listed = err
			}
			for what, err := range map[string]error{
				"Delete": b.Delete(t.Context(), "blob/0"), "DeleteAll": b.DeleteAll(t.Context(), all), "List": listed,
			} {
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
			}
			line.Decide(nil)
			if err := b.DeleteAll(t.Context(), append(all, "never/0")); err != nil {
				t.Error(err)
			}
			if left := keys(t, b); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// TestListEnds: a list that ends early says so.
func TestListEnds(t *testing.T) {
	b := open(t, s3.Options{})
	for i := range 3 {
		if _, err := b.Put(t.Context(), fmt.Sprintf("blob/%d", i), strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range b.List(ctx, store.AllShards) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the list ends with %v", last)
	}
}

// lie answers DeleteObjects with status 200, and nothing is done.
type lie struct {
	http.RoundTripper
	body string
}

func (l lie) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost {
		return l.RoundTripper.RoundTrip(r)
	}
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(l.body)), ContentLength: int64(len(l.body)), Request: r}, nil
}

// TestDeleteAllLies: an error that comes with status 200, as S3's do when it
// began to answer before, is one, and what the server does not tell of is deleted.
func TestDeleteAllLies(t *testing.T) {
	for body, ok := range map[string]bool{
		"<Error><Code>InternalError</Code><Message>try again</Message></Error>": false,
		"<DeleteResult></DeleteResult>":                                         true,
	} {
		b := open(t, s3.Options{Transport: lie{http.DefaultTransport, body}})
		all := []string{"blob/0", "blob/1", "never/0"}
		for _, key := range all[:2] {
			if _, err := b.Put(t.Context(), key, strings.NewReader("x"), 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.DeleteAll(t.Context(), all); ok != (err == nil) {
			t.Errorf("%s: %v", body, err)
		}
		if left := keys(t, b); ok != (len(left) == 0) {
			t.Errorf("%s: %v are left", body, left)
		}
	}
}
