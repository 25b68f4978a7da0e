package bolt

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fileshare/store"
)

// modelValue is what the model knows of one document of one collection.
type modelValue struct {
	doc string
	due int64 // seconds; 0 = never
}

type model map[string]modelValue

func (m model) dump(tx store.Tx, prefix, from []byte, now time.Time) error {
	var want, dues []store.Item
	for id, v := range m {
		it := store.Item{ID: []byte(id), Doc: []byte(v.doc)}
		if strings.HasPrefix(id, string(prefix)) && (len(from) == 0 || id < string(from)) {
			want = append(want, it)
		}
		if it.Due = time.Unix(v.due, 0).UTC(); v.due != 0 && !it.Due.After(now) {
			dues = append(dues, it)
		}
	}
	slices.SortFunc(want, func(a, b store.Item) int { return bytes.Compare(b.ID, a.ID) })
	slices.SortFunc(dues, func(a, b store.Item) int { return cmp.Or(a.Due.Compare(b.Due), bytes.Compare(a.ID, b.ID)) })
	var got []store.Item
	for it, err := range tx.Scan(store.FileRecords, prefix, from) {
		if err != nil {
			return err
		}
		got = append(got, store.Item{ID: bytes.Clone(it.ID), Doc: bytes.Clone(it.Doc)})
	}
	if diff := gocmp.Diff(want, got, gocmp.Comparer(bytes.Equal)); diff != "" {
		return fmt.Errorf("Scan(%q, %q) (-want +got):\n%s", prefix, from, diff)
	}
	for _, limit := range []int{1, len(dues) / 2, 1000} {
		got, err := tx.Due(store.FileRecords, now, limit)
		if err != nil {
			return err
		}
		if want := dues[:min(limit, len(dues))]; len(want)+len(got) > 0 && !gocmp.Equal(want, got, gocmp.Comparer(bytes.Equal)) {
			return fmt.Errorf("Due(%v, %d) (-want +got):\n%s", now, limit, gocmp.Diff(want, got, gocmp.Comparer(bytes.Equal)))
		}
	}
	for id, v := range m {
		doc, err := tx.Get(store.FileRecords, []byte(id))
		if err != nil || string(doc) != v.doc || doc == nil {
			return fmt.Errorf("Get(%q) = %d bytes, %v, want %d", id, len(doc), err, len(v.doc))
		}
	}
	return nil
}

// TestModelOfLayers compares with a map while memtables are frozen, written
// into the tree in small transactions, held half written, and the DB is closed,
// or killed, and opened again: between, and under, Views that stay open.
func TestModelOfLayers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		// Checkpoints stop at the gate while it is held.
		gate := make(chan struct{}, 1)
		o := Options{Threshold: 50, SegmentSize: 3000, age: time.Hour, memtable: 1 << 20}
		o.hook = func(at string) {
			if at == "before tree commit" {
				gate <- struct{}{}
				<-gate
			}
		}
		held := false
		let := func() {
			if held {
				<-gate
				held = false
			}
		}
		var db *DB
		open := func() {
			if db, err = Open(dir, o); err != nil {
				rt.Fatalf("Open: %v", err)
			}
			db.chunk = 3
		}
		open()
		defer func() {
			let()
			if err := db.Close(); err != nil {
				rt.Errorf("Close: %v", err)
			}
		}()
		now := model{}
		id := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 1, 3)
		check := func(rt *rapid.T) {
			prefix := rapid.SliceOfN(rapid.SampledFrom([]byte{'a', 0xff}), 0, 2).Draw(rt, "prefix")
			from := rapid.OneOf(rapid.Just([]byte(nil)), id).Draw(rt, "from")
			at := time.Unix(rapid.Int64Range(0, 5).Draw(rt, "now"), 0)
			look := func(tx store.Tx) error { return now.dump(tx, prefix, from, at) }
			if err := cmp.Or(db.View(context.Background(), look), db.Update(context.Background(), look)); err != nil {
				rt.Fatal(err)
			}
		}
		write := func(rt *rapid.T) {
			next := model{}
			for k, v := range now {
				next[k] = v
			}
			own := errors.New("own")
			fail := rapid.IntRange(0, 5).Draw(rt, "fail") == 0
			n := rapid.IntRange(1, 6).Draw(rt, "writes")
			err := db.Update(context.Background(), func(tx store.Tx) error {
				for range n {
					k := id.Draw(rt, "id")
					if rapid.IntRange(0, 2).Draw(rt, "delete") == 0 {
						delete(next, string(k))
						if err := tx.Delete(store.FileRecords, k); err != nil {
							return err
						}
						continue
					}
					v := modelValue{doc: strings.Repeat(rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "doc"), rapid.SampledFrom([]int{0, 1, 50, 51, 400}).Draw(rt, "size"))}
					v.due = max(0, rapid.Int64Range(-1, 4).Draw(rt, "due"))
					var due time.Time
					if v.due != 0 {
						due = time.Unix(v.due, 0)
					}
					next[string(k)] = v
					if err := tx.Put(store.FileRecords, k, []byte(v.doc), due); err != nil {
						return err
					}
				}
				if fail {
					return own
				}
				return nil
			})
			switch {
			case err == nil:
				now = next
			case err != own:
				rt.Fatalf("Update: %v", err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":      check,
			"write": write,
			"again": write,
			"checkpoint": func(rt *rapid.T) {
				let()
				if err := db.checkpoint(context.Background()); err != nil {
					rt.Fatal(err)
				}
			},
			"freeze": func(rt *rapid.T) { // and hold it before, or between, its transactions
				if held {
					return
				}
				gate <- struct{}{}
				held = true
				db.queue.kick()
			},
			"go on": func(*rapid.T) { let() },
			"view during checkpoint": func(rt *rapid.T) {
				let()
				old := now
				if err := db.View(context.Background(), func(tx store.Tx) error {
					write(rt)
					if err := db.checkpoint(context.Background()); err != nil {
						return err
					}
					write(rt)
					return old.dump(tx, nil, nil, time.Unix(9, 0))
				}); err != nil {
					rt.Fatal(err)
				}
			},
			"reopen": func(rt *rapid.T) {
				let()
				if err := db.Close(); err != nil {
					rt.Fatal(err)
				}
				open()
			},
			"kill": func(rt *rapid.T) {
				let()
				if err := db.crash(); err != nil {
					rt.Fatal(err)
				}
				open()
			},
			"compact": func(rt *rapid.T) {
				let()
				if _, err := db.Compact(context.Background()); err != nil {
					rt.Fatal(err)
				}
			},
		})
	})
}
