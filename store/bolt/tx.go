package bolt

import (
	"bytes"
	"fmt"
	"time"

	"fileshare/store"
)

// writeTx is the Tx of one Update. Its writes stay in an overlay until the
// function has returned nil: a function that fails leaves nothing behind in
// the transaction that it shares with others.
type writeTx struct {
	*reader // sees what earlier functions of the group have written
	g       *group
	ops     []op
	at      map[opKey]int // ops by key, only when there are many
}

// op is one write of the overlay.
type op struct {
	coll   int
	id     []byte // in the arena
	value  []byte // stored value, in the arena; nil = deleted
	due    int64
	hasDue bool
	ptr    pointer
	inLog  bool
}

type opKey struct {
	coll int
	id   string
}

// linearOps is up to how many writes the overlay is searched one by one.
const linearOps = 16

var _ store.Tx = (*writeTx)(nil)

// find returns the overlay's write of a document, nil if there is none.
func (t *writeTx) find(coll int, id []byte) *op {
	if t.at != nil {
		if i, ok := t.at[opKey{coll, string(id)}]; ok {
			return &t.ops[i]
		}
		return nil
	}
	for i := range t.ops {
		if o := &t.ops[i]; o.coll == coll && bytes.Equal(o.id, id) {
			return o
		}
	}
	return nil
}

// op returns the overlay's write of a document, a new one if there is none.
func (t *writeTx) op(coll int, id []byte) *op {
	if o := t.find(coll, id); o != nil {
		*o = op{coll: coll, id: o.id}
		return o
	}
	t.ops = append(t.ops, op{coll: coll, id: t.g.arena.clone(id)})
	switch {
	case t.at != nil:
		t.at[opKey{coll, string(id)}] = len(t.ops) - 1
	case len(t.ops) > linearOps:
		t.at = make(map[opKey]int, 4*linearOps)
		for i, o := range t.ops {
			t.at[opKey{o.coll, string(o.id)}] = i
		}
	}
	return &t.ops[len(t.ops)-1]
}

// Get implements [store.Tx].
func (t *writeTx) Get(in store.Collection, id []byte) ([]byte, error) {
	if len(t.ops) > 0 {
		coll, err := t.collection(in)
		if err != nil {
			return nil, err
		}
		if o := t.find(coll, id); o != nil {
			if o.value == nil {
				return nil, nil
			}
			return t.document(in, id, o.value)
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
		return t.put(coll, id, doc, 0, false)
	}
	return t.put(coll, id, doc, dueMillis(due), true)
}

func (t *writeTx) put(coll int, id, doc []byte, due int64, hasDue bool) error {
	var ptr pointer
	inLog := t.g.belongsInLog(len(doc))
	if inLog {
		var err error
		if ptr, err = t.db.log.add(t.db.colls[coll].name, id, doc); err != nil {
			return err
		}
	}
	var flags byte
	if hasDue {
		flags |= flagDue
	}
	o := t.op(coll, id)
	o.due, o.hasDue, o.ptr, o.inLog = due, hasDue, ptr, inLog
	if inLog {
		v := appendHead(t.g.arena.take(1+8+pointerSize), flags|flagPointer, due)
		o.value = ptr.append(v)
	} else {
		v := appendHead(t.g.arena.take(1+8+len(doc)), flags, due)
		o.value = append(v, doc...)
	}
	return nil
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
	t.op(coll, id)
	return nil
}

// apply carries the overlay over into the group's transaction. An error leaves
// that in an unknown state: the group must be given up.
func (t *writeTx) apply() (err error) {
	defer t.db.guard(&err)
	for i := range t.ops {
		if err := t.applyOp(&t.ops[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *writeTx) applyOp(o *op) error {
	data := t.dataBucket(o.coll)
	name := t.db.colls[o.coll].name
	var old stored
	v := data.Get(o.id)
	if v != nil {
		var err error
		if old, err = decode(v); err != nil {
			return t.db.damaged(err)
		}
	}
	if old.inLog {
		t.db.log.count(old.ptr.segment, -recordSize(name, o.id, old.ptr.length))
	}
	if old.hasDue && !(o.hasDue && o.due == old.due) {
		if err := t.dueBucket(o.coll).Delete(appendDueKey(t.g.key[:0], old.due, o.id)); err != nil {
			return err
		}
	}
	if o.value == nil {
		if v == nil {
			return nil
		}
		return data.Delete(o.id)
	}
	if o.inLog {
		t.db.log.count(o.ptr.segment, recordSize(name, o.id, o.ptr.length))
	}
	if o.hasDue && !(old.hasDue && o.due == old.due) {
		if err := t.dueBucket(o.coll).Put(appendDueKey(t.g.key[:0], o.due, o.id), nil); err != nil {
			return err
		}
	}
	return data.Put(o.id, o.value)
}

// arena holds what a group writes: bbolt keeps values until the commit.
// A block is never moved; a full one is left to the garbage collector.
type arena struct {
	block []byte
	used  int // of all blocks, since reset
}

// take returns an empty slice with room for n bytes.
func (a *arena) take(n int) []byte {
	if cap(a.block)-len(a.block) < n {
		a.block = make([]byte, 0, max(2*cap(a.block), n, 64<<10))
	}
	start := len(a.block)
	a.block = a.block[:start+n]
	a.used += n
	return a.block[start:start:len(a.block)]
}

func (a *arena) clone(b []byte) []byte { return append(a.take(len(b)), b...) }

func (a *arena) reset() {
	if cap(a.block) > groupBytes {
		a.block = nil
	}
	a.block, a.used = a.block[:0], 0
}
