package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/client"
	"fileshare/store"
)

func upload(t *testing.T, c *client.Client, b []byte, spec client.UploadSpec) *api.File {
	t.Helper()
	f, err := c.Upload(t.Context(), bytes.NewReader(b), int64(len(b)), spec)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func isFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is another content", path)
	}
	if left, _ := filepath.Glob(path + ".part*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDownloadFile(t *testing.T) {
	h := newHouse(t, store.Options{})
	c, stranger := as(t, h.url), as(t, h.url, func(o *client.Options) { o.User = "" })
	for _, size := range []int{0, 1, 100_000, 21 << 20} {
		for _, parallel := range []int{1, 4} {
			t.Run(fmt.Sprintf("%d by %d", size, parallel), func(t *testing.T) {
				b := noise(size)
				// A counted link: whatever the number of connections, it is one download.
				f := upload(t, c, b, client.UploadSpec{Name: ".hidden.bin", MaxDownloads: 1})
				dir := t.TempDir()
				var progress counted
				var there int64 = -1
				d, err := stranger.DownloadFile(t.Context(), f.URL, client.FileOptions{
					Path: dir, Parallel: parallel, Progress: progress.add, Start: func(_, n int64) { there = n },
				})
				if err != nil {
					t.Fatal(err)
				}
				if d.Path != filepath.Join(dir, "_hidden.bin") || d.Size != int64(size) || !d.Verified || d.HexDigest() != hexSum(b) {
					t.Errorf("%+v", d)
				}
				isFile(t, d.Path, b)
				if progress.n.Load() != int64(size) || there != 0 {
					t.Errorf("progress %d, there %d", progress.n.Load(), there)
				}
				_, err = stranger.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: filepath.Join(dir, "again")})
				if client.KindOf(err) != api.CodeUsed || err.Error() != "the downloads of the link are used up" {
					t.Errorf("a second time: %v", err)
				}
			})
		}
	}
}

// TestDownloadKeepsFiles does not touch what is there.
func TestDownloadKeepsFiles(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url)
	f := upload(t, c, []byte("new"), client.UploadSpec{Name: "x", MaxDownloads: 1})
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: path}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	isFile(t, path, []byte("old"))
	// That has used up nothing. A file that appears meanwhile is kept, too.
	other := filepath.Join(filepath.Dir(path), "other")
	_, err := c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: other, Start: func(int64, int64) {
		if err := os.WriteFile(other, []byte("old"), 0o600); err != nil {
			t.Error(err)
		}
	}})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(other); err != nil || string(got) != "old" {
		t.Errorf("%q, %v", got, err)
	}
	f = upload(t, c, []byte("new"), client.UploadSpec{Name: "x"})
	if _, err := c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: path, Force: true}); err != nil {
		t.Error(err)
	}
	isFile(t, path, []byte("new"))
}

func TestDownloadOverBadLine(t *testing.T) {
	h := newHouse(t, store.Options{})
	b := noise(40 << 20)
	good := as(t, h.url)
	for _, parallel := range []int{1, 3} {
		f := upload(t, good, b, client.UploadSpec{Name: "b.bin"})
		bad := newCutter(t, h.url, 6<<20)
		c := as(t, bad.url)
		d, err := c.DownloadFile(t.Context(), bad.url+strings.TrimPrefix(f.URL, h.url), client.FileOptions{Path: t.TempDir(), Parallel: parallel})
		if err != nil {
			t.Fatalf("parallel %d: %v", parallel, err)
		}
		isFile(t, d.Path, b)
		if bad.conns.Load() < 6 {
			t.Errorf("%d connections only", bad.conns.Load())
		}
	}
}

// TestDownloadGoesOn gives a download up in the middle and goes on with it.
func TestDownloadGoesOn(t *testing.T) {
	h := newHouse(t, store.Options{})
	b := noise(40 << 20)
	for _, parallel := range []int{1, 4} {
		c := as(t, h.url)
		f := upload(t, c, b, client.UploadSpec{Name: "b.bin"})
		path := filepath.Join(t.TempDir(), "b.bin")
		ctx, cancel := context.WithCancel(t.Context())
		var first counted
		_, err := c.DownloadFile(ctx, f.URL, client.FileOptions{Path: path, Parallel: parallel, Progress: func(more int64) {
			if first.add(more); first.n.Load() > 20<<20 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a part has the name of the whole")
		}
		var second counted
		var there int64
		_, err = c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: path, Progress: second.add, Start: func(_, n int64) { there = n }})
		if err != nil {
			t.Fatal(err)
		}
		isFile(t, path, b)
		if there < 10<<20 || there+second.n.Load() != int64(len(b)) {
			t.Errorf("%d bytes were there, %d came", there, second.n.Load())
		}
	}
}

// TestDownloadOfChanged begins again when there is another content.
func TestDownloadOfChanged(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url)
	path := filepath.Join(t.TempDir(), "x")
	f := upload(t, c, noise(20<<20), client.UploadSpec{})
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.DownloadFile(ctx, f.URL, client.FileOptions{Path: path, Progress: func(int64) { cancel() }}); err == nil {
		t.Fatal("it was too fast")
	}
	b := noise(20<<20 - 7)
	f = upload(t, c, b, client.UploadSpec{})
	if _, err := c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: path}); err != nil {
		t.Fatal(err)
	}
	isFile(t, path, b)
	// One at a time.
	again := false
	_, err := c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: path, Force: true, Start: func(int64, int64) {
		_, err := c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: path, Force: true})
		again = err != nil && strings.Contains(err.Error(), "is being downloaded already")
	}})
	if err != nil || !again {
		t.Errorf("%v, %v", err, again)
	}
}

// TestDownloadChecksDigest throws away what is damaged on the way.
func TestDownloadChecksDigest(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url)
	b := noise(10 << 20)
	f := upload(t, c, b, client.UploadSpec{})
	h.meddle(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		if body := rec.Body.Bytes(); len(body) > 1000 {
			body[1000]++
		}
		_, _ = w.Write(rec.Body.Bytes())
	})
	for _, parallel := range []int{1, 2} {
		dir := t.TempDir()
		if _, err := c.DownloadFile(t.Context(), f.URL, client.FileOptions{Path: filepath.Join(dir, "x"), Parallel: parallel}); !errors.Is(err, client.ErrMismatch) {
			t.Errorf("%v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	if _, err := c.Download(t.Context(), f.URL, new(bytes.Buffer), nil); !errors.Is(err, client.ErrMismatch) {
		t.Errorf("%v", err)
	}
}

// TestDownloadWaits for a counted link that somebody else is downloading.
func TestDownloadWaits(t *testing.T) {
	h := newHouse(t, store.Options{})
	c := as(t, h.url)
	f := upload(t, c, noise(1000), client.UploadSpec{MaxDownloads: 1})
	var busy atomic.Int64
	h.meddle(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && busy.Add(1) == 1 {
			w.Header().Set(api.ErrorHeader, api.CodeBusy)
			w.WriteHeader(http.StatusConflict)
			return
		}
		next.ServeHTTP(w, r)
	})
	content(t, c, f.URL)
}

// TestPasswordStays does not give a password to whoever has a link.
func TestPasswordStays(t *testing.T) {
	h := newHouse(t, store.Options{})
	var told atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, ok := r.BasicAuth()
		told.Store(told.Load() || ok)
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "/x", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("x"))
	}))
	defer other.Close()
	c := as(t, h.url)
	for _, path := range []string{"/x", "/redirect"} {
		if _, err := c.Download(t.Context(), other.URL+path, new(bytes.Buffer), nil); err != nil {
			t.Error(err)
		}
	}
	h.meddle(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		http.Redirect(w, r, other.URL+"/x", http.StatusFound)
	})
	if _, err := c.Download(t.Context(), h.url+"/uploads/x", new(bytes.Buffer), nil); err != nil {
		t.Error(err)
	}
	if told.Load() {
		t.Error("the password was told")
	}
}

// TestUnreachable fails at once where there never was a server.
func TestUnreachable(t *testing.T) {
	c := as(t, "http://127.0.0.1:1", func(o *client.Options) { o.OnRetry = func(error, time.Duration) { t.Error("tried again") } })
	_, err := c.Info(t.Context(), client.Ref{File: "x"})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

// TestRefusalIsPlainText: whoever made a link does not write to the terminal of
// who follows it.
func TestRefusalIsPlainText(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "1\u009b2J")
		w.Header().Set(api.ErrorHeader, api.CodeInvalid)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"message":"no\u001b]0;title\u0007\r\nfileshare: stored\u202e"}`))
	}))
	defer other.Close()
	c := as(t, other.URL)
	_, err := c.Download(t.Context(), other.URL+"/x", new(bytes.Buffer), nil)
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Message != "no]0;titlefileshare: stored" || e.RequestID != "12J" {
		t.Errorf("%#v", err)
	}
}
