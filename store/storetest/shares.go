package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"fileshare/store"
)

// A share lets its holder read what is in its session, and nothing else.
func testShares(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	tok, f := e.token([]byte("abc"), 1)
	other, _ := e.token([]byte("xyz"), 1)
	ref, foreign := store.Ref{Session: tok.Session, File: f.ID}, store.Ref{Session: other.Session, File: other.File}
	_, err := e.CreateShares(e.ctx(), bob, tok.Session, []store.ShareSpec{{}})
	e.want(err, store.Denied, "not yours")
	shares, err := e.CreateShares(e.ctx(), alice, tok.Session, []store.ShareSpec{{Attrs: map[string]string{"x.a": "1"}, Sequence: "x", Send: true}, {Sequence: "x"}})
	if err != nil || len(shares) != 2 || shares[0].Number != 1 || shares[1].Number != 2 || shares[0].Attrs["x.a"] != "1" {
		t.Fatalf("%+v, %v", shares, err)
	}
	holder := store.Caller{Share: shares[0].ID}
	if got, err := e.fetch(holder, ref, 0, 3); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	if page, err := e.Files(e.ctx(), holder, store.Query{Session: tok.Session}); err != nil || len(page.Items) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	for what, err := range map[string]error{
		"another session's file": second(e.fetch(holder, foreign, 0, 3)),
		"another session":        second(e.Files(e.ctx(), holder, store.Query{Session: other.Session})),
		"delete":                 e.DeleteFile(e.ctx(), holder, ref),
		"info":                   second(e.File(e.ctx(), holder, ref)),
		"rename":                 second(e.PatchFile(e.ctx(), holder, ref, store.FileSpec{Name: new("x")})),
		"tokens":                 second(e.Tokens(e.ctx(), holder, ref, store.Query{})),
		"session":                second(e.PatchSession(e.ctx(), holder, tok.Session, store.SessionSpec{Name: new("x")})),
		"shares":                 second(e.Shares(e.ctx(), holder, tok.Session)),
		"shares by page":         second(e.SharePage(e.ctx(), holder, tok.Session, store.Query{})),
		"more shares":            second(e.CreateShares(e.ctx(), holder, tok.Session, []store.ShareSpec{{}})),
		"more files":             second(e.CreateFile(e.ctx(), holder, tok.Session, store.FileSpec{})),
		"own files":              second(e.Files(e.ctx(), holder, store.Query{})),
		"an upload":              second(e.BeginUpload(e.ctx(), holder, store.FileSpec{}, store.Begin{Length: 1})),
	} {
		if k := store.KindOf(err); k != store.Denied && k != store.Unauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
	if h, s, err := e.Shared(e.ctx(), store.Caller{}, shares[0].ID, true); err != nil || s.ID != tok.Session || h.Used.IsZero() {
		t.Errorf("%+v, %+v, %v", h, s, err)
	}
	if h, _, err := e.Shared(e.ctx(), store.Caller{}, shares[1].ID, true); err != nil || !h.Used.IsZero() { // nobody was told of it
		t.Errorf("%+v, %v", h, err)
	}
	all, err := e.Shares(e.ctx(), alice, tok.Session)
	if err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, h := range all { // made in one millisecond, so in any order
		if h.Used.IsZero() == (h.ID == shares[0].ID) {
			t.Errorf("%+v", h)
		}
	}
	e.want(e.DeleteShare(e.ctx(), alice, other.Session, shares[0].ID), store.NotFound, "token not found")
	if err := e.DeleteShare(e.ctx(), alice, tok.Session, shares[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.fetch(holder, ref, 0, 3); store.KindOf(err) != store.Denied && store.KindOf(err) != store.Unauthenticated {
		t.Error(err)
	}
	_, _, err = e.Shared(e.ctx(), store.Caller{}, shares[0].ID, false)
	e.want(err, store.NotFound, "token not found")
	for _, s := range []string{tok.Session, other.Session} {
		if err := e.DeleteSession(e.ctx(), alice, s); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = e.Shared(e.ctx(), store.Caller{}, shares[1].ID, true)
	e.want(err, store.NotFound, "session not found")
	e.purge()
	e.empty()
	if n := e.leftRecords(store.ShareRecords); n != 0 {
		t.Errorf("%d shares left", n)
	}
}

// Shares are told apart and counted in the Update in which they are made.
func testShareRules(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	tok, _ := e.token([]byte("abc"), 1)
	spec := func(name string) store.ShareSpec {
		return store.ShareSpec{Email: name + "@x", Sequence: "x", Distinct: true, Most: 3}
	}
	first, err := e.CreateShares(e.ctx(), alice, tok.Session, []store.ShareSpec{spec("a"), spec("b"), spec("A")})
	if err != nil || len(first) != 3 || first[2].ID != first[0].ID || first[1].ID == first[0].ID {
		t.Fatalf("%+v, %v", first, err)
	}
	var wg sync.WaitGroup
	var made atomic.Int64
	for _, name := range []string{"c", "d", "e", "b", "C"} {
		wg.Go(func() {
			switch got, err := e.CreateShares(e.ctx(), alice, tok.Session, []store.ShareSpec{spec(name)}); {
			case err == nil && got[0].ID != first[1].ID:
				made.Add(1)
			case err == nil && name != "b", err != nil && (!errors.Is(err, store.ErrShares) || store.KindOf(err) != store.Invalid):
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
	wg.Wait()
	all, err := e.Shares(e.ctx(), alice, tok.Session)
	if n := made.Load(); err != nil || len(all) != 3 || n < 1 || n > 2 { // c and C are one
		t.Errorf("%d made, %+v, %v", n, all, err)
	}
	for _, h := range first[:2] {
		got, s, err := e.ShareByNumber(e.ctx(), alice, "x", h.Number)
		if err != nil || got.ID != h.ID || s.ID != tok.Session {
			t.Errorf("%+v, %+v, %v", got, s, err)
		}
		_, _, err = e.ShareByNumber(e.ctx(), bob, "x", h.Number)
		e.want(err, store.Denied, "not yours")
		_, _, err = e.ShareByNumber(e.ctx(), store.Caller{Share: h.ID}, "x", h.Number)
		e.want(err, store.Unauthenticated, "authentication required")
	}
	_, _, err = e.ShareByNumber(e.ctx(), alice, "x", 1000)
	e.want(err, store.NotFound, "token not found")
}

// second is the error of a call.
func second[T any](_ T, err error) error { return err }
