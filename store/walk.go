package store

import (
	"bytes"
	"context"
	"slices"
)

// walkStep is how many entries a Walk reads in one View.
const walkStep = 1000

// walk is a list on the way.
type walk struct {
	q      Query
	in     Collection
	prefix []byte
	timed  bool // newest first, so that Since is its end
}

// Walk calls visit with every file of a list until that returns false: those
// of an account newest first, with q.All and Since as well, with q.All alone
// account by account (which passes by what has ended). It is for
// questions that no list answers, and looks at no more than most entries:
// complete is false where that bound ended it. Session, Limit and Cursor of the query
// are not used, and Downloads of the files is not told. What is made or
// removed meanwhile may be seen or not.
func (s *Store) Walk(ctx context.Context, c Caller, q Query, most int, visit func(*File) bool) (complete bool, err error) {
	if err := s.permitList(c, toOwn, q); err != nil {
		return false, err
	}
	w := walk{q: q, in: IndexRecords, prefix: byOwner(c.Name), timed: true}
	switch {
	case q.All && !q.Since.IsZero():
		w.in, w.prefix = FileRecords, nil
	case q.All:
		w.prefix, w.timed = w.prefix[:1], false // the lists of all owners
	case q.Tag != "":
		w.prefix = byTag(c.Name, q.Tag)
	}
	var from []byte
	if w.timed && !q.Until.IsZero() {
		from = entry(w.prefix, firstKey(until(q)))
	}
	for {
		var files []*File
		var done bool
		limit := min(walkStep, most)
		next := from
		err := s.view(ctx, func(tx Tx) error {
			var err error
			files, next, done, err = s.step(tx, w, from, limit)
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
func (s *Store) step(tx Tx, w walk, from []byte, limit int) (files []*File, next []byte, done bool, err error) {
	now := s.now()
	sessions := map[Key]*sessionRec{}
	last, looked := []byte(nil), 0
	for item, err := range tx.Scan(w.in, w.prefix, from) {
		if err != nil {
			return nil, nil, false, err
		}
		if looked == limit {
			return files, bytes.Clone(last), false, nil
		}
		looked++
		last = append(last[:0], item.ID...)
		key, ok := keyOf(item.ID[max(len(item.ID)-len(Key{}), 0):])
		if key.before(w.q.Since) && w.timed {
			break
		}
		if !ok || key.before(w.q.Since) || !w.q.Until.IsZero() && !key.before(until(w.q)) {
			continue
		}
		f, err := s.findListed(tx, key, now, sessions)
		if err != nil {
			return nil, nil, false, err
		}
		if f != nil && (w.q.Tag == "" || slices.Contains(f.file.tags, w.q.Tag)) {
			files = append(files, s.render(f, 0))
		}
	}
	return files, nil, true, nil
}
