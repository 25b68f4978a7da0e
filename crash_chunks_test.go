package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	fsUser = "alice@example.org"
	fsKey  = "a long and random text"
)

// fsCall sends a request that is signed as FileSender's clients do it.
func fsCall(ctx context.Context, d *e2eDaemon, method, path string, args url.Values, body []byte) (*e2eAnswer, error) {
	if args == nil {
		args = url.Values{}
	}
	args.Set("remote_user", fsUser)
	args.Set("timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	query, err := url.QueryUnescape(args.Encode()) // sorted by name
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha1.New, []byte(fsKey))
	fmt.Fprintf(mac, "%s&%s%s?%s", strings.ToLower(method), d.addr, path, query)
	if len(body) > 0 {
		fmt.Fprintf(mac, "&%s", body)
	}
	return d.try(ctx, method, path+"?"+args.Encode()+fmt.Sprintf("&signature=%x", mac.Sum(nil)), bytes.NewReader(body))
}

// fsDo is fsCall for requests that must be answered so; it reads JSON into out
// unless that is nil.
func fsDo(t *testing.T, d *e2eDaemon, method, path string, args url.Values, in, out any, status int) {
	t.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	a, err := fsCall(t.Context(), d, method, path, args, body)
	if err != nil || a.status != status {
		t.Fatalf("%s %s: %v, %v, want %d", method, path, a, err, status)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
	}
}

// fsAccount is the environment of a daemon that knows the account, and the one
// of the other tests.
func fsAccount() string {
	return `AUTH_USERS=[{"name":"` + fsUser + `","password":"x","api_key":"` + fsKey + `"},{"name":"` + e2eUser + `","password":"` + e2ePassword + `","admin":true}]`
}

// chunked is a large file that is uploaded in chunks by many workers.
type chunked struct {
	t        *testing.T
	size     int64
	transfer int64
	path     string // of the file
	key      string
	download string

	mu    sync.Mutex
	left  []int64        // offsets that are to be sent; guarded by mu
	there map[int64]bool // acknowledged; guarded by mu
	sent  atomic.Int64   // bytes that were acknowledged
}

const (
	chunkSize    = 5 << 20
	chunkWorkers = 16
)

// newChunked announces a transfer of one file; all of it is left to be sent.
func newChunked(t *testing.T, d *e2eDaemon, size int64) *chunked {
	t.Helper()
	var tr struct {
		ID    int64
		Files []struct {
			ID  int64
			UID string
		}
		Recipients []struct{ Token string }
	}
	fsDo(t, d, "POST", "/rest.php/transfer", nil, map[string]any{
		"files": []any{map[string]any{"name": "large.bin", "size": size}}, "recipients": []string{"bob@example.net"},
	}, &tr, http.StatusCreated)
	f := tr.Files[0]
	c := &chunked{t: t, size: size, transfer: tr.ID, path: fmt.Sprintf("/rest.php/file/%d", f.ID), key: f.UID,
		download: fmt.Sprintf("/download.php?token=%s&files_ids=%d", tr.Recipients[0].Token, f.ID), there: map[int64]bool{}}
	for offset := int64(0); offset < size; offset += chunkSize {
		c.left = append(c.left, offset)
	}
	return c
}

// chunk is the content at an offset: the same bytes turned by where they are.
func (c *chunked) chunk(offset int64) []byte {
	n := min(chunkSize, c.size-offset)
	b := make([]byte, n)
	at := int(offset/chunkSize) * 4097 % (1 << 20)
	copy(b, e2eBytes()[at:at+int(n)])
	return b
}

// run lets all workers send what is left until nothing is, or ctx ends. What is
// not acknowledged is left again.
func (c *chunked) run(ctx context.Context, d *e2eDaemon) {
	var work sync.WaitGroup
	for range chunkWorkers {
		work.Go(func() {
			for ctx.Err() == nil {
				c.mu.Lock()
				if len(c.left) == 0 {
					c.mu.Unlock()
					return
				}
				offset := c.left[0]
				c.left = c.left[1:]
				c.mu.Unlock()
				a, err := fsCall(ctx, d, "PUT", c.path+"/chunk/"+strconv.FormatInt(offset, 10), url.Values{"key": {c.key}}, c.chunk(offset))
				if err == nil && a.status != http.StatusOK {
					c.t.Errorf("chunk at %d: %v", offset, a)
					return
				}
				c.mu.Lock()
				if err != nil {
					c.left = append(c.left, offset)
				} else {
					c.there[offset] = true
					c.sent.Add(min(chunkSize, c.size-offset))
				}
				c.mu.Unlock()
			}
		})
	}
	work.Wait()
}

// A large file in chunks by sixteen workers in any order, while the daemon is
// killed: what was acknowledged is there, holes are noticed, and in the end it is
// the file. FILESHARE_CHUNKS_MIB is its size; 2048 takes a while.
func TestCrashChunks(t *testing.T) {
	size := int64(161<<20) + 12345
	if v := os.Getenv("FILESHARE_CHUNKS_MIB"); v != "" {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		size = n << 20
	}
	env, dir := fsAccount(), t.TempDir()
	d := e2eStart(t, dir, env)
	c := newChunked(t, d, size)
	rand.Shuffle(len(c.left), func(i, j int) { c.left[i], c.left[j] = c.left[j], c.left[i] })

	for _, part := range []int64{size / 4, size / 2} { // killed when so much was acknowledged
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(ctx, d)
		}()
		e2eUntil(t, "chunks are stored", func() bool { return c.sent.Load() >= part })
		d.kill()
		cancel()
		<-done
		d = e2eStart(t, dir, env)
		complete := map[string]bool{"complete": true}
		fsDo(t, d, "PUT", c.path, url.Values{"key": {c.key}}, complete, nil, http.StatusConflict) // there are holes
		fsDo(t, d, "PUT", fmt.Sprintf("/rest.php/transfer/%d", c.transfer), nil, complete, nil, http.StatusConflict)
	}
	for offset := range c.there { // a client that is not sure repeats some
		if c.left = append(c.left, offset); rand.IntN(4) == 0 {
			break
		}
	}
	begin, before := time.Now(), c.sent.Load()
	c.run(t.Context(), d)
	t.Logf("%.0f MB/s at the end, RssAnon %d kB, VmHWM %d kB", float64(c.sent.Load()-before)/1e6/time.Since(begin).Seconds(), d.proc("RssAnon"), d.proc("VmHWM"))
	fsDo(t, d, "PUT", c.path, url.Values{"key": {c.key}}, map[string]bool{"complete": true}, nil, http.StatusOK)
	fsDo(t, d, "PUT", fmt.Sprintf("/rest.php/transfer/%d", c.transfer), nil, map[string]bool{"complete": true}, nil, http.StatusOK)
	c.wantWhole(d)
}

// wantWhole downloads the file and compares it.
func (c *chunked) wantWhole(d *e2eDaemon) {
	c.t.Helper()
	res, err := d.client.Get("http://" + d.addr + c.download)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, res.Body)
	if err != nil || n != c.size || res.StatusCode != http.StatusOK {
		c.t.Fatalf("%d bytes, status %d, %v; want %d", n, res.StatusCode, err, c.size)
	}
	for offset := int64(0); offset < c.size; offset += chunkSize {
		want.Write(c.chunk(offset))
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		c.t.Error("it is not the file that was sent")
	}
}
