package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store/s3/s3test"
)

// What a daemon does while one of its backends is away.

// nodesLoad uploads, and tries again what is not answered with success.
type nodesLoad struct {
	t        *testing.T
	d        *e2eDaemon
	stop     chan struct{}
	work     sync.WaitGroup
	stored   atomic.Int64
	refused  atomic.Int64 // 503
	slowest  atomic.Int64 // nanoseconds
	mu       sync.Mutex
	contents map[string][]byte // by path; guarded by mu
}

func startLoad(t *testing.T, d *e2eDaemon) *nodesLoad {
	l := &nodesLoad{t: t, d: d, stop: make(chan struct{}), contents: map[string][]byte{}}
	for w := range 6 {
		rng := rand.New(rand.NewPCG(uint64(w), 1))
		l.work.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				size := 500 + rng.IntN(20_000)
				if n%8 == 0 {
					size = 200_000
				}
				l.store(fmt.Sprintf("w%d-%d", w, n), e2eBytes()[:size])
			}
		})
	}
	return l
}

// store is one try; whoever gets no success comes again with another one.
func (l *nodesLoad) store(name string, content []byte) {
	begin := time.Now()
	a, err := l.d.try(context.Background(), "PUT", "/uploads/"+name, bytes.NewReader(content))
	l.slowest.Store(max(l.slowest.Load(), int64(time.Since(begin))))
	switch {
	case err != nil:
		time.Sleep(10 * time.Millisecond)
	case a.status == http.StatusCreated:
		l.mu.Lock()
		l.contents[e2eID(a)] = content
		l.mu.Unlock()
		l.stored.Add(1)
	case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
		l.refused.Add(1)
		time.Sleep(10 * time.Millisecond)
	case a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout: // of nginx
		time.Sleep(10 * time.Millisecond)
	default:
		l.t.Errorf("PUT: %v", a)
	}
}

// end stops the load and looks for everything that was answered with success.
func (l *nodesLoad) end(d *e2eDaemon) {
	l.t.Helper()
	close(l.stop)
	l.work.Wait()
	for path, content := range l.contents {
		d.want(path, content)
	}
	l.t.Logf("%d stored, %d refused, the slowest took %v", l.stored.Load(), l.refused.Load(), time.Duration(l.slowest.Load()))
}

// outage is a daemon under load.
type outage struct {
	t *testing.T
	d *e2eDaemon
	l *nodesLoad
}

// progress waits until uploads succeed.
func (o outage) progress() {
	o.t.Helper()
	before := o.l.stored.Load()
	e2eUntil(o.t, "uploads go on", func() bool { return o.l.stored.Load() > before+20 })
}

// refused waits until uploads are refused, and looks at what else is answered
// then: a path that needs the backend is refused, too.
func (o outage) refused(path string) {
	o.t.Helper()
	before := o.l.refused.Load()
	e2eUntil(o.t, "uploads are refused", func() bool { return o.l.refused.Load() > before+6 })
	e2eUntil(o.t, "not ready", func() bool { return o.d.do("GET", "/ready", nil).status == http.StatusServiceUnavailable })
	if a := o.d.do("GET", "/health", nil); a.status != http.StatusOK {
		o.t.Errorf("/health: %v", a)
	}
	if a := o.d.do("GET", path, nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		o.t.Errorf("%s: %v, Retry-After %q", path, a, a.header.Get("Retry-After"))
	}
}

// over waits until the daemon is well again, by itself.
func (o outage) over() {
	o.t.Helper()
	e2eUntil(o.t, "ready again", func() bool { return o.d.do("GET", "/ready", nil).status == http.StatusOK })
	o.progress()
}

// during does something to the backend, and waits.
func (o outage) during(path string, begin, end func() error) {
	o.t.Helper()
	if err := begin(); err != nil {
		o.t.Fatal(err)
	}
	o.refused(path)
	if err := end(); err != nil {
		o.t.Fatal(err)
	}
	o.over()
}

// end looks for all that was acknowledged.
func (o outage) end(d *e2eDaemon) {
	o.t.Helper()
	o.l.end(d)
	if most := time.Duration(o.l.slowest.Load()); most > e2ePatience {
		o.t.Errorf("a request took %v", most)
	}
}

// TestOutage: PostgreSQL restarts, fails, and freezes under load.
func TestOutage(t *testing.T) {
	c := startCluster(t, "STORE_POSTGRES_TIMEOUT=1s")
	o := outage{t, c.nodes[0], startLoad(t, c.nodes[0])}
	o.progress()
	for _, end := range []func() error{c.db.Halt, c.db.Kill} {
		o.during("/uploads", end, c.db.Resume)
	}
	o.during("/uploads", c.db.Freeze, c.db.Thaw) // connections stay and say nothing
	o.end(c.nodes[1])
}

// TestBucketOutage: the S3 server fails, and freezes under load; then the line to
// it fails in every way. Downloads are right or fail.
func TestBucketOutage(t *testing.T) {
	b := startBucket(t)
	dir := t.TempDir()
	env := append(b.env, "STORE_INLINE_SIZE=0", "STORE_S3_TIMEOUT=1s")
	d := e2eStart(t, dir, env...)
	path := d.put("there.bin", e2eBytes()[:3_000_000])
	reading := readOn(d, path, e2eBytes()[:3_000_000])
	o := outage{t, d, startLoad(t, d)}
	o.progress()
	o.during(path, b.server.Halt, b.server.Resume)
	o.during(path, b.server.Freeze, b.server.Thaw)
	refuse := func(f s3test.Fault) func() error {
		return func() error {
			b.line.Decide(func(*http.Request) s3test.Fault { return f })
			return nil
		}
	}
	o.during(path, refuse(s3test.Fault{Status: 503}), refuse(s3test.Fault{}))
	b.line.Decide(sometimes())
	o.progress()
	b.line.Decide(nil)
	o.over()
	reading.end(t)
	o.end(d)

	// What the failures left is swept up.
	d.stop()
	again := e2eStart(t, dir, env...)
	want := len(again.list()) // of each an object
	e2eUntil(t, "the end of all orphans", func() bool { return b.objects(t) == want })
	again.want(path, e2eBytes()[:3_000_000])
}

// sometimes makes two of three requests fail, each time in another way.
func sometimes() func(*http.Request) s3test.Fault {
	faults := []s3test.Fault{
		{Status: 503}, {Status: 500}, {CutBody: 1}, {CutBody: 10_000}, {CutAnswer: 1}, {CutAnswer: 1_000_000}, {Lost: true}, {Silent: true}, {CutBody: 1000, Silent: true},
		{CutAnswer: 100_000, Silent: true},
	}
	var n atomic.Int64
	return func(*http.Request) s3test.Fault {
		i := n.Add(1)
		if i%3 == 0 {
			return s3test.Fault{}
		}
		return faults[i%int64(len(faults))]
	}
}

// reader downloads the same content over and over.
type reader struct {
	stop        chan struct{}
	work        sync.WaitGroup
	right, torn int
	wrong       string
}

func readOn(d *e2eDaemon, path string, content []byte) *reader {
	r := &reader{stop: make(chan struct{})}
	r.work.Go(func() {
		for {
			select {
			case <-r.stop:
				return
			default:
			}
			a, err := d.try(context.Background(), "GET", path, nil)
			switch {
			case err == nil && a.status == http.StatusOK && bytes.Equal(a.body, content):
				r.right++
			case err != nil, a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
				r.torn++
			default:
				r.wrong = a.String()
			}
		}
	})
	return r
}

func (r *reader) end(t *testing.T) {
	t.Helper()
	close(r.stop)
	r.work.Wait()
	if r.wrong != "" || r.right == 0 || r.torn == 0 {
		t.Errorf("%d downloads were right, %d failed, a wrong one: %s", r.right, r.torn, r.wrong)
	}
}

// bucket is an S3 server with a bucket, and a line to it.
type bucket struct {
	server *s3test.Server
	line   *s3test.Proxy
	url    string
	env    []string // of daemons that keep their contents there
}

func startBucket(t *testing.T) *bucket {
	t.Helper()
	b := new(bucket)
	var err error
	if b.server, err = s3test.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if b.line, err = b.server.NewProxy(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.line.Close(); err != nil {
			t.Error(err)
		}
	})
	if b.url, err = b.line.NewURL("contents"); err != nil {
		t.Fatal(err)
	}
	credentials, err := s3test.Credentials(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b.env = []string{"STORE_BLOBS=" + b.url, "STORE_S3_CREDENTIALS=" + credentials}
	return b
}

// objects counts what is in the bucket.
func (b *bucket) objects(t testing.TB) int {
	t.Helper()
	n, err := b.server.Objects(b.url)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
