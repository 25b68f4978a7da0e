package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// race fetches ref whole from n goroutines and returns how many got it; all
// others must have been refused as busy or used up.
func (e *env) race(ref store.Ref, n int, data []byte) int64 {
	e.t.Helper()
	var got atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			b, err := e.fetch(link, ref, 0, int64(len(data)))
			switch k := store.KindOf(err); {
			case err == nil && bytes.Equal(b, data):
				got.Add(1)
			case err == nil:
				e.t.Error("other bytes than were stored")
			case k != store.Busy && k != store.Used:
				e.t.Error(err)
			}
		})
	}
	wg.Wait()
	return got.Load()
}

func testOneUse(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	for _, n := range []int{1, 500, 5000} {
		data := random(n)
		ref, f := e.token(data, 1)
		for range 3 { // nothing of this takes a use
			d, err := e.Open(e.ctx(), link, ref)
			if err != nil {
				t.Fatal(err)
			}
			d.Close()
		}
		if got := e.race(ref, 200, data); got != 1 {
			t.Errorf("%d bytes: %d of 200 got a one-time token's content", n, got)
		}
		_, err := e.Open(e.ctx(), link, ref)
		e.want(err, store.Used, "token used")
		// The session's owner reads on without it.
		if _, err := e.fetch(alice, store.Ref{Session: ref.Session, File: f.ID}, 0, int64(n)); err != nil {
			t.Error(err)
		}
	}
	// The empty content has no bytes to count and is counted all the same.
	ref, _ := e.token(nil, 1)
	if _, err := e.fetch(link, ref, 0, 0); err != nil {
		t.Error(err)
	}
	_, err := e.fetch(link, ref, 0, 0)
	e.want(err, store.Used, "token used")
}

func testManyUses(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	data := random(300)
	ref, _ := e.token(data, 10)
	var got int64
	for got < 10 { // whoever was told that it is busy comes again
		n := e.race(ref, 40, data)
		if got += n; n == 0 {
			break
		}
	}
	if got != 10 {
		t.Errorf("%d downloads of 10", got)
	}
	_, err := e.fetch(link, ref, 0, 1)
	e.want(err, store.Used, "token used")
}

// part is a request that has been reserved and not settled.
func (e *env) part(ref store.Ref, from, to int64) (*store.Download, error) {
	e.t.Helper()
	d, err := e.Open(e.ctx(), link, ref)
	if err != nil {
		return nil, err
	}
	e.t.Cleanup(func() { d.Close() })
	return d, d.Reserve(e.ctx(), []store.Span{{From: from, To: to}})
}

func (e *env) settle(d *store.Download, delivered, doubtful []store.Span) {
	e.t.Helper()
	if err := d.Settle(e.ctx(), delivered, doubtful); err != nil {
		e.t.Error(err)
	}
}

func span(from, to int64) []store.Span { return []store.Span{{From: from, To: to}} }

func testPieces(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	ref, _ := e.token(random(800), 1)
	var parts []*store.Download
	for i := range int64(8) { // eight ranges at once are one use
		d, err := e.part(ref, i*100, i*100+100)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, d)
	}
	_, err := e.part(ref, 50, 60)
	e.want(err, store.Busy, "")
	_, err = e.part(ref, 0, 800)
	e.want(err, store.Busy, "")
	for i, d := range parts[:7] {
		e.settle(d, span(int64(i)*100, int64(i)*100+100), nil)
	}
	if d, err := e.part(ref, 0, 100); err != nil { // again, before the use is complete
		t.Error(err)
	} else {
		e.settle(d, span(0, 100), nil)
	}
	e.settle(parts[7], span(700, 800), nil)
	_, err = e.part(ref, 0, 100)
	e.want(err, store.Used, "token used")
}

func testBroken(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	ref, _ := e.token(random(1000), 1)
	for range 3 { // breaks at 600, of which the last 200 may not have arrived
		d, err := e.part(ref, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		e.settle(d, span(0, 400), span(400, 600))
	}
	d, err := e.part(ref, 0, 1) // a probe
	if err != nil {
		t.Fatal(err)
	}
	e.settle(d, span(0, 1), nil)
	if d, err = e.part(ref, 550, 1000); err != nil { // the client has 550
		t.Fatal(err)
	}
	_, err = e.part(ref, 600, 1000)
	e.want(err, store.Busy, "")
	e.settle(d, span(550, 1000), nil)
	_, err = e.part(ref, 0, 1000)
	e.want(err, store.Used, "token used")

	ref, _ = e.token(random(1000), 1)
	d, err = e.part(ref, 0, 1000) // nothing went out: as if it had never been
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	d, err = e.part(ref, 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	e.settle(d, nil, span(0, 500)) // in doubt, and nobody says otherwise: not complete
	d, err = e.part(ref, 500, 1000)
	if err != nil {
		t.Fatal(err)
	}
	e.settle(d, span(500, 1000), nil)
	_, err = e.Open(e.ctx(), link, ref)
	e.want(err, store.Used, "token used") // asking from 500 said that 500 are there
}

func testRestart(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	ref, _ := e.token(random(1000), 1)
	if _, err := e.part(ref, 0, 1000); err != nil {
		t.Fatal(err)
	}
	_, err := e.part(ref, 0, 1000)
	e.want(err, store.Busy, "")
	e.reboot()
	d, err := e.part(ref, 300, 1000) // continues at once
	if err != nil {
		t.Fatal(err)
	}
	e.settle(d, span(300, 1000), nil)
	_, err = e.part(ref, 0, 1000)
	e.want(err, store.Used, "token used")
	e.reboot()
	_, err = e.part(ref, 0, 1000)
	e.want(err, store.Used, "token used")
}

func testLease(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Lease: 50 * time.Millisecond})
	ref, _ := e.token(random(1000), 1)
	d, err := e.part(ref, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	e.settle(d, span(0, 999), nil)
	until(time.Now().Add(60 * time.Millisecond))
	if d, err = e.part(ref, 999, 1000); err != nil { // the first use has lapsed, this is a new one
		t.Fatal(err)
	}
	e.settle(d, span(999, 1000), nil)
	if d, err = e.part(ref, 0, 1000); err != nil {
		t.Fatal(err)
	}
	until(time.Now().Add(60 * time.Millisecond))
	_, err = e.part(ref, 0, 1000) // a running transfer does not lapse
	e.want(err, store.Busy, "")
	e.settle(d, span(0, 1000), nil)
	_, err = e.part(ref, 0, 1000)
	e.want(err, store.Used, "token used")
	if s := e.Stats(); s.Lapsed == 0 || s.Completed == 0 || s.Busy == 0 || s.Reserved == 0 {
		t.Errorf("stats: %+v", s)
	}
}

func testReset(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	ref, _ := e.token(random(1000), 1)
	d, err := e.part(ref, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	e.settle(d, span(0, 1000), nil)
	d.Close()
	_, err = e.part(ref, 0, 1000)
	e.want(err, store.Used, "token used")
	for range 2 { // the second has nothing to take back
		if err := d.Reopen(e.ctx(), span(200, 1000)); err != nil {
			t.Error(err)
		}
	}
	if d, err = e.part(ref, 700, 1000); err != nil {
		t.Fatal(err)
	}
	e.settle(d, span(700, 1000), nil)
	_, err = e.part(ref, 0, 1000)
	e.want(err, store.Used, "token used")
}

func testBurn(t *testing.T, open Pair) {
	e := start(t, open, store.Options{BurnAtStart: true})
	ref, _ := e.token(random(1000), 1)
	d, err := e.part(ref, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	e.settle(d, span(0, 10), nil)
	_, err = e.part(ref, 0, 1000)
	e.want(err, store.Used, "token used")
}

func testUsedUpload(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 100})
	data := random(1000)
	f := e.upload(data, store.FileSpec{MaxDownloads: new(int64(2))})
	ref := store.Ref{File: f.ID}
	for range 2 {
		if got := e.race(ref, 1, data); got != 1 {
			t.Errorf("%d downloads", got)
		}
	}
	_, err := e.fetch(link, ref, 0, 1000)
	e.want(err, store.Used, "upload used")
	if _, err := e.PatchFile(e.ctx(), alice, ref, store.FileSpec{MaxDownloads: new(int64(3))}); err != nil {
		t.Fatal(err)
	}
	if got := e.race(ref, 20, data); got != 1 {
		t.Errorf("%d downloads after one more was allowed", got)
	}
	g, err := e.File(e.ctx(), alice, ref)
	if err != nil || g.Downloads != 3 {
		t.Errorf("got %+v, %v", g, err)
	}
}

func testTally(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	f := e.upload([]byte("abc"), store.FileSpec{})
	ref := store.Ref{File: f.ID}
	for range 5 {
		if _, err := e.fetch(link, ref, 0, 3); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.fetch(link, ref, 0, 2); err != nil { // a part is no download
		t.Fatal(err)
	}
	// It is shown at once, written later, and not shown twice.
	for range 2 {
		if g, err := e.File(e.ctx(), alice, ref); err != nil || g.Downloads != 5 {
			t.Errorf("got %+v, %v", g, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e.boot()
	}
	// Downloads by a token are a statistic of its file: they never spend a
	// limit that the file has of its own.
	tok, file := e.token([]byte("abc"), 1)
	own := store.Ref{Session: tok.Session, File: tok.File}
	if _, err := e.PatchFile(e.ctx(), alice, own, store.FileSpec{MaxDownloads: new(int64(1))}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.fetch(link, tok, 0, file.Size); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e.boot()
	if _, err := e.fetch(alice, own, 0, file.Size); err != nil {
		t.Errorf("the token's download spent the file's own limit: %v", err)
	}
}

func testSweep(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 10})
	f := e.upload(random(1000), store.FileSpec{})
	lost, err := e.Receive(e.ctx(), alice, bytes.NewReader(random(1000)), store.Incoming{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	received := make(chan *store.Content)
	go func() {
		c, err := e.Receive(context.Background(), alice, reader, store.Incoming{Size: -1})
		if err != nil {
			t.Error(err)
		}
		received <- c
	}()
	writer.Write(random(500)) // is in the middle of being written
	if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 0 {
		t.Errorf("sweep: %+v, %v", r, err)
	}
	writer.Write(random(500))
	writer.Close()
	c := <-received
	defer c.Discard()
	if c.Size() != 1000 {
		t.Errorf("received %d bytes", c.Size())
	}
	_ = lost // as after a crash: nobody attaches or discards it
	e.reboot()
	if r, err := e.Sweep(e.ctx(), time.Hour); err != nil || r.Removed != 0 {
		t.Errorf("sweep of old ones: %+v, %v", r, err)
	}
	if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 2 || r.Bytes != 2000 {
		t.Errorf("sweep: %+v, %v", r, err)
	}
	if got, err := e.fetch(link, store.Ref{File: f.ID}, 0, 1000); err != nil || len(got) != 1000 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func testManyToPurge(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 100})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 150 {
				if i%2 == 0 {
					e.file(s.ID, random(20))
					continue
				}
				f := e.upload(random(20), store.FileSpec{})
				if _, err := e.PatchFile(e.ctx(), alice, store.Ref{File: f.ID}, store.FileSpec{TTL: new(time.Second)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s, err = e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{TTL: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	until(s.Expires)
	if r := e.purge(); r.Files != 1200 || r.Sessions != 1 || r.Bytes != 24_000 {
		t.Errorf("purge: %+v", r)
	}
	e.empty()
}

func testStoreRace(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 100})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.CreateFile(e.ctx(), alice, s.ID, store.FileSpec{})
	if err != nil {
		t.Fatal(err)
	}
	ref := store.Ref{Session: s.ID, File: f.ID}
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c, err := e.Receive(e.ctx(), alice, bytes.NewReader(random(50+10*i)), store.Incoming{Size: -1})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Discard()
			if _, err = e.StoreFile(e.ctx(), alice, ref, store.FileSpec{}, c); err == nil {
				won.Add(1)
			} else if store.KindOf(err) != store.Conflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d contents stored for one file", won.Load())
	}
	if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 0 {
		t.Errorf("the losers left something: %+v, %v", r, err)
	}
}

// testFaults lets every single call of the backends fail once, with and
// without having been applied, during the life of a few files. Whatever
// happens: what was acknowledged is there, what was refused is not, and after
// a restart and a sweep nothing is left over.
func testFaults(t *testing.T, open Pair) {
	for _, applied := range []bool{false, true} {
		for nth := int64(1); ; nth++ {
			if !t.Run(fmt.Sprintf("call %d applied %v", nth, applied), func(t *testing.T) {
				if !oneFault(t, open, nth, applied) {
					nth = -1
				}
			}) || nth < 0 {
				break
			}
		}
	}
}

// oneFault runs the scenario with the nth call failing; false when there are
// fewer calls.
func oneFault(t *testing.T, open Pair, nth int64, applied bool) bool {
	records, blobs := open(t)
	var calls atomic.Int64
	var armed atomic.Bool
	fault := func(string) Fault {
		if !armed.Load() || calls.Add(1) != nth {
			return None
		}
		if applied {
			return ApplyThenFail
		}
		return Fail
	}
	faulty := func(t testing.TB) (store.Records, store.Blobs) {
		return FaultyRecords(records, fault), FaultyBlobs(blobs, fault)
	}
	e := start(t, faulty, store.Options{Inline: 100})
	armed.Store(true)
	acked := map[string][]byte{}
	for i, n := range []int{50, 500, 60, 600} {
		data := random(n)
		c, err := e.Receive(e.ctx(), alice, bytes.NewReader(data), store.Incoming{Size: -1})
		if err != nil {
			continue
		}
		f, err := e.CreateUpload(e.ctx(), alice, store.FileSpec{Tags: &[]string{"t"}}, c)
		c.Discard()
		if err != nil {
			continue
		}
		acked[f.ID] = data
		if i < 2 {
			// After a failed deletion either is right: it was not acknowledged.
			e.DeleteFile(e.ctx(), alice, store.Ref{File: f.ID})
			delete(acked, f.ID)
		}
	}
	e.Purge(e.ctx())
	more := calls.Load() >= nth
	armed.Store(false)
	e.reboot()
	if _, err := e.Sweep(e.ctx(), 0); err != nil {
		t.Fatal(err)
	}
	for id, data := range acked {
		got, err := e.fetch(link, store.Ref{File: id}, 0, int64(len(data)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("acknowledged content: %d bytes, %v", len(got), err)
		}
	}
	page, err := e.Files(e.ctx(), alice, store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range page.Items { // whatever is visible is whole
		if got, err := e.fetch(link, store.Ref{File: f.ID}, 0, f.Size); err != nil || int64(len(got)) != f.Size {
			t.Errorf("visible content: %d bytes of %d, %v", len(got), f.Size, err)
		}
		if err := e.DeleteFile(e.ctx(), alice, store.Ref{File: f.ID}); err != nil {
			t.Error(err)
		}
	}
	e.purge()
	if _, err := e.Sweep(e.ctx(), 0); err != nil {
		t.Fatal(err)
	}
	if e.leftRecords(store.TrashRecords) > 0 { // a deletion that failed is due again in a second
		until(time.Now().Add(time.Second))
		e.purge()
	}
	e.Close()
	e.boot()
	e.empty()
	return more
}
