package storetest

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

func full() *store.TokenSpec { return &store.TokenSpec{Access: store.AccessFull} }

// holder is who presents a token and is nobody else.
func holder(t *store.Token) store.Caller { return store.Caller{Grant: t.ID} }

// grant makes a token of a file.
func (e *env) grant(c store.Caller, f *store.File, spec store.TokenSpec) *store.Token {
	e.t.Helper()
	token, err := e.CreateToken(e.ctx(), c, refOf(f), spec)
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

func refOf(f *store.File) store.Ref { return store.Ref{Session: f.Session, File: f.ID} }

// testGrants: a token lets who presents it do what its access says, with its
// own file only.
func testGrants(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	f := e.upload([]byte("x"), store.FileSpec{Grant: full()})
	other := e.upload([]byte("y"), store.FileSpec{Grant: full()})
	if f.Grant == nil || f.Grant.Access != store.AccessFull || f.Grant.MaxDownloads != 0 || f.Grant.State != store.StateNew {
		t.Fatalf("grant %+v", f.Grant)
	}
	all := holder(f.Grant)
	time.Sleep(2 * time.Millisecond)
	read := e.grant(all, f, store.TokenSpec{Access: store.AccessRead})
	counted := e.grant(alice, f, store.TokenSpec{})
	token, file, err := e.Grant(e.ctx(), read.ID)
	if err != nil || token.Access != store.AccessRead || file.ID != f.ID || token.File != f.ID || !file.Updated.After(f.Updated) {
		t.Errorf("%+v, %+v, %v", token, file, err)
	}
	if token, _, err := e.Grant(e.ctx(), counted.ID); err != nil || token.Access != "" || token.MaxDownloads != 1 {
		t.Errorf("%+v, %v", token, err)
	}
	for _, id := range []string{"", "x", f.ID, e.upload([]byte("z"), store.FileSpec{}).ID} {
		_, _, err := e.Grant(e.ctx(), id)
		e.want(err, store.NotFound, "")
	}
	patch := func(c store.Caller, f *store.File) error {
		_, err := e.PatchFile(e.ctx(), c, refOf(f), store.FileSpec{Name: new("n")})
		return err
	}
	see := func(c store.Caller, f *store.File) error {
		_, err := e.File(e.ctx(), c, refOf(f))
		return err
	}
	tokens := func(c store.Caller, f *store.File) error {
		_, err := e.Tokens(e.ctx(), c, refOf(f), store.Query{})
		return err
	}
	create := func(c store.Caller, f *store.File) error {
		_, err := e.CreateToken(e.ctx(), c, refOf(f), *full())
		return err
	}
	for _, c := range []struct {
		name         string
		caller       store.Caller
		file         *store.File
		see, manage_ store.Kind
	}{
		{"full", all, f, 0, 0},
		{"read", holder(read), f, 0, store.Denied},
		{"counted", holder(counted), f, store.Unauthenticated, store.Unauthenticated},
		{"of another file", all, other, store.Unauthenticated, store.Unauthenticated},
		{"bob with full", store.Caller{Name: "bob", Grant: f.Grant.ID}, f, 0, 0},
		{"bob with read", store.Caller{Name: "bob", Grant: read.ID}, f, 0, store.Denied},
		{"bob with another's", store.Caller{Name: "bob", Grant: f.Grant.ID}, other, store.Denied, store.Denied},
		{"alice with read", store.Caller{Name: alice.Name, Grant: read.ID}, f, 0, 0},
		{"nonsense", store.Caller{Grant: "x"}, f, store.Unauthenticated, store.Unauthenticated},
	} {
		for what, try := range map[string]func(store.Caller, *store.File) error{"see": see, "patch": patch, "tokens": tokens, "create": create} {
			want := c.manage_
			if what == "see" {
				want = c.see
			}
			if got := store.KindOf(try(c.caller, c.file)); got != want {
				t.Errorf("%s: %s: %v, want %v", c.name, what, got, want)
			}
		}
	}
	_, err = e.Files(e.ctx(), all, store.Query{})
	e.want(err, store.Unauthenticated, "")
	for range 3 { // uncounted, and by the file's own limit neither
		d, err := e.Open(e.ctx(), link, store.Ref{File: f.ID, Token: read.ID})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(d); err != nil || d.Counted() || !bytes.Equal(b, []byte("x")) {
			t.Errorf("%q, %v, counted %v", b, err, d.Counted())
		}
		if err := d.Settle(e.ctx(), []store.Span{{From: 0, To: 1}}, nil); err != nil {
			t.Error(err)
		}
		d.Close()
	}
	for _, spec := range []store.TokenSpec{{Access: "all"}, {Access: store.AccessFull, TTL: new(time.Hour)}, {Access: store.AccessRead, MaxDownloads: new(int64(-1))}} {
		_, err := e.CreateToken(e.ctx(), alice, refOf(f), spec)
		e.want(err, store.Invalid, "")
	}
	e.want(e.DeleteFile(e.ctx(), holder(read), refOf(f)), store.Denied, "")
	if err := e.DeleteFile(e.ctx(), all, refOf(f)); err != nil {
		t.Error(err)
	}
	_, _, err = e.Grant(e.ctx(), read.ID)
	e.want(err, store.NotFound, "")
	brief := e.upload([]byte("x"), store.FileSpec{Grant: full(), TTL: new(time.Second)})
	time.Sleep(1100 * time.Millisecond)
	_, _, err = e.Grant(e.ctx(), brief.Grant.ID)
	e.want(err, store.Expired, "")
}

// testManagers: a file that is managed by tokens keeps one, also in a race.
func testManagers(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	f := e.upload([]byte("x"), store.FileSpec{Grant: full()})
	tokens := []*store.Token{f.Grant}
	e.grant(alice, f, store.TokenSpec{Access: store.AccessRead})
	for range 7 {
		tokens = append(tokens, e.grant(alice, f, *full()))
	}
	del := func(c store.Caller, token *store.Token) error {
		ref := refOf(f)
		ref.Token = token.ID
		return e.DeleteToken(e.ctx(), c, ref)
	}
	var left atomic.Int64
	left.Store(int64(len(tokens)))
	var wg sync.WaitGroup
	for _, token := range tokens {
		wg.Go(func() {
			switch err := del(holder(token), token); store.KindOf(err) {
			case 0:
				if err != nil {
					t.Error(err)
				}
				left.Add(-1)
			case store.Conflict:
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := left.Load(); n != 1 {
		t.Errorf("%d tokens with full access are left", n)
	}
	for _, token := range tokens {
		if err := del(alice, token); err != nil && store.KindOf(err) != store.NotFound {
			t.Errorf("by the owner: %v", err)
		}
	}
	page, err := e.Tokens(e.ctx(), alice, refOf(f), store.Query{})
	if err != nil || len(page.Items) != 1 || page.Items[0].Access != store.AccessRead {
		t.Errorf("%v, %v", page.Items, err)
	}
}

func testLogins(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	spec := store.LoginSpec{Realm: "r", Account: "alice", TTL: time.Hour, Refresh: 2 * time.Hour, Grace: time.Minute, Attrs: map[string]string{"a": "b"}}
	l, err := e.Login(e.ctx(), spec)
	if err != nil || len(l.Token) != 40 || len(l.RefreshToken) != 40 || l.Token == l.RefreshToken {
		t.Fatalf("%+v, %v", l, err)
	}
	e.boot() // logins survive a restart
	got, err := e.LoginOf(e.ctx(), "r", l.Token)
	if err != nil || got.Account != "alice" || got.Attrs["a"] != "b" || !got.Expires.Equal(l.Expires.Truncate(time.Millisecond)) {
		t.Errorf("%+v, %v", got, err)
	}
	for realm, token := range map[string]string{"s": l.Token, "r": l.RefreshToken, "": ""} {
		_, err := e.LoginOf(e.ctx(), realm, token)
		e.want(err, store.Unauthenticated, "")
	}
	_, err = e.RefreshLogin(e.ctx(), l.Token, spec)
	e.want(err, store.Unauthenticated, "")
	var wg sync.WaitGroup
	var seen sync.Map
	for range 5 { // with one refresh token in parallel
		wg.Go(func() {
			next, err := e.RefreshLogin(e.ctx(), l.RefreshToken, store.LoginSpec{Realm: "r", Account: "bob", TTL: time.Hour, Refresh: time.Hour, Grace: time.Minute})
			if err != nil || next.Account != "alice" || next.Attrs["a"] != "b" {
				t.Errorf("%+v, %v", next, err)
				return
			}
			if _, twice := seen.LoadOrStore(next.Token, true); twice {
				t.Error("a token twice")
			}
		})
	}
	wg.Wait()
	if _, err := e.LoginOf(e.ctx(), "r", l.Token); err != nil {
		t.Errorf("the old token: %v", err)
	}
	short := spec
	short.TTL, short.Refresh, short.Grace = time.Second, time.Hour, time.Millisecond
	s, err := e.Login(e.ctx(), short)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.RefreshLogin(e.ctx(), s.RefreshToken, short); err != nil {
		t.Error(err)
	}
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	_, err = e.LoginOf(e.ctx(), "r", s.Token)
	e.want(err, store.Expired, "")
	_, err = e.RefreshLogin(e.ctx(), s.RefreshToken, short)
	e.want(err, store.Expired, "")
	if err := e.Logout(e.ctx(), "r", l.Token); err != nil {
		t.Error(err)
	}
	if err := e.Logout(e.ctx(), "r", l.Token); err != nil {
		t.Errorf("again: %v", err)
	}
	_, err = e.LoginOf(e.ctx(), "r", l.Token)
	e.want(err, store.Unauthenticated, "")
	_, err = e.RefreshLogin(e.ctx(), l.RefreshToken, spec)
	e.want(err, store.Unauthenticated, "")
	spec.Refresh = 0
	if l, err = e.Login(e.ctx(), spec); err != nil || l.RefreshToken != "" {
		t.Fatalf("%+v, %v", l, err)
	}
	var taken atomic.Int64
	for range 8 {
		wg.Go(func() {
			if _, err := e.TakeLogin(e.ctx(), "r", l.Token); err == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 1 {
		t.Errorf("taken %d times", n)
	}
	spec.Listed = true
	var listed []*store.Login
	for range 3 {
		l, err := e.Login(e.ctx(), spec)
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, l)
	}
	logins := func(realm, account string) int {
		all, err := e.Logins(e.ctx(), realm, account)
		if err != nil {
			t.Error(err)
		}
		for _, l := range all {
			if l.Token != "" || l.Attrs["a"] != "b" || len(l.ID) != 24 || l.Created.IsZero() {
				t.Errorf("listed %+v", l)
			}
		}
		return len(all)
	}
	if a, b, c := logins("r", "alice"), logins("r", "bob"), logins("s", "alice"); a != 3 || b != 0 || c != 0 {
		t.Errorf("%d, %d, %d logins listed, want 3, 0, 0", a, b, c)
	}
	e.want(e.DropLogin(e.ctx(), "r", "bob", listed[0].ID), store.NotFound, "")
	if err := e.DropLogin(e.ctx(), "r", "alice", listed[0].ID); err != nil {
		t.Error(err)
	}
	_, err = e.LoginOf(e.ctx(), "r", listed[0].Token)
	e.want(err, store.Unauthenticated, "")
	if _, err := e.TakeLogin(e.ctx(), "r", listed[1].Token); err != nil {
		t.Error(err)
	}
	if n := logins("r", "alice"); n != 1 {
		t.Errorf("%d logins listed, want 1", n)
	}
	spec.Attrs = map[string]string{"a": string(make([]byte, 5000))}
	_, err = e.Login(e.ctx(), spec)
	e.want(err, store.Invalid, "")
	if id := e.AccountID("alice"); len(id) != 24 || id != e.AccountID("alice") || id == e.AccountID("bob") || e.AccountID("") != "" {
		t.Errorf("account id %q", id)
	}
}

func testSettings(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	if doc, changed, err := e.Setting(e.ctx(), "s"); doc != nil || !changed.IsZero() || err != nil {
		t.Errorf("%q, %v, %v", doc, changed, err)
	}
	e.want(e.PutSetting(e.ctx(), alice, "s", []byte("x")), store.Denied, "")
	e.want(e.PutSetting(e.ctx(), link, "s", []byte("x")), store.Unauthenticated, "")
	e.want(e.PutSetting(e.ctx(), store.Caller{Name: "v", Permissions: store.ViewSettings | store.ViewFiles}, "s", []byte("x")), store.Denied, "")
	for i, c := range []store.Caller{root, {Name: "u", Permissions: store.UpdateSettings}} {
		doc := []byte{'a', byte(i)}
		if err := e.PutSetting(e.ctx(), c, "s", doc); err != nil {
			t.Fatal(err)
		}
		e.boot()
		if got, changed, err := e.Setting(e.ctx(), "s"); !bytes.Equal(got, doc) || time.Since(changed) > time.Minute || err != nil {
			t.Errorf("%q, %v, %v", got, changed, err)
		}
	}
	e.want(e.Allow(alice, store.ViewFiles), store.Denied, "")
	e.want(e.Allow(link, store.ViewFiles), store.Unauthenticated, "")
	if err := e.Allow(store.Caller{Name: "v", Permissions: store.ViewFiles}, store.ViewFiles); err != nil {
		t.Error(err)
	}
}
