package storetest

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// Attributes and numbers: what the engine keeps for its faces.

func testAttrs(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	f := e.upload([]byte("x"), store.FileSpec{Attrs: &map[string]string{"a.one": "1", "a.two": "zwei", "b.one": "un"}})
	want := map[string]string{"a.one": "1", "a.two": "zwei", "b.one": "un"}
	same := func(got, want map[string]string) {
		t.Helper()
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	same(f.Attrs, want)
	e.reboot()
	ref := store.Ref{File: f.ID}
	f, err := e.PatchFile(e.ctx(), alice, ref, store.FileSpec{Attrs: &map[string]string{"a.one": "", "a.two": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	same(f.Attrs, map[string]string{"a.two": "2", "b.one": "un"})
	many := map[string]string{}
	for i := range 31 {
		many[fmt.Sprint("c.", i)] = "x"
	}
	for _, bad := range []map[string]string{{"noname": "x"}, {"a." + strings.Repeat("x", 63): "x"}, {"a.x": "\xff"}, {"a.x": strings.Repeat("x", 8<<10)}, many} {
		_, err := e.PatchFile(e.ctx(), alice, ref, store.FileSpec{Attrs: &bad})
		e.want(err, store.Invalid, "")
	}
	if f, err = e.PatchFile(e.ctx(), alice, ref, store.FileSpec{Attrs: &map[string]string{"a.two": "", "b.one": ""}}); err != nil || len(f.Attrs) != 0 {
		t.Errorf("%v, %v", f, err)
	}

	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Attrs: &map[string]string{"a.kind": "talk"}})
	if err != nil {
		t.Fatal(err)
	}
	same(s.Attrs, map[string]string{"a.kind": "talk"})
	if s, err = e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{Attrs: &map[string]string{"a.more": "x"}}); err != nil {
		t.Fatal(err)
	}
	same(s.Attrs, map[string]string{"a.kind": "talk", "a.more": "x"})
	if s, err = e.Session(e.ctx(), alice, s.ID); err != nil {
		t.Fatal(err)
	}
	same(s.Attrs, map[string]string{"a.kind": "talk", "a.more": "x"})

	// Of those who count at once each sees what the others did.
	var counted atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := counted.Load(); n < 20; n = counted.Load() {
				was := ""
				if n > 0 {
					was = strconv.FormatInt(n, 10)
				}
				next := store.SessionSpec{Was: map[string]string{"a.n": was, "a.kind": "talk"}, Attrs: &map[string]string{"a.n": strconv.FormatInt(n+1, 10)}}
				switch _, err := e.PatchSession(e.ctx(), alice, s.ID, next); {
				case err == nil:
					counted.Add(1)
				case store.KindOf(err) != store.Conflict || !errors.Is(err, store.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s, err = e.Session(e.ctx(), alice, s.ID); err != nil || s.Attrs["a.n"] != strconv.FormatInt(counted.Load(), 10) {
		t.Errorf("%v, %v, counted %d", s, err, counted.Load())
	}
}

func testNumbers(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	if f := e.upload([]byte("x"), store.FileSpec{}); f.Number != 0 {
		t.Errorf("a number that was not asked for: %d", f.Number)
	}
	// Each sequence counts for itself, from 1, whoever asks at the same time.
	const n = 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int64]store.Ref{} // guarded by mu
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Sequence: "t.session"})
	if err != nil || s.Number != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	for i := range n {
		wg.Go(func() {
			c, err := e.Receive(e.ctx(), alice, strings.NewReader("x"), store.Incoming{Size: -1})
			if err != nil {
				t.Error(err)
				return
			}
			var f *store.File
			switch i % 2 {
			case 0:
				f, err = e.CreateUpload(e.ctx(), alice, store.FileSpec{Sequence: "t.file"}, c)
			default:
				f, err = e.StoreNew(e.ctx(), alice, s.ID, store.FileSpec{Sequence: "t.file"}, c)
			}
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[f.Number] = store.Ref{Session: f.Session, File: f.ID}
		})
	}
	wg.Wait()
	for i := int64(1); i <= n; i++ {
		want, ok := seen[i]
		if !ok {
			t.Errorf("nobody has number %d", i)
			continue
		}
		got, err := e.FileByNumber(e.ctx(), alice, "t.file", i)
		if err != nil || got != want {
			t.Errorf("%d: %+v, %v, want %+v", i, got, err, want)
		}
		f, err := e.File(e.ctx(), alice, got)
		if err != nil || f.Number != i {
			t.Errorf("%d: %+v, %v", i, f, err)
		}
	}
	if got, err := e.SessionByNumber(e.ctx(), alice, "t.session", 1); err != nil || got.ID != s.ID {
		t.Errorf("%+v, %v", got, err)
	}
	// Numbers are no secrets: permission is asked.
	_, err = e.FileByNumber(e.ctx(), bob, "t.file", 1)
	e.want(err, store.Denied, "")
	_, err = e.FileByNumber(e.ctx(), link, "t.file", 1)
	e.want(err, store.Unauthenticated, "")
	_, err = e.SessionByNumber(e.ctx(), bob, "t.session", 1)
	e.want(err, store.Denied, "")
	// Nor are they ids, which are enough where sessions are open.
	opened := start(t, open, store.Options{OpenSessions: true})
	theirs, err := opened.CreateSession(e.ctx(), alice, store.SessionSpec{Sequence: "t.session", Members: &[]string{"carol"}})
	if err != nil {
		t.Fatal(err)
	}
	inIt := opened.file(theirs.ID, []byte("x"))
	for _, c := range []store.Caller{bob, link} {
		if _, err := opened.Session(e.ctx(), c, theirs.ID); err != nil {
			t.Error(err)
		}
		if _, err := opened.SessionByNumber(e.ctx(), c, "t.session", theirs.Number); store.KindOf(err) != store.Denied && store.KindOf(err) != store.Unauthenticated {
			t.Errorf("%q found an open session by its number: %v", c.Name, err)
		}
		if _, err := opened.CreateShares(e.ctx(), c, theirs.ID, []store.ShareSpec{{Email: "dave@example.net"}}); store.KindOf(err) != store.Denied && store.KindOf(err) != store.Unauthenticated {
			t.Errorf("%q sent an open session to somebody: %v", c.Name, err)
		}
		if _, err := opened.Locate(e.ctx(), c, inIt.ID); store.KindOf(err) != store.Denied && store.KindOf(err) != store.Unauthenticated {
			t.Errorf("%q was told of an open session: %v", c.Name, err)
		}
	}
	if _, err := opened.SessionByNumber(e.ctx(), store.Caller{Name: "carol"}, "t.session", theirs.Number); err != nil {
		t.Error(err)
	}
	for _, none := range []int64{0, n + 1, -1} {
		_, err = e.FileByNumber(e.ctx(), alice, "t.file", none)
		e.want(err, store.NotFound, "file not found")
		_, err = e.SessionByNumber(e.ctx(), alice, "t.file", none)
		e.want(err, store.NotFound, "session not found")
	}

	// They end with what they name and are not used again, also after a restart.
	e.reboot()
	for i := int64(1); i <= n; i++ {
		if ref := seen[i]; ref.Session == "" {
			if err := e.DeleteFile(e.ctx(), alice, ref); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Purge(e.ctx()); err != nil {
		t.Fatal(err)
	}
	_, err = e.FileByNumber(e.ctx(), alice, "t.file", 1)
	e.want(err, store.NotFound, "file not found")
	_, err = e.SessionByNumber(e.ctx(), alice, "t.session", 1)
	e.want(err, store.NotFound, "session not found")
	short, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Sequence: "t.session", TTL: new(time.Second)})
	if err != nil || short.Number != 2 {
		t.Fatalf("%+v, %v", short, err)
	}
	until(short.Expires)
	_, err = e.SessionByNumber(e.ctx(), alice, "t.session", 2)
	e.want(err, store.Expired, "session expired")
	if _, err := e.Purge(e.ctx()); err != nil {
		t.Fatal(err)
	}
	if left := e.indexes(); left != 1 { // that of the first upload
		t.Errorf("%d index records left", left)
	}
	if f := e.upload([]byte("x"), store.FileSpec{Sequence: "t.file"}); f.Number != n+1 {
		t.Errorf("number %d after %d", f.Number, n)
	}
}
