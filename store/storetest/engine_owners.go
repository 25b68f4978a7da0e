package storetest

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// Lists, permissions, quotas and the disk: what concerns accounts.

func testLists(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	var ids []string
	for i := range 25 {
		f := e.upload([]byte{byte(i)}, store.FileSpec{Tags: &[]string{fmt.Sprint("t", i%5)}})
		ids = append([]string{f.ID}, ids...)
		time.Sleep(2 * time.Millisecond) // ids have the resolution of a millisecond
	}
	for _, q := range []store.Query{{Limit: 7}, {Limit: 25}, {}, {Limit: 7, All: true}} {
		c := alice
		if q.All {
			c = root
		}
		var got []string
		for {
			page, err := e.Files(e.ctx(), c, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range page.Items {
				got = append(got, f.ID)
			}
			if page.Next == "" {
				break
			}
			q.Cursor = page.Next
		}
		if fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("%+v: got %v, want %v", q, got, ids)
		}
	}
	page, err := e.Files(e.ctx(), alice, store.Query{Tag: "t3"})
	if err != nil || len(page.Items) != 5 {
		t.Errorf("tag: %d items, %v", len(page.Items), err)
	}
	for _, q := range []store.Query{{Limit: -1}, {Limit: 1001}, {Cursor: "nonsense"}} {
		_, err := e.Files(e.ctx(), alice, q)
		e.want(err, store.Invalid, "")
	}
	if page, err := e.Files(e.ctx(), bob, store.Query{}); err != nil || len(page.Items) != 0 {
		t.Errorf("bob sees %d files, %v", len(page.Items), err)
	}
	_, err = e.Files(e.ctx(), bob, store.Query{All: true})
	e.want(err, store.Denied, "")
}

func testPermissions(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	ref, _ := e.token([]byte("secret"), 1)
	file := store.Ref{Session: ref.Session, File: ref.File}
	up := store.Ref{File: e.upload([]byte("x"), store.FileSpec{}).ID}
	for name, call := range map[string]func(c store.Caller) error{
		"info":       func(c store.Caller) error { _, err := e.File(e.ctx(), c, up); return err },
		"patch":      func(c store.Caller) error { _, err := e.PatchFile(e.ctx(), c, up, store.FileSpec{}); return err },
		"file info":  func(c store.Caller) error { _, err := e.File(e.ctx(), c, file); return err },
		"file bytes": func(c store.Caller) error { _, err := e.Open(e.ctx(), c, file); return err },
		"tokens":     func(c store.Caller) error { _, err := e.Tokens(e.ctx(), c, file, store.Query{}); return err },
		"new token":  func(c store.Caller) error { _, err := e.CreateToken(e.ctx(), c, file, store.TokenSpec{}); return err },
		"session":    func(c store.Caller) error { _, err := e.Session(e.ctx(), c, ref.Session); return err },
		"session patch": func(c store.Caller) error {
			_, err := e.PatchSession(e.ctx(), c, ref.Session, store.SessionSpec{})
			return err
		},
		"new file": func(c store.Caller) error {
			_, err := e.CreateFile(e.ctx(), c, ref.Session, store.FileSpec{})
			return err
		},
		"files": func(c store.Caller) error {
			_, err := e.Files(e.ctx(), c, store.Query{Session: ref.Session})
			return err
		},
	} {
		e.want(call(link), store.Unauthenticated, "")
		e.want(call(bob), store.Denied, "")
		for _, c := range []store.Caller{alice, root} {
			if err := call(c); err != nil {
				t.Errorf("%s by %s: %v", name, c.Name, err)
			}
		}
	}
	e.want(e.DeleteFile(e.ctx(), bob, up), store.Denied, "")
	e.want(e.DeleteSession(e.ctx(), bob, ref.Session), store.Denied, "")
	e.want(e.DeleteToken(e.ctx(), bob, ref), store.Denied, "")
	e.want(e.MayUpload(e.ctx(), link, 1), store.Unauthenticated, "")
	_, err := e.fetch(link, store.Ref{Session: ref.Session, File: up.File, Token: ref.Token}, 0, 1)
	e.want(err, store.NotFound, "")

	open2 := start(t, open, store.Options{AnonymousUploads: true, OpenSessions: true, PrivateDownloads: true})
	ref2, _ := open2.token([]byte("x"), 1)
	if err := open2.MayUpload(e.ctx(), link, 1); err != nil {
		t.Error(err)
	}
	if _, err := open2.Session(e.ctx(), link, ref2.Session); err != nil {
		t.Error(err)
	}
	_, err = open2.fetch(link, ref2, 0, 1)
	open2.want(err, store.Unauthenticated, "")
	if _, err = open2.fetch(bob, ref2, 0, 1); err != nil {
		t.Error(err)
	}
}

func testQuota(t *testing.T, open Pair) {
	e := start(t, open, store.Options{UserQuota: 10_000, Inline: 500})
	var ok, refused atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var ids []string
	for range 50 {
		wg.Go(func() {
			c, err := e.Receive(e.ctx(), alice, bytes.NewReader(make([]byte, 1000)), store.Incoming{Size: -1})
			if store.KindOf(err) == store.Quota {
				refused.Add(1)
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Discard()
			f, err := e.CreateUpload(e.ctx(), alice, store.FileSpec{}, c)
			switch {
			case err == nil:
				ok.Add(1)
				mu.Lock()
				ids = append(ids, f.ID)
				mu.Unlock()
			case store.KindOf(err) == store.Quota:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ok.Load() != 10 || refused.Load() != 40 {
		t.Errorf("%d uploads within the quota, %d refused, want 10 and 40", ok.Load(), refused.Load())
	}
	for _, n := range []int64{1, math.MaxInt64} {
		e.want(e.MayUpload(e.ctx(), alice, n), store.Quota, "")
	}
	session, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Members: &[]string{bob.Name}})
	if err != nil {
		t.Fatal(err)
	}
	e.want(e.MayFill(e.ctx(), bob, session.ID, 1), store.Quota, "") // its owner's
	e.want(e.MayFill(e.ctx(), link, session.ID, 1), store.Unauthenticated, "")
	if err := e.MayUpload(e.ctx(), bob, 1); err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		if err := e.DeleteFile(e.ctx(), alice, store.Ref{File: id}); err != nil {
			t.Error(err)
		}
	}
	if err := e.MayUpload(e.ctx(), alice, 10_000); err != nil {
		t.Error(err)
	}
	if err := e.MayFill(e.ctx(), alice, session.ID, 10_000); err != nil {
		t.Error(err)
	}
	e.want(e.MayFill(e.ctx(), alice, session.ID, 10_001), store.Quota, "")
	if err := e.DeleteSession(e.ctx(), alice, session.ID); err != nil {
		t.Error(err)
	}
	e.purge()
	e.empty()
}

func testSpace(t *testing.T, open Pair) {
	var free atomic.Int64
	free.Store(1 << 30)
	e := start(t, open, store.Options{FreeSpace: 1000, Free: func() (int64, error) { return free.Load(), nil }})
	e.upload([]byte("x"), store.FileSpec{})
	e.want(e.MayUpload(e.ctx(), alice, 1<<30-999), store.NoSpace, "")
	if _, err := e.Receive(e.ctx(), alice, bytes.NewReader(make([]byte, 5000)), store.Incoming{Size: 100}); err == nil {
		t.Error("more than was announced is taken")
	}
	time.Sleep(60 * time.Millisecond) // as below
	e.want(e.MayUpload(e.ctx(), alice, 1<<30-999), store.NoSpace, "")
	free.Store(999)
	time.Sleep(60 * time.Millisecond) // the engine remembers the answer for 50 ms
	_, err := e.Receive(e.ctx(), alice, strings.NewReader("x"), store.Incoming{Size: -1})
	e.want(err, store.NoSpace, "")
	free.Store(20 << 20)
	shrinking := io.MultiReader(&failing{17 << 20, io.EOF}, readerFunc(func(p []byte) (int, error) {
		free.Store(999)
		return len(p), nil
	}))
	_, err = e.Receive(e.ctx(), alice, shrinking, store.Incoming{Size: -1})
	e.want(err, store.NoSpace, "")
	if keys := e.leftBlobs(); len(keys) > 0 {
		t.Errorf("blobs left: %v", keys)
	}
}
