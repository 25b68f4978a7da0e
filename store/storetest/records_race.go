package storetest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fileshare/store"
)

// What records must keep when many use them at once, or at random.

// addTo reads, changes and writes back a number.
func addTo(tx store.Tx, id []byte, by int64) (int64, error) {
	b, err := tx.Get(collA, id)
	if err != nil {
		return 0, err
	}
	var n int64
	if b != nil {
		n = int64(binary.BigEndian.Uint64(b))
	}
	return n + by, tx.Put(collA, id, binary.BigEndian.AppendUint64(nil, uint64(n+by)), time.Time{})
}

func testCounters(t *testing.T, r store.Records) {
	const workers, rounds = 16, 25
	fail := errors.New("every fifth")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				err := r.Update(t.Context(), func(tx store.Tx) error {
					_, err1 := addTo(tx, []byte("all"), 1)
					_, err2 := addTo(tx, fmt.Appendf(nil, "c%d", (w+i)%3), 1)
					if i%5 == 4 {
						return cmp.Or(err1, err2, fail)
					}
					return cmp.Or(err1, err2)
				})
				if err != nil && err != fail {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	var sum int64
	for _, it := range dump(t, r, collA, []byte("c"), nil) {
		sum += int64(binary.BigEndian.Uint64(it.Doc))
	}
	all := int64(binary.BigEndian.Uint64(get(t, r, collA, "all")))
	if want := int64(workers * rounds * 4 / 5); all != want || sum != want {
		t.Errorf("counters say %d and %d, want %d", all, sum, want)
	}
}

func testClaims(t *testing.T, r store.Records) {
	const limit, claims = 10, 200
	usedUp := errors.New("used up")
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range claims {
		wg.Go(func() {
			err := r.Update(t.Context(), func(tx store.Tx) error {
				n, err := addTo(tx, []byte("uses"), 1)
				if err == nil && n > limit {
					err = usedUp
				}
				return cmp.Or(err, tx.Put(collB, fmt.Appendf(nil, "%03d", i), nil, time.Time{}))
			})
			switch err {
			case nil:
				won.Add(1)
			case usedUp:
			default:
				t.Errorf("Update: %v", err)
			}
		})
	}
	wg.Wait()
	if n := len(dump(t, r, collB, nil, nil)); won.Load() != limit || n != limit {
		t.Errorf("%d claims won and %d are recorded, want %d", won.Load(), n, limit)
	}
}

// testSnapshot: all documents are changed together, so a View that sees two
// different ones sees no snapshot.
func testSnapshot(t *testing.T, r store.Records) {
	const docs, rounds = 12, 30
	write := func(n int) error {
		return r.Update(t.Context(), func(tx store.Tx) error {
			for i := range docs {
				doc := bytes.Repeat([]byte{byte(n)}, 10+i*400) // small and large
				if err := tx.Put(collA, fmt.Appendf(nil, "%02d", i), doc, time.Time{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				view(t, r, func(tx store.Tx) error {
					items, err := scan(tx, collA, nil, nil)
					if err != nil {
						return err
					}
					last, err := tx.Get(collA, []byte("00"))
					if err != nil {
						return err
					}
					for _, it := range items {
						if len(items) != docs || bytes.Count(it.Doc, last[:1]) != len(it.Doc) {
							t.Errorf("View sees %d documents, of which %s differs", len(items), it.ID)
							return nil
						}
					}
					return nil
				})
			}
		})
	}
	for n := range rounds {
		if err := write(n + 1); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

// testModel compares with a map, over random sequences of Updates.
func testModel(t *testing.T, r store.Records) {
	type key struct {
		in store.Collection
		id string
	}
	type value struct {
		doc string
		due time.Time
	}
	model := map[key]value{}
	base := time.UnixMilli(1_700_000_000_000).UTC()
	id := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 1, 4)
	coll := rapid.SampledFrom([]store.Collection{collA, collB})
	failed := errors.New("failed")
	compare := func(rt *rapid.T) {
		in := coll.Draw(rt, "collection")
		prefix := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 0xff}), 0, 2).Draw(rt, "prefix")
		from := rapid.OneOf(rapid.Just([]byte(nil)), id).Draw(rt, "from")
		now := base.Add(time.Duration(rapid.IntRange(-1, 6).Draw(rt, "now")) * time.Second)
		var scanned, dues []store.Item
		for k, v := range model {
			if k.in != in {
				continue
			}
			if strings.HasPrefix(k.id, string(prefix)) && (len(from) == 0 || k.id < string(from)) {
				scanned = append(scanned, store.Item{ID: []byte(k.id), Doc: []byte(v.doc), Due: v.due})
			}
			if !v.due.IsZero() && !v.due.After(now) {
				dues = append(dues, store.Item{ID: []byte(k.id), Doc: []byte(v.doc), Due: v.due})
			}
		}
		slices.SortFunc(scanned, func(a, b store.Item) int { return bytes.Compare(b.ID, a.ID) })
		if got := dump(t, r, in, prefix, from); !slices.EqualFunc(scanned, got, sameItem) {
			rt.Fatalf("Scan(%s, %q, %q) (-want +got):\n%s", in, prefix, from, gocmp.Diff(scanned, got, sameBytes))
		}
		got := due(t, r, in, now, 1000)
		if !slices.IsSortedFunc(got, func(a, b store.Item) int { return a.Due.Compare(b.Due) }) {
			rt.Fatalf("Due is not in order: %v", got)
		}
		byID := func(a, b store.Item) int { return bytes.Compare(a.ID, b.ID) }
		slices.SortFunc(dues, byID)
		slices.SortFunc(got, byID)
		if !slices.EqualFunc(dues, got, sameItem) {
			rt.Fatalf("Due(%s) (-want +got):\n%s", in, gocmp.Diff(dues, got, sameBytes))
		}
	}
	transact := func(rt *rapid.T) {
		next := maps.Clone(model)
		type step struct {
			key
			value
			del bool
		}
		var steps []step
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			s := step{key: key{coll.Draw(rt, "in"), string(id.Draw(rt, "id"))}, del: rapid.IntRange(0, 2).Draw(rt, "delete") == 0}
			n := rapid.SampledFrom([]int{0, 1, 5, 100, 2500, 9000}).Draw(rt, "size")
			s.doc = strings.Repeat(string(rune('a'+rapid.IntRange(0, 25).Draw(rt, "letter"))), n)
			if d := rapid.IntRange(-1, 5).Draw(rt, "due"); d >= 0 {
				s.due = base.Add(time.Duration(d) * time.Second)
			}
			steps = append(steps, s)
		}
		fail := rapid.IntRange(0, 4).Draw(rt, "fail") == 0
		err := r.Update(t.Context(), func(tx store.Tx) error {
			for _, s := range steps {
				before, err := tx.Get(s.in, []byte(s.id))
				if want, ok := next[s.key]; err != nil || ok != (before != nil) || want.doc != string(before) {
					return fmt.Errorf("Get(%s, %q) = %q, %v, want %q", s.in, s.id, before, err, want.doc)
				}
				if s.del {
					delete(next, s.key)
					err = tx.Delete(s.in, []byte(s.id))
				} else {
					next[s.key] = s.value
					err = tx.Put(s.in, []byte(s.id), []byte(s.doc), s.due)
				}
				if err != nil {
					return err
				}
			}
			if fail {
				return failed
			}
			return nil
		})
		switch {
		case err == nil && !fail:
			model = next
		case err != failed:
			rt.Fatalf("Update: %v", err)
		}
	}
	clearAll := func(rt *rapid.T) {
		in := coll.Draw(rt, "in")
		update(t, r, func(tx store.Tx) error {
			for it, err := range tx.Scan(in, nil, nil) {
				if err = cmp.Or(err, tx.Delete(in, it.ID)); err != nil {
					return err
				}
			}
			return nil
		})
		maps.DeleteFunc(model, func(k key, _ value) bool { return k.in == in })
	}
	rapid.Check(t, func(rt *rapid.T) {
		rt.Repeat(map[string]func(*rapid.T){"": compare, "update": transact, "clear": clearAll})
	})
}
