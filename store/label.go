package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Records and blobs find each other by what a configuration says, and that may be
// wrong. So a store has an id: its records have it, and a blob beside the contents,
// the label, tells it. Over contents that are labelled as those of others nothing is
// begun and nothing is swept. The label is no run, so that neither sweep nor check
// nor a copy takes it for a content, whatever their version.

// ErrOrphaned says that contents were found where records are to begin anew: the
// records were lost, or it is the wrong place.
var ErrOrphaned = errors.New("there are contents but no records of them")

// labelKey is the blob that says whose the contents beside it are.
const labelKey = "store/id"

// labelSize is the length of a label: the id in hexadecimal digits, and a line end.
const labelSize = 2*len(Key{}) + 1

var identityID = []byte("store")

// identity reads the id of the store; zero: the records have none yet.
func identity(tx Tx) (id Key, err error) {
	doc, err := tx.Get(MetaRecords, identityID)
	copy(id[:], doc)
	return id, err
}

// identify reads the id of the store, or makes it.
func identify(tx Tx) (Key, error) {
	id, err := identity(tx)
	if err != nil || !id.zero() {
		return id, err
	}
	rand.Read(id[:]) // never fails
	return id, tx.Put(MetaRecords, identityID, id[:], time.Time{})
}

// readLabel reads whose the contents are; zero: they have no label, or a half of one
// that a crash has left.
func readLabel(ctx context.Context, b Blobs) (Key, error) {
	text, err := readSmall(ctx, b, labelKey, int64(labelSize))
	switch {
	case err == nil:
	case !errors.Is(err, ErrUnavailable) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF)):
		return Key{}, nil
	default:
		return Key{}, fmt.Errorf("read the label of the contents: %w", err)
	}
	id, err := hex.DecodeString(string(bytes.TrimSuffix(text, []byte("\n"))))
	key, ok := keyOf(id)
	if err != nil || !ok {
		return Key{}, nil
	}
	return key, nil
}

// readSmall reads the first n bytes of a blob.
func readSmall(ctx context.Context, b Blobs, key string, n int64) ([]byte, error) {
	r, err := b.Open(ctx, key, 0, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text := make([]byte, n)
	_, err = io.ReadFull(r, text)
	return text, err
}

// labelTries is how often a label is written that others write at the same time.
const labelTries = 5

// label makes the contents those of id, unless they are those of another than
// instead. Others may be about to do the same.
func label(ctx context.Context, b Blobs, id, instead Key) error {
	for try := 1; ; try++ {
		is, err := readLabel(ctx, b)
		if err != nil || is == id {
			return err
		}
		if !is.zero() && is != instead {
			return stranger(is, id)
		}
		if try > 1 || !is.zero() { // or half of one may be there
			if err := b.Delete(ctx, labelKey); err != nil {
				return fmt.Errorf("remove a label: %w", err)
			}
		}
		_, err = b.Put(ctx, labelKey, bytes.NewReader(append(hex.AppendEncode(nil, id[:]), '\n')), int64(labelSize))
		if err == nil {
			return nil
		}
		if try == labelTries || isStorage(err) {
			return fmt.Errorf("label the contents: %w", err)
		}
	}
}

// isStorage tells whether it is a disk or a server that an error is about.
func isStorage(err error) bool {
	return errors.Is(err, ErrNoSpace) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrUnavailable)
}

// stranger is the error over contents that are labelled as those of is.
func stranger(is, id Key) error {
	if id.zero() {
		return fmt.Errorf("%w: the contents are labelled as those of store %s, the records have no id, as those of older versions", ErrForeign, is)
	}
	return fmt.Errorf("%w: the contents are labelled as those of store %s, the records are those of store %s", ErrForeign, is, id)
}

// paired refuses contents that are labelled as those of other records. Where there
// is no label nobody can tell.
func paired(ctx context.Context, b Backend) error {
	is, err := readLabel(ctx, b.Blobs)
	if err != nil || is.zero() {
		return err
	}
	id, err := readIdentity(ctx, b.Records)
	if err == nil && id != is {
		err = stranger(is, id)
	}
	return err
}

// pair gives records an id, if they have none, and makes the contents theirs, as label
// does.
func pair(ctx context.Context, b Backend, instead Key) error {
	var id Key
	err := b.Records.Update(ctx, func(tx Tx) (err error) {
		id, err = identify(tx)
		return err
	})
	if err != nil {
		return err
	}
	return label(ctx, b.Blobs, id, instead)
}

func readIdentity(ctx context.Context, r Records) (id Key, err error) {
	err = r.View(ctx, func(tx Tx) (err error) {
		id, err = identity(tx)
		return err
	})
	return id, err
}

// mayBegin finds out whether a daemon may begin, before anything is written. is is the
// label of the contents as it was before, unread why it is not known.
func (s *Store) mayBegin(ctx context.Context, is Key, unread error) error {
	id, begun, err := s.begun(ctx)
	switch {
	case err != nil:
		return err
	case !begun && unread == nil:
		return s.vacant(ctx, is)
	case begun && unread == nil && !is.zero() && is != id:
		return stranger(is, id)
	case begun && errors.Is(unread, ErrUnavailable): // the sweep asks again
		s.o.Log.Warn("whose the contents are is not known yet", "error", unread)
		return nil
	}
	return unread
}

// begun tells whether the records have ever been used, and the id of the store.
func (s *Store) begun(ctx context.Context) (id Key, ok bool, err error) {
	err = s.records.View(ctx, func(tx Tx) error {
		if err := mayServe(tx); err != nil {
			return err
		}
		doc, err := tx.Get(MetaRecords, secretID)
		if err == nil {
			ok = doc != nil
			id, err = identity(tx)
		}
		return err
	})
	return id, ok, err
}

// vacant refuses to begin anew over contents: the records were lost, and a sweep would
// remove what is left.
func (s *Store) vacant(ctx context.Context, is Key) error {
	if !is.zero() {
		return fmt.Errorf("%w: the contents are labelled as those of store %s, and the records are empty", ErrOrphaned, is)
	}
	for info, err := range s.blobs.List(ctx, AllShards) {
		if err != nil {
			return err
		}
		if _, ours := runOf(info.Key); !ours {
			continue
		}
		if _, begun, err := s.begun(ctx); err != nil || begun { // by another node, meanwhile
			return err
		}
		return fmt.Errorf("%w: there are contents, and the records are empty", ErrOrphaned)
	}
	return nil
}

// settled is how old contents are to which records may be expected.
const settled = time.Hour

// own sees to it that contents with the label is are labelled as ours. Without one
// they are what every older version had, or have lost it to a rule of their server; or
// they are the wrong ones, which is told by looking at some.
func (s *Store) own(ctx context.Context, is Key) error {
	if is == s.id {
		return nil
	}
	if !is.zero() {
		return stranger(is, s.id)
	}
	c := newChecker(Backend{Records: s.records, Blobs: s.blobs}, CheckOptions{MinAge: settled})
	seen, err := c.survey(ctx)
	if err != nil {
		return err
	}
	if seen.foreign() || seen.bare() {
		return seen.refusal()
	}
	err = label(ctx, s.blobs, s.id, Key{})
	switch {
	case err == nil:
		s.o.Log.Debug("labelled the contents as those of these records", "store", s.id.String())
	case isStorage(err): // a disk may be full: a later sweep does it
		s.o.Log.Warn("the contents stay without a label", "error", err)
		err = nil
	}
	return err
}

// Adopt makes the contents those of the records, whatever label they have, and
// returns the id of the store. Whoever else has records of them does not begin over
// them any more. No daemon may be at work with the records. [ErrNothing] says that
// there are none.
func Adopt(ctx context.Context, b Backend) (id string, err error) {
	if err := arrived(ctx, b.Records); err != nil {
		return "", err
	}
	if _, err := readIDs(ctx, b.Records); err != nil {
		return "", err
	}
	was, err := readLabel(ctx, b.Blobs)
	if err != nil {
		return "", err
	}
	err = b.Records.View(ctx, func(tx Tx) error { return atRest(tx, b.Exclusive) })
	if err == nil {
		err = pair(ctx, b, was)
	}
	if err != nil {
		return "", err
	}
	key, err := readIdentity(ctx, b.Records)
	return key.String(), err
}
