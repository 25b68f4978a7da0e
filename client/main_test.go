package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fileshare/client"
	"fileshare/server"
	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a real server, engine and backends included.
type house struct {
	url   string
	store *store.Store
	// between is called before the server's handler, if it is set.
	between atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
}

// accounts knows alice and bob by the password "pw".
type accounts struct{}

func (accounts) Authenticate(r *http.Request) (store.Caller, error) {
	name, password, ok := r.BasicAuth()
	if !ok {
		return store.Caller{}, nil
	}
	if password != "pw" || name != "alice" && name != "bob" {
		return store.Caller{}, store.Refuse(store.Unauthenticated, "wrong credentials")
	}
	return store.Caller{Name: name}, nil
}

func newHouse(t testing.TB, so store.Options) *house {
	t.Helper()
	path := t.TempDir()
	records, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := dir.Open(filepath.Join(path, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	so.Exclusive = true
	s, err := store.New(t.Context(), records, blobs, so)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: s}
	handler := server.New(s, server.Options{Prefixes: []string{"/rtc/fileshare"}, Auth: accounts{}, Tus: true})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if between := h.between.Load(); between != nil {
			(*between)(w, r, handler)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	srv.Listener = server.Listener(srv.Listener, 0)
	srv.Config.ConnContext = server.ConnContext
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Start()
	h.url = srv.URL
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// meddle puts something between the client and the server.
func (h *house) meddle(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	h.between.Store(&f)
}

// as is a client that is alice, unless change says otherwise.
func as(t testing.TB, url string, change ...func(*client.Options)) *client.Client {
	t.Helper()
	o := client.Options{URL: url, User: "alice", Password: "pw", Pause: time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// noise is so many bytes that are always the same.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// cutter is a proxy that cuts each connection after so many bytes of the client
// or of the server. It counts what the clients sent.
type cutter struct {
	url   string
	sent  atomic.Int64
	conns atomic.Int64
}

func newCutter(t testing.TB, upstream string, after int64) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{url: "http://" + l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.conns.Add(1)
			wg.Go(func() { c.pass(ctx, conn, upstream, after) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		wg.Wait()
	})
	return c
}

func (c *cutter) pass(ctx context.Context, down net.Conn, upstream string, after int64) {
	defer down.Close()
	up, err := (&net.Dialer{}).DialContext(ctx, "tcp", upstream[len("http://"):])
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { down.Close(); up.Close() })()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer down.Close()
		_, _ = io.CopyN(down, up, after)
		up.Close()
	})
	n, _ := io.CopyN(struct{ io.Writer }{up}, down, after)
	c.sent.Add(n)
	up.Close()
	down.Close()
	wg.Wait()
}

// counted sums up what a progress is told.
type counted struct{ n, most atomic.Int64 }

func (c *counted) add(more int64) {
	n := c.n.Add(more)
	for {
		most := c.most.Load()
		if n <= most || c.most.CompareAndSwap(most, n) {
			return
		}
	}
}

// content reads a link without credentials.
func content(t *testing.T, c *client.Client, link string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := c.Download(t.Context(), link, &b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
