package storetest

import (
	"bytes"
	"testing"
	"time"

	"fileshare/store"
)

// Files known by their ids alone, and statements known by their signatures:
// what faces need whose own URLs tell less than ours.

func testLocate(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	up := e.upload([]byte("x"), store.FileSpec{})
	ref, _ := e.token([]byte("secret"), 1)
	for _, want := range []store.Ref{{File: up.ID}, {Session: ref.Session, File: ref.File}} {
		got, err := e.Locate(e.ctx(), alice, want.File)
		if err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		_, err = e.Locate(e.ctx(), bob, want.File)
		e.want(err, store.Denied, "")
		_, err = e.Locate(e.ctx(), link, want.File)
		e.want(err, store.Unauthenticated, "")
		if _, err := e.Locate(e.ctx(), root, want.File); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "nonsense", ref.Session, ref.Token} {
		_, err := e.Locate(e.ctx(), alice, id)
		e.want(err, store.NotFound, "file not found")
	}
	if err := e.DeleteSession(e.ctx(), alice, ref.Session); err != nil {
		t.Fatal(err)
	}
	_, err := e.Locate(e.ctx(), alice, ref.File)
	e.want(err, store.NotFound, "")
	short := e.upload([]byte("x"), store.FileSpec{TTL: new(time.Second)})
	until(short.Expires)
	_, err = e.Locate(e.ctx(), alice, short.ID)
	e.want(err, store.Expired, "upload expired")
}

func testSigned(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	said := []byte("until noon")
	signature := e.Sign("doors", said)
	e.reboot()
	if !e.Signed("doors", said, signature) {
		t.Error("not known again after a restart")
	}
	if bytes.Equal(signature, e.Sign("gates", said)) || e.Signed("gates", said, signature) {
		t.Error("good for another purpose")
	}
	if e.Signed("doors", []byte("until one"), signature) || e.Signed("doors", said, signature[:31]) || e.Signed("doors", said, nil) {
		t.Error("good for something else")
	}
	other := start(t, open, store.Options{})
	if other.Signed("doors", said, signature) {
		t.Error("good for another daemon's records")
	}
}
