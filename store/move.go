package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// Backend is a pair of backends that something is copied from or to.
type Backend struct {
	Records   Records
	Blobs     Blobs
	Exclusive bool // no other process uses the records
}

// MoveOptions configures Move.
type MoveOptions struct {
	Keep     bool         // the source stays usable
	Progress func(Copied) // is told now and then; nil: nobody is
}

// Causes of errors of Move that [errors.Is] finds.
var (
	ErrNotEmpty = errors.New("the target is not empty")
	ErrNothing  = errors.New("there are no records")
)

// Move copies all records and blobs to an empty pair of backends, and then makes
// the source unusable until it is released, so that nothing is used twice.
//
// Daemons may not be at work at either end, and none can begin before the copy is
// complete. Blobs come before the records that refer to them; each content is
// compared with its size, CRC-32 and where it has one SHA-256. How far the
// copy has come is kept in the target together with the records: after an error,
// or a kill, the same Move goes on there. Where both ends have the same blobs only
// records are copied, and the blobs are the target's in the end: the source cannot
// be kept then. A target is a store with an id of its own.
func Move(ctx context.Context, from, to Backend, o MoveOptions) (Copied, error) {
	m := &mover{from: from, to: to, o: o}
	if err := m.begin(ctx); err != nil {
		return Copied{}, err
	}
	for !m.mark.done {
		if err := m.step(ctx); err != nil {
			return m.mark.copied, err
		}
	}
	return m.mark.copied, m.end(ctx)
}

// mover is one Move.
type mover struct {
	from, to Backend
	o        MoveOptions
	ids      *idCodec
	same     bool // both ends have the same blobs
	again    bool // the step that comes may have been begun before, and have left blobs
	mark     *mark
	written  []byte // the mark as the target has it
}

// begin finds where to go on, or marks both ends.
func (m *mover) begin(ctx context.Context) (err error) {
	if m.mark, err = marked(ctx, m.to.Records); err != nil {
		return err
	}
	if m.mark != nil && m.mark.role != arriving {
		return fmt.Errorf("%w: its records were moved elsewhere", ErrNotEmpty)
	}
	if m.mark != nil && m.mark.done {
		return nil // but for the end
	}
	if m.ids, err = readIDs(ctx, m.from.Records); err != nil {
		return err
	}
	if err := paired(ctx, m.from); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if m.same, err = sameBlobs(ctx, m.from.Blobs, m.to.Blobs); err != nil {
		return err
	}
	if m.same && m.o.Keep {
		return errors.New("both ends have the same contents, and only one of them can be used then: the source cannot be kept")
	}
	if m.again = m.mark != nil; !m.again {
		if err := empty(ctx, m.to, m.same); err != nil {
			return err
		}
	}
	id, err := m.hold(ctx)
	if err != nil {
		return err
	}
	if !m.again {
		m.mark = &mark{role: arriving, id: id, since: time.Now()}
		err = m.to.Records.Update(ctx, func(tx Tx) error {
			if other, err := getMark(tx); err != nil || other != nil {
				return errors.Join(err, ErrNotEmpty)
			}
			return m.mark.put(tx)
		})
		if err != nil {
			return err
		}
	}
	m.written = m.mark.encode()
	if m.same { // they are the source's to the end
		return nil
	}
	return pair(ctx, m.to, Key{})
}

// hold marks the source, so that no daemon begins, and returns the id of the copy.
func (m *mover) hold(ctx context.Context) (id []byte, err error) {
	err = m.from.Records.Update(ctx, func(tx Tx) error {
		if err := atRest(tx, m.from.Exclusive); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		source, err := getMark(tx)
		if err != nil {
			return err
		}
		switch {
		case source != nil && source.role == arriving:
			return errors.New("the source is itself a copy that is not complete")
		case m.again && (source == nil || !bytes.Equal(source.id, m.mark.id)):
			return fmt.Errorf("%w: it is the unfinished copy of other records, or the source was released meanwhile", ErrNotEmpty)
		case source != nil && source.role == left:
			return errors.New("the records were moved elsewhere already")
		case source != nil: // begun, and ended before the target was marked
			id = source.id
			return nil
		}
		id = make([]byte, 16)
		rand.Read(id) // never fails
		return (&mark{role: leaving, id: id, since: time.Now()}).put(tx)
	})
	return id, err
}

// end lets the target be used, the source first of all no more.
func (m *mover) end(ctx context.Context) error {
	err := m.from.Records.Update(ctx, func(tx Tx) error {
		source, err := getMark(tx)
		switch {
		case err != nil:
			return err
		case source == nil && m.o.Keep: // it was done before
			return nil
		case source == nil || !bytes.Equal(source.id, m.mark.id):
			return errors.New("the source was released meanwhile, and may have changed: empty the target and begin anew")
		case m.o.Keep:
			return tx.Delete(MetaRecords, markID)
		}
		return (&mark{role: left, id: source.id, since: time.Now()}).put(tx)
	})
	if err != nil {
		return err
	}
	was, err := readIdentity(ctx, m.from.Records)
	if err != nil {
		return err
	}
	if err := pair(ctx, m.to, was); err != nil {
		return err
	}
	return m.to.Records.Update(ctx, func(tx Tx) error { return tx.Delete(MetaRecords, markID) })
}

// moved are the collections that are copied. Daemons that were at work are not
// any more; what waits for its deletion does so where the blobs are.
func (m *mover) moved() []Collection {
	return slices.DeleteFunc(Collections(), func(in Collection) bool {
		return in.passing() || in == TrashRecords && !m.same
	})
}

// stepBytes is how many bytes of blobs are copied until their records are written:
// so much is done again after a kill, unless one content is larger.
const stepBytes = 256 << 20

// step copies the next records, their contents first.
func (m *mover) step(ctx context.Context) error {
	all := m.moved()
	at := 0
	if m.mark.in != "" {
		if at = slices.Index(all, m.mark.in); at < 0 {
			return fmt.Errorf("the copy was begun by another version: collection %q is unknown", m.mark.in)
		}
	}
	in := all[at]
	items, more, err := page(ctx, m.from.Records, in, nil, m.mark.from)
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	next := *m.mark
	jobs, n, err := m.jobs(in, items)
	if err != nil {
		return err
	}
	if n < len(items) {
		items, more = items[:n], true
	}
	if err := m.contents(ctx, in, items, jobs, &next.copied); err != nil {
		return err
	}
	next.copied.Records += int64(len(items))
	switch {
	case more:
		next.in, next.from = in, items[len(items)-1].ID
	case at+1 < len(all):
		next.in, next.from = all[at+1], nil
	default:
		next.done = true
	}
	if len(items) > 0 || next.done {
		if err := m.write(ctx, in, items, &next); err != nil {
			return fmt.Errorf("write the target: %w", err)
		}
	}
	m.mark, m.again = &next, m.again && len(jobs) == 0
	return nil
}

// write puts records into the target, together with how far the copy has come.
func (m *mover) write(ctx context.Context, in Collection, items []Item, next *mark) error {
	doc := next.encode()
	err := m.to.Records.Update(ctx, func(tx Tx) error {
		now, err := tx.Get(MetaRecords, markID)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, m.written) {
			return errors.New("another process copies to the same target")
		}
		for _, item := range items {
			if in == MetaRecords && bound(item.ID) {
				continue
			}
			if err := tx.Put(in, item.ID, item.Doc, item.Due); err != nil {
				return err
			}
		}
		return next.put(tx)
	})
	if err != nil {
		return err
	}
	if m.written = doc; m.o.Progress != nil {
		m.o.Progress(next.copied)
	}
	return nil
}

// job is a record with a content.
type job struct {
	item    int // of the page
	content *content
	file    *fileRec // with a small content
}

// jobs finds the contents of so many first records as belong into one step.
func (m *mover) jobs(in Collection, items []Item) (all []job, n int, err error) {
	size := int64(0)
	for i, item := range items {
		if size > stepBytes {
			return all, i, nil
		}
		c, err := contentOf(in, item)
		if err != nil {
			return nil, 0, fmt.Errorf("%s record %x: %w (fileshare fsck --repair of the source removes it)", in, item.ID, err)
		}
		if c != nil && !m.same {
			all = append(all, job{item: i, content: c})
			size += c.size()
		}
		if in != FileRecords {
			continue
		}
		f, err := decodeFile(item.Doc)
		if err != nil {
			return nil, 0, err
		}
		if f.small() {
			all = append(all, job{item: i, file: f})
		}
	}
	return all, len(items), nil
}

// small tells whether a living file has its content in a record of its own.
func (f *fileRec) small() bool {
	return f.reason == alive && (f.stored && f.inline || f.open != nil && f.open.tail && !f.open.used())
}

// copiers is how many contents are copied at once.
const copiers = 8

// contents copies contents and changes the records that say how they are cut.
func (m *mover) contents(ctx context.Context, in Collection, items []Item, jobs []job, sum *Copied) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	counts := make([]int64, len(jobs))
	for w := range copiers {
		wg.Go(func() {
			for i := w; i < len(jobs) && ctx.Err() == nil; i += copiers {
				j, item := jobs[i], &items[jobs[i].item]
				err := m.content(ctx, in, item, j, &counts[i])
				if err != nil {
					cancel(m.explain(in, *item, err))
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i, j := range jobs {
		if j.content != nil {
			sum.Blobs += counts[i]
			sum.Bytes += j.content.size()
		}
	}
	return nil
}

func (m *mover) content(ctx context.Context, in Collection, item *Item, j job, blobs *int64) error {
	if j.file != nil {
		return m.from.Records.View(ctx, func(tx Tx) error {
			doc, err := tx.Get(ContentRecords, item.ID)
			if err != nil {
				return err
			}
			return checkInline(doc, j.file)
		})
	}
	runs, err := copyContent(ctx, m.from.Blobs, m.to.Blobs, j.content, m.again)
	if err != nil {
		return err
	}
	for _, r := range runs {
		*blobs += r.count
	}
	item.Doc, err = withRuns(in, item.Doc, runs)
	return err
}

// explain says which file an error is about, and what to do.
func (m *mover) explain(in Collection, item Item, err error) error {
	id := item.ID
	if in == IndexRecords { // of a piece
		id = id[1:][:len(Key{})]
	}
	key, _ := keyOf(id)
	err = fmt.Errorf("content of file %s: %w", m.ids.id(key), err)
	if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w (fileshare fsck --deep --repair of the source ends such files; then this can go on)", err)
	}
	return err
}

// readIDs reads what turns the keys of records into ids.
func readIDs(ctx context.Context, r Records) (*idCodec, error) {
	var secret []byte
	err := r.View(ctx, func(tx Tx) error {
		doc, err := tx.Get(MetaRecords, secretID)
		secret = bytes.Clone(doc)
		return err
	})
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, ErrNothing
	}
	return newIDCodec(secret)
}

// empty refuses a target that has something.
func empty(ctx context.Context, to Backend, same bool) error {
	for _, in := range Collections() {
		items, _, err := page(ctx, to.Records, in, nil, nil)
		if err != nil {
			return err
		}
		if len(items) > 0 {
			return fmt.Errorf("%w: it has records", ErrNotEmpty)
		}
	}
	if same {
		return nil
	}
	is, err := readLabel(ctx, to.Blobs)
	if err != nil {
		return err
	}
	if !is.zero() {
		return fmt.Errorf("%w: its contents, if there are none now, are labelled as those of store %s", ErrNotEmpty, is)
	}
	for info, err := range to.Blobs.List(ctx, AllShards) {
		if err != nil {
			return err
		}
		if _, ours := runOf(info.Key); ours {
			return fmt.Errorf("%w: it has contents", ErrNotEmpty)
		}
	}
	return nil
}

// sameBlobs tells whether two blobs are the same place, whatever it is called.
func sameBlobs(ctx context.Context, a, b Blobs) (same bool, err error) {
	key := run{key: newKey(time.Now())}.blob(0) // a sweep finds it, if we die
	if _, err := a.Put(ctx, key, bytes.NewReader([]byte("probe")), 5); err != nil {
		return false, fmt.Errorf("write a probe: %w", err)
	}
	r, err := b.Open(ctx, key, 0, 5)
	if err == nil {
		same = true
		err = r.Close()
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return same, errors.Join(err, a.Delete(ctx, key))
}
