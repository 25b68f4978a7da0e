package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// tongue is a dialect for tests: it serves uploads of Basic callers, and takes
// login forms.
func tongue(h dialect.Host) dialect.API {
	return dialect.API{
		Name: "tongue",
		Routes: []dialect.Route{
			{Path: "/tongue/files/{id}", Get: func(w http.ResponseWriter, r *http.Request) error {
				c, err := h.Basic(r)
				if err != nil {
					return err
				}
				return h.Serve(w, r, c, store.Ref{File: h.Var(r, "id")}, dialect.Serving{Type: "x/y", Name: "other.txt", Inline: true,
					Headers: func(h http.Header, f *store.File) { h.Set("X-Size", http.StatusText(int(f.Size))) }})
			}},
			{Path: "/tongue/login", Post: func(w http.ResponseWriter, r *http.Request) error {
				c, err := h.Password(r, r.Header.Get("X-Name"), r.Header.Get("X-Password"))
				if err != nil {
					return err
				}
				h.SetCaller(r, c)
				return reply.JSON(w, c.Name)
			}},
			{Path: "/tongue/form", Post: func(w http.ResponseWriter, r *http.Request) error {
				c, err := h.Basic(r)
				if err != nil {
					return err
				}
				form, err := h.Form(r, c)
				if err != nil {
					return err
				}
				defer form.Close()
				part, err := form.Next()
				if err != nil {
					return err
				}
				content, err := form.Content(part)
				if err != nil {
					return err
				}
				defer content.Discard()
				return reply.JSON(w, content.Size())
			}},
			{Path: "/tongue/panic", Get: func(http.ResponseWriter, *http.Request) error { panic("ouch") }, Options: func(w http.ResponseWriter, _ *http.Request) error { return reply.None(w) }},
		},
		Headers: func(h http.Header, _ *http.Request) { h.Set("Access-Control-Allow-Origin", "*") },
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) reply.Answer {
			a := reply.Statuses{store.NotFound: http.StatusTeapot}.Of(err)
			return a.Write(w, "application/tongue+json", "no: "+a.Message)
		},
	}
}

func TestDialect(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Prefixes: []string{"/rtc/fileshare"}, dialects: []func(dialect.Host) dialect.API{tongue}})
	id := h.upload("hello", "").ID
	type want struct {
		status  int
		body    string
		headers []string
	}
	b, formType := form(field{name: "f", file: "a.txt", value: "some bytes"})
	sent, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		method, path, user string
		headers            []string
		want               want
	}{
		"serve":          {"GET", "/tongue/files/" + id, "alice", nil, want{200, "hello", []string{"Content-Type", "x/y", "Content-Disposition", `inline; filename="other.txt"`, "Access-Control-Allow-Origin", "*"}}},
		"range, prefix":  {"GET", "/rtc/fileshare/tongue/files/" + id, "alice", []string{"Range", "bytes=1-2"}, want{206, "el", nil}},
		"head":           {"HEAD", "/tongue/files/" + id, "alice", nil, want{200, "", []string{"Content-Length", "5"}}},
		"bad range":      {"GET", "/tongue/files/" + id, "alice", []string{"Range", "bytes=9-"}, want{416, `"no: no byte`, []string{"Access-Control-Allow-Origin", "*", "Content-Range", "bytes */5"}}},
		"override":       {"GET", "/tongue/files/nothing", "alice", nil, want{418, `"no: upload not found"`, []string{"Content-Type", "application/tongue+json", "Access-Control-Allow-Origin", "*"}}},
		"method":         {"PUT", "/tongue/files/" + id, "alice", nil, want{405, `"no: method`, []string{"Allow", "GET, HEAD, OPTIONS"}}},
		"options":        {"OPTIONS", "/tongue/files/" + id, "", nil, want{204, "", []string{"Allow", "GET, HEAD, OPTIONS", "Access-Control-Allow-Origin", "*"}}},
		"own options":    {"OPTIONS", "/tongue/panic", "", nil, want{204, "", []string{"Allow", ""}}},
		"panic":          {"GET", "/tongue/panic", "", nil, want{500, `"no: internal error"`, []string{"Access-Control-Allow-Origin", "*"}}},
		"other path":     {"GET", "/other", "", nil, want{404, `{"message"`, []string{"Access-Control-Allow-Origin", ""}}},
		"login":          {"POST", "/tongue/login", "", []string{"X-Name", "bob", "X-Password", "pw"}, want{200, `"bob"`, nil}},
		"wrong":          {"POST", "/tongue/login", "alice", []string{"X-Name", "bob", "X-Password", "no"}, want{401, `"no: wrong user name or password"`, []string{"WWW-Authenticate", `Basic realm="fileshare"`}}},
		"another's name": {"POST", "/tongue/login", "", []string{"X-Name", "bob:pw", "X-Password", ""}, want{401, `"no: wrong`, nil}},
		"no name":        {"POST", "/tongue/login", "alice", nil, want{401, `"no: wrong`, nil}},
		"form":           {"POST", "/tongue/form", "alice", []string{"Content-Type", formType}, want{200, "10", nil}},
		"stranger":       {"POST", "/tongue/form", "", []string{"Content-Type", formType}, want{401, `"no: authentication`, nil}},
		"no form":        {"POST", "/tongue/form", "alice", []string{"Content-Type", "text/plain"}, want{400, `"no: the form is malformed"`, nil}},
	} {
		var body io.Reader
		if strings.HasSuffix(tt.path, "/form") {
			body = bytes.NewReader(sent)
		}
		got := h.do(tt.method, tt.path, tt.user, body, tt.headers...)
		if got.StatusCode != tt.want.status || !strings.HasPrefix(string(got.body), tt.want.body) {
			t.Errorf("%s: %d %s, want %d %s", name, got.StatusCode, got.body, tt.want.status, tt.want.body)
		}
		for i := 0; i < len(tt.want.headers); i += 2 {
			if v := got.Header.Get(tt.want.headers[i]); v != tt.want.headers[i+1] {
				t.Errorf("%s: %s is %q, want %q", name, tt.want.headers[i], v, tt.want.headers[i+1])
			}
		}
	}
	if log := h.log.String(); !strings.Contains(log, "user=bob") || strings.Contains(log, "pw") {
		t.Errorf("no caller, or a password, in the log:\n%s", log)
	}
}

func TestDialectBody(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader("12345"))
	if b, err := dialect.Body(r, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	r = httptest.NewRequest("POST", "/", strings.NewReader("123456"))
	if _, err := dialect.Body(r, 5); store.KindOf(err) != store.TooLarge {
		t.Error(err)
	}
	r = httptest.NewRequest("POST", "/", broken{})
	if _, err := dialect.Body(r, 5); !errors.As(err, new(*reply.Refusal)) {
		t.Error(err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, context.Canceled }
