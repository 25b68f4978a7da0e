package store

import (
	"cmp"
	"time"
)

// Bounds of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
	maxLooked    = 10_000 // entries looked at for one page
)

// lister walks the entries of one list, newest first.
type lister struct {
	s      *Store
	in     Collection
	prefix []byte
	q      Query
}

// until is when the first file that is too young was made.
func until(q Query) time.Time { return q.Until.Add(time.Millisecond) }

// list collects a page: get returns an item by its key, or the zero value for
// what is not to be seen. The cursor is the public id of the last entry that
// was looked at.
func list[T comparable](l *lister, tx Tx, get func(Key) (T, error)) (page Page[T], err error) {
	limit := cmp.Or(l.q.Limit, defaultLimit)
	if limit < 1 || limit > maxLimit {
		return page, Refuse(Invalid, "limit must be between 1 and 1000")
	}
	var from []byte
	if !l.q.Until.IsZero() {
		from = entry(l.prefix, firstKey(until(l.q)))
	}
	if l.q.Cursor != "" {
		key, ok := l.s.ids.key(l.q.Cursor)
		if !ok {
			return page, Refuse(Invalid, "bad cursor")
		}
		from = entry(l.prefix, key)
	}
	var zero T
	var last Key
	looked := 0
	page.Items = []T{}
	for item, err := range tx.Scan(l.in, l.prefix, from) {
		if err != nil {
			return page, err
		}
		if len(page.Items) == limit || looked == maxLooked {
			page.Next = l.s.ids.id(last)
			return page, nil
		}
		looked++
		key, ok := keyOf(item.ID[len(l.prefix):])
		if !ok {
			continue
		}
		last = key
		if key.before(l.q.Since) {
			return page, nil
		}
		v, err := get(key)
		if err != nil {
			return page, err
		}
		if v != zero {
			page.Items = append(page.Items, v)
		}
	}
	return page, nil
}
