package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/store"
)

// judge is an endpoint that knows the account sub@example.com by the password
// "secret", unless it answers with another status.
type judge struct {
	*httptest.Server
	status   atomic.Int32 // 0: judge
	asked    atomic.Int32
	mu       sync.Mutex
	lastSeen http.Header // guarded by mu
}

func newJudge(t *testing.T) *judge {
	j := new(judge)
	j.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		j.asked.Add(1)
		j.mu.Lock()
		j.lastSeen = r.Header.Clone()
		j.mu.Unlock()
		name, password, _ := r.BasicAuth()
		switch status := int(j.status.Load()); {
		case status != 0:
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		case name != "sub@example.com" && name != "local" && name != "chief" || password != "secret":
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(j.Close)
	return j
}

// accounts are judged by j, but for local, and with a chief who has no password here.
func (j *judge) accounts(t *testing.T, o AccountsOptions) *Accounts {
	o.Forward.URL = j.URL + "/auth?key=TOPSECRET"
	o.Users = []User{{Name: "local", Password: cheap(t, "mine")}, {Name: "chief", Admin: true}}
	a := newAccounts(t, o)
	t.Cleanup(a.forward.client.CloseIdleConnections)
	return a
}

func TestForward(t *testing.T) {
	j := newJudge(t)
	var log logBuffer
	a := j.accounts(t, AccountsOptions{Forward: Forward{Cache: time.Hour}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, test := range []struct {
		name, password string
		want           store.Kind
		asked          int32 // times in all, of two attempts
	}{
		{"sub@example.com", "secret", 0, 1}, // remembered
		{"sub@example.com", "wrong", store.Unauthenticated, 2},
		{"nobody@example.com", "secret", store.Unauthenticated, 2},
		{"local", "mine", 0, 0},
		{"local", "secret", store.Unauthenticated, 0}, // whoever has a password here has no other
		{"chief", "secret", 0, 1},
		{"a\x01b", "secret", store.Unauthenticated, 0},
		{strings.Repeat("x", 257), "secret", store.Unauthenticated, 0},
	} {
		j.asked.Store(0)
		for range 2 {
			if got := try(t, a, test.name, test.password, "192.0.2.1"); got != test.want {
				t.Errorf("%.20q with %q: %v, want %v", test.name, test.password, got, test.want)
			}
		}
		if n := j.asked.Load(); n != test.asked {
			t.Errorf("%.20q with %q: asked %d times, want %d", test.name, test.password, n, test.asked)
		}
	}
	if c, err := a.Authenticate(request("chief", "secret", "192.0.2.1")); err != nil || !c.Admin {
		t.Errorf("chief: %+v, %v", c, err)
	}
	if c, err := a.Authenticate(request("sub@example.com", "secret", "192.0.2.1")); err != nil || c != (store.Caller{Name: "sub@example.com"}) {
		t.Errorf("sub: %+v, %v", c, err)
	}
	if acc, ok := a.Account("sub@example.com"); !ok || acc.Caller != (store.Caller{Name: "sub@example.com"}) {
		t.Errorf("a login of sub's: %+v, %v", acc, ok)
	}
	if _, ok := a.Account("a:b"); ok {
		t.Error("an account of a name that cannot be")
	}
	j.mu.Lock()
	seen := j.lastSeen
	j.mu.Unlock()
	if diff := cmp.Diff([]string{"192.0.2.1"}, seen["X-Forwarded-For"]); diff != "" {
		t.Error(diff)
	}
	if text := log.String(); strings.Contains(text, "secret") || strings.Contains(text, "wrong") || strings.Contains(text, "TOPSECRET") {
		t.Errorf("a password in the log:\n%s", text)
	}
}

// What is no answer is neither yes nor no, and no guess.
func TestForwardDown(t *testing.T) {
	for _, status := range []int32{http.StatusInternalServerError, http.StatusFound, http.StatusNotFound, 0} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			j := newJudge(t)
			var log logBuffer
			a := j.accounts(t, AccountsOptions{Forward: Forward{Cache: time.Hour}, Failures: 2, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if j.status.Store(status); status == 0 {
				j.Close()
			}
			for range 20 {
				_, err := a.Authenticate(request("sub@example.com", "secret", "192.0.2.1"))
				refused, ok := err.(*store.Error)
				if !ok || refused.Kind != store.Unavailable || refused.RetryAfter != forwardRetry || strings.Contains(err.Error(), "TOPSECRET") {
					t.Fatalf("%v, %+v", err, refused)
				}
			}
			if n := j.asked.Load(); n > 10 { // it is not asked again at once
				t.Errorf("asked %d times", n)
			}
			if kind := try(t, a, "local", "mine", "192.0.2.1"); kind != 0 {
				t.Errorf("who has a password here: %v", kind)
			}
			text := log.String()
			if !strings.Contains(text, "auth.forward does not answer") || strings.Contains(text, "TOPSECRET") || strings.Contains(text, "secret") {
				t.Errorf("the log:\n%s", text)
			}
			if status == 0 {
				return
			}
			j.status.Store(0)
			eventually(t, "the endpoint is asked again", func() bool { return try(t, a, "sub@example.com", "secret", "192.0.2.1") == 0 })
			if !strings.Contains(log.String(), "answers again") {
				t.Error("nobody is told that it answers again")
			}
			j.status.Store(status) // remembered credentials need nobody
			if kind := try(t, a, "sub@example.com", "secret", "192.0.2.1"); kind != 0 {
				t.Errorf("remembered: %v", kind)
			}
		})
	}
}

// Guessing is slowed down before the endpoint is asked, and those who ask the
// same at once share one question.
func TestForwardThrottle(t *testing.T) {
	j := newJudge(t)
	a := j.accounts(t, AccountsOptions{Failures: 3})
	limited := 0
	for i := range 10 {
		if try(t, a, "sub@example.com", fmt.Sprint("guess", i), "192.0.2.1") == store.RateLimited {
			limited++
		}
	}
	if n := int(j.asked.Load()); n+limited != 10 || n > 5 {
		t.Errorf("asked %d times, %d refused", n, limited)
	}
	if kind := try(t, a, "sub@example.com", "secret", "192.0.2.2"); kind != 0 {
		t.Errorf("the owner, from another address: %v", kind)
	}
	j.asked.Store(0)
	for range 3 { // nothing is remembered
		try(t, a, "sub@example.com", "secret", "192.0.2.2")
	}
	if n := j.asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

func TestForwardSlow(t *testing.T) {
	release := make(chan struct{})
	var once sync.Once
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer once.Do(func() { close(release) })
	a := newAccounts(t, AccountsOptions{Forward: Forward{URL: slow.URL, Timeout: 50 * time.Millisecond}})
	defer a.forward.client.CloseIdleConnections()
	if kind := try(t, a, "sub", "secret", "192.0.2.1"); kind != store.Unavailable {
		t.Errorf("%v", kind)
	}
}

func TestForwardOverHTTP(t *testing.T) {
	j := newJudge(t)
	a := j.accounts(t, AccountsOptions{})
	h := newHouse(t, store.Options{}, Options{Auth: a, Molgenis: true})
	as := func(method, path, password string) answer {
		r, err := http.NewRequestWithContext(t.Context(), method, h.url+path, bytes.NewReader([]byte("x")))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("sub@example.com", password)
		resp, err := h.hc.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return answer{Response: resp}
	}
	as("PUT", "/uploads/a.txt", "secret").want(t, http.StatusCreated)
	as("PUT", "/uploads/a.txt", "wrong").want(t, http.StatusUnauthorized)
	as("POST", "/api/files", "secret").want(t, http.StatusCreated)
	j.status.Store(http.StatusBadGateway)
	got := as("PUT", "/uploads/a.txt", "secret").want(t, http.StatusServiceUnavailable)
	if got.Header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", got.Header.Get("Retry-After"))
	}
}

func TestForwardCheck(t *testing.T) {
	for _, bad := range []string{"ftp://a", "/a", "http://", "http://u:TOPSECRET@a", "http://a#f", "http://a\x7f", "x"} {
		_, err := NewAccounts(AccountsOptions{Forward: Forward{URL: bad}})
		if err == nil || strings.Contains(err.Error(), "TOPSECRET") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := (Forward{URL: "https://[::1]:1443/api/?x=y"}).Check(); err != nil {
		t.Error(err)
	}
}
