package storetest

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// testIdentityFaults: whatever call fails, applied or not, what was answered
// holds, and what was not leaves grants, numbers and logins in a state in which
// one can go on.
func testIdentityFaults(t *testing.T, open Pair) {
	for _, applied := range []bool{false, true} {
		for nth := int64(1); nth > 0; nth++ {
			t.Run(fmt.Sprintf("call %d applied %v", nth, applied), func(t *testing.T) {
				if !identityFault(t, open, nth, applied) {
					nth = -1
				}
			})
		}
	}
}

// identityFault runs the scenario with the nth call failing; false when there
// are fewer calls.
func identityFault(t *testing.T, open Pair, nth int64, applied bool) bool {
	records, blobs := open(t)
	var calls atomic.Int64
	var armed atomic.Bool
	fault := Fail
	if applied {
		fault = ApplyThenFail
	}
	faulty := FaultyRecords(records, func(string) Fault {
		if armed.Load() && calls.Add(1) == nth {
			return fault
		}
		return None
	})
	e := start(t, func(testing.TB) (store.Records, store.Blobs) { return faulty, blobs }, store.Options{})
	spec := store.LoginSpec{Realm: "r", Account: "alice", TTL: time.Hour, Refresh: time.Hour, Grace: time.Hour}
	armed.Store(true)

	var files []*store.File
	for range 2 {
		c, err := e.Receive(e.ctx(), alice, bytes.NewReader([]byte("x")), store.Incoming{Size: 1})
		if err != nil {
			continue
		}
		if f, err := e.CreateUpload(e.ctx(), alice, store.FileSpec{Grant: full(), Sequence: "t.file"}, c); err == nil {
			files = append(files, f)
			second, err := e.CreateToken(e.ctx(), alice, refOf(f), *full())
			if err == nil {
				ref := refOf(f)
				ref.Token = second.ID
				_ = e.DeleteToken(e.ctx(), holder(f.Grant), ref)
			}
		}
		c.Discard()
	}
	login, loginErr := e.Login(e.ctx(), spec)
	var next *store.Login
	var nextErr, outErr error
	if loginErr == nil {
		next, nextErr = e.RefreshLogin(e.ctx(), login.RefreshToken, spec)
		outErr = e.Logout(e.ctx(), "r", login.Token)
	}
	first, onceErr := e.Once(e.ctx(), "r", "nonce", time.Hour)
	settingErr := e.PutSetting(e.ctx(), root, "s", []byte("doc"))

	more := calls.Load() >= nth
	armed.Store(false)
	e.reboot()

	numbers := map[int64]bool{}
	for _, f := range files {
		numbers[f.Number] = true
		if ref, err := e.FileByNumber(e.ctx(), alice, "t.file", f.Number); err != nil || ref != refOf(f) {
			t.Errorf("number %d: %+v, %v", f.Number, ref, err)
		}
		e.managed(f)
	}
	if len(numbers) != len(files) {
		t.Errorf("%d numbers for %d files", len(numbers), len(files))
	}
	if loginErr == nil {
		_, err := e.LoginOf(e.ctx(), "r", login.Token)
		switch gone := store.KindOf(err) == store.Unauthenticated; {
		case outErr == nil && !gone:
			t.Errorf("logged out, and %v", err)
		case outErr != nil && !applied && err != nil:
			t.Errorf("the login: %v", err)
		}
		if nextErr == nil {
			if _, err := e.LoginOf(e.ctx(), "r", next.Token); err != nil {
				t.Errorf("the refreshed login: %v", err)
			}
		}
		// The answer of a refresh may be lost: the old refresh token still works.
		if nextErr != nil && outErr != nil {
			if _, err := e.RefreshLogin(e.ctx(), login.RefreshToken, spec); err != nil {
				t.Errorf("again: %v", err)
			}
		}
	}
	if onceErr == nil {
		again, err := e.Once(e.ctx(), "r", "nonce", time.Hour)
		if !first || again || err != nil {
			t.Errorf("once: %v, again %v, %v", first, again, err)
		}
	}
	if doc, _, err := e.Setting(e.ctx(), "s"); err != nil || settingErr == nil && string(doc) != "doc" {
		t.Errorf("the setting: %q, %v", doc, err)
	}
	return more
}

// managed checks that a file has as many tokens of full access as it believes:
// all but one can be removed by who has them.
func (e *env) managed(f *store.File) {
	e.t.Helper()
	page, err := e.Tokens(e.ctx(), alice, refOf(f), store.Query{})
	if err != nil || len(page.Items) == 0 {
		e.t.Errorf("%d tokens, %v", len(page.Items), err)
		return
	}
	for i, token := range page.Items {
		ref := refOf(f)
		ref.Token = token.ID
		want := store.Kind(0)
		if i == len(page.Items)-1 {
			want = store.Conflict
		}
		if err := e.DeleteToken(e.ctx(), holder(token), ref); store.KindOf(err) != want || want == 0 && err != nil {
			e.t.Errorf("token %d of %d: %v", i+1, len(page.Items), err)
		}
	}
}

// testUsedGrant: a counted token that is used up lets nobody see or do anything.
func testUsedGrant(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	f := e.upload([]byte("x"), store.FileSpec{})
	once := e.grant(alice, f, store.TokenSpec{Access: store.AccessRead, MaxDownloads: new(int64(1))})
	if _, err := e.File(e.ctx(), holder(once), refOf(f)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.fetch(link, store.Ref{File: f.ID, Token: once.ID}, 0, 1); err != nil {
		t.Fatal(err)
	}
	_, err := e.File(e.ctx(), holder(once), refOf(f))
	e.want(err, store.Unauthenticated, "")
	_, _, err = e.Grant(e.ctx(), once.ID)
	e.want(err, store.Used, "")
}

// testLoginRaces: of a logout and refreshes at the same time, whoever comes out
// first, the login that was ended is ended; and nobody gets the login of another.
func testLoginRaces(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	for range 5 {
		spec := store.LoginSpec{Realm: "r", Account: "alice", TTL: time.Hour, Refresh: time.Hour, Grace: time.Minute}
		l, err := e.Login(e.ctx(), spec)
		if err != nil {
			t.Fatal(err)
		}
		other, err := e.Login(e.ctx(), store.LoginSpec{Realm: "r", Account: "bob", TTL: time.Hour, Refresh: time.Hour, Grace: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		for range 4 {
			go func() {
				next, err := e.RefreshLogin(e.ctx(), l.RefreshToken, spec)
				if err == nil && next.Account != "alice" {
					err = fmt.Errorf("the login of %s", next.Account)
				} else if store.KindOf(err) == store.Unauthenticated {
					err = nil
				}
				done <- err
			}()
		}
		go func() { done <- e.Logout(e.ctx(), "r", l.Token) }()
		for range 5 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		_, err = e.LoginOf(e.ctx(), "r", l.Token)
		e.want(err, store.Unauthenticated, "")
		_, err = e.RefreshLogin(e.ctx(), l.RefreshToken, spec)
		e.want(err, store.Unauthenticated, "")
		if got, err := e.LoginOf(e.ctx(), "r", other.Token); err != nil || got.Account != "bob" {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
