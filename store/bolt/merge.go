package bolt

import (
	"bytes"
	"iter"
	"time"

	"go.etcd.io/bbolt"

	"fileshare/store"
)

// Scan implements [store.Tx].
func (r *reader) Scan(in store.Collection, prefix, from []byte) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		coll, err := r.collection(in)
		if err != nil {
			yield(store.Item{}, err)
			return
		}
		d := descent{r: r, coll: coll, below: prefixEnd(prefix), prefix: prefix}
		if len(from) > 0 && (d.below == nil || bytes.Compare(from, d.below) < 0) {
			d.below = from
		}
		d.begin()
		for {
			id, s, err := d.next()
			if err != nil {
				yield(store.Item{}, err)
				return
			}
			if id == nil {
				return
			}
			doc, err := r.document(coll, id, &s)
			if err != nil {
				yield(store.Item{}, err)
				return
			}
			if !yield(store.Item{ID: id, Doc: doc, Due: s.time()}, nil) {
				return
			}
		}
	}
}

// prefixEnd returns the first key behind all keys with the prefix, nil if
// there is none.
func prefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}

// descent walks a collection downwards through all layers at once.
type descent struct {
	r      *reader
	coll   int
	prefix []byte
	below  []byte // the next id is below; nil = no bound
	memory [2]run // active, frozen
	cursor *bbolt.Cursor
	begun  bool // the cursor stands at key
	key    []byte
	value  []byte
}

func (d *descent) begin() {
	d.memory[0].begin(d.r.active.data[d.coll])
	if d.r.frozen != nil {
		d.memory[1].begin(d.r.frozen.data[d.coll])
	}
}

// next returns the next document, a nil id at the end.
func (d *descent) next() (id []byte, s stored, err error) {
	defer d.r.db.guard(&err)
	for {
		// The greatest id wins, and of equal ones the newest layer.
		var newest *entry
		for i := range d.memory {
			e := d.memory[i].down(d.below)
			if e != nil && (newest == nil || bytes.Compare(e.id, newest.id) > 0) {
				newest = e
			}
		}
		d.seek()
		if id = d.key; newest != nil && (id == nil || bytes.Compare(newest.id, id) >= 0) {
			id = newest.id
		} else {
			newest = nil
		}
		if id == nil || !bytes.HasPrefix(id, d.prefix) {
			return nil, s, nil
		}
		d.below = id
		value := d.value
		d.pass(id)
		switch {
		case newest == nil:
			if s, err = decode(value); err != nil {
				return nil, s, d.r.db.damaged(err)
			}
			return id, s, nil
		case !newest.deleted:
			return id, newest.stored, nil
		}
	}
}

// seek has the cursor at the greatest key below.
func (d *descent) seek() {
	if d.begun {
		return
	}
	d.begun = true
	if d.cursor != nil {
		d.key, d.value = d.cursor.Prev()
		return
	}
	d.cursor = d.r.dataBucket(d.coll).Cursor()
	if d.below != nil {
		if at, _ := d.cursor.Seek(d.below); at != nil {
			d.key, d.value = d.cursor.Prev()
			return
		}
	}
	d.key, d.value = d.cursor.Last()
}

// pass moves every layer that stands at id.
func (d *descent) pass(id []byte) {
	for i := range d.memory {
		m := &d.memory[i]
		if m.next < len(m.list) && bytes.Equal(m.list[m.next].id, id) {
			m.next++
		}
	}
	if d.key != nil && bytes.Equal(d.key, id) {
		d.begun = false
	}
}

// Due implements [store.Tx].
func (r *reader) Due(in store.Collection, now time.Time, limit int) ([]store.Item, error) {
	coll, err := r.collection(in)
	if err != nil || limit <= 0 {
		return nil, err
	}
	found, err := r.dueEntries(coll, now.UnixMilli(), limit)
	if err != nil {
		return nil, err
	}
	items := make([]store.Item, len(found))
	for i := range found {
		e := &found[i]
		doc, err := r.document(coll, e.id, &e.stored)
		if err != nil {
			return nil, err
		}
		items[i] = store.Item{ID: e.id, Doc: doc, Due: e.time()}
	}
	return items, nil
}

// dueEntries merges the due times of all layers. One of an older layer counts
// if no newer layer knows the document at all.
func (r *reader) dueEntries(coll int, now int64, limit int) (found []entry, err error) {
	defer r.db.guard(&err)
	var memory [2]run
	memory[0].begin(r.active.due[coll])
	if r.frozen != nil {
		memory[1].begin(r.frozen.due[coll])
	}
	cursor := r.dueBucket(coll).Cursor()
	var tree entry
	at := func(k, _ []byte) (err error) {
		tree.id = nil
		if k != nil {
			tree.due, tree.id, err = splitDueKey(k)
		}
		return err
	}
	if err := at(cursor.First()); err != nil {
		return nil, r.db.damaged(err)
	}
	var last [2]*entry
	for len(found) < limit {
		layer, next := 2, (*entry)(nil)
		if tree.id != nil {
			next = &tree
		}
		for i := range memory {
			if e := memory[i].up(last[i]); e != nil && (next == nil || lessDue(e, next)) {
				layer, next = i, e
			}
		}
		if next == nil || next.due > now {
			break
		}
		if layer < 2 {
			last[layer] = next
			memory[layer].next++
			if layer == 1 {
				r.probe.id = next.id
				if r.active.get(coll, &r.probe) != nil {
					continue
				}
			}
			found = append(found, *next)
			continue
		}
		id, due := tree.id, tree.due
		if err := at(cursor.Next()); err != nil {
			return nil, r.db.damaged(err)
		}
		if r.inMemory(coll, id) != nil {
			continue
		}
		s, ok, err := r.inTree(coll, id)
		if err == nil && (!ok || !s.hasDue || s.due != due) {
			err = r.db.damaged("due time of a document that does not have it")
		}
		if err != nil {
			return nil, err
		}
		found = append(found, entry{id: id, stored: s})
	}
	return found, nil
}
