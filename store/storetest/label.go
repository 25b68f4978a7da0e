package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

// label is what the contents say of whose they are; empty: nothing.
func (e *env) label() string {
	e.t.Helper()
	for info, err := range e.blobs.List(e.ctx(), store.AllShards) {
		if err != nil {
			e.t.Fatal(err)
		}
		if info.Key != labelKey {
			continue
		}
		r, err := e.blobs.Open(e.ctx(), labelKey, 0, info.Size)
		if err != nil {
			e.t.Fatal(err)
		}
		defer r.Close()
		text, err := io.ReadAll(io.LimitReader(r, info.Size))
		if err != nil {
			e.t.Fatal(err)
		}
		return string(text)
	}
	return ""
}

// begins tries to start an engine over backends, as a daemon does.
func (e *env) begins(records store.Records, blobs store.Blobs) error {
	s, err := store.New(e.ctx(), records, blobs, e.o)
	if err == nil {
		err = s.Close()
	}
	return err
}

// older makes records and blobs those of a version that knew of no label.
func (e *env) older() {
	e.t.Helper()
	e.raw(func(tx store.Tx) error { return tx.Delete(store.MetaRecords, []byte("store")) })
	e.rewrite(labelKey, nil)
}

// testLabel: the first start labels the contents, and a later one costs one small
// read; neither sweep nor check nor the list of a result counts the label.
func testLabel(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 10})
	text := e.label()
	if len(text) != 33 {
		t.Fatalf("the contents are labelled %q", text)
	}
	for range 2 {
		e.upload(random(100), store.FileSpec{})
	}
	if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 0 || r.Seen != len(e.leftBlobs()) {
		t.Errorf("swept %+v, %v", r, err)
	}
	e.Close()
	e.sound()
	calls := map[string]int{}
	var mu sync.Mutex // guards calls
	err := e.begins(e.records, FaultyBlobs(e.blobs, func(op string) Fault {
		mu.Lock()
		defer mu.Unlock()
		calls[op]++
		return None
	}))
	if err != nil || len(calls) != 1 || calls["Open"] != 1 {
		t.Errorf("a start makes the calls %v, %v", calls, err)
	}
	if now := e.label(); now != text {
		t.Errorf("the label was %q and is %q", text, now)
	}
}

// testLabelForeign: over contents of others nothing begins, is swept, repaired or
// copied, unless they are adopted.
func testLabelForeign(t *testing.T, open Pair) {
	o := store.Options{Inline: 10}
	ours, others := start(t, open, o), start(t, open, o)
	f := ours.upload(random(100), store.FileSpec{})
	others.upload(random(100), store.FileSpec{})

	// A daemon that runs already sweeps no more.
	if err := ours.blobs.Delete(ours.ctx(), labelKey); err != nil {
		t.Fatal(err)
	}
	ours.rewrite(labelKey, []byte(others.label()))
	if _, err := ours.Sweep(ours.ctx(), 0); !errors.Is(err, store.ErrForeign) {
		t.Errorf("a sweep over contents of others: %v", err)
	}
	if _, err := ours.SweepDue(ours.ctx(), 0, hourly); !errors.Is(err, store.ErrForeign) {
		t.Errorf("a shared sweep over contents of others: %v", err)
	}
	ours.Close()
	others.Close()
	ours.adopt()

	wrong := store.Backend{Records: ours.records, Blobs: others.blobs, Exclusive: true}
	label := others.label()
	for what, try := range map[string]func() error{
		"a start": func() error { return ours.begins(wrong.Records, wrong.Blobs) },
		"a repair": func() error {
			_, err := store.Check(ours.ctx(), wrong, store.CheckOptions{Repair: true})
			return err
		},
		"a backup": func() error {
			_, err := store.Backup(ours.ctx(), wrong, io.Discard, store.BackupOptions{})
			return err
		},
		"a move": func() error {
			_, err := store.Move(ours.ctx(), wrong, over(t, open, o).backend(), store.MoveOptions{})
			return err
		},
	} {
		if err := try(); !errors.Is(err, store.ErrForeign) {
			t.Errorf("%s over contents of others: %v", what, err)
		}
	}
	if others.label() != label || len(others.leftBlobs()) != 1 {
		t.Errorf("contents of others are labelled %q, were %q; %d are left", others.label(), label, len(others.leftBlobs()))
	}
	var kinds []store.ProblemKind
	_, err := store.Check(ours.ctx(), wrong, store.CheckOptions{Found: func(p store.Problem) { kinds = append(kinds, p.Kind) }})
	if err != nil || !slices.Contains(kinds, store.Mislabel) {
		t.Errorf("a check finds %v, %v", kinds, err)
	}

	// Where they belong both begin as before.
	ours.boot()
	if got, err := ours.fetch(link, store.Ref{File: f.ID}, 0, 100); err != nil || len(got) != 100 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	ours.Close()
	others.boot()
	others.Close()

	// Adopted on purpose they are ours, and the others are kept off.
	if _, err := store.Adopt(ours.ctx(), wrong); err != nil {
		t.Fatal(err)
	}
	if err := ours.begins(wrong.Records, wrong.Blobs); err != nil {
		t.Errorf("over what was adopted: %v", err)
	}
	if err := others.begins(others.records, others.blobs); !errors.Is(err, store.ErrForeign) {
		t.Errorf("over what others have adopted: %v", err)
	}
	if len(others.leftBlobs()) != 1 {
		t.Error("to adopt contents has removed some")
	}
}

// adopt makes the contents those of the records.
func (e *env) adopt() {
	e.t.Helper()
	if _, err := store.Adopt(e.ctx(), e.backend()); err != nil {
		e.t.Fatal(err)
	}
}

// testLabelMissing: what older versions have left is labelled where it is not
// strange, and so is what has lost its label, or half of it.
func testLabelMissing(t *testing.T, open Pair) {
	o := store.Options{Inline: 10}
	e, others := start(t, open, o), start(t, open, o)
	for range 2 {
		e.upload(random(100), store.FileSpec{TTL: new(time.Hour)})
	}
	e.Close()
	text := e.label()
	for name, harm := range map[string]func(){
		"lost":    func() { e.rewrite(labelKey, nil) },
		"cut off": func() { e.rewrite(labelKey, []byte(text[:7])) },
		"empty":   func() { e.rewrite(labelKey, []byte{}) },
		"junk":    func() { e.rewrite(labelKey, bytes.Repeat([]byte("?"), len(text))) },
	} {
		harm()
		e.boot()
		if now := e.label(); now != text {
			t.Errorf("%s: the label is %q, want %q", name, now, text)
		}
		e.rewrite(labelKey, nil)
		if _, err := e.Sweep(e.ctx(), 0); err != nil || e.label() != text {
			t.Errorf("%s: after a sweep the label is %q, %v", name, e.label(), err)
		}
		e.Close()
	}
	e.older()
	e.boot()
	e.Close()
	if now := e.label(); len(now) != len(text) || now == text {
		t.Errorf("an older store is labelled %q", now)
	}

	// It is not taken for what it should be where nothing is, nor over a label that
	// records from before it do not know.
	e.older()
	others.Close()
	if err := e.begins(e.records, others.blobs); !errors.Is(err, store.ErrForeign) {
		t.Errorf("older records over labelled contents: %v", err)
	}
	others.older()
	if err := e.begins(e.records, others.blobs); !errors.Is(err, store.ErrForeign) || others.label() != "" {
		t.Errorf("where no content is: %v, labelled %q", err, others.label())
	}
	e.boot()
	e.Close()
	if err := e.begins(e.records, others.blobs); !errors.Is(err, store.ErrForeign) || others.label() != "" {
		t.Errorf("with an id, where no content is: %v, labelled %q", err, others.label())
	}
	if err := e.begins(e.records, e.blobs); err != nil {
		t.Error(err)
	}
}

// testLabelOrphaned: new records do not begin over what others have left.
func testLabelOrphaned(t *testing.T, open Pair) {
	o := store.Options{Inline: 10}
	e := start(t, open, o)
	e.Close()
	lost := over(t, open, o)
	refused := func(what string) {
		t.Helper()
		if err := e.begins(lost.records, e.blobs); !errors.Is(err, store.ErrOrphaned) {
			t.Errorf("over %s: %v", what, err)
		}
		if _, err := store.Adopt(e.ctx(), store.Backend{Records: lost.records, Blobs: e.blobs, Exclusive: true}); !errors.Is(err, store.ErrNothing) {
			t.Errorf("nobody adopts %s: %v", what, err)
		}
		if n := len(dump(t, lost.records, store.MetaRecords, nil, nil)); n != 0 {
			t.Errorf("over %s %d records were made", what, n)
		}
	}
	refused("a label")
	e.boot()
	e.upload(random(100), store.FileSpec{})
	e.Close()
	refused("labelled contents")
	e.rewrite(labelKey, nil)
	refused("contents")
}

// testLabelFaults: whichever call of a first start fails, or of one after an upgrade,
// the next one is as if it had not.
func testLabelFaults(t *testing.T, open Pair) {
	for _, fault := range []Fault{Fail, ApplyThenFail} {
		for _, upgrade := range []bool{false, true} {
			for nth, more := int64(1), true; more && !t.Failed(); nth++ {
				t.Run(fmt.Sprintf("call %d applied %v upgrade %v", nth, fault == ApplyThenFail, upgrade), func(t *testing.T) {
					o := store.Options{Inline: 10}
					e := over(t, open, o)
					if upgrade {
						e.boot()
						e.upload(random(100), store.FileSpec{})
						e.Close()
						e.older()
					}
					c := &oneCall{nth: nth, fault: fault}
					c.armed.Store(true)
					s, err := store.New(e.ctx(), FaultyRecords(e.records, c.decide), FaultyBlobs(e.blobs, c.decide), e.o)
					c.armed.Store(false)
					if err == nil {
						s.Close()
					}
					more = c.calls.Load() >= nth
					e.boot()
					defer e.Close()
					if len(e.label()) == 0 {
						t.Error("there is no label")
					}
					e.upload(random(100), store.FileSpec{})
					if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 0 {
						t.Errorf("swept %+v, %v", r, err)
					}
				})
			}
		}
	}

	// A disk that is full, or a server that is away, keeps no daemon from its files.
	for op, cause := range map[string]error{"Put": store.ErrNoSpace, "Open": store.ErrUnavailable} {
		e := start(t, open, store.Options{Inline: 10})
		f := e.upload(random(100), store.FileSpec{})
		e.Close()
		e.rewrite(labelKey, nil)
		blobs := &ailing{Blobs: e.blobs, op: op, err: cause}
		whole := e.blobs
		e.blobs = blobs
		e.boot()
		blobs.over.Store(true)
		if _, err := e.fetch(link, store.Ref{File: f.ID}, 0, 100); err != nil {
			t.Error(err)
		}
		if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 0 || e.label() == "" {
			t.Errorf("swept %+v, %v, label %q", r, err, e.label())
		}
		e.Close()
		e.blobs = whole
	}
}

// ailing are blobs of which one kind of calls fails until it is over.
type ailing struct {
	store.Blobs
	op   string
	err  error
	over atomic.Bool
}

func (f *ailing) Put(ctx context.Context, key string, r io.Reader, size int64) (int64, error) {
	if f.op == "Put" && !f.over.Load() {
		return 0, f.err
	}
	return f.Blobs.Put(ctx, key, r, size)
}

func (f *ailing) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if f.op == "Open" && !f.over.Load() {
		return nil, f.err
	}
	return f.Blobs.Open(ctx, key, offset, n)
}

// testLabelRace: nodes that make a store together make one.
func testLabelRace(t *testing.T, open Pair) {
	for range 5 {
		e := over(t, open, store.Options{Inline: 10})
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				s, err := store.New(e.ctx(), e.records, e.blobs, e.o)
				if err != nil {
					t.Error(err)
					return
				}
				node := *e
				node.Store = s
				node.upload(random(100), store.FileSpec{})
				if _, err := s.SweepDue(e.ctx(), 0, hourly); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		if err := e.begins(e.records, e.blobs); err != nil {
			t.Error(err)
		}
		if n := len(e.leftBlobs()); n != 4 {
			t.Errorf("%d contents are left of 4", n)
		}
	}
}

// testLabelCopies: what is moved or restored is another store than what it was copied
// from; over the same contents it takes the place of that.
func testLabelCopies(t *testing.T, open Pair) {
	o := store.Options{Inline: 10}
	e := start(t, open, o)
	f := e.upload(random(100), store.FileSpec{TTL: new(time.Hour)})
	archive := e.backup()
	e.Close()
	to, _ := restored(t, open, archive, o, store.RestoreOptions{})
	to.Close()
	moved := over(t, open, o)
	if _, err := store.Move(e.ctx(), e.backend(), moved.backend(), store.MoveOptions{Keep: true}); err != nil {
		t.Fatal(err)
	}
	moved.boot()
	moved.Close()
	labels := []string{e.label(), to.label(), moved.label()}
	slices.Sort(labels)
	if len(slices.Compact(labels)) != 3 {
		t.Errorf("three stores are labelled %q", labels)
	}
	for _, wrong := range [][2]*env{{e, to}, {to, e}, {moved, e}, {e, moved}} {
		if err := e.begins(wrong[0].records, wrong[1].blobs); !errors.Is(err, store.ErrForeign) {
			t.Errorf("over the contents of a copy: %v", err)
		}
	}

	// Nothing is put beside what others may have, even if nothing is there yet.
	fresh := start(t, open, o)
	fresh.Close()
	beside := store.Backend{Records: over(t, open, o).records, Blobs: fresh.blobs, Exclusive: true}
	if _, err := store.Restore(e.ctx(), beside, bytes.NewReader(archive), store.RestoreOptions{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("restored beside others: %v", err)
	}
	if _, err := store.Move(e.ctx(), e.backend(), beside, store.MoveOptions{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("moved beside others: %v", err)
	}

	// Only records move.
	next := over(t, open, o)
	next.blobs = e.blobs
	if _, err := store.Move(e.ctx(), e.backend(), next.backend(), store.MoveOptions{Keep: true}); err == nil {
		t.Error("two keep the same contents")
	}
	if _, err := store.Move(e.ctx(), e.backend(), next.backend(), store.MoveOptions{}); err != nil {
		t.Fatal(err)
	}
	next.boot()
	if got, err := next.fetch(link, store.Ref{File: f.ID}, 0, 100); err != nil || len(got) != 100 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	next.Close()
	if err := store.Release(e.ctx(), e.records); err != nil {
		t.Fatal(err)
	}
	if err := e.begins(e.records, e.blobs); !errors.Is(err, store.ErrForeign) {
		t.Errorf("two begin over the same contents: %v", err)
	}
}

// testLabelAtRest: contents are not taken away from daemons at work.
func testLabelAtRest(t *testing.T, open Pair) {
	e := over(t, open, store.Options{})
	s, err := store.New(e.ctx(), e.records, e.blobs, e.o)
	if err != nil {
		t.Fatal(err)
	}
	b := e.backend()
	b.Exclusive = false
	if _, err := store.Adopt(e.ctx(), b); err == nil {
		t.Error("adopted while a daemon is at work")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text := e.label()
	id, err := store.Adopt(e.ctx(), b)
	if err != nil || id+"\n" != text || e.label() != text {
		t.Errorf("adopted as %s, labelled %q, was %q, %v", id, e.label(), text, err)
	}
}
