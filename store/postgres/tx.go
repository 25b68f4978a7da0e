package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"time"

	"fileshare/store"
)

var (
	errReadOnly = errors.New("a View cannot write")
	errLater    = errors.New("to be run in the next group")
)

// key names a document.
type key struct {
	in store.Collection
	id string
}

// write is what becomes of a document.
type write struct {
	doc     []byte
	due     *int64
	deleted bool
}

// updateTx is the Tx of one run of a function. The function's goroutine uses
// it until the group has been told that the run has ended; then the group does.
type updateTx struct {
	g      *group
	r      *request
	writes map[key]write
	reads  []key  // what it got from elsewhere than its own writes
	scans  []span // what it scanned
	dues   []store.Collection
	wake   chan struct{}

	err   error // what the function returned
	gone  bool  // it panicked, or ended its goroutine
	later bool  // it needs what this group cannot give it
}

var _ store.Tx = (*updateTx)(nil)

// call runs the function and tells the group how it ended.
func (t *updateTx) call(fn func(store.Tx) error) {
	t.gone = true
	defer func() { t.g.events <- event{ended: t} }()
	t.err = fn(t)
	t.gone = false
}

// need is a question to the database; the group answers it together with
// those of other functions.
type need struct {
	t     *updateTx
	get   key
	scan  *span
	due   *dueQuery
	limit int

	items []store.Item
	err   error
}

type dueQuery struct {
	in  store.Collection
	now int64
}

func (t *updateTx) ask(n *need) ([]store.Item, error) {
	n.t = t
	t.g.events <- event{need: n}
	<-t.wake
	return n.items, n.err
}

// Get implements [store.Tx].
func (t *updateTx) Get(in store.Collection, id []byte) ([]byte, error) {
	if err := t.g.db.check(in, id); err != nil {
		return nil, err
	}
	k := key{in, string(id)}
	w, ok := t.writes[k]
	if !ok {
		t.reads = append(t.reads, k)
		w, ok = t.g.writes[k]
	}
	if ok {
		if w.deleted {
			return nil, nil
		}
		return w.doc, nil
	}
	doc, ok := t.g.cache[k]
	if !ok {
		found, err := t.ask(&need{get: k})
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			doc = found[0].Doc
		}
	}
	return doc, nil
}

// Put implements [store.Tx].
func (t *updateTx) Put(in store.Collection, id, doc []byte, due time.Time) error {
	if err := t.g.db.check(in, id); err != nil {
		return err
	}
	if len(doc) > maxDoc {
		return fmt.Errorf("document of %d bytes, at most %d", len(doc), maxDoc)
	}
	w := write{doc: append(make([]byte, 0, len(doc)), doc...)} // never nil
	if !due.IsZero() {
		ms := dueMillis(due)
		w.due = &ms
	}
	t.writes[key{in, string(id)}] = w
	return nil
}

// Delete implements [store.Tx].
func (t *updateTx) Delete(in store.Collection, id []byte) error {
	if err := t.g.db.check(in, id); err != nil {
		return err
	}
	t.writes[key{in, string(id)}] = write{deleted: true}
	return nil
}

// Scan implements [store.Tx].
func (t *updateTx) Scan(in store.Collection, prefix, from []byte) iter.Seq2[store.Item, error] {
	all := spanOf(in, bytes.Clone(prefix), from)
	return pages(t.g.db, all, func(s span, limit int) ([]store.Item, error) {
		t.scans = append(t.scans, s)
		if t.g.changes(s) {
			t.later = true
			return nil, errLater
		}
		return t.ask(&need{scan: &s, limit: limit})
	})
}

// Due implements [store.Tx].
func (t *updateTx) Due(in store.Collection, now time.Time, limit int) ([]store.Item, error) {
	if err := t.g.db.check(in, []byte{0}); err != nil || limit <= 0 {
		return nil, err
	}
	t.dues = append(t.dues, in)
	if t.g.changes(span{in: in, end: string(successor(nil))}) {
		t.later = true
		return nil, errLater
	}
	return t.ask(&need{due: &dueQuery{in, now.UnixMilli()}, limit: limit})
}

// stale tells whether earlier ones of the group write what this one has read.
func (t *updateTx) stale() bool {
	if len(t.g.writes) == 0 {
		return false
	}
	for _, k := range t.reads {
		if _, ok := t.g.writes[k]; ok {
			return true
		}
	}
	return t.searched()
}

// searched tells whether earlier ones write where this one has searched.
func (t *updateTx) searched() bool {
	for _, s := range t.scans {
		if t.g.changes(s) {
			return true
		}
	}
	for _, in := range t.dues {
		if t.g.changes(span{in: in, end: string(successor(nil))}) {
			return true
		}
	}
	return false
}
