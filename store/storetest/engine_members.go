package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"fileshare/store"
)

// Sessions that more than one caller uses, and files made together with their
// contents.

func testMembers(t *testing.T, open Pair) {
	e := start(t, open, store.Options{UserQuota: 100})
	carol := store.Caller{Name: "device:carol"}
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Members: &[]string{bob.Name, bob.Name, "nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Members); got != "[bob nobody]" {
		t.Errorf("members %s", got)
	}
	sessions := func(c store.Caller) int {
		t.Helper()
		page, err := e.Sessions(e.ctx(), c, store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Items)
	}
	add := func(c store.Caller, data string) (*store.File, error) {
		t.Helper()
		content, err := e.Receive(e.ctx(), c, strings.NewReader(data), store.Incoming{Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		f, err := e.StoreNew(e.ctx(), c, s.ID, store.FileSpec{Name: new("a.txt")}, content)
		if err != nil {
			content.Discard()
		}
		return f, err
	}
	// A member uses the session and what is in it …
	f, err := add(bob, "from bob")
	if err != nil {
		t.Fatal(err)
	}
	ref := store.Ref{Session: s.ID, File: f.ID}
	if f.Owner != alice.Name {
		t.Errorf("owned by %s", f.Owner)
	}
	for _, c := range []store.Caller{alice, bob, root} {
		if got, err := e.fetch(c, ref, 0, 8); err != nil || string(got) != "from bob" {
			t.Errorf("%s: %q, %v", c.Name, got, err)
		}
		if _, err := e.File(e.ctx(), c, ref); err != nil {
			t.Error(err)
		}
		if got, err := e.Locate(e.ctx(), c, f.ID); err != nil || got != ref {
			t.Errorf("%s: %+v, %v", c.Name, got, err)
		}
		if page, err := e.Files(e.ctx(), c, store.Query{Session: s.ID}); err != nil || len(page.Items) != 1 {
			t.Errorf("%s: %+v, %v", c.Name, page, err)
		}
		if _, err := e.Session(e.ctx(), c, s.ID); err != nil {
			t.Error(err)
		}
	}
	if sessions(alice) != 1 || sessions(bob) != 1 || sessions(carol) != 0 {
		t.Error("the session is not in the lists of owner and member alone")
	}
	// … on the owner's account, …
	_, err = add(bob, strings.Repeat("x", 93))
	e.want(err, store.Quota, "")
	// … and does not rule it.
	_, err = e.PatchSession(e.ctx(), bob, s.ID, store.SessionSpec{Members: &[]string{}})
	e.want(err, store.Denied, "")
	e.want(e.DeleteSession(e.ctx(), bob, s.ID), store.Denied, "")
	// Nobody else does anything.
	_, err = add(carol, "from carol")
	e.want(err, store.Denied, "")
	_, err = e.File(e.ctx(), carol, ref)
	e.want(err, store.Denied, "")
	_, err = e.Open(e.ctx(), carol, ref)
	e.want(err, store.Denied, "")
	_, err = e.Files(e.ctx(), carol, store.Query{Session: s.ID})
	e.want(err, store.Denied, "")

	// Members come and go, over restarts too.
	s, err = e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{Members: &[]string{carol.Name}})
	if err != nil || fmt.Sprint(s.Members) != "[device:carol]" {
		t.Fatalf("%+v, %v", s, err)
	}
	e.reboot()
	_, err = e.File(e.ctx(), bob, ref)
	e.want(err, store.Denied, "")
	if _, err = e.File(e.ctx(), carol, ref); err != nil || sessions(bob) != 0 || sessions(carol) != 1 {
		t.Errorf("%v, %d, %d", err, sessions(bob), sessions(carol))
	}
	for _, bad := range [][]string{{""}, {strings.Repeat("x", 257)}, {"a\nb"}, {"\xff"}, manyNames(101)} {
		_, err := e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{Members: &bad})
		e.want(err, store.Invalid, "")
	}
	if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil || sessions(carol) != 0 {
		t.Errorf("%v, %d sessions left", err, sessions(carol))
	}

	// The end by time clears the lists, too.
	s, err = e.CreateSession(e.ctx(), alice, store.SessionSpec{TTL: new(time.Second), Members: &[]string{bob.Name}})
	if err != nil {
		t.Fatal(err)
	}
	until(s.Expires)
	if _, err := e.Purge(e.ctx()); err != nil {
		t.Fatal(err)
	}
	if n := e.indexes(); n != 0 {
		t.Errorf("%d index records left", n)
	}
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("name", i))
	}
	return names
}

// indexes counts the index records that there are.
func (e *env) indexes() int {
	e.t.Helper()
	return e.leftRecords(store.IndexRecords)
}

func testStoreNew(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{TTL: new(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{{}, []byte("small"), random(200_000)} {
		c, err := e.Receive(e.ctx(), alice, bytes.NewReader(data), store.Incoming{Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		f, err := e.StoreNew(e.ctx(), alice, s.ID, store.FileSpec{Name: new("a.txt"), TTL: new(time.Minute)}, c)
		if err != nil {
			t.Fatal(err)
		}
		if f.State != store.StateUploaded || f.Size != int64(len(data)) || f.Session != s.ID || f.Name != "a.txt" || f.TTL != time.Minute {
			t.Errorf("got %+v", f)
		}
		if got, err := e.fetch(alice, store.Ref{Session: s.ID, File: f.ID}, 0, f.Size); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if page, err := e.Files(e.ctx(), alice, store.Query{Session: s.ID}); err != nil || len(page.Items) != 3 {
		t.Errorf("%d files, %v", len(page.Items), err)
	}
	content := func() *store.Content {
		c, err := e.Receive(e.ctx(), alice, strings.NewReader("x"), store.Incoming{Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Discard)
		return c
	}
	_, err = e.StoreNew(e.ctx(), link, s.ID, store.FileSpec{}, content())
	e.want(err, store.Unauthenticated, "")
	_, err = e.StoreNew(e.ctx(), bob, s.ID, store.FileSpec{}, content())
	e.want(err, store.Denied, "")
	_, err = e.StoreNew(e.ctx(), alice, "nonsense", store.FileSpec{}, content())
	e.want(err, store.NotFound, "session not found")
	_, err = e.StoreNew(e.ctx(), alice, s.ID, store.FileSpec{TTL: new(time.Duration(0))}, content())
	e.want(err, store.Invalid, "")
}
