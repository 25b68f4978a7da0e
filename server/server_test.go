package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"fileshare/store"
)

func TestAccessLog(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Prefixes: []string{"/rtc/fileshare"}})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	a := h.do("GET", "/rtc/fileshare/uploads?secret=1", "alice", nil, "X-Request-Id", "abc.DEF-1", "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01").want(t, 200)
	if got := a.Header.Get("X-Request-Id"); got != "abc.DEF-1" {
		t.Errorf("request id %q", got)
	}
	eventually(t, "the access line", func() bool { return strings.Contains(h.log.String(), "abc.DEF-1") })
	if !regexp.MustCompile(`level=INFO msg=request method=GET path=/uploads status=200 bytes=\d+ duration=\S+ request_id=abc.DEF-1 remote=127.0.0.1 user=alice trace_id=` + trace + "\n").MatchString(h.log.String()) {
		t.Errorf("%s", h.log)
	}
	if strings.Contains(h.log.String(), "secret") {
		t.Error("the query is in the log")
	}
	for _, bad := range []string{"a b", strings.Repeat("x", 65), "ü"} {
		if got := h.do("GET", "/health", "", nil, "X-Request-Id", bad).Header.Get("X-Request-Id"); !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(got) {
			t.Errorf("request id %q for %q", got, bad)
		}
	}
	for _, bad := range []string{"", "00-" + trace + "-00f067aa0ba902b7-0", "ff-" + trace + "-00f067aa0ba902b7-01", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", "00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Traceparent", bad)
		if got := traceID(r); got != "" {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

type failing struct{}

func (failing) Authenticate(r *http.Request) (store.Caller, error) {
	switch r.Header.Get("X-Fail") {
	case "panic":
		panic("oh dear")
	case "error":
		return store.Caller{}, errors.New("backend at secret-host is down")
	case "slow":
		return store.Caller{}, &store.Error{Kind: store.RateLimited, Message: "too many attempts", RetryAfter: 3 * time.Second}
	}
	return namesOnly{}.Authenticate(r)
}

func TestOurFaults(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Auth: failing{}})
	for _, how := range []string{"panic", "error"} {
		a := h.do("GET", "/uploads", "", nil, "X-Fail", how).want(t, 500)
		if want := `{"message":"internal error","request_id":"` + a.Header.Get("X-Request-Id") + "\"}\n"; string(a.body) != want {
			t.Errorf("%s, want %s", a.body, want)
		}
	}
	log := h.log.String()
	for _, want := range []string{"secret-host", "oh dear", "goroutine", `level=ERROR msg="Error at /uploads: message=internal error, status=500"`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the log", want)
		}
	}
	if a := h.do("GET", "/uploads", "", nil, "X-Fail", "slow").want(t, 429); a.Header.Get("Retry-After") != "3" {
		t.Errorf("%v", a.Header)
	}
	h.do("GET", "/health", "", nil, "X-Fail", "error").want(t, 200)
	h.do("GET", "/ready", "", nil, "X-Fail", "error").want(t, 200)
	r, _ := http.NewRequest("GET", h.url+"/uploads", nil)
	r.SetBasicAuth("alice", "wrong")
	resp, err := h.hc.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != `Basic realm="fileshare"` {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newHouse(t, store.Options{}, Options{Registerer: reg, Version: "v1"})
	f := h.upload("hello", "")
	for range 3 {
		h.do("GET", "/uploads/"+f.ID, "", nil).want(t, 200)
	}
	h.do("GET", "/no/such/path", "", nil).want(t, 404)
	h.do("BREW", "/uploads", "", nil).want(t, 405)
	rm := NewReaperMetrics(reg)
	rm.Observe(store.PurgeResult{Files: 2, Lag: 1500 * time.Millisecond}, time.Second, nil)
	rm.ObserveSweep(store.SweepResult{Shards: 3, Seen: 20, Removed: 4}, nil)
	var text string
	eventually(t, "the metrics", func() bool {
		text = string(h.do("GET", "/metrics", "", nil).want(t, 200).body)
		return strings.Contains(text, `method="other"`)
	})
	for _, want := range []string{
		`fileshare_http_requests_total{method="GET",route="/uploads/{id}",status="200"} 3`,
		`fileshare_http_requests_total{method="PUT",route="/uploads/{id}",status="201"} 1`,
		`fileshare_http_requests_total{method="GET",route="none",status="404"} 1`,
		`fileshare_http_requests_total{method="other",route="/uploads",status="405"} 1`,
		`fileshare_http_request_duration_seconds_count{route="/uploads/{id}"} 4`,
		"fileshare_bytes_in_total 5", "fileshare_files 1", "fileshare_stored_bytes 5", `version="v1"} 1`, "fileshare_http_requests_in_flight 1",
		"fileshare_expiry_lag_seconds 1.5", `fileshare_purged_total{kind="file"} 2`, "fileshare_reservations_total 0",
		`fileshare_sweep_runs_total{result="ok"} 1`, "fileshare_sweep_shards_total 3", "fileshare_swept_contents_total 20", "fileshare_orphans_removed_total 4",
		"fileshare_sweep_shards_due 0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, f.ID) {
		t.Error("an id is in the metrics")
	}
	if problems, err := promlint.New(strings.NewReader(text)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestLanding(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	p := h.tokenFor("hello")
	for name, kv := range map[string][]string{
		"chrome":   {"Sec-Fetch-Mode", "navigate"},
		"accept":   {"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"html":     {"Accept", "text/html"},
		"prefetch": {"Sec-Purpose", "prefetch;prerender"},
		"slack":    {"User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
		"teams":    {"User-Agent", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com"},
		"facebook": {"User-Agent", "facebookexternalhit/1.1"},
		"talk":     {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Nextcloud Server Crawler"},
		"zulip":    {"User-Agent", "Mozilla/5.0 (compatible; ZulipURLPreview/9.1; +https://zulip.example.com)"},
		"bluesky":  {"User-Agent", "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)"},
	} {
		a := h.do("GET", p, "", nil, kv...).want(t, 200)
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || !strings.Contains(string(a.body), "<button") || a.Header.Get("Vary") != "Accept, Sec-Fetch-Mode, User-Agent" {
			t.Errorf("%s: %v %s", name, a.Header, a.body)
		}
		if strings.Contains(string(a.body), "<script") || !strings.Contains(string(a.body), "noindex") || strings.Contains(string(a.body), "/tokens/") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	bot := h.do("GET", p+"?download=1", "", nil, "User-Agent", "WhatsApp/2.23").want(t, 200)
	if !strings.Contains(string(bot.body), "<button") {
		t.Errorf("a bot got %s", bot.body)
	}
	if a := h.do("GET", p+"?download=1", "", nil, "Sec-Fetch-Mode", "navigate", "Accept", "text/html").want(t, 200); string(a.body) != "hello" {
		t.Errorf("the button gives %s", a.body)
	}
	if a := h.do("GET", p, "", nil, "Accept", "text/html").want(t, 410); !strings.Contains(string(a.body), "This link has been used") {
		t.Errorf("%s", a.body)
	}
	if a := h.do("GET", p, "", nil, "Accept", "*/*").want(t, 410); a.message(t) != "token used" {
		t.Errorf("%s", a.body)
	}
	inApp := []string{"User-Agent", "Mozilla/5.0 (iPhone) Mobile Snapchat/12.5", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-User", "?1"}
	p = h.tokenFor("hello")
	if a := h.do("GET", p, "", nil, inApp...).want(t, 200); !strings.Contains(string(a.body), "<button") {
		t.Errorf("the browser of a chat program got %s", a.body)
	}
	if a := h.do("GET", p+"?download=1", "", nil, inApp...).want(t, 200); string(a.body) != "hello" {
		t.Errorf("its button gives %s", a.body)
	}
	// Without a limit browsers get the bytes.
	f := h.upload("hello", "")
	if a := h.do("GET", "/uploads/"+f.ID, "", nil, "Sec-Fetch-Mode", "navigate").want(t, 200); string(a.body) != "hello" {
		t.Errorf("%s", a.body)
	}
	for accept, want := range map[string]bool{"": false, "*/*": false, "text/html;q=0.5, */*;q=0.8": false, "text/html ; q=0.9, */*;q=0.8": true, "application/json": false, "text/*": false} {
		if got := prefersHTML([]string{accept}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

func TestStart(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Prefixes: []string{"/rtc/fileshare"}})
	for path, base := range map[string]string{"/": "http://example.com", "/rtc/fileshare": "http://example.com/rtc/fileshare", "/rtc/fileshare/": "http://example.com/rtc/fileshare"} {
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), base+"/uploads</code>") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	h.do("GET", "/rtc/filesharex", "", nil).want(t, 404)
}

func TestDocsAreMounted(t *testing.T) {
	docs, err := Docs()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, store.Options{}, Options{Docs: docs, Prefixes: []string{"/rtc/fileshare"}})
	for _, path := range []string{"/openapi.json", "/doc", "/rtc/fileshare/openapi.json", "/rtc/fileshare/doc"} {
		h.do("GET", path, "", nil).want(t, 200)
	}
}

func TestOverTLS(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	for _, h2 := range []bool{false, true} {
		ts := httptest.NewUnstartedServer(h.handler)
		ts.Listener, ts.Config.ConnContext, ts.EnableHTTP2 = Listener(ts.Listener, time.Minute), ConnContext, h2
		ts.StartTLS()
		content := strings.Repeat("0123456789", 50_000)
		p := h.tokenFor(content)
		for _, want := range []int{200, 410} {
			resp, err := ts.Client().Get(ts.URL + p)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != want || want == 200 && string(body) != content || (resp.ProtoMajor == 2) != h2 {
				t.Errorf("%s: %d, %d bytes, %v", resp.Proto, resp.StatusCode, len(body), err)
			}
		}
		ts.Close()
	}
	if n := h.store.Stats().Reopened; n != 0 {
		t.Errorf("%d reopened", n)
	}
}

// A real curl sees our answer although it has most of a large body left.
func TestCurlSeesEarlyRefusals(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is needed: ", err)
	}
	h := newHouse(t, store.Options{FileSize: 1 << 20}, Options{})
	// Without the check, which wraps the body and so hides from net/http that
	// the client waits to be told to go on.
	plain := httptest.NewServer(h.handler)
	defer plain.Close()
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 50<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"stranger, form":     {[]string{"--form", "file=@" + file}, "401"},
		"stranger, put":      {[]string{"-T", file}, "401"},
		"stranger, unasked":  {[]string{"-T", file, "-H", "Expect:"}, "401"},
		"large, form":        {[]string{"--user", "alice:pw", "--form", "file=@" + file}, "413"},
		"large, put":         {[]string{"--user", "alice:pw", "-T", file}, "413"},
		"large, unasked":     {[]string{"--user", "alice:pw", "-T", file, "-H", "Expect:"}, "413"},
		"large, chunked":     {[]string{"--user", "alice:pw", "-T", file, "-H", "Transfer-Encoding: chunked", "-H", "Expect:"}, "413"},
		"large form, chunks": {[]string{"--user", "alice:pw", "--form", "file=@" + file, "-H", "Transfer-Encoding: chunked", "-H", "Expect:"}, "413"},
		"no body":            {[]string{"--user", "alice:pw", "-X", "POST"}, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "-w", "\n%{http_code}", plain.URL + "/uploads" + strings.Repeat("/", strings.Count(name, "put")+strings.Count(name, "unasked")+strings.Count(name, "large, chunked"))}, tc.args...)...)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || !strings.HasSuffix(string(out), "\n"+tc.want) || !strings.Contains(string(out), `"message":`) {
				t.Errorf("%v: %s %s", err, out, &stderr)
			}
		})
	}
}

// One small request costs the handler no more than this many allocations; the
// engine's are among them.
func TestAllocations(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Log: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	f := h.upload("hello", "")
	r := httptest.NewRequest("GET", "/uploads/"+f.ID, nil)
	got := testing.AllocsPerRun(200, func() { h.handler.ServeHTTP(&discard{header: http.Header{}}, r) })
	if got > 120 {
		t.Errorf("%v allocations for a small download", got)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

func BenchmarkHandler(b *testing.B) {
	h := newHouse(b, store.Options{}, Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Prefixes: []string{"/rtc/fileshare"}})
	r := httptest.NewRequest("PUT", "/uploads/x", strings.NewReader("hello"))
	r.SetBasicAuth("alice", "pw")
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	m := regexp.MustCompile(`"id":"([^"]+)"`).FindSubmatch(w.Body.Bytes())
	for _, path := range []string{"/health", "/uploads/" + string(m[1]), "/rtc/fileshare/uploads/" + string(m[1])} {
		b.Run(fmt.Sprintf("%.20s", path), func(b *testing.B) {
			r := httptest.NewRequest("GET", path, nil)
			b.ReportAllocs()
			for b.Loop() {
				h.handler.ServeHTTP(&discard{header: http.Header{}}, r)
			}
		})
	}
}
