package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/api"
	"fileshare/client"
	"fileshare/store"
)

// TestUpload sends contents of every kind of size in every way, and expects them
// back with all that was said of them.
func TestUpload(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url+"/rtc/fileshare/")
	session, err := c.CreateSession(t.Context(), client.SessionSpec{})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 100_000, 8 << 20, 8<<20 + 1, 21 << 20} {
		for _, way := range []string{"content", "parallel", "stream", "session", "session stream"} {
			if size > 20<<20 && strings.HasPrefix(way, "session") {
				continue
			}
			t.Run(fmt.Sprintf("%d %s", size, way), func(t *testing.T) {
				b := noise(size)
				var progress counted
				spec := client.UploadSpec{
					Name: "a b.txt", Type: "text/x-test", TTL: 1999500 * time.Millisecond, MaxDownloads: 7, Tags: []string{"red", "a,b"},
					Progress: progress.add,
				}
				if strings.HasPrefix(way, "session") {
					spec.Session = session.ID
				}
				if way == "parallel" {
					spec.Parallel = 4
				}
				var f *api.File
				var err error
				if strings.HasSuffix(way, "stream") {
					f, err = c.UploadStream(t.Context(), struct{ io.Reader }{bytes.NewReader(b)}, spec)
				} else {
					f, err = c.Upload(t.Context(), bytes.NewReader(b), int64(size), spec)
				}
				if err != nil {
					t.Fatal(err)
				}
				sum := hexSum(b)
				want := &api.File{
					ID: f.ID, Name: "a b.txt", OriginalName: "a b.txt", MimeType: "text/x-test", Size: int64(size), SHA256: &sum, TTL: 2000,
					State: "UPLOADED", SessionID: f.SessionID, Tags: []string{"red", "a,b"}, Owner: "alice", MaxDownloads: 7,
					CreatedAt: f.CreatedAt, UpdatedAt: f.UpdatedAt, ExpiresAt: f.ExpiresAt, URL: f.URL,
				}
				if diff := cmp.Diff(want, f); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if (f.SessionID != nil) != (spec.Session != "") {
					t.Errorf("session %v", f.SessionID)
				}
				if n := progress.n.Load(); n != int64(size) {
					t.Errorf("progress of %d bytes", n)
				}
				if !bytes.Equal(content(t, c, f.URL), b) {
					t.Error("another content came back")
				}
			})
		}
	}
}

// TestUploadOverBadLine sends over a line that breaks again and again.
func TestUploadOverBadLine(t *testing.T) {
	h := newHouse(t, store.Options{})
	// The cuts must be longer than what the kernels' buffers hold.
	const size, cut = 64 << 20, 16 << 20
	b := noise(size)
	for _, way := range []string{"content", "parallel", "stream", "session"} {
		t.Run(way, func(t *testing.T) {
			bad := newCutter(t, h.url, cut)
			c := as(t, bad.url, func(o *client.Options) { o.Pause, o.Attempts = 200*time.Millisecond, 30 })
			var progress counted
			spec := client.UploadSpec{Name: "b", Progress: progress.add}
			var f *api.File
			var err error
			switch way {
			case "parallel":
				spec.Parallel = 3
			case "session":
				s, err := c.CreateSession(t.Context(), client.SessionSpec{})
				if err != nil {
					t.Fatal(err)
				}
				spec.Session = s.ID
			}
			if way == "stream" {
				f, err = c.UploadStream(t.Context(), bytes.NewReader(b), spec)
			} else {
				f, err = c.Upload(t.Context(), bytes.NewReader(b), size, spec)
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.SHA256 == nil || *f.SHA256 != hexSum(b) || f.Size != size {
				t.Errorf("%+v", f)
			}
			if n := progress.n.Load(); n != size {
				t.Errorf("progress of %d bytes", n)
			}
			conns, sent := bad.conns.Load(), bad.sent.Load()
			t.Logf("%d connections, %d bytes sent, %.1f %% more than the content", conns, sent, 100*float64(sent-size)/size)
			if conns < size/cut {
				t.Errorf("%d connections only", conns)
			}
			if sent > 2*size {
				t.Errorf("%d bytes were sent for %d", sent, size)
			}
		})
	}
}

// TestUploadGoesOn gives an upload up in the middle, as a process that is
// killed, and goes on with it in another one.
func TestUploadGoesOn(t *testing.T) {
	h := newHouse(t, store.Options{})
	const size = 40 << 20
	b := noise(size)
	for _, parallel := range []int{1, 4} {
		t.Run(fmt.Sprint(parallel), func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stopped := errors.New("stopped")
			var begun client.Unfinished
			var first counted
			_, err := as(t, h.url).Upload(ctx, bytes.NewReader(b), size, client.UploadSpec{
				Parallel: parallel, Begun: func(u client.Unfinished) { begun = u },
				Progress: func(more int64) {
					first.add(more)
					if first.n.Load() > size/2 {
						cancel(stopped)
					}
				},
			})
			if !errors.Is(err, stopped) || len(begun.IDs) != parallel {
				t.Fatalf("%v, %+v", err, begun)
			}
			var sent atomic.Int64
			h.meddle(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPatch {
					sent.Add(r.ContentLength)
				}
				next.ServeHTTP(w, r)
			})
			defer h.between.Store(nil)
			f, err := as(t, h.url).Upload(t.Context(), bytes.NewReader(b), size, client.UploadSpec{Resume: &begun})
			if err != nil {
				t.Fatal(err)
			}
			if f.SHA256 == nil || *f.SHA256 != hexSum(b) {
				t.Errorf("%+v", f)
			}
			if n := sent.Load(); n == 0 || n > size-1<<20 {
				t.Errorf("%d bytes were sent again", n)
			}

			// What the server has given up begins again; so does what belongs to another content.
			begun.IDs = begun.IDs[:1]
			begun.IDs[0] = "00000000-0000-4000-8000-000000000000"
			again := 0
			f, err = as(t, h.url).Upload(t.Context(), bytes.NewReader(b), size, client.UploadSpec{Resume: &begun, Begun: func(client.Unfinished) { again++ }})
			if err != nil || *f.SHA256 != hexSum(b) || again != 1 {
				t.Errorf("%+v, %v, begun %d times", f, err, again)
			}
		})
	}
}

func TestAbandon(t *testing.T) {
	h := newHouse(t, store.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var begun client.Unfinished
	c := as(t, h.url)
	_, err := c.Upload(ctx, bytes.NewReader(noise(9<<20)), 9<<20, client.UploadSpec{Begun: func(u client.Unfinished) { begun = u; cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := c.Abandon(t.Context(), begun); err != nil {
		t.Error(err)
	}
	if _, err := c.Info(t.Context(), client.Ref{File: begun.IDs[0]}); client.KindOf(err) != api.CodeNotFound {
		t.Errorf("it is still there: %v", err)
	}
}

// TestUploadByStranger is answered what a stranger may know.
func TestUploadByStranger(t *testing.T) {
	h := newHouse(t, store.Options{AnonymousUploads: true})
	c := as(t, h.url, func(o *client.Options) { o.User = "" })
	b := noise(9 << 20)
	f, err := c.Upload(t.Context(), bytes.NewReader(b), int64(len(b)), client.UploadSpec{Name: "x.txt"})
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "x.txt" || f.Size != int64(len(b)) || f.SHA256 == nil || *f.SHA256 != hexSum(b) || f.ExpiresAt.Before(time.Now()) {
		t.Errorf("%+v", f)
	}
	if !bytes.Equal(content(t, c, f.URL), b) {
		t.Error("another content came back")
	}
}

// TestUploadAgain repeats what a server or a proxy refuses for now.
func TestUploadAgain(t *testing.T) {
	h := newHouse(t, store.Options{})
	for _, size := range []int{1000, 9 << 20} {
		var refused atomic.Int64
		h.meddle(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if n := refused.Add(1); n == 1 || n == 3 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
		var pauses []time.Duration
		c := as(t, h.url, func(o *client.Options) {
			o.OnRetry = func(err error, pause time.Duration) {
				if client.KindOf(err) != "" || err.Error() != "service unavailable (status 503)" {
					t.Errorf("%v", err)
				}
				pauses = append(pauses, pause)
			}
		})
		var progress counted
		if _, err := c.Upload(t.Context(), bytes.NewReader(noise(size)), int64(size), client.UploadSpec{Name: "x", Progress: progress.add}); err != nil {
			t.Fatal(err)
		}
		if len(pauses) == 0 || pauses[0] != time.Second || progress.n.Load() != int64(size) {
			t.Errorf("pauses %v, progress %d", pauses, progress.n.Load())
		}
	}
}

// TestUploadIsRefused expects the server's words, at once.
func TestUploadIsRefused(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 10 << 20})
	retried := func(o *client.Options) {
		o.OnRetry = func(err error, _ time.Duration) { t.Errorf("tried again: %v", err) }
	}
	for _, size := range []int{100, 9 << 20, 11 << 20} {
		for name, tc := range map[string]struct {
			change func(*client.Options)
			spec   client.UploadSpec
			want   string
		}{
			"password": {func(o *client.Options) { o.Password = "no" }, client.UploadSpec{}, api.CodeUnauthenticated},
			"stranger": {func(o *client.Options) { o.User = "" }, client.UploadSpec{}, api.CodeUnauthenticated},
			"ttl":      {func(*client.Options) {}, client.UploadSpec{TTL: 1 << 62}, api.CodeInvalid},
			"session":  {func(*client.Options) {}, client.UploadSpec{Session: "00000000-0000-4000-8000-000000000000"}, api.CodeNotFound},
			"size":     {func(*client.Options) {}, client.UploadSpec{}, api.CodeTooLarge},
		} {
			if (name == "size") != (size > 10<<20) {
				continue
			}
			_, err := as(t, h.url, tc.change, retried).Upload(t.Context(), bytes.NewReader(noise(size)), int64(size), tc.spec)
			e, ok := errors.AsType[*client.Error](err)
			if !ok || e.Kind != tc.want || e.Status < 400 || e.Message == "" || e.RequestID == "" {
				t.Errorf("%d %s: %#v", size, name, err)
			}
		}
	}
}

// TestUploadChecksDigest lets the server tell another digest.
func TestUploadChecksDigest(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url)
	h.meddle(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Body = &flipping{ReadCloser: r.Body}
		next.ServeHTTP(w, r)
	})
	b := noise(21 << 20)
	for _, size := range []int{1000, 9 << 20, 21 << 20} {
		_, err := c.Upload(t.Context(), bytes.NewReader(b), int64(size), client.UploadSpec{Name: "x", Parallel: size >> 23})
		if !errors.Is(err, client.ErrMismatch) && client.KindOf(err) != api.CodeMismatch {
			t.Errorf("%d: %v", size, err)
		}
	}
	if _, err := c.UploadStream(t.Context(), bytes.NewReader(b), client.UploadSpec{Name: "x"}); !errors.Is(err, client.ErrMismatch) {
		t.Errorf("stream: %v", err)
	}
	for f, err := range c.Uploads(t.Context(), client.Query{}) {
		t.Errorf("left behind: %+v, %v", f, err)
	}
}

// flipping damages the first byte that is read.
type flipping struct {
	io.ReadCloser
	done bool
}

func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[0]++
		f.done = true
	}
	return n, err
}

// TestUploadOfBrokenFile tells that the reading failed, and does not try again.
func TestUploadOfBrokenFile(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url, func(o *client.Options) {
		o.OnRetry = func(err error, _ time.Duration) { t.Errorf("tried again: %v", err) }
	})
	for _, parallel := range []int{1, 4} {
		_, err := c.Upload(t.Context(), brokenAt(8<<20), 20<<20, client.UploadSpec{Name: "x", Parallel: parallel})
		if err == nil || !strings.Contains(err.Error(), "bad sector") {
			t.Errorf("%d: %v", parallel, err)
		}
	}
	_, err := c.UploadStream(t.Context(), io.NewSectionReader(brokenAt(20<<20), 0, 30<<20), client.UploadSpec{Name: "x"})
	if err == nil || !strings.Contains(err.Error(), "bad sector") {
		t.Errorf("%v", err)
	}
}

type brokenAt int64

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(b) {
		return 0, errors.New("bad sector")
	}
	return len(p), nil
}

// TestUploadHangs gives up a connection that moves nothing.
func TestUploadHangs(t *testing.T) {
	h := newHouse(t, store.Options{})
	var hung atomic.Int64
	again := make(chan struct{})
	h.meddle(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPatch {
			if hung.Add(1) == 1 {
				_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
				<-again
				return
			}
			if hung.Load() == 2 {
				close(again)
			}
		}
		next.ServeHTTP(w, r)
	})
	b := noise(64 << 20)
	f, err := as(t, h.url, func(o *client.Options) { o.Idle = time.Second }).Upload(t.Context(), bytes.NewReader(b), int64(len(b)), client.UploadSpec{})
	if err != nil || *f.SHA256 != hexSum(b) || hung.Load() < 2 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestUploadFile(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url)
	path := filepath.Join(t.TempDir(), "note.txt")
	if err := os.WriteFile(path, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := c.UploadFile(t.Context(), path, client.UploadSpec{})
	if err != nil || f.Name != "note.txt" || string(content(t, c, f.URL)) != "words" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := c.UploadFile(t.Context(), filepath.Dir(path), client.UploadSpec{}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("%v", err)
	}
}
