package storetest

import (
	"bytes"
	"errors"
	"testing"

	"fileshare/store"
)

// Whatever call fails: bytes that were acknowledged stay, the offset is that of
// bytes that are there, and the upload can be completed.
func testUnfinishedFaults(t *testing.T, open Pair) {
	eachCall(t, open, store.Options{Inline: 100}, oneUnfinishedFault)
}

func oneUnfinishedFault(e *env, c *oneCall) {
	t := e.t
	t.Helper()
	data := random(1200)
	ref, byPosition := e.begin(int64(len(data)), false), e.begin(300, false)
	c.armed.Store(true)
	at := int64(0)
	for _, n := range []int64{50, 100, 250, 100, 200, 500} {
		if p, err := e.Append(e.ctx(), alice, ref, bytes.NewReader(data[at:at+n]), piece(at)); err == nil {
			at = p.Offset
			continue
		}
		p, err := e.Progress(e.ctx(), alice, ref)
		if err != nil {
			p, err = e.Progress(e.ctx(), alice, ref)
		}
		if err != nil || p.Offset != at && p.Offset != at+n {
			t.Fatalf("%+v, %v, want %d or %d", p, err, at, at+n)
		}
		at = p.Offset
		break
	}
	for from := int64(0); from < 300; from += 100 {
		e.WriteAt(e.ctx(), alice, byPosition, bytes.NewReader(data[from:from+100]), from, 100, nil)
	}
	e.Finish(e.ctx(), alice, byPosition)
	c.armed.Store(false)
	e.reboot()
	if _, err := e.Sweep(e.ctx(), 0); err != nil {
		t.Fatal(err)
	}
	if p, err := e.Progress(e.ctx(), alice, ref); err != nil || p.Offset != at {
		t.Fatalf("%+v, %v, want %d", p, err, at)
	}
	if at < int64(len(data)) {
		e.append(ref, at, data[at:])
	}
	for from := int64(0); from < 300; from += 100 {
		if _, err := e.WriteAt(e.ctx(), alice, byPosition, bytes.NewReader(data[from:from+100]), from, 100, nil); err != nil && !errors.Is(err, store.ErrComplete) {
			t.Fatal(err)
		}
	}
	if _, err := e.Finish(e.ctx(), alice, byPosition); err != nil {
		t.Fatal(err)
	}
	e.isWhole(ref, data, true)
	e.isWhole(byPosition, data[:300], true)
	e.isExact(2, int64(len(data))+300)
}

// Whatever call fails: what the parts held is theirs, or the whole's.
func testConcatFaults(t *testing.T, open Pair) {
	eachCall(t, open, store.Options{Inline: 100}, func(e *env, c *oneCall) {
		data := random(600)
		parts := []store.Ref{e.begin(200, true), e.begin(0, true), e.begin(400, true)}
		e.append(parts[0], 0, data[:200])
		e.append(parts[2], 0, data[200:])
		c.armed.Store(true)
		p, err := e.Concat(e.ctx(), alice, store.FileSpec{}, parts)
		c.armed.Store(false)
		e.reboot()
		if _, err := e.Sweep(e.ctx(), 0); err != nil {
			e.t.Fatal(err)
		}
		again, err2 := e.Concat(e.ctx(), alice, store.FileSpec{}, parts)
		if err2 != nil || err == nil && p.File.ID != again.File.ID {
			e.t.Fatal(err2, p, again)
		}
		p = again
		e.isWhole(store.Ref{File: p.File.ID}, data, true)
		e.isExact(1, 600)
	})
}
