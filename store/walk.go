package store

import (
	"bytes"
	"context"
	"slices"
)

// walkStep is how many entries a Walk reads in one View.
const walkStep = 1000

// Walk calls visit with every file of a list until that returns false: those
// of an account newest first, with q.All account by account. It is for
// questions that no list answers, and looks at no more than most entries:
// complete is false where that bound ended it. Session, Limit and Cursor of the query
// are not used, and Downloads of the files is not told. What is made or
// removed meanwhile may be seen or not.
func (s *Store) Walk(ctx context.Context, c Caller, q Query, most int, visit func(*File) bool) (complete bool, err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return false, err
	}
	prefix := byOwner(c.Name)
	switch {
	case q.All && !c.Admin:
		return false, Refuse(Denied, "only an administrator sees everything")
	case q.All:
		prefix = prefix[:1] // the lists of all owners
	case q.Tag != "":
		prefix = byTag(c.Name, q.Tag)
	}
	var from []byte
	if !q.All && !q.Until.IsZero() {
		from = entry(prefix, firstKey(until(q)))
	}
	for {
		var files []*File
		var done bool
		limit := min(walkStep, most)
		next := from
		err := s.view(ctx, func(tx Tx) error {
			var err error
			files, next, done, err = s.step(tx, q, prefix, from, limit)
			return err
		})
		if err != nil {
			return false, err
		}
		for _, f := range files {
			if !visit(f) {
				return true, nil
			}
		}
		from, most = next, most-limit
		if done || most <= 0 {
			return done, nil
		}
		if err := context.Cause(ctx); err != nil {
			return false, err
		}
	}
}

// step reads at most limit entries of a list below from.
func (s *Store) step(tx Tx, q Query, prefix, from []byte, limit int) (files []*File, next []byte, done bool, err error) {
	now := s.now()
	sessions := map[Key]*sessionRec{}
	last, looked := []byte(nil), 0
	for item, err := range tx.Scan(IndexRecords, prefix, from) {
		if err != nil {
			return nil, nil, false, err
		}
		if looked == limit {
			return files, bytes.Clone(last), false, nil
		}
		looked++
		last = append(last[:0], item.ID...)
		key, ok := keyOf(item.ID[max(len(item.ID)-len(Key{}), 0):])
		if !ok || !q.Until.IsZero() && !key.before(until(q)) {
			continue
		}
		if key.before(q.Since) {
			if !q.All {
				break
			}
			continue
		}
		f, err := s.findListed(tx, key, now, sessions)
		if err != nil {
			return nil, nil, false, err
		}
		if f != nil && (q.Tag == "" || slices.Contains(f.file.tags, q.Tag)) {
			files = append(files, s.render(f, 0))
		}
	}
	return files, nil, true, nil
}
