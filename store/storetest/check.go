package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fileshare/store"
)

// found runs a Check and returns the kinds of problems that it finds, and how many
// of them it repaired.
func (e *env) found(o store.CheckOptions) (kinds []store.ProblemKind, repaired int64) {
	e.t.Helper()
	o.Found = func(p store.Problem) { kinds = append(kinds, p.Kind) }
	sum, err := store.Check(e.ctx(), e.backend(), o)
	if err != nil {
		e.t.Fatal(err)
	}
	if sum.Problems != int64(len(kinds)) {
		e.t.Errorf("%d problems in %+v", len(kinds), sum)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), sum.Repaired
}

// raw changes records behind the engine's back.
func (e *env) raw(fn func(store.Tx) error) {
	e.t.Helper()
	if err := e.records.Update(e.ctx(), fn); err != nil {
		e.t.Fatal(err)
	}
}

// some returns a record of a collection whose id begins with prefix.
func (e *env) some(in store.Collection, prefix string) (item store.Item) {
	e.t.Helper()
	err := e.records.View(e.ctx(), func(tx store.Tx) error {
		for it, err := range tx.Scan(in, []byte(prefix), nil) {
			if err == nil {
				item = clone(it)
			}
			return err
		}
		return nil
	})
	if err != nil || item.ID == nil {
		e.t.Fatalf("nothing in %s with %q: %v", in, prefix, err)
	}
	return item
}

// blob returns a blob that is at least so long.
func (e *env) blob(least int64) store.BlobInfo {
	e.t.Helper()
	for info, err := range e.blobs.List(e.ctx(), store.AllShards) {
		if err != nil {
			e.t.Fatal(err)
		}
		if info.Size >= least && info.Key != labelKey {
			return info
		}
	}
	e.t.Fatalf("no blob of %d bytes", least)
	return store.BlobInfo{}
}

func (e *env) rewrite(key string, content []byte) {
	e.t.Helper()
	if err := e.blobs.Delete(e.ctx(), key); err != nil {
		e.t.Fatal(err)
	}
	if content == nil {
		return
	}
	if _, err := e.blobs.Put(e.ctx(), key, bytes.NewReader(content), int64(len(content))); err != nil {
		e.t.Fatal(err)
	}
}

func testCheck(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	m := e.mixed()
	e.purge()
	for range 6 { // victims
		e.upload(random(100_000), store.FileSpec{TTL: new(time.Hour)})
		e.upload(random(100), store.FileSpec{TTL: new(time.Hour)})
	}
	e.Close()
	if kinds, _ := e.found(store.CheckOptions{Deep: true}); len(kinds) > 0 {
		t.Fatalf("found %v where nothing is wrong", kinds)
	}
	kinds := func(all ...store.ProblemKind) []store.ProblemKind { return all }
	victim := func() store.BlobInfo {
		trash := dump(t, e.records, store.TrashRecords, nil, nil) // of victims before
		for info, err := range e.blobs.List(e.ctx(), store.AllShards) {
			if err != nil {
				t.Fatal(err)
			}
			gone := slices.ContainsFunc(trash, func(it store.Item) bool { return strings.HasPrefix(info.Key, hex.EncodeToString(it.ID)) })
			if info.Size == 100_000 && !gone {
				return info
			}
		}
		t.Fatal("no victim left")
		return store.BlobInfo{}
	}
	for _, c := range []struct {
		name string
		deep bool
		harm func()
		want []store.ProblemKind
	}{
		{"no blob", false, func() { e.rewrite(victim().Key, nil) }, kinds(store.Missing)},
		{"short blob", false, func() { e.rewrite(victim().Key, random(99_999)) }, kinds(store.WrongSize)},
		{"other bytes", true, func() { e.rewrite(victim().Key, random(100_000)) }, kinds(store.WrongSum)},
		{"orphan", false, func() { e.rewrite(strings.Repeat("0a", 16)+"/0", random(5)) }, kinds(store.Orphan)},
		{"orphan beyond a run", false, func() {
			run, _, _ := strings.Cut(victim().Key, "/")
			e.rewrite(run+"/99", random(5))
		}, kinds(store.Orphan)},
		{"not in a list", false, func() {
			e.raw(func(tx store.Tx) error { return tx.Delete(store.IndexRecords, e.some(store.IndexRecords, "o").ID) })
		}, kinds(store.Unlisted)},
		{"not in the list of runs", false, func() {
			e.raw(func(tx store.Tx) error { return tx.Delete(store.IndexRecords, e.some(store.IndexRecords, "b").ID) })
		}, kinds(store.Orphan, store.Unlisted)},
		{"run of another", false, func() {
			e.raw(func(tx store.Tx) error {
				return tx.Put(store.IndexRecords, e.some(store.IndexRecords, "b").ID, bytes.Repeat([]byte{7}, 16), time.Time{})
			})
		}, kinds(store.Orphan, store.Stray, store.Unlisted)},
		{"number of nothing", false, func() {
			e.raw(func(tx store.Tx) error {
				id := e.some(store.IndexRecords, "n").ID
				id[len(id)-17]++
				return tx.Put(store.IndexRecords, id, nil, time.Time{})
			})
		}, kinds(store.Stray)},
		{"list of another", false, func() {
			e.raw(func(tx store.Tx) error {
				id := e.some(store.IndexRecords, "o").ID
				return tx.Put(store.IndexRecords, append([]byte("o\x03bob"), id[len(id)-16:]...), nil, time.Time{})
			})
		}, kinds(store.Stray)},
		{"no small content", false, func() {
			for _, it := range dump(t, e.records, store.ContentRecords, nil, nil) {
				if len(it.Doc) == 100 && !bytes.Equal(it.Doc, goingBytes[:100]) {
					e.raw(func(tx store.Tx) error { return tx.Delete(store.ContentRecords, it.ID) })
					return
				}
			}
			t.Fatal("no small content")
		}, kinds(store.Missing)},
		{"small content of nothing", false, func() {
			e.raw(func(tx store.Tx) error { return tx.Put(store.ContentRecords, random(16), random(9), time.Time{}) })
		}, kinds(store.Stray)},
		{"downloads of nothing", false, func() {
			e.raw(func(tx store.Tx) error { return tx.Put(store.UseRecords, random(16), nil, time.Time{}) })
		}, kinds(store.Stray)},
		{"wrong counters", false, func() {
			e.raw(func(tx store.Tx) error { return tx.Delete(store.UsageRecords, e.some(store.UsageRecords, "").ID) })
		}, kinds(store.Miscount)},
		{"counters of nobody", false, func() {
			e.raw(func(tx store.Tx) error {
				return tx.Put(store.UsageRecords, []byte("unobody"), e.some(store.UsageRecords, "").Doc, time.Time{})
			})
		}, kinds(store.Miscount)},
		{"no end", false, func() {
			e.raw(func(tx store.Tx) error {
				for _, it := range dump(t, e.records, store.FileRecords, nil, nil) {
					if !it.Due.IsZero() {
						if err := tx.Put(store.FileRecords, it.ID, it.Doc, time.Time{}); err != nil {
							return err
						}
					}
				}
				return nil
			})
		}, kinds(store.Endless)},
		{"unreadable", false, func() {
			e.raw(func(tx store.Tx) error {
				it := e.some(store.IndexRecords, "o") // of the newest one, a victim
				return tx.Put(store.FileRecords, it.ID[len(it.ID)-16:], []byte{0xff, 0xff, 0xff}, time.Time{})
			})
		}, kinds(store.Damaged, store.Miscount)},
		{"no end of a login", false, func() {
			e.raw(func(tx store.Tx) error {
				it := e.some(store.LoginRecords, "")
				return tx.Put(store.LoginRecords, it.ID, it.Doc, time.Time{})
			})
		}, kinds(store.Endless)},
		{"no end of a session", false, func() {
			e.raw(func(tx store.Tx) error {
				it := e.some(store.SessionRecords, "")
				return tx.Put(store.SessionRecords, it.ID, it.Doc, it.Due.Add(time.Hour))
			})
		}, kinds(store.Endless)},
		{"no file of a token", false, func() {
			e.raw(func(tx store.Tx) error {
				it := e.some(store.TokenRecords, "")
				return tx.Put(store.TokenRecords, random(16), bytes.Replace(it.Doc, it.Doc[2:18], random(16), 1), time.Time{})
			})
		}, kinds(store.Stray)},
	} {
		c.harm()
		if got, repaired := e.found(store.CheckOptions{Deep: c.deep}); !slices.Equal(got, c.want) || repaired != 0 {
			t.Errorf("%s: found %v, repaired %d, want %v", c.name, got, repaired, c.want)
		}
		e.found(store.CheckOptions{Deep: c.deep, Repair: true})
		if got, _ := e.found(store.CheckOptions{Deep: true}); len(got) > 0 {
			t.Errorf("%s: found %v after the repair", c.name, got)
		}
	}
	e.boot()
	t.Cleanup(func() { e.Close() })
	e.has(m)
	e.purge()
	if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 0 {
		t.Errorf("swept %+v, %v", r, err)
	}
}

// testCheckLeft: what a repair must leave alone.
func testCheckLeft(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	data := random(100_000)
	f := e.upload(data, store.FileSpec{TTL: new(time.Hour)})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{})
	if err != nil {
		t.Fatal(err)
	}
	inSession := e.file(s.ID, random(5000))

	// A blob that is too long serves on; a young one may yet get its record.
	e.rewrite(e.blob(100_000).Key, append(bytes.Clone(data), 1))
	e.rewrite(strings.Repeat("0b", 16)+"/0", random(5))
	if got, repaired := e.found(store.CheckOptions{Repair: true, Deep: true, MinAge: time.Hour}); len(got) > 0 && !slices.Equal(got, []store.ProblemKind{store.WrongSize}) || repaired != 0 {
		t.Errorf("found %v, repaired %d", got, repaired)
	}
	if got, repaired := e.found(store.CheckOptions{Repair: true, Deep: true}); !slices.Equal(got, []store.ProblemKind{store.Orphan, store.WrongSize}) || repaired != 1 {
		t.Errorf("found %v, repaired %d", got, repaired)
	}
	if got, err := e.fetch(link, store.Ref{File: f.ID}, 0, 100_000); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	// Beside a daemon that is at work counters are not looked at.
	e.Close()
	node, err := store.New(e.ctx(), e.records, e.blobs, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e.raw(func(tx store.Tx) error { return tx.Delete(store.UsageRecords, e.some(store.UsageRecords, "").ID) })
	b := e.backend()
	b.Exclusive = false
	kind := store.ProblemKind("")
	if _, err := store.Check(e.ctx(), b, store.CheckOptions{Repair: true, Found: func(p store.Problem) { kind = p.Kind }}); err != nil || kind != store.WrongSize {
		t.Errorf("found %q, %v", kind, err)
	}
	if err := node.Close(); err != nil {
		t.Error(err)
	}

	// A session that is gone takes its files along.
	e.raw(func(tx store.Tx) error {
		return tx.Delete(store.SessionRecords, e.some(store.SessionRecords, "").ID)
	})
	e.found(store.CheckOptions{Repair: true})
	if got, _ := e.found(store.CheckOptions{}); !slices.Equal(got, []store.ProblemKind{store.WrongSize}) {
		t.Errorf("found %v after the repair", got)
	}
	e.boot()
	_, err = e.File(e.ctx(), root, store.Ref{Session: s.ID, File: inSession.ID})
	e.want(err, store.NotFound, "")
	if _, err := e.File(e.ctx(), alice, store.Ref{File: f.ID}); err != nil {
		t.Error(err)
	}
}

// testCheckBeside: a repair beside a daemon at work finds nothing and harms nothing.
func testCheckBeside(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := over(t, open, o)
	node, err := store.New(e.ctx(), e.records, e.blobs, o)
	if err != nil {
		t.Fatal(err)
	}
	e.Store = node
	t.Cleanup(func() { node.Close() })
	ctx, cancel := context.WithCancel(e.ctx())
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() {
			for ctx.Err() == nil {
				keep, drop := e.upload(random(3000), store.FileSpec{TTL: new(time.Hour)}), e.upload(random(3000), store.FileSpec{Tags: &[]string{"red"}})
				ref := e.begin(4000, false)
				e.append(ref, 0, random(1500))
				e.append(ref, 1500, random(2500))
				if err := e.DeleteFile(e.ctx(), alice, store.Ref{File: drop.ID}); err != nil {
					t.Error(err)
				}
				if _, err := e.fetch(link, store.Ref{File: keep.ID}, 0, 3000); err != nil {
					t.Error(err)
				}
				e.purge()
			}
		})
	}
	b := e.backend()
	b.Exclusive = false
	for range 20 {
		_, err := store.Check(e.ctx(), b, store.CheckOptions{Deep: true, Repair: true, MinAge: time.Hour, Found: func(p store.Problem) { t.Errorf("%+v", p) }})
		if err != nil {
			t.Error(err)
		}
	}
	cancel()
	load.Wait()
	if err := node.Close(); err != nil {
		t.Error(err)
	}
	e.sound()
}

// testCheckForeign: over the blobs of others a repair deletes nothing and ends
// nothing, unless it is told to.
func testCheckForeign(t *testing.T, open Pair) {
	o := store.Options{Inline: 10}
	ours, others := start(t, open, o), start(t, open, o)
	var files []*store.File
	for range 3 {
		files = append(files, ours.upload(random(100), store.FileSpec{}))
		others.upload(random(100), store.FileSpec{})
	}
	ours.Close()
	others.Close()
	wrong := store.Backend{Records: ours.records, Blobs: others.blobs, Exclusive: true}
	empty := store.Backend{Records: ours.records, Blobs: start(t, open, o).blobs, Exclusive: true}
	if _, err := store.Check(ours.ctx(), wrong, store.CheckOptions{Repair: true}); !errors.Is(err, store.ErrForeign) {
		t.Errorf("repaired over the blobs of others: %v", err)
	}
	if sum, err := store.Check(ours.ctx(), wrong, store.CheckOptions{}); err != nil || sum.Problems != 7 { // the label is one
		t.Errorf("a check that repairs nothing finds %+v, %v", sum, err)
	}
	if len(others.leftBlobs()) != 3 {
		t.Error("blobs of others were deleted")
	}
	ours.boot()
	for _, f := range files {
		if got, err := ours.fetch(link, store.Ref{File: f.ID}, 0, 100); err != nil || len(got) != 100 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	for range 20 { // where there are no blobs at all, it takes more to be sure
		ours.upload(random(100), store.FileSpec{})
	}
	ours.Close()
	if _, err := store.Check(ours.ctx(), empty, store.CheckOptions{Repair: true}); !errors.Is(err, store.ErrForeign) {
		t.Errorf("repaired without any blobs: %v", err)
	}
	if sum, err := store.Check(ours.ctx(), wrong, store.CheckOptions{Repair: true, Force: true}); err != nil || sum.Repaired < 26 || len(others.leftBlobs()) != 0 {
		t.Errorf("repaired by force: %+v, %v", sum, err)
	}
}
