package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"fileshare/store"
)

const maxCollections = 16

var errViewWrites = errors.New("a View cannot write")

// reader reads a bbolt transaction. It is the Tx of a View, and what an
// Update's Tx stands on.
type reader struct {
	db     *DB
	bolt   *bbolt.Tx
	table  *segmentTable // of a View; an Update takes the current one
	data   [maxCollections]*bbolt.Bucket
	due    [maxCollections]*bbolt.Bucket
	buffer []*[]byte // with documents from the log, until the end
}

var _ store.Tx = (*reader)(nil)

// View implements [store.Records]. Slices are parts of the mapped file: to
// touch them after fn has returned can crash the process.
func (db *DB) View(ctx context.Context, fn func(store.Tx) error) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := db.views.Get().(*reader)
	if err := db.begin(r); err != nil {
		db.views.Put(r)
		return err
	}
	// A page that the disk cannot read is a fault of the mapping, maybe only
	// when fn looks at the document.
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		p := recover()
		table := r.table
		if endErr := r.end(); endErr != nil && err == nil {
			err = endErr
		}
		table.release()
		db.views.Put(r)
		if p == nil {
			return
		}
		if !isFault(p) {
			panic(p)
		}
		err = db.damaged(p)
	}()
	return fn(r)
}

// isFault tells an unreadable page of a mapping from other panics.
func isFault(p any) bool {
	e, ok := p.(runtime.Error)
	if !ok {
		return false
	}
	_, ok = e.(interface{ Addr() uintptr })
	return ok
}

// begin opens a snapshot together with the segments that it points into: the
// table holds a segment before a commit points to it and until after a commit
// no longer does, so it is right if it did not change meanwhile.
func (db *DB) begin(r *reader) (err error) {
	defer db.guard(&err)
	for {
		table := db.log.acquire()
		tx, err := db.bolt.Begin(false)
		if err != nil {
			table.release()
			if errors.Is(err, berrors.ErrDatabaseNotOpen) {
				return ErrClosed
			}
			return fmt.Errorf("begin reading %s: %w", db.path, err)
		}
		if db.log.table.Load() == table {
			r.db, r.bolt, r.table = db, tx, table
			return nil
		}
		table.release()
		if err := tx.Rollback(); err != nil {
			return err
		}
	}
}

// end closes the snapshot and makes r reusable.
func (r *reader) end() (err error) {
	defer r.db.guard(&err)
	tx := r.bolt
	r.freeBuffers()
	r.bolt, r.table = nil, nil
	clear(r.data[:])
	clear(r.due[:])
	return tx.Rollback()
}

func (r *reader) freeBuffers() {
	for _, b := range r.buffer {
		if cap(*b) <= 1<<20 {
			r.db.buffers.Put(b)
		}
	}
	clear(r.buffer)
	r.buffer = r.buffer[:0]
}

// dataBucket returns the bucket of a collection's documents.
func (r *reader) dataBucket(i int) *bbolt.Bucket {
	if b := r.data[i]; b != nil {
		return b
	}
	b := r.bolt.Bucket(r.db.colls[i].data)
	b.FillPercent = fillPercent
	r.data[i] = b
	return b
}

func (r *reader) dueBucket(i int) *bbolt.Bucket {
	if b := r.due[i]; b != nil {
		return b
	}
	b := r.bolt.Bucket(r.db.colls[i].due)
	b.FillPercent = fillPercent
	r.due[i] = b
	return b
}

// collection returns the number of a collection.
func (r *reader) collection(in store.Collection) (int, error) {
	i, ok := r.db.index[in]
	if !ok {
		return 0, fmt.Errorf("unknown collection %q", in)
	}
	return i, nil
}

func checkID(id []byte) error {
	if len(id) == 0 || len(id) > maxID {
		return fmt.Errorf("id of %d bytes, must be 1 to %d", len(id), maxID)
	}
	return nil
}

// raw returns the stored value, nil if there is none.
func (r *reader) raw(coll int, id []byte) (v []byte, err error) {
	defer r.db.guard(&err)
	return r.dataBucket(coll).Get(id), nil
}

// Get implements [store.Tx].
func (r *reader) Get(in store.Collection, id []byte) ([]byte, error) {
	coll, err := r.collection(in)
	if err != nil {
		return nil, err
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	v, err := r.raw(coll, id)
	if v == nil || err != nil {
		return nil, err
	}
	return r.document(in, id, v)
}

// document returns what a stored value stands for.
func (r *reader) document(in store.Collection, id, v []byte) ([]byte, error) {
	s, err := decode(v)
	if err != nil {
		return nil, r.db.damaged(err)
	}
	if !s.inLog {
		return s.doc, nil
	}
	return r.fromLog(in, id, s.ptr)
}

// fromLog reads a document from the value log and verifies it.
func (r *reader) fromLog(in store.Collection, id []byte, p pointer) ([]byte, error) {
	l := r.db.log
	size := recordSize(in, id, p.length)
	table := r.table
	if table == nil { // the committer's own transaction
		table = l.table.Load()
		if at := int64(p.offset) - l.tail; l.active != nil && p.segment == l.active.number && at >= 0 {
			if at+size > int64(len(l.buf)) {
				return nil, r.db.damaged("pointer beyond the end of the value log")
			}
			doc := l.buf[at:][size-int64(p.length) : size : size]
			return doc, nil
		}
	}
	s := table.segments[p.segment]
	if s == nil {
		return nil, fmt.Errorf("value segment %s: %w: missing", l.name(p.segment), ErrDamaged)
	}
	if size > maxDocument+2*maxID {
		return nil, r.db.damaged("pointer to a document of impossible length")
	}
	b := r.takeBuffer(int(size))
	if _, err := s.file.ReadAt(b, int64(p.offset)); err != nil {
		return nil, fmt.Errorf("read value segment: %w", err)
	}
	doc, err := parseRecord(b, in, id, p.crc)
	if err != nil {
		return nil, fmt.Errorf("value segment %s at %d: %w: %w", l.name(p.segment), p.offset, ErrDamaged, err)
	}
	return doc, nil
}

// takeBuffer returns n bytes that are r's until its end.
func (r *reader) takeBuffer(n int) []byte {
	b, _ := r.db.buffers.Get().(*[]byte)
	if b == nil || cap(*b) < n {
		b = new(make([]byte, 0, max(n, 32<<10)))
	}
	r.buffer = append(r.buffer, b)
	return (*b)[:n:n]
}

// Put implements [store.Tx]; it fails in a View.
func (r *reader) Put(store.Collection, []byte, []byte, time.Time) error { return errViewWrites }

// Delete implements [store.Tx]; it fails in a View.
func (r *reader) Delete(store.Collection, []byte) error { return errViewWrites }

// Scan implements [store.Tx].
func (r *reader) Scan(in store.Collection, prefix, from []byte) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		coll, err := r.collection(in)
		if err != nil {
			yield(store.Item{}, err)
			return
		}
		d := descent{r: r, coll: coll, below: prefixEnd(prefix)}
		if len(from) > 0 && (d.below == nil || bytes.Compare(from, d.below) < 0) {
			d.below = from
		}
		for {
			k, v, err := d.next()
			if err != nil {
				yield(store.Item{}, err)
				return
			}
			if k == nil || !bytes.HasPrefix(k, prefix) {
				return
			}
			doc, err := r.document(in, k, v)
			if err != nil {
				yield(store.Item{}, err)
				return
			}
			if !yield(store.Item{ID: k, Doc: doc}, nil) {
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

// descent walks a bucket downwards.
type descent struct {
	r      *reader
	coll   int
	below  []byte // the next key is below; nil = no bound
	cursor *bbolt.Cursor
}

// next returns the next pair, a nil key at the end.
func (d *descent) next() (k, v []byte, err error) {
	defer d.r.db.guard(&err)
	switch {
	case d.cursor != nil:
		k, v = d.cursor.Prev()
	default:
		d.cursor = d.r.dataBucket(d.coll).Cursor()
		if d.below == nil {
			k, v = d.cursor.Last()
			break
		}
		if at, _ := d.cursor.Seek(d.below); at == nil {
			k, v = d.cursor.Last()
		} else {
			k, v = d.cursor.Prev()
		}
	}
	if k == nil && d.r.bolt.Writable() {
		// Prev stops with nil at a page that this group's deletions have
		// emptied, and goes on behind it when it is called again.
		first, _ := d.r.dataBucket(d.coll).Cursor().First()
		for k == nil && first != nil && (d.below == nil || bytes.Compare(first, d.below) < 0) {
			k, v = d.cursor.Prev()
		}
	}
	d.below = k
	return k, v, nil
}

// Due implements [store.Tx].
func (r *reader) Due(in store.Collection, now time.Time, limit int) ([]store.Item, error) {
	coll, err := r.collection(in)
	if err != nil {
		return nil, err
	}
	items, err := r.dueIDs(coll, now.UnixMilli(), limit)
	if err != nil {
		return nil, err
	}
	for i := range items {
		v, err := r.raw(coll, items[i].ID)
		if err == nil && v == nil {
			err = r.db.damaged("due time of a document that is not there")
		}
		if err != nil {
			return nil, err
		}
		if items[i].Doc, err = r.document(in, items[i].ID, v); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (r *reader) dueIDs(coll int, now int64, limit int) (items []store.Item, err error) {
	defer r.db.guard(&err)
	c := r.dueBucket(coll).Cursor()
	for k, _ := c.First(); k != nil && len(items) < limit; k, _ = c.Next() {
		ms, id, err := splitDueKey(k)
		if err != nil {
			return nil, r.db.damaged(err)
		}
		if ms > now {
			break
		}
		items = append(items, store.Item{ID: id, Due: time.UnixMilli(ms).UTC()})
	}
	return items, nil
}
