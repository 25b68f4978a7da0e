package bolt

import (
	"bytes"
	"cmp"
	"time"

	"github.com/google/btree"
)

// entry is the newest that a memtable knows of a document. It is not changed
// once it is in one.
type entry struct {
	stored
	id      []byte
	value   []byte // of the tree, nil if deleted; doc is a part of it
	deleted bool
}

type entries = btree.BTreeG[*entry]

const treeDegree = 16 // a commit copies a few nodes: they are kept small

func lessID(a, b *entry) bool { return bytes.Compare(a.id, b.id) < 0 }

func lessDue(a, b *entry) bool {
	return cmp.Or(cmp.Compare(a.due, b.due), bytes.Compare(a.id, b.id)) < 0
}

// memtable is what the batches of a part of the log say. A published one is not
// changed: the committer changes a copy, whose trees share what is the same.
type memtable struct {
	data [maxCollections]*entries // by id, with deletions
	due  [maxCollections]*entries // of those in data that have a due time, by it
	own  [2]uint32                // bits of the trees above that belong to this copy alone

	ops      int
	bytes    int64     // in memory, about
	logBytes int64     // of its batches
	tree     int64     // what they will take in the tree, about
	dead     []pointer // documents in the log that were replaced since
	begun    time.Time // zero: empty
	end      position  // behind its last batch
}

// copy returns one that can be changed.
func (m *memtable) copy() *memtable {
	c := *m
	c.own = [2]uint32{}
	return &c
}

// owned returns a tree that may be changed.
func (m *memtable) owned(kind int, tree **entries, coll int, less btree.LessFunc[*entry]) *entries {
	switch bit := uint32(1) << coll; {
	case m.own[kind]&bit != 0:
		return *tree
	case *tree == nil:
		*tree = btree.NewG(treeDegree, less)
	default:
		*tree = (*tree).Clone()
	}
	m.own[kind] |= 1 << coll
	return *tree
}

// put adds what is newer than all before.
func (m *memtable) put(coll int, e *entry) {
	old, replaced := m.owned(0, &m.data[coll], coll, lessID).ReplaceOrInsert(e)
	if replaced && old.hasDue {
		m.owned(1, &m.due[coll], coll, lessDue).Delete(old)
	}
	if replaced && old.inLog {
		m.dead = append(m.dead, old.ptr)
	}
	if e.hasDue {
		m.owned(1, &m.due[coll], coll, lessDue).ReplaceOrInsert(e)
	}
	m.ops++
	m.bytes += int64(len(e.id)+len(e.value)) + 180
	if !e.deleted {
		m.tree += int64(2*len(e.id)+e.size()) + 64
	}
}

// get returns the entry of probe's id, nil if there is none.
func (m *memtable) get(coll int, probe *entry) *entry {
	if t := m.data[coll]; t != nil {
		if e, ok := t.Get(probe); ok {
			return e
		}
	}
	return nil
}

// run is a part of a walk over one tree of a memtable, fetched in pieces: the
// trees have no cursors.
type run struct {
	tree *entries // nil: nothing
	list []*entry
	next int
	step int
}

const (
	firstStep = 4
	mostStep  = 128
)

func (r *run) begin(tree *entries) { *r = run{tree: tree, step: firstStep, list: r.list[:0]} }

// fetch appends what walk yields, at most as much as a step.
func (r *run) fetch(walk func(yield btree.ItemIteratorG[*entry])) {
	r.list, r.next = r.list[:0], 0
	walk(func(e *entry) bool {
		r.list = append(r.list, e)
		return len(r.list) < r.step
	})
	if len(r.list) < r.step {
		r.tree = nil
	}
	r.step = min(4*r.step, mostStep)
}

// down returns the greatest entry whose id is below, without going past it;
// nil below = no bound.
func (r *run) down(below []byte) *entry {
	if r.next == len(r.list) {
		if r.tree == nil {
			return nil
		}
		r.fetch(func(yield btree.ItemIteratorG[*entry]) {
			if below == nil {
				r.tree.Descend(yield)
				return
			}
			r.tree.DescendLessOrEqual(&entry{id: below}, func(e *entry) bool {
				return bytes.Equal(e.id, below) || yield(e)
			})
		})
		if len(r.list) == 0 {
			return nil
		}
	}
	return r.list[r.next]
}

// up returns the least entry by due time that is behind after, without going
// past it; nil after = from the beginning.
func (r *run) up(after *entry) *entry {
	if r.next == len(r.list) {
		if r.tree == nil {
			return nil
		}
		r.fetch(func(yield btree.ItemIteratorG[*entry]) {
			if after == nil {
				r.tree.Ascend(yield)
				return
			}
			r.tree.AscendGreaterOrEqual(after, func(e *entry) bool {
				return !lessDue(after, e) || yield(e)
			})
		})
		if len(r.list) == 0 {
			return nil
		}
	}
	return r.list[r.next]
}
