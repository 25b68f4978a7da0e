package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"fileshare/store"
)

const maxCollections = 20

var errViewWrites = errors.New("a View cannot write")

// reader reads a snapshot: the memtable over the one that a checkpoint is
// writing over the tree. It is the Tx of a View, and what an Update's Tx stands
// on.
type reader struct {
	db     *DB
	active *memtable
	frozen *memtable // nil: none
	bolt   *bbolt.Tx
	table  *segmentTable
	batch  *commitLog // of an Update: documents of its group are in the buffer
	data   [maxCollections]*bbolt.Bucket
	due    [maxCollections]*bbolt.Bucket
	buffer []*[]byte // with documents from the log, until the end

	probe   entry
	scratch [opHeader]byte
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
		if endErr := r.end(); endErr != nil && err == nil {
			err = endErr
		}
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

// begin opens a snapshot: a transaction of the tree, the memtables that were
// current after it began, and the segments that both point into. The tree must
// not lack what a checkpoint has taken out of the memtables. A segment is in
// the table before anything points to it and until nothing does, so the table
// is right if it did not change meanwhile.
func (db *DB) begin(r *reader) (err error) {
	defer db.guard(&err)
	for {
		table := db.tables.acquire()
		tx, err := db.bolt.Begin(false)
		if err != nil {
			table.release()
			if errors.Is(err, berrors.ErrDatabaseNotOpen) {
				return ErrClosed
			}
			return fmt.Errorf("begin reading %s: %w", db.path, err)
		}
		db.hook("tree begun")
		v := db.version.Load()
		if tx.ID() >= v.base && db.tables.current.Load() == table {
			r.db, r.bolt, r.table, r.active, r.frozen = db, tx, table, v.active, v.frozen
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
	tx, table := r.bolt, r.table
	r.freeBuffers()
	r.bolt, r.table, r.active, r.frozen = nil, nil, nil, nil
	clear(r.data[:])
	clear(r.due[:])
	table.release()
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

// inMemory returns what the memtables know of a document, nil if nothing.
func (r *reader) inMemory(coll int, id []byte) *entry {
	r.probe.id = id
	e := r.active.get(coll, &r.probe)
	if e == nil && r.frozen != nil {
		e = r.frozen.get(coll, &r.probe)
	}
	r.probe.id = nil
	return e
}

// lookup returns what is stored under an id.
func (r *reader) lookup(coll int, id []byte) (s stored, ok bool, err error) {
	if e := r.inMemory(coll, id); e != nil {
		return e.stored, !e.deleted, nil
	}
	return r.inTree(coll, id)
}

func (r *reader) inTree(coll int, id []byte) (s stored, ok bool, err error) {
	defer r.db.guard(&err)
	v := r.dataBucket(coll).Get(id)
	if v == nil {
		return s, false, nil
	}
	if s, err = decode(v); err != nil {
		return s, false, r.db.damaged(err)
	}
	return s, true, nil
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
	s, ok, err := r.lookup(coll, id)
	if !ok || err != nil {
		return nil, err
	}
	return r.document(coll, id, &s)
}

// document returns a stored document after it has verified it.
func (r *reader) document(coll int, id []byte, s *stored) ([]byte, error) {
	doc := s.doc
	if s.inLog {
		if r.batch != nil {
			if doc, ok := r.batch.inBuffer(s.ptr); ok {
				return doc, nil
			}
		}
		var err error
		if doc, err = r.fromLog(s.ptr); err != nil {
			return nil, err
		}
	}
	var flags byte
	if s.hasDue {
		flags = flagDue
	}
	name := r.db.colls[coll].data
	crc := crcUpdate(0, appendOpHead(r.scratch[:0], flags, len(name), len(id), len(doc), s.due))
	crc = crcUpdate(crcUpdate(crcUpdate(crc, name), id), doc)
	switch {
	case crc == s.crc:
		return doc, nil
	case s.inLog:
		return nil, fmt.Errorf("log segment %s at %d: %w: checksum of a document differs", r.db.logName(s.ptr.segment), s.ptr.offset, ErrDamaged)
	}
	return nil, r.db.damaged("checksum of a document differs")
}

// fromLog reads a document from the log.
func (r *reader) fromLog(p pointer) ([]byte, error) {
	s := r.table.segments[p.segment]
	if s == nil {
		return nil, fmt.Errorf("log segment %s: %w: missing", r.db.logName(p.segment), ErrDamaged)
	}
	if p.length > maxDocument {
		return nil, r.db.damaged("pointer to a document of impossible length")
	}
	b := r.takeBuffer(int(p.length))
	if _, err := s.file.ReadAt(b, int64(p.offset)); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("log segment %s at %d: %w: cut off", r.db.logName(p.segment), p.offset, ErrDamaged)
	} else if err != nil {
		return nil, fmt.Errorf("read log segment: %w", err)
	}
	return b, nil
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
