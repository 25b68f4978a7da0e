package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Numbers are for faces whose clients count: a sequence is a name, and each
// record made with it gets the next number of it, in the Update in which it is
// made. A number is used once; it finds its record as long as that lives.

// numberID is the id of the counter of a sequence among the meta records.
func numberID(sequence string) []byte { return text('n', sequence) }

// byNumber is the prefix of the one index record of a number.
func byNumber(sequence string, n int64) []byte {
	return binary.BigEndian.AppendUint64(text('n', sequence), uint64(n))
}

// nextNumber takes the next number of a sequence; the first is 1.
func nextNumber(tx Tx, sequence string) (int64, error) {
	doc, err := tx.Get(MetaRecords, numberID(sequence))
	if err != nil {
		return 0, err
	}
	last := int64(0)
	for x, err := range fields(doc) {
		if err != nil {
			return 0, fmt.Errorf("sequence %s: %w", sequence, err)
		}
		if x.n == 1 {
			last = int64(x.v)
		}
	}
	var e encoder
	e.uint(1, uint64(last+1))
	return last + 1, tx.Put(MetaRecords, numberID(sequence), e, time.Time{})
}

// number gives a new record its number, if it is to have one, and enters it.
func number(tx Tx, sequence string, n *int64, key Key) (err error) {
	if sequence == "" {
		return nil
	}
	if *n, err = nextNumber(tx, sequence); err != nil {
		return err
	}
	return tx.Put(IndexRecords, entry(byNumber(sequence, *n), key), nil, time.Time{})
}

// unnumber takes the entry away.
func unnumber(tx Tx, sequence string, n int64, key Key) error {
	if sequence == "" {
		return nil
	}
	return tx.Delete(IndexRecords, entry(byNumber(sequence, n), key))
}

// numbered finds the record that has a number.
func numbered(tx Tx, sequence string, n int64) (key Key, ok bool, err error) {
	prefix := byNumber(sequence, n)
	for item, err := range tx.Scan(IndexRecords, prefix, nil) {
		if err != nil {
			return key, false, err
		}
		if key, ok = keyOf(item.ID[len(prefix):]); ok {
			return key, true, nil
		}
	}
	return key, false, nil
}

// FileByNumber is Locate for a number of a sequence. To owner and members one of a
// session that has ended and is kept is Expired, with the cause ErrEnded.
func (s *Store) FileByNumber(ctx context.Context, c Caller, sequence string, n int64) (ref Ref, err error) {
	if err := s.permit(c, toFind, nil); err != nil {
		return ref, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, ok, err := numbered(tx, sequence, n)
		if err != nil {
			return err
		}
		if !ok {
			return errFileUnknown()
		}
		ref, err = s.locate(tx, c, key)
		if k := KindOf(err); k != NotFound && k != Expired {
			return err
		}
		session, e := sessionOf(tx, key)
		if e == nil {
			_, e = s.sessionFound(tx, c, session)
		}
		if errors.Is(e, ErrEnded) || KindOf(e) == 0 && e != nil {
			return e
		}
		return err
	})
	return ref, err
}

// SessionByNumber is Session for a number of a sequence. Numbers can be guessed:
// also where sessions are open, it is for owner and members only. To them one that
// has ended and is kept is Expired, with the cause ErrEnded.
func (s *Store) SessionByNumber(ctx context.Context, c Caller, sequence string, n int64) (out *Session, err error) {
	if err := s.permit(c, toFind, nil); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, ok, err := numbered(tx, sequence, n)
		if err != nil {
			return err
		}
		if !ok {
			return errSessionUnknown()
		}
		rec, err := s.sessionFound(tx, c, key)
		if err == nil {
			out = s.showSession(key, rec)
		}
		return err
	})
	return out, err
}
