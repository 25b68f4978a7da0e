package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var alice = store.Caller{Name: "alice"}

// receiver is a webhook that verifies and remembers.
type receiver struct {
	t      *testing.T
	srv    *httptest.Server
	verify *standardwebhooks.Webhook

	mu    sync.Mutex
	got   []string       // types in the order of arrival
	ids   map[string]int // how often each webhook-id was accepted
	calls int
	act   func(call int, w http.ResponseWriter) bool // true: it has answered
}

func newReceiver(t *testing.T, act func(call int, w http.ResponseWriter) bool) *receiver {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, verify: v, ids: map[string]int{}, act: act}
	r.srv = httptest.NewServer(r)
	t.Cleanup(r.srv.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.calls++
	call := r.calls
	r.mu.Unlock()
	if r.act != nil && r.act(call, w) {
		return
	}
	if err := r.verify.Verify(body, q.Header); err != nil {
		r.t.Errorf("the signature is wrong: %v", err)
	}
	var p struct{ Type string }
	if err := json.Unmarshal(body, &p); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, p.Type)
	r.ids[q.Header.Get("Webhook-Id")]++
}

// accepted tells how many different events were accepted.
func (r *receiver) accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ids)
}

// house is an engine with its webhooks.
type house struct {
	t       *testing.T
	engine  *store.Store
	options Options
	mu      sync.Mutex
	seen    map[string]int // outcomes
}

func newHouse(t *testing.T, hooks ...Webhook) *house {
	t.Helper()
	h := newHouseWith(t, store.Options{Recipients: Recipients(hooks)})
	h.options.Webhooks = hooks
	return h
}

func newHouseWith(t *testing.T, o store.Options) *house {
	t.Helper()
	o.Exclusive = true
	path := t.TempDir()
	records, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := dir.Open(filepath.Join(path, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := store.New(t.Context(), records, blobs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(); records.Close(); blobs.Close() })
	h := &house{t: t, engine: engine, seen: map[string]int{}}
	h.options = Options{AllowPrivate: true, Poll: 5 * time.Millisecond, Retry: 20 * time.Millisecond, Timeout: 5 * time.Second,
		Payload: func(e *store.Event) ([]byte, error) { return json.Marshal(map[string]any{"type": e.Type, "id": e.ID}) },
		Observe: func(_, outcome string) { h.mu.Lock(); h.seen[outcome]++; h.mu.Unlock() }}
	return h
}

func (h *house) start() *Notifier {
	h.t.Helper()
	n, err := New(h.engine, h.options)
	if err != nil {
		h.t.Fatal(err)
	}
	n.Start()
	h.t.Cleanup(n.Stop)
	return n
}

func (h *house) upload(n int) {
	h.t.Helper()
	for range n {
		c, err := h.engine.Receive(h.t.Context(), alice, bytes.NewReader([]byte("abc")), store.Incoming{Size: 3})
		if err != nil {
			h.t.Fatal(err)
		}
		if _, err := h.engine.CreateUpload(h.t.Context(), alice, store.FileSpec{}, c); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) outcome(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[name]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 30 s: " + what)
		}
	}
}

func TestDelivery(t *testing.T) {
	r := newReceiver(t, nil)
	uploads := newReceiver(t, nil)
	h := newHouse(t, Webhook{Name: "all", URL: r.srv.URL, Secret: secret}, Webhook{Name: "sessions", URL: uploads.srv.URL, Secret: secret, Events: []string{"session.*"}},
		Webhook{Name: "bob's", URL: uploads.srv.URL, Secret: secret, Owner: "bob"})
	h.start()
	h.upload(100)
	if _, err := h.engine.CreateSession(t.Context(), alice, store.SessionSpec{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all delivered", func() bool { return r.accepted() == 101 && uploads.accepted() == 1 })
	if r.calls != 101 || uploads.got[0] != "session.created" {
		t.Errorf("%d calls, %v", r.calls, uploads.got)
	}
}

// A receiver that fails, says when to come back, breaks the connection and
// redirects gets each event in the end.
func TestFailures(t *testing.T) {
	r := newReceiver(t, func(call int, w http.ResponseWriter) bool {
		switch call {
		case 1, 4:
			w.WriteHeader(500)
		case 2, 5:
			panic(http.ErrAbortHandler)
		case 3, 6:
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(307)
		default:
			return false
		}
		return true
	})
	h := newHouse(t, Webhook{Name: "a", URL: r.srv.URL, Secret: secret})
	h.start()
	h.upload(5)
	eventually(t, "all delivered", func() bool { return r.accepted() == 5 })
	if h.outcome("failed") < 3 || h.outcome("given_up") != 0 {
		t.Errorf("%v", h.seen)
	}
}

// One that hangs does not hold up another.
func TestHanging(t *testing.T) {
	release := make(chan struct{})
	hanging := newReceiver(t, func(int, http.ResponseWriter) bool { <-release; return false })
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	quick := newReceiver(t, nil)
	h := newHouse(t, Webhook{Name: "hanging", URL: hanging.srv.URL, Secret: secret}, Webhook{Name: "quick", URL: quick.srv.URL, Secret: secret})
	n := h.start()
	h.upload(50)
	eventually(t, "the quick one has all", func() bool { return quick.accepted() == 50 })
	hanging.mu.Lock()
	if hanging.calls > perPlace {
		t.Errorf("%d calls at once", hanging.calls)
	}
	hanging.mu.Unlock()
	n.Stop() // does not wait for the one that hangs
}

// What is not delivered when the daemon stops is delivered by the next one.
func TestRestart(t *testing.T) {
	var mu sync.Mutex
	down := true
	r := newReceiver(t, func(_ int, w http.ResponseWriter) bool {
		mu.Lock()
		defer mu.Unlock()
		if down {
			w.WriteHeader(503)
		}
		return down
	})
	h := newHouse(t, Webhook{Name: "a", URL: r.srv.URL, Secret: secret})
	n := h.start()
	h.upload(10)
	eventually(t, "an attempt", func() bool { return h.outcome("failed") > 0 })
	n.Stop()
	mu.Lock()
	down = false
	mu.Unlock()
	h.start()
	eventually(t, "all delivered", func() bool { return r.accepted() == 10 })
	for id, times := range r.ids {
		if times != 1 {
			t.Errorf("%s was accepted %d times", id, times)
		}
	}
}

func TestGivenUp(t *testing.T) {
	gone := newReceiver(t, func(_ int, w http.ResponseWriter) bool { w.WriteHeader(410); return true })
	h := newHouse(t, Webhook{Name: "gone", URL: gone.srv.URL, Secret: secret})
	h.start()
	h.upload(1)
	eventually(t, "given up", func() bool { return h.outcome("given_up") == 1 })

	// Private addresses are refused unless allowed, also by name.
	private := newReceiver(t, nil)
	for _, url := range []string{private.srv.URL, strings.Replace(private.srv.URL, "127.0.0.1", "localhost", 1)} {
		h = newHouse(t, Webhook{Name: "private", URL: url, Secret: secret})
		h.options.AllowPrivate = false
		h.start()
		h.upload(1)
		eventually(t, "refused", func() bool { return h.outcome("given_up") == 1 })
	}
	if private.calls != 0 {
		t.Error("a private address was called")
	}

	// After a while nobody tries any more.
	failing := newReceiver(t, func(_ int, w http.ResponseWriter) bool { w.WriteHeader(500); return true })
	h = newHouse(t, Webhook{Name: "failing", URL: failing.srv.URL, Secret: secret})
	h.options.GiveUp = time.Millisecond
	h.start()
	h.upload(1)
	eventually(t, "given up", func() bool { return h.outcome("given_up") == 1 })
}

func TestPublic(t *testing.T) {
	for a, want := range map[string]bool{
		"8.8.8.8": true, "2a00:1450::1": true, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "127.0.0.1": false, "169.254.1.1": false,
		"100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false, "fe80::1": false, "fc00::1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "fec0::1": false, "::7f00:1": false, "::ffff:0:7f00:1": false, "100::1": false, "2001:db8::1": false,
		"3fff::1": false, "5f00::1": false, "192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "192.88.99.1": false, "198.18.0.1": false,
	} {
		if got := public(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
}

func TestCheck(t *testing.T) {
	good := Webhook{Name: "a", URL: "https://example.com/x", Secret: secret, Events: []string{"file.*"}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Webhook){
		func(h *Webhook) { h.Name = "" },
		func(h *Webhook) { h.URL = "ftp://example.com" },
		func(h *Webhook) { h.URL = "https://" },
		func(h *Webhook) { h.URL = "https://a\x00" },
		func(h *Webhook) { h.Secret = "short" },
		func(h *Webhook) { h.Secret = "whsec_c2hvcnQ=" },
		func(h *Webhook) { h.Events = []string{"["} },
		func(h *Webhook) { h.Events = []string{"file.*", "file.upload"} },
	} {
		h := good
		change(&h)
		if h.Check() == nil {
			t.Errorf("%+v: no error", h)
		}
		if _, err := New(nil, Options{Webhooks: []Webhook{h}, Payload: func(*store.Event) ([]byte, error) { return nil, nil }}); err == nil {
			t.Errorf("%+v: no error", h)
		}
	}
	if _, err := New(nil, Options{Webhooks: []Webhook{good, good}, Payload: func(*store.Event) ([]byte, error) { return nil, errors.New("x") }}); err == nil {
		t.Error("a name twice: no error")
	}
	if Recipients(nil) != nil {
		t.Error("recipients without webhooks")
	}
}

// One place is told of many events one after the other, without another look at
// the outbox.
func TestManyAtOnePlace(t *testing.T) {
	r := newReceiver(t, nil)
	h := newHouse(t, Webhook{Name: "a", URL: r.srv.URL, Secret: secret})
	h.upload(claimed)
	h.options.Poll = time.Hour
	h.start()
	eventually(t, "all delivered", func() bool { return h.outcome("delivered") == claimed && r.accepted() == claimed })
}

// What waits for a turn goes back to the outbox when the place fails or the daemon
// stops, and is delivered once.
func TestWaitingGoesBack(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	r := newReceiver(t, func(_ int, w http.ResponseWriter) bool {
		if failing.Load() {
			w.WriteHeader(503)
			return true
		}
		return false
	})
	h := newHouse(t, Webhook{Name: "a", URL: r.srv.URL, Secret: secret})
	h.upload(30)
	n := h.start()
	eventually(t, "an attempt", func() bool { return h.outcome("failed") > 0 })
	n.Stop()
	failing.Store(false)
	h.start()
	eventually(t, "all delivered", func() bool { return h.outcome("delivered") == 30 })
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, times := range r.ids {
		if times != 1 {
			t.Errorf("%s was accepted %d times", id, times)
		}
	}
}

// A place of which many messages wait and that does not answer keeps nobody else
// waiting.
func TestDeadPlace(t *testing.T) {
	dead := newReceiver(t, func(_ int, w http.ResponseWriter) bool { w.WriteHeader(500); return true })
	quick := newReceiver(t, nil)
	h := newHouse(t, Webhook{Name: "dead", URL: dead.srv.URL, Secret: secret, Events: []string{"file.*"}}, Webhook{Name: "quick", URL: quick.srv.URL, Secret: secret, Events: []string{"session.*"}})
	h.upload(10 * claimed)
	if _, err := h.engine.CreateSession(t.Context(), alice, store.SessionSpec{}); err != nil {
		t.Fatal(err)
	}
	h.options.Poll, h.options.Retry = time.Hour, time.Hour // with a single look at the outbox
	h.start()
	eventually(t, "the quick one is told", func() bool { return quick.accepted() == 1 })
}

// What is too old goes when its place is dead, and not one by one.
func TestDeadPlaceForgotten(t *testing.T) {
	dead := newReceiver(t, func(_ int, w http.ResponseWriter) bool { w.WriteHeader(500); return true })
	h := newHouse(t, Webhook{Name: "dead", URL: dead.srv.URL, Secret: secret})
	h.upload(2 * claimed)
	h.options.GiveUp = time.Millisecond
	h.options.Retry = 10 * time.Second
	n, err := New(h.engine, h.options)
	if err != nil {
		t.Fatal(err)
	}
	for range perPlace + 1 { // it has for long
		n.fail(store.Recipient{Channel: webhookChannel, Name: "dead"}, 0)
	}
	n.Start()
	t.Cleanup(n.Stop)
	eventually(t, "all are given up", func() bool { return h.outcome("given_up") == 2*claimed })
	if dead.calls > 0 {
		t.Errorf("%d calls", dead.calls)
	}
}

// What is put back comes at a rate, and not all at once.
func TestBehind(t *testing.T) {
	var p place
	first := p.behind(time.Minute, time.Second)
	for range 100 {
		p.behind(time.Minute, time.Second)
	}
	if last := p.behind(time.Minute, time.Second); last < first+90*time.Second || p.behind(0, 24*time.Hour) > mostBack {
		t.Errorf("%v, then %v", first, last)
	}
}

// Who takes long keeps what it has: nobody else is given it meanwhile.
func TestRenewed(t *testing.T) {
	release := make(chan struct{})
	r := newReceiver(t, func(int, http.ResponseWriter) bool { <-release; return false })
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	h := newHouse(t, Webhook{Name: "a", URL: r.srv.URL, Secret: secret})
	h.options.lease = 300 * time.Millisecond
	h.upload(1)
	h.start()
	eventually(t, "it is called", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.calls == 1 })
	for end := time.Now().Add(4 * h.options.lease); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got, err := h.engine.Claim(t.Context(), 1, time.Hour); err != nil || len(got) > 0 {
			t.Fatalf("%v, %v", got, err)
		}
	}
}

// The address of a webhook may have a secret in it: it is not logged.
func TestNoAddressInLog(t *testing.T) {
	var log bytes.Buffer
	h := newHouse(t, Webhook{Name: "a", URL: "http://127.0.0.1:1/hush?key=hush", Secret: secret})
	h.options.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.upload(1)
	n := h.start()
	eventually(t, "an attempt", func() bool { return h.outcome("failed") > 0 })
	n.Stop()
	if text := log.String(); strings.Contains(text, "hush") || !strings.Contains(text, "refused") {
		t.Error(text)
	}
}

func TestRetryAfter(t *testing.T) {
	for said, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "100000": time.Hour, "Mon, 02 Jan 2006 15:04:05 GMT": 0, "Fri, 01 Jan 2100 00:00:00 GMT": time.Hour} {
		if got := retryAfter(http.Header{"Retry-After": {said}}); got != want {
			t.Errorf("%q: %v, want %v", said, got, want)
		}
	}
}
