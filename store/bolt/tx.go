package bolt

import (
	"bytes"
	"fmt"
	"time"

	"fileshare/store"
)

// writeTx is the Tx of one Update. Its writes stay in an overlay, and at the
// end of the batch, until the function has returned nil: a function that fails
// leaves nothing behind in what it shares with others.
type writeTx struct {
	*reader // sees what earlier functions of the group have written
	g       *group
	ops     []op
	at      map[opKey]int // ops by key, only when there are many
	deletes bool
	largest int // document
}

// op is one write of the overlay.
type op struct {
	coll int
	e    *entry
}

type opKey struct {
	coll int
	id   string
}

// linearOps is up to how many writes the overlay is searched one by one.
const linearOps = 16

var _ store.Tx = (*writeTx)(nil)

func (t *writeTx) begin() {
	t.ops, t.at, t.deletes = t.ops[:0], nil, false
	t.largest = 0
}

// find returns the overlay's write of a document, nil if there is none.
func (t *writeTx) find(coll int, id []byte) *entry {
	if t.at != nil {
		if i, ok := t.at[opKey{coll, string(id)}]; ok {
			return t.ops[i].e
		}
		return nil
	}
	for i := range t.ops {
		if o := &t.ops[i]; o.coll == coll && bytes.Equal(o.e.id, id) {
			return o.e
		}
	}
	return nil
}

// entry returns the overlay's write of a document, a new one if there is none.
func (t *writeTx) entry(coll int, id []byte) *entry {
	if e := t.find(coll, id); e != nil {
		*e = entry{id: e.id}
		return e
	}
	e := t.g.arena.entry()
	e.id = t.g.arena.clone(id)
	t.ops = append(t.ops, op{coll: coll, e: e})
	switch {
	case t.at != nil:
		t.at[opKey{coll, string(id)}] = len(t.ops) - 1
	case len(t.ops) > linearOps:
		t.at = make(map[opKey]int, 4*linearOps)
		for i, o := range t.ops {
			t.at[opKey{o.coll, string(o.e.id)}] = i
		}
	}
	return e
}

// Get implements [store.Tx].
func (t *writeTx) Get(in store.Collection, id []byte) ([]byte, error) {
	if len(t.ops) > 0 {
		coll, err := t.collection(in)
		if err != nil {
			return nil, err
		}
		if e := t.find(coll, id); e != nil {
			if e.deleted {
				return nil, nil
			}
			return t.document(coll, id, &e.stored)
		}
	}
	return t.reader.Get(in, id)
}

// Put implements [store.Tx].
func (t *writeTx) Put(in store.Collection, id, doc []byte, due time.Time) error {
	coll, err := t.collection(in)
	if err != nil {
		return err
	}
	if err := checkID(id); err != nil {
		return err
	}
	if len(doc) > maxDocument {
		return fmt.Errorf("document of %d bytes, at most %d", len(doc), maxDocument)
	}
	if due.IsZero() {
		t.put(coll, id, doc, 0, false)
	} else {
		t.put(coll, id, doc, dueMillis(due), true)
	}
	return nil
}

func (t *writeTx) put(coll int, id, doc []byte, due int64, hasDue bool) {
	t.largest = max(t.largest, len(doc))
	var flags byte
	if hasDue {
		flags = flagDue
	}
	e := t.entry(coll, id)
	e.due, e.hasDue = due, hasDue
	e.crc, e.ptr = t.db.log.add(flags, t.db.colls[coll].data, id, doc, due)
	e.inLog = len(doc) > t.db.opts.Threshold
	t.g.arena.keep(e, doc)
}

// Delete implements [store.Tx].
func (t *writeTx) Delete(in store.Collection, id []byte) error {
	coll, err := t.collection(in)
	if err != nil {
		return err
	}
	if err := checkID(id); err != nil {
		return err
	}
	t.deletes = true
	t.entry(coll, id).deleted = true
	t.db.log.add(flagDelete, t.db.colls[coll].data, id, nil, 0)
	return nil
}

// arena holds what memtables refer to. Its blocks are never used again: the
// garbage collector frees one when nothing refers to it any more.
type arena struct {
	block   []byte
	entries []entry
}

const (
	arenaBlock   = 64 << 10
	arenaEntries = 256
)

func (a *arena) clone(b []byte) []byte { return append(a.room(len(b)), b...) }

// room returns an empty slice with room for n bytes.
func (a *arena) room(n int) []byte {
	if n > arenaBlock/4 {
		return make([]byte, 0, n)
	}
	if a.block == nil || cap(a.block)-len(a.block) < n {
		a.block = make([]byte, 0, arenaBlock)
	}
	start := len(a.block)
	a.block = a.block[:start+n]
	return a.block[start:start:len(a.block)]
}

// keep gives an entry its value of the tree, and within that the document unless
// it is in the log.
func (a *arena) keep(e *entry, doc []byte) {
	if e.inLog {
		e.value = e.append(a.room(e.size()))
		return
	}
	e.doc = doc
	e.value = e.append(a.room(e.size()))
	e.doc = e.value[len(e.value)-len(doc) : len(e.value) : len(e.value)]
}

func (a *arena) entry() *entry {
	if len(a.entries) == 0 {
		a.entries = make([]entry, arenaEntries)
	}
	e := &a.entries[0]
	a.entries = a.entries[1:]
	return e
}
