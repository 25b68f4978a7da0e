package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Records that are being copied say so themselves, in a mark: a daemon does not
// begin over a half of them, nor over those that others have taken the place of,
// where a one-time link would be good a second time.

// role is what marked records are to a copy.
type role uint8

const (
	leaving  role = iota + 1 // they are copied elsewhere
	left                     // they have been, and are served there
	arriving                 // they are copied here, and not complete
)

// mark is the record of a copy.
type mark struct {
	role  role
	id    []byte    // of the copy, the same at both ends
	since time.Time // when it began, or was complete
	// How far an arriving copy has come.
	in     Collection // that is being copied, empty: the first one
	from   []byte     // what is below is still to come
	done   bool       // all records are there
	copied Copied
}

// Copied is what a copy has brought over so far.
type Copied struct {
	Records int64
	Blobs   int64 // as many as they are at the target
	Bytes   int64 // of the blobs
}

var markID = []byte("copy")

// bound tells whether a record about the store itself means nothing in a copy: it is
// about where it lies.
func bound(id []byte) bool { return bytes.Equal(id, markID) || bytes.Equal(id, identityID) }

func (m *mark) encode() []byte {
	var e encoder
	e.uint(1, uint64(m.role))
	e.bytes(2, m.id)
	e.time(3, m.since)
	e.string(4, string(m.in))
	e.bytes(5, m.from)
	e.uint(6, flag(m.done))
	e.uint(7, uint64(m.copied.Records))
	e.uint(8, uint64(m.copied.Blobs))
	e.uint(9, uint64(m.copied.Bytes))
	return e
}

func decodeMark(b []byte) (*mark, error) {
	m := new(mark)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			m.role = role(x.v)
		case 2:
			m.id = bytes.Clone(x.raw)
		case 3:
			m.since = x.time()
		case 4:
			m.in = Collection(x.raw)
		case 5:
			m.from = bytes.Clone(x.raw)
		case 6:
			m.done = x.v != 0
		case 7:
			m.copied.Records = int64(x.v)
		case 8:
			m.copied.Blobs = int64(x.v)
		case 9:
			m.copied.Bytes = int64(x.v)
		}
	}
	return m, nil
}

// getMark reads the mark, nil if there is none.
func getMark(tx Tx) (*mark, error) {
	doc, err := tx.Get(MetaRecords, markID)
	if err != nil || doc == nil {
		return nil, err
	}
	return decodeMark(doc)
}

func (m *mark) put(tx Tx) error { return tx.Put(MetaRecords, markID, m.encode(), time.Time{}) }

// mayServe refuses to serve marked records.
func mayServe(tx Tx) error {
	m, err := getMark(tx)
	if err != nil || m == nil {
		return err
	}
	at := m.since.Format(time.RFC3339)
	switch m.role {
	case leaving:
		return fmt.Errorf("the records are being moved elsewhere since %s: let fileshare migrate end, or release them with fileshare migrate --release", at)
	case left:
		return fmt.Errorf("the records were moved elsewhere at %s, and are used there; fileshare migrate --release makes them usable here", at)
	}
	return fmt.Errorf("the records are a copy that began at %s and is not complete: run the same fileshare migrate or restore again", at)
}

// marked reads the mark of records.
func marked(ctx context.Context, r Records) (m *mark, err error) {
	err = r.View(ctx, func(tx Tx) (err error) {
		m, err = getMark(tx)
		return err
	})
	return m, err
}

// arrived refuses records that are a copy which is not complete.
func arrived(ctx context.Context, r Records) error {
	m, err := marked(ctx, r)
	if err == nil && m != nil && m.role == arriving {
		err = errors.New("the records are a copy that is not complete")
	}
	return err
}

// Release makes records usable again that are being moved elsewhere or have
// been. What is used at one of the two places is not known at the other.
func Release(ctx context.Context, records Records) error {
	return records.Update(ctx, func(tx Tx) error {
		m, err := getMark(tx)
		if err != nil {
			return err
		}
		if m == nil || m.role == arriving {
			return errors.New("these records were not moved elsewhere")
		}
		return tx.Delete(MetaRecords, markID)
	})
}

var errAtWork = fmt.Errorf("a daemon is at work with the records, or died less than %v ago: end it first", nodeLease)

// atRest refuses records that a daemon is at work with. Where the records are
// the caller's alone there is none.
func atRest(tx Tx, exclusive bool) error {
	if exclusive {
		return nil
	}
	now := time.Now()
	for item, err := range tx.Scan(NodeRecords, nil, nil) {
		if err != nil {
			return err
		}
		lives, err := nodeLives(item.Doc, now)
		if err != nil {
			return err
		}
		if lives {
			return errAtWork
		}
	}
	return nil
}
