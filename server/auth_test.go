package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/store"
)

func newAccounts(t testing.TB, o AccountsOptions) *Accounts {
	t.Helper()
	a, err := NewAccounts(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func request(name, password, from string) *http.Request {
	r := httptest.NewRequest("GET", "/uploads", nil)
	r.SetBasicAuth(name, password)
	r.RemoteAddr = from + ":1234"
	return r
}

// try logs in and returns the kind of refusal, 0 if there is none.
func try(t testing.TB, a *Accounts, name, password, from string) store.Kind {
	t.Helper()
	c, err := a.Authenticate(request(name, password, from))
	if err != nil && store.KindOf(err) == 0 {
		t.Fatalf("login of %q: %v", name, err)
	}
	if err == nil && c.Name != name {
		t.Fatalf("login of %q gives %+v", name, c)
	}
	return store.KindOf(err)
}

func TestAuthenticate(t *testing.T) {
	a := newAccounts(t, AccountsOptions{Users: []User{
		{Name: "myuser@example.com", Password: cheap(t, "s e:c:r et"), Admin: true, Email: "me@example.com"},
		{Name: "jürgen", Password: "plain: pässwort"},
	}})
	for _, test := range []struct {
		name, password string
		want           store.Caller
		kind           store.Kind
	}{
		{"myuser@example.com", "s e:c:r et", store.Caller{Name: "myuser@example.com", Admin: true}, 0},
		{"jürgen", "plain: pässwort", store.Caller{Name: "jürgen"}, 0},
		{"jürgen", "plain", store.Caller{}, store.Unauthenticated},
		{"jürgen", "", store.Caller{}, store.Unauthenticated},
		{"Jürgen", "plain: pässwort", store.Caller{}, store.Unauthenticated},
		{"nobody", "plain: pässwort", store.Caller{}, store.Unauthenticated},
		{"jürgen", "plain: pässwort" + strings.Repeat("x", 2000), store.Caller{}, store.Unauthenticated},
	} {
		for range 2 { // verified, then remembered
			got, err := a.Authenticate(request(test.name, test.password, "192.0.2.1"))
			if diff := cmp.Diff(test.want, got); diff != "" || store.KindOf(err) != test.kind {
				t.Errorf("%q with %q: error %v, caller (-want +got):\n%s", test.name, test.password, err, diff)
			}
		}
	}

	r := httptest.NewRequest("GET", "/", nil)
	if c, err := a.Authenticate(r); err != nil || c != (store.Caller{}) {
		t.Errorf("without credentials: %+v, %v; want nobody", c, err)
	}
	if u, ok := a.User("myuser@example.com"); !ok || u.Email != "me@example.com" || u.Password != "" {
		t.Errorf("User gives %+v, %t; want the e-mail and no password", u, ok)
	}
}

func TestNewAccountsReportsEveryProblem(t *testing.T) {
	_, err := NewAccounts(AccountsOptions{Users: []User{
		{Name: "a:b", Password: "x"}, {Name: "", Password: "x"}, {Name: "twice", Password: "x"}, {Name: "twice", Password: "y"},
		{Name: "none"}, {Name: "sha", Password: "{SHA}TOPSECRET"}, {Name: "broken", Password: "$2y$10$TOPSECRET"},
	}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"user 1", "user 2", "user 4", "user 5", "user 6", "user 7"} {
		if !strings.Contains(err.Error(), want+" ") {
			t.Errorf("%s is not reported:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "TOPSECRET") {
		t.Errorf("the error repeats a hash:\n%v", err)
	}
}

func TestRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, AccountsOptions{Users: []User{{Name: "u", Password: cheap(t, "secret")}}})
		runs := countRuns(a, "u")
		for _, step := range []struct {
			wait time.Duration
			want int32
		}{{0, 1}, {0, 1}, {299 * time.Second, 1}, {time.Second, 2}, {time.Second, 2}} {
			time.Sleep(step.wait)
			if kind := try(t, a, "u", "secret", "192.0.2.1"); kind != 0 || runs.Load() != step.want {
				t.Fatalf("after %v more: kind %v, hashed %d times, want %d", step.wait, kind, runs.Load(), step.want)
			}
		}
		try(t, a, "u", "wrong", "192.0.2.1")
		try(t, a, "u", "wrong", "192.0.2.1")
		if runs.Load() != 4 {
			t.Errorf("two wrong passwords were hashed %d times; failures are not remembered", runs.Load()-2)
		}
	})
}

// countRuns counts how often the hash of an account is computed.
func countRuns(a *Accounts, name string) *atomic.Int32 {
	var runs atomic.Int32
	acc := a.table.Load().accounts[name]
	matches := acc.hash.matches
	acc.hash.matches = func(p string) bool { runs.Add(1); return matches(p) }
	return &runs
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(time.Minute, 100)
	for i := range 1000 {
		d := m.digest("u", fmt.Sprint(i))
		m.put(d, "h")
		if !m.has(d, "h") {
			t.Fatalf("entry %d is gone at once", i)
		}
	}
	n := 0
	m.entries.Range(func(any, any) bool { n++; return true })
	if n > 100 || n < 80 {
		t.Errorf("%d entries, want at most 100 and not many fewer", n)
	}
	if m.has(m.digest("u", "999"), "another hash") {
		t.Error("an entry is valid although the account's hash has changed")
	}
	if m.digest("a", "bc") == m.digest("ab", "c") {
		t.Error("different pairs have one digest")
	}
}

func TestConcurrentLoginsShareOneHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, AccountsOptions{Users: []User{{Name: "u", Password: cheap(t, "secret")}}})
		var runs atomic.Int32
		a.table.Load().accounts["u"].hash.matches = func(p string) bool {
			runs.Add(1)
			time.Sleep(time.Second)
			return p == "secret"
		}
		var good, bad atomic.Int32
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				switch try(t, a, "u", []string{"secret", "wrong"}[i%2], "192.0.2.1") {
				case 0:
					good.Add(1)
				case store.Unauthenticated:
					bad.Add(1)
				}
			})
		}
		all.Wait()
		if good.Load() != 100 || bad.Load() != 100 || runs.Load() != 2 {
			t.Errorf("%d right, %d wrong, %d hashes; want 100, 100, 2", good.Load(), bad.Load(), runs.Load())
		}
	})
}

// A client that goes away while it computes for others must not fail them.
func TestSharedHashOutlivesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, AccountsOptions{Users: []User{{Name: "u", Password: cheap(t, "secret")}}, Hashes: 1})
		a.turns <- struct{}{} // somebody else hashes
		ctx, cancel := context.WithCancel(t.Context())
		var first, second error
		var all sync.WaitGroup
		all.Go(func() { _, first = a.Verify(ctx, "u", "secret", netip.Addr{}) })
		synctest.Wait()
		all.Go(func() { _, second = a.Verify(t.Context(), "u", "secret", netip.Addr{}) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		<-a.turns
		all.Wait()
		if first != context.Canceled || second != nil {
			t.Errorf("the one who left: %v, the one who stayed: %v", first, second)
		}
	})
}

func TestHashesWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, AccountsOptions{Users: []User{{Name: "u", Password: cheap(t, "secret")}}, Hashes: 2})
		var running, most int32
		var mu sync.Mutex
		count := func(n int32) { mu.Lock(); running += n; most = max(most, running); mu.Unlock() }
		a.table.Load().accounts["u"].hash.matches = func(string) bool {
			count(1)
			defer count(-1)
			time.Sleep(4 * time.Second)
			return false
		}
		var wrong, limited atomic.Int32
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				switch try(t, a, fmt.Sprint("user", i), "x", "192.0.2.1") {
				case store.Unauthenticated:
					wrong.Add(1)
				case store.RateLimited:
					limited.Add(1)
				}
			})
		}
		all.Wait()
		if most != 2 || wrong.Load() != 6 || limited.Load() != 4 {
			t.Errorf("at most %d at once, %d answered, %d sent away after 10 s; want 2, 6, 4", most, wrong.Load(), limited.Load())
		}
	})
}

// Names that do not exist cost a hash like those that do, whatever the kinds.
func TestUnknownNamesCostAHash(t *testing.T) {
	a := newAccounts(t, AccountsOptions{Users: []User{{Name: "a", Password: cheap(t, "1")}, {Name: "b", Password: cheap(t, "2")}}, Failures: 1000})
	ra, rb := countRuns(a, "a"), countRuns(a, "b")
	for i := range 100 {
		if try(t, a, fmt.Sprint("nobody", i), "1", "192.0.2.1") != store.Unauthenticated {
			t.Fatal("a name that does not exist logs in with the password of another")
		}
	}
	if ra.Load()+rb.Load() != 100 || ra.Load() < 20 || rb.Load() < 20 {
		t.Errorf("100 unknown names computed %d and %d hashes; want 100, spread over both accounts", ra.Load(), rb.Load())
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, AccountsOptions{Users: []User{{Name: "u", Password: cheap(t, "secret")}, {Name: "v", Password: cheap(t, "secret")}}})
		try(t, a, "v", "secret", "192.0.2.1") // remembered
		for _, name := range []string{"u", "nobody", "v"} {
			for i := range 10 {
				if kind := try(t, a, name, fmt.Sprint("guess", i), "192.0.2.1"); kind != store.Unauthenticated {
					t.Fatalf("%s, guess %d: %v", name, i, kind)
				}
			}
			_, err := a.Authenticate(request(name, "secret", "192.0.2.1"))
			if name == "v" {
				if err != nil {
					t.Errorf("remembered credentials are refused after failures: %v", err)
				}
				continue
			}
			if refused := new(store.Error); store.KindOf(err) != store.RateLimited {
				t.Errorf("%s: login after 10 failures: %v, want RateLimited", name, err)
			} else if refused = err.(*store.Error); refused.RetryAfter != 6*time.Second {
				t.Errorf("%s: RetryAfter %v, want 6s", name, refused.RetryAfter)
			}
		}
		if kind := try(t, a, "u", "secret", "192.0.2.2"); kind != 0 {
			t.Errorf("the owner, from another address: %v", kind)
		}
		time.Sleep(6 * time.Second)
		if kind := try(t, a, "nobody", "x", "192.0.2.1"); kind != store.Unauthenticated {
			t.Errorf("after RetryAfter: %v", kind)
		}
		if kind := try(t, a, "nobody", "x", "192.0.2.1"); kind != store.RateLimited {
			t.Errorf("a second one after RetryAfter: %v", kind)
		}
	})
}

func TestGuessingFromAndAtManyPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, AccountsOptions{Remember: time.Minute, Users: []User{{Name: "u", Password: cheap(t, "secret")}, {Name: "v", Password: cheap(t, "secret")}}})
		if try(t, a, "u", "secret", "198.51.100.7") != 0 {
			t.Fatal("the owner cannot log in")
		}
		count := func(name, address func(int) string) (n int) {
			for i := range 1000 {
				if try(t, a, name(i), fmt.Sprint("guess", i), address(i)) == store.Unauthenticated {
					n++
				}
			}
			return n
		}
		fixed := func(s string) func(int) string { return func(int) string { return s } }
		many := func(format string) func(int) string { return func(i int) string { return fmt.Sprintf(format, i) } }

		if n := count(many("user%d"), fixed("192.0.2.1")); n != 50 {
			t.Errorf("%d accounts tried from one address, want 50", n)
		}
		if n := count(many("user%d"), many("[2001:db8::%x]")); n != 50 {
			t.Errorf("%d accounts tried from one /64, want 50", n)
		}
		if n := count(fixed("u"), many("[2001:db8:1:%x::1]")); n != 100 {
			t.Errorf("one account tried from %d networks, want 100", n)
		}
		if kind := try(t, a, "u", "secret", "203.0.113.1"); kind != store.RateLimited && kind != 0 {
			t.Errorf("the owner, from a new address, under attack: %v", kind)
		}
		time.Sleep(time.Minute + time.Second) // nothing is remembered any more
		count(fixed("u"), many("[2001:db8:2:%x::1]"))
		if kind := try(t, a, "u", "secret", "198.51.100.7"); kind != 0 {
			t.Errorf("the owner, from where he was before, under attack: %v", kind)
		}
		if kind := try(t, a, "v", "secret", "203.0.113.1"); kind != 0 {
			t.Errorf("another account: %v", kind)
		}
	})
}

func TestRightLoginsAreNotCharged(t *testing.T) {
	a := newAccounts(t, AccountsOptions{Remember: -1, Users: []User{{Name: "u", Password: cheap(t, "secret")}}})
	for i := range 200 {
		if kind := try(t, a, "u", "secret", "192.0.2.1"); kind != 0 {
			t.Fatalf("login %d: %v", i, kind)
		}
	}
	if n := len(a.throttle.pairs.m) + len(a.throttle.addresses.m) + len(a.throttle.accounts.m); n != 0 {
		t.Errorf("%d buckets are left of right logins", n)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuckets[int](10, time.Minute)
		now := time.Now()
		for range 10 {
			b.charge(-1, 1, now)
		}
		for i := range 2 * mostBuckets {
			b.charge(i, 1, now)
		}
		if len(b.m) != mostBuckets {
			t.Errorf("%d buckets, want %d", len(b.m), mostBuckets)
		}
		if b.wait(-1, now) == 0 {
			t.Error("the full bucket was pushed out by nearly empty ones")
		}
	})
}

func TestHtpasswdReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	synctest.Test(t, func(t *testing.T) {
		version := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		write := func(content string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			version = version.Add(time.Second)
			if err := os.Chtimes(path, version, version); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // of the bubble: the next look is due
		}
		one, two := cheap(t, "one"), cheap(t, "two")
		write("# people\n\nu:" + one + "\r\nadmin:" + one + ":remark\nboth:" + one + "\n")
		var log bytes.Buffer
		a := newAccounts(t, AccountsOptions{
			Users:    []User{{Name: "admin", Admin: true}, {Name: "both", Password: two}, {Name: "nowhere"}},
			Htpasswd: path, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		check := func(when, name, password string, want store.Kind) {
			t.Helper()
			if kind := try(t, a, name, password, "192.0.2.1"); kind != want {
				t.Errorf("%s: %s with %q: %v, want %v", when, name, password, kind, want)
			}
		}
		check("at first", "u", "one", 0)
		check("at first", "both", "two", 0)
		check("at first", "both", "one", store.Unauthenticated)
		check("at first", "nowhere", "one", store.Unauthenticated)
		if c, err := a.Authenticate(request("admin", "one", "192.0.2.1")); err != nil || !c.Admin {
			t.Errorf("an administrator whose password is in the file: %+v, %v", c, err)
		}

		write("u:" + two + "\n")
		check("changed", "u", "one", store.Unauthenticated) // although remembered
		check("changed", "u", "two", 0)
		check("changed", "admin", "one", store.Unauthenticated)

		log.Reset()
		write("u:" + one + "\nv:plaintext\n")
		check("broken", "u", "two", 0)
		check("broken", "u", "two", 0)
		if got := log.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, "line 2") || strings.Contains(got, "plaintext") {
			t.Errorf("the log does not say once what is broken, without the password:\n%s", got)
		}

		log.Reset()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		check("gone", "u", "two", 0)
		time.Sleep(time.Second)
		check("gone", "u", "two", 0)
		if strings.Count(log.String(), "level=ERROR") != 1 {
			t.Errorf("a missing file is not reported once:\n%s", log.String())
		}
		write("")
		check("empty", "u", "two", store.Unauthenticated)
	})
}

func BenchmarkRememberedLogin(b *testing.B) {
	a := newAccounts(b, AccountsOptions{Users: []User{{Name: "myuser@example.com", Password: "secret password"}}})
	r := request("myuser@example.com", "secret password", "192.0.2.1")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Authenticate(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
