package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What records must be to each other. A fault that ends a record is the only one
// that is told of it.

// damaged is the fault of a record that cannot be read, and so is of no use.
func damaged(in Collection, id []byte) []fault {
	faults := removed(in, id, "it cannot be read")
	faults[0].kind = Damaged
	return faults
}

// removed is the fault of a record that belongs to nothing.
func removed(in Collection, id []byte, detail string) []fault {
	id = bytes.Clone(id)
	return []fault{{Stray, detail, "it is removed", func(tx Tx) error { return tx.Delete(in, id) }}}
}

// judgeDue judges a record that must end some time.
func (c *checker) judgeDue(in Collection) judge {
	return func(_ Tx, item Item) ([]fault, error) {
		if !item.Due.IsZero() {
			return nil, nil
		}
		item = item.clone()
		return []fault{{Endless, "it is never due", "it is due now", func(tx Tx) error { return tx.Put(in, item.ID, item.Doc, time.Now()) }}}, nil
	}
}

func (c *checker) judgeFile(tx Tx, item Item) ([]fault, error) {
	key, ok := keyOf(item.ID)
	f, err := decodeFile(item.Doc)
	if !ok || err != nil {
		return damaged(FileRecords, item.ID), nil
	}
	if f.reason != alive {
		return c.endless(item, time.Time{}, func(tx Tx) error {
			return tx.Put(FileRecords, key[:], f.encode(), time.Now().Add(c.s.o.Tombstones))
		}), nil
	}
	end := func(why reason) func(Tx) error {
		return func(tx Tx) error {
			c.ended[key] = true
			d := newDropper(c.s, time.Now())
			if err := d.drop(tx, key, f, why); err != nil {
				return err
			}
			return d.finish(tx)
		}
	}
	if !f.session.zero() {
		if doc, err := tx.Get(SessionRecords, f.session[:]); err != nil {
			return nil, err
		} else if doc == nil {
			return []fault{{Stray, "its session is not there", "it is removed", end(deleted)}}, nil
		}
	}
	if l, ok := c.lost[key]; ok && bytes.Equal(l.doc, item.Doc) { // else it has gone on meanwhile
		l.fault.mend = end(expired)
		return []fault{l.fault}, nil
	}
	var faults []fault
	if !f.expires.IsZero() {
		faults = c.endless(item, f.expires, func(tx Tx) error { return putFile(tx, key, f) })
	}
	want := f.listed(key)
	if f.sequence != "" {
		want = append(want, entry(byNumber(f.sequence, f.number), key))
	}
	if faults, err = allUnlisted(tx, faults, want); err != nil {
		return nil, err
	}
	runs := f.runs
	if f.open != nil && !f.open.used() {
		all, err := pieces(tx, key)
		if errors.Is(err, errCodec) { // the piece is judged in its turn
			return append(faults, fault{kind: Damaged, detail: "a piece of it cannot be read", mending: "it ends when that has been removed"}), nil
		}
		if err != nil {
			return nil, err
		}
		for _, p := range all {
			runs = append(runs, p.run)
		}
	}
	for _, r := range runs {
		if faults, err = unlisted(tx, faults, runID(r.key), key[:]); err != nil {
			return nil, err
		}
	}
	return faults, nil
}

// listed are the entries of a file in lists.
func (f *fileRec) listed(key Key) (ids [][]byte) {
	_ = eachIndex(&found{file: f, fileKey: key}, func(id []byte) error {
		ids = append(ids, id)
		return nil
	})
	return ids
}

// unlisted adds a fault where an entry is missing, or says something else.
func unlisted(tx Tx, faults []fault, id, doc []byte) ([]fault, error) {
	is, err := tx.Get(IndexRecords, id)
	if err != nil || is != nil && bytes.Equal(is, doc) {
		return faults, err
	}
	return append(faults, fault{Unlisted, fmt.Sprintf("an entry of list %q is not there", id[:1]), "it is entered",
		func(tx Tx) error { return tx.Put(IndexRecords, id, doc, time.Time{}) }}), nil
}

// allUnlisted is unlisted for entries that say nothing more.
func allUnlisted(tx Tx, faults []fault, ids [][]byte) ([]fault, error) {
	var err error
	for _, id := range ids {
		if faults, err = unlisted(tx, faults, id, nil); err != nil {
			return nil, err
		}
	}
	return faults, nil
}

// endless is the fault of a record that is not due at its end; an end of zero is
// not known, but there must be one.
func (c *checker) endless(item Item, end time.Time, mend func(Tx) error) []fault {
	if !item.Due.IsZero() && (end.IsZero() || !item.Due.After(end.Add(time.Millisecond))) {
		return nil
	}
	return []fault{{Endless, "it is not due at its end", "it is due then", mend}}
}

func (c *checker) judgeSession(tx Tx, item Item) (faults []fault, err error) {
	key, ok := keyOf(item.ID)
	s, err := decodeSession(item.Doc)
	if !ok || err != nil {
		return damaged(SessionRecords, item.ID), nil
	}
	if s.reason != alive {
		doc := bytes.Clone(item.Doc)
		faults = c.endless(item, time.Time{}, func(tx Tx) error {
			return tx.Put(SessionRecords, key[:], doc, time.Now().Add(c.s.o.Tombstones))
		})
		want := [][]byte(nil)
		if s.sequence != "" {
			want = append(want, entry(byNumber(s.sequence, s.number), key))
		}
		if s.remains != nil {
			if err := s.remains.eachNumber(key, func(id []byte) error { want = append(want, id); return nil }); err != nil {
				return damaged(SessionRecords, item.ID), nil
			}
		}
		return allUnlisted(tx, faults, want)
	}
	faults = c.endless(item, s.due(), func(tx Tx) error { return putSession(tx, key, s) })
	want := s.listed(key)
	if s.sequence != "" {
		want = append(want, entry(byNumber(s.sequence, s.number), key))
	}
	return allUnlisted(tx, faults, want)
}

// listed are the entries of a session in lists.
func (s *sessionRec) listed(key Key) (ids [][]byte) {
	_ = s.eachIndex(key, func(id []byte) error {
		ids = append(ids, id)
		return nil
	})
	return ids
}

func (c *checker) judgeToken(tx Tx, item Item) ([]fault, error) {
	key, ok := keyOf(item.ID)
	t, err := decodeToken(item.Doc)
	if !ok || err != nil {
		return damaged(TokenRecords, item.ID), nil
	}
	if doc, err := tx.Get(FileRecords, t.file[:]); err != nil {
		return nil, err
	} else if doc == nil {
		return []fault{{Stray, "its file is not there", "it is removed", func(tx Tx) error { return dropToken(tx, t.file, key) }}}, nil
	}
	return unlisted(tx, nil, entry(tokensOf(t.file), key), nil)
}

func (c *checker) judgeShare(tx Tx, item Item) (faults []fault, err error) {
	key, ok := keyOf(item.ID)
	h, err := decodeShare(item.Doc)
	if !ok || err != nil {
		return damaged(ShareRecords, item.ID), nil
	}
	if doc, err := tx.Get(SessionRecords, h.session[:]); err != nil {
		return nil, err
	} else if doc == nil {
		return []fault{{Stray, "its session is not there", "it is removed", func(tx Tx) error { return dropShare(tx, key, h) }}}, nil
	}
	want := [][]byte{entry(sharesOf(h.session), key)}
	if h.sequence != "" {
		want = append(want, entry(byNumber(h.sequence, h.number), key))
	}
	return allUnlisted(tx, faults, want)
}

// judgeContent judges a small content: its file must have it there.
func (c *checker) judgeContent(tx Tx, item Item) ([]fault, error) {
	key, _ := keyOf(item.ID)
	f, err := getFile(tx, key)
	if errors.Is(err, errCodec) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if f == nil || !f.small() {
		return removed(ContentRecords, item.ID, "no file has this content"), nil
	}
	return nil, nil
}

// judgeUses judges the downloads of a file or token, or what the holder of a share
// has of a file.
func (c *checker) judgeUses(tx Tx, item Item) ([]fault, error) {
	if len(item.ID) == len(gatheredID(Key{}, Key{})) {
		if h, err := getShare(tx, Key(item.ID[:len(Key{})])); err != nil || h != nil {
			return nil, err
		}
		return removed(UseRecords, item.ID, "these are pieces of a share that is not there"), nil
	}
	key, _ := keyOf(item.ID)
	f, err := getFile(tx, key)
	if errors.Is(err, errCodec) || err == nil && f != nil && f.reason == alive {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if doc, err := tx.Get(TokenRecords, item.ID); err != nil || doc != nil {
		return nil, err
	}
	return removed(UseRecords, item.ID, "these are downloads of no file or token"), nil
}

// judgeIndex judges an entry of a list by the record that it leads to.
func (c *checker) judgeIndex(tx Tx, item Item) ([]fault, error) {
	ok, err := c.leads(tx, item)
	if errors.Is(err, errCodec) { // that one is judged in its turn
		return nil, nil
	}
	if err != nil || ok {
		return nil, err
	}
	faults := removed(IndexRecords, item.ID, fmt.Sprintf("an entry of list %q leads to no record that belongs there", item.ID[:1]))
	if item.ID[0] == piecesOf(Key{})[0] {
		p, err := decodePiece(Key{}, item)
		if err != nil {
			return damaged(IndexRecords, item.ID), nil
		}
		id := bytes.Clone(item.ID)
		faults[0].mend = func(tx Tx) error {
			if err := tx.Delete(IndexRecords, id); err != nil {
				return err
			}
			return c.s.discardRun(tx, p.run, time.Now())
		}
	}
	return faults, nil
}

// leads tells whether an entry leads to a record that belongs into its list.
func (c *checker) leads(tx Tx, item Item) (bool, error) {
	id, last := item.ID, Key{}
	if len(id) <= len(last) {
		return true, nil // of another version
	}
	last = Key(id[len(id)-len(last):])
	switch id[0] {
	case byOwner("")[0], byTag("", "")[0], bySession(last)[0]:
		f, err := getFile(tx, last)
		return err == nil && f != nil && f.reason == alive && slices.ContainsFunc(f.listed(last), func(e []byte) bool { return bytes.Equal(e, id) }), err
	case sessionsOf("")[0], madeBy(last)[0], begunBy(last)[0]:
		s, err := getSession(tx, last)
		return err == nil && s != nil && s.reason == alive && slices.ContainsFunc(s.listed(last), func(e []byte) bool { return bytes.Equal(e, id) }), err
	case byNumber("", 0)[0]:
		return c.numbered(tx, id, last)
	case tokensOf(last)[0]:
		doc, err := tx.Get(TokenRecords, last[:])
		return doc != nil, err
	case sharesOf(last)[0]:
		doc, err := tx.Get(ShareRecords, last[:])
		return doc != nil, err
	case eventsOf(last)[0]:
		if len(item.Doc) > 0 { // for an audit
			s, err := getSession(tx, Key(id[1:][:len(last)]))
			return err == nil && s != nil && s.audit, err
		}
		doc, err := tx.Get(EventRecords, last[:])
		return doc != nil, err
	case invitationsOf("")[0]:
		doc, err := tx.Get(InviteRecords, last[:])
		return doc != nil, err
	case runID(last)[0]:
		file, _ := keyOf(item.Doc)
		_, ok, err := runOfFile(tx, file, last)
		return ok, err
	case piecesOf(last)[0]:
		if _, err := decodePiece(Key{}, item); err != nil {
			return false, nil
		}
		key := Key(id[1:][:len(last)])
		f, err := getFile(tx, key)
		return err == nil && f != nil && f.reason == alive && f.open != nil && !f.open.used(), err
	}
	return true, nil // of another version
}

// numbered tells whether a record has the number of an entry.
func (c *checker) numbered(tx Tx, id []byte, key Key) (bool, error) {
	is := func(sequence string, n int64) bool { return bytes.Equal(entry(byNumber(sequence, n), key), id) }
	if f, err := getFile(tx, key); err != nil || f != nil {
		return err == nil && f.reason == alive && is(f.sequence, f.number), err
	}
	if s, err := getSession(tx, key); err != nil || s != nil {
		found := err == nil && is(s.sequence, s.number)
		if err == nil && s.remains != nil {
			err = s.remains.eachNumber(key, func(its []byte) error { found = found || bytes.Equal(its, id); return nil })
		}
		return found, err
	}
	if h, err := getShare(tx, key); err != nil || h != nil {
		return err == nil && is(h.sequence, h.number), err
	}
	i, err := getInvitation(tx, key)
	return i != nil && is(i.sequence, i.number), err
}

// runOfFile finds a run of a living file by its key.
func runOfFile(tx Tx, file, key Key) (r run, ok bool, err error) {
	f, err := getFile(tx, file)
	if err != nil || f == nil || f.reason != alive {
		return r, false, err
	}
	for _, r := range f.runs {
		if r.key == key {
			return r, true, nil
		}
	}
	if f.open == nil || f.open.used() {
		return r, false, nil
	}
	all, err := pieces(tx, file)
	for _, p := range all {
		if p.run.key == key {
			return p.run, true, err
		}
	}
	return r, false, err
}
