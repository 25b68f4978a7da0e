package server

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fileshare/api"
	"fileshare/server/dialect"
	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a whole daemon but for its command line: the real engine over the
// embedded backends behind a real listener.
type house struct {
	t       testing.TB
	url     string
	store   *store.Store
	log     *logBuffer
	hc      *http.Client
	srv     *httptest.Server
	handler http.Handler // without the check against the API description
}

// logBuffer is a log that tests read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// namesOnly knows alice, bob and the administrator root by the password "pw".
type namesOnly struct{}

func (namesOnly) Authenticate(r *http.Request) (store.Caller, error) {
	name, password, ok := r.BasicAuth()
	if !ok {
		return store.Caller{}, nil
	}
	if password != "pw" || name != "alice" && name != "bob" && name != "root" {
		return store.Caller{}, store.Refuse(store.Unauthenticated, "wrong credentials")
	}
	return callerNamed(name), nil
}

// callerNamed lets alice list files where that is a permission, and bob not.
func callerNamed(name string) store.Caller {
	c := store.Caller{Name: name, Admin: name == "root"}
	if name == "alice" {
		c.Permissions = store.ViewFiles
	}
	return c
}

func (namesOnly) Account(name string) (dialect.Account, bool) {
	return dialect.Account{Caller: callerNamed(name), Email: name + "@example.com"}, name == "alice" || name == "bob" || name == "root"
}

func (a namesOnly) Find(name string) (dialect.Account, bool) { return a.Account(name) }

// Key is the name and "'s key".
func (a namesOnly) Key(name string) (dialect.Account, string, bool) {
	acc, ok := a.Account(name)
	return acc, name + "'s key", ok
}

// Keyed knows alice's key.
func (a namesOnly) Keyed(key string) (dialect.Account, bool) {
	if key != "alice's key" {
		return dialect.Account{}, false
	}
	return a.Account("alice")
}

func newHouse(t testing.TB, so store.Options, o Options) *house {
	t.Helper()
	return newHouseOver(t, so, o, func(r store.Records) store.Records { return r })
}

// newHouseOver is newHouse over records that are wrapped.
func newHouseOver(t testing.TB, so store.Options, o Options, wrap func(store.Records) store.Records) *house {
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
	s, err := store.New(t.Context(), wrap(records), blobs, so)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, store: s, log: &logBuffer{}}
	if o.Auth == nil {
		o.Auth = namesOnly{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(h.log, nil))
	}
	h.handler = New(s, o)
	h.srv = httptest.NewUnstartedServer(checked(t, h.handler, "/api/", "/file/", "/tongue/", "/tus", "/rest.php", "/filesender", "//filesender", "/download.php"))
	h.srv.Listener = Listener(h.srv.Listener, max(o.IdleTimeout, 0))
	h.srv.Config.ConnContext = ConnContext
	h.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h.srv.Start()
	h.url, h.hc = h.srv.URL, h.srv.Client()
	h.hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		h.srv.Close()
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

// answer is a response that has been read.
// says tells whether the body or the code of the error contains what is wanted.
func (a answer) says(want string) bool {
	return strings.Contains(string(a.body), want) || a.Header.Get("X-Fileshare-Error") == want
}

type answer struct {
	*http.Response
	body []byte
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

func (a answer) message(t testing.TB) string {
	t.Helper()
	var e api.Error
	a.into(t, &e)
	return e.Message
}

// do sends a request as user ("" = a stranger). kv are headers, in pairs.
func (h *house) do(method, path, user string, body io.Reader, kv ...string) answer {
	h.t.Helper()
	if !strings.HasPrefix(path, "http://") {
		path = h.url + path
	}
	r, err := http.NewRequestWithContext(h.t.Context(), method, path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, "pw")
	}
	for i := 0; i+1 < len(kv); i += 2 {
		r.Header.Set(kv[i], kv[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := h.hc.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp, data}
}

// want checks the status.
func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: %d %s, want %d", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, status)
	}
	return a
}

// field is one part of a form; a file if it has a file name.
type field struct{ name, file, typ, value string }

func form(fields ...field) (io.Reader, string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		header := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + f.name + `"`}}
		if f.file != "" {
			header.Set("Content-Disposition", `form-data; name="`+f.name+`"; filename="`+f.file+`"`)
		}
		if f.typ != "" {
			header.Set("Content-Type", f.typ)
		}
		p, _ := w.CreatePart(header)
		io.WriteString(p, f.value)
	}
	w.Close()
	return &b, w.FormDataContentType()
}

// upload stores content as alice.
func (h *house) upload(content, query string) api.File {
	h.t.Helper()
	var f api.File
	h.do("PUT", "/uploads/test.txt"+query, "alice", strings.NewReader(content), "Content-Type", "text/plain").want(h.t, 201).into(h.t, &f)
	return f
}

// tokenFor makes a session with one file and returns the path of a token of it.
func (h *house) tokenFor(content string) string {
	h.t.Helper()
	var s api.Session
	var f api.File
	var tok api.Token
	h.do("POST", "/sessions", "alice", nil).want(h.t, 201).into(h.t, &s)
	h.do("POST", "/sessions/"+s.ID+"/files", "alice", nil).want(h.t, 201).into(h.t, &f)
	h.do("PUT", "/sessions/"+s.ID+"/files/"+f.ID, "alice", strings.NewReader(content), "Content-Type", "text/plain").want(h.t, 200)
	h.do("POST", "/sessions/"+s.ID+"/files/"+f.ID+"/tokens", "alice", nil).want(h.t, 201).into(h.t, &tok)
	return "/sessions/" + s.ID + "/files/" + f.ID + "/tokens/" + tok.ID
}

// eventually waits for something that happens after an answer.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain: " + what)
		}
	}
}
