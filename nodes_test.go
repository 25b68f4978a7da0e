package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"fileshare/store/postgres/pgtest"
)

// Several daemons over one PostgreSQL and one directory of contents.

// cluster is two daemons behind nginx.
type cluster struct {
	db    *pgtest.Server
	dir   string
	env   []string
	nodes [2]*e2eDaemon
	front *e2eDaemon           // nginx: no process, only requests
	blobs func(testing.TB) int // that there are
}

// startCluster starts everything; env is that of the daemons.
func startCluster(t *testing.T, env ...string) *cluster {
	t.Helper()
	db, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{db: db, dir: t.TempDir(), env: append([]string{"STORE_RECORDS=" + db.Schema(t), "LIMITS_AUTH_FAILURES=1000000"}, env...)}
	c.blobs = func(t testing.TB) int {
		n, _ := e2eBlobs(t, c.dir)
		return n
	}
	for i := range c.nodes {
		c.nodes[i] = e2eStart(t, c.dir, c.env...)
	}
	conf, err := os.ReadFile("deploy/nginx/nodes.conf")
	if err != nil {
		t.Fatal(err)
	}
	server := strings.Replace(string(conf), "127.0.0.1:8081", c.nodes[1].addr, 1)
	p, addr, err := startNginx(t.TempDir(), server, c.nodes[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.end(syscall.SIGTERM) }) // killed, it would leave its workers
	c.front = &e2eDaemon{t: t, dir: c.dir, addr: addr, client: &http.Client{
		Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}}
	t.Cleanup(c.front.client.CloseIdleConnections)
	return c
}

// restart starts a node that was killed again, at the same address.
func (c *cluster) restart(t *testing.T, i int) {
	t.Helper()
	c.nodes[i] = e2eStart(t, c.dir, append(c.env, "SERVER_LISTEN="+c.nodes[i].addr)...)
}

// oneLink makes a link that is good for one download.
func oneLink(d *e2eDaemon, content []byte) string {
	d.t.Helper()
	a := d.do("PUT", "/uploads/once.bin", bytes.NewReader(content), "X-Fileshare-Max-Downloads", "1")
	if a.status != http.StatusCreated {
		d.t.Fatal(a)
	}
	return e2eID(a)
}

func TestNodes(t *testing.T) {
	t.Run("contents in a directory", func(t *testing.T) { testNodes(t, startCluster(t, "REAPER_SCHEDULE=@every 1s")) })
	t.Run("contents in a bucket", func(t *testing.T) {
		b := startBucket(t)
		c := startCluster(t, append(b.env, "REAPER_SCHEDULE=@every 1s")...)
		c.blobs = b.objects
		testNodes(t, c)
	})
}

func testNodes(t *testing.T, c *cluster) {
	t.Run("one link", func(t *testing.T) { testNodesLink(t, c) })
	t.Run("one upload", func(t *testing.T) { testNodesUpload(t, c) })
	t.Run("front", func(t *testing.T) { testNodesFront(t, c) })
	t.Run("reaping", func(t *testing.T) { testNodesReaping(t, c) })
	t.Run("killed", func(t *testing.T) { testNodesKilled(t, c) })
}

// testNodesLink: a thousand requests spread over both nodes, one body.
func testNodesLink(t *testing.T, c *cluster) {
	for _, size := range []int{1000, 300_000} { // among the records, among the contents
		content := e2eBytes()[:size]
		link := oneLink(c.front, content)
		counts := map[string]int{}
		var mu sync.Mutex // guards counts
		var left atomic.Int64
		left.Store(1000)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					a, err := c.front.try(t.Context(), "GET", link, nil)
					if err != nil {
						t.Errorf("GET: %v", err)
						continue
					}
					mu.Lock()
					counts[strconv.Itoa(a.status)]++
					if a.status == http.StatusOK && bytes.Equal(a.body, content) {
						counts["whole"]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if counts["200"] != 1 || counts["whole"] != 1 || counts["200"]+counts["409"]+counts["410"] != 1000 {
			t.Errorf("%d bytes: %v", size, counts)
		}
		for _, d := range c.nodes {
			if a := d.do("GET", link, nil); a.status != http.StatusGone {
				t.Errorf("GET of a used link: %v", a)
			}
		}
	}
}

// testNodesUpload: an upload goes on at the other node with every piece, and
// what one has is at the other's at once.
func testNodesUpload(t *testing.T, c *cluster) {
	content := e2eBytes()[:1<<20]
	a := c.nodes[0].do("POST", "/tus/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(len(content)))
	if a.status != http.StatusCreated {
		t.Fatal(a)
	}
	path := e2eID(a)
	const piece = 100_000
	for at, i := 0, 1; at < len(content); at, i = at+piece, i+1 {
		d := c.nodes[i%2]
		if a := d.do("HEAD", path, nil, "Tus-Resumable", "1.0.0"); a.header.Get("Upload-Offset") != strconv.Itoa(at) {
			t.Fatalf("offset %q, want %d", a.header.Get("Upload-Offset"), at)
		}
		a := d.do("PATCH", path, bytes.NewReader(content[at:min(at+piece, len(content))]), "Tus-Resumable", "1.0.0",
			"Upload-Offset", strconv.Itoa(at), "Content-Type", "application/offset+octet-stream")
		if a.status != http.StatusNoContent {
			t.Fatal(a)
		}
	}
	for _, d := range c.nodes {
		var found bool
		for _, f := range d.list() {
			if f.Size == int64(len(content)) {
				d.want("/uploads/"+f.ID, content)
				found = true
			}
		}
		if !found {
			t.Error("the upload is not in the list")
		}
	}
}

// testNodesFront: what breaks off before nginx has reached a node, and links are
// those of the client's side.
func testNodesFront(t *testing.T, c *cluster) {
	content := e2eBytes()[:3<<20]
	a := c.front.do("POST", "/rtc/fileshare/tus/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(len(content)))
	if a.status != http.StatusCreated || !strings.HasPrefix(a.header.Get("Location"), "http://"+c.front.addr+"/rtc/fileshare/tus/") {
		t.Fatalf("%v, at %q", a, a.header.Get("Location"))
	}
	path, offset := e2eID(a), 0
	e2eUntil(t, "bytes before the line breaks", func() bool {
		sendHalf(t, c.front.addr, path, content)
		// This may come before them, and end the request.
		a := c.front.do("HEAD", path, nil, "Tus-Resumable", "1.0.0")
		offset, _ = strconv.Atoi(a.header.Get("Upload-Offset"))
		return offset > 0
	})
	a = c.front.do("PATCH", path, bytes.NewReader(content[offset:]), "Tus-Resumable", "1.0.0",
		"Upload-Offset", strconv.Itoa(offset), "Content-Type", "application/offset+octet-stream")
	if a.status != http.StatusNoContent {
		t.Fatal(a)
	}
	_, file, _ := strings.Cut(strings.TrimPrefix(a.header.Get("Upload-File"), "http://"), "/")
	c.front.want("/"+file, content)

	// Of what clients say themselves only the host counts.
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+c.front.addr+"/rtc/fileshare/uploads/a.bin", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(e2eUser, e2ePassword)
	req.Host = "files.example.com:8443"
	req.Header.Set("X-Forwarded-Proto", "gopher")
	req.Header.Set("X-Forwarded-For", "192.0.2.7")
	res, err := c.front.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	const base = "http://files.example.com:8443"
	path, found := strings.CutPrefix(res.Header.Get("Location"), base)
	if !found || !strings.HasPrefix(path, "/rtc/fileshare/uploads/") {
		t.Fatalf("%s: Location %q", res.Status, res.Header.Get("Location"))
	}
	for _, d := range append(c.nodes[:], c.front) {
		d.want(path, content)
	}
}

// sendHalf begins to append to an upload and hangs up in the middle.
func sendHalf(t *testing.T, addr, path string, content []byte) {
	t.Helper()
	line, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	login := base64.StdEncoding.EncodeToString([]byte(e2eUser + ":" + e2ePassword))
	_, err = fmt.Fprintf(line, "PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n"+
		"Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n\r\n%s",
		path, addr, login, len(content), content[:len(content)/2])
	if err := errors.Join(err, line.Close()); err != nil {
		t.Fatal(err)
	}
}

// testNodesReaping: both reap at once; all goes, once, and nobody complains.
func testNodesReaping(t *testing.T, c *cluster) {
	blobs := c.blobs(t)
	files := len(c.nodes[0].list())
	var wg sync.WaitGroup
	paths := make([]string, 200)
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < len(paths); i += 8 {
				size := 1000
				if i%10 == 0 {
					size = 100_000
				}
				a, err := c.nodes[i%2].try(t.Context(), "PUT", "/uploads/short.bin", bytes.NewReader(e2eBytes()[:size]), "X-Fileshare-TTL", "2")
				if err != nil || a.status != http.StatusCreated {
					t.Errorf("PUT: %v, %v", a, err)
					continue
				}
				paths[i] = e2eID(a)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	e2eUntil(t, "the end of all", func() bool {
		return c.blobs(t) <= blobs && len(c.nodes[0].list()) <= files // what was there before may end, too
	})
	for i, p := range paths {
		if a := c.nodes[(i+1)%2].do("GET", p, nil); a.status != http.StatusGone {
			t.Fatalf("GET: %v", a)
		}
	}
	for _, d := range c.nodes {
		if log := d.log.String(); strings.Contains(log, "level=ERROR") {
			t.Errorf("a node complains:\n%s", log)
		}
	}
}

// testNodesKilled: nodes are killed in turn under load; clients who try again
// lose nothing.
func testNodesKilled(t *testing.T, c *cluster) {
	l := startLoad(t, c.front)
	for i := range 4 {
		before := l.stored.Load()
		e2eUntil(t, "uploads go on", func() bool { return l.stored.Load() > before+20 })
		c.nodes[i%2].kill()
		before = l.stored.Load()
		e2eUntil(t, "uploads go on over one node", func() bool { return l.stored.Load() > before+10 })
		c.restart(t, i%2)
	}
	l.end(c.nodes[1])
}
