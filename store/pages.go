package store

import (
	"bytes"
	"context"
)

// Bounds of what is read of the records in one View by who reads all of them: a
// View that lasts keeps a backend from using space again.
const (
	pageRecords = 512
	pageBytes   = 4 << 20
)

// page reads the next records of a collection: those whose ids begin with prefix
// and, with a non-empty from, are below it. They are copies. more tells whether
// there may be others, below the last one.
func page(ctx context.Context, r Records, in Collection, prefix, from []byte) (items []Item, more bool, err error) {
	err = r.View(ctx, func(tx Tx) error {
		items, more = nil, false
		size := 0
		for item, err := range tx.Scan(in, prefix, from) {
			if err != nil {
				return err
			}
			if len(items) == pageRecords || size > pageBytes {
				more = true
				return nil
			}
			items = append(items, item.clone())
			size += len(item.ID) + len(item.Doc)
		}
		return nil
	})
	if err == nil {
		err = context.Cause(ctx)
	}
	return items, more, err
}

func (i Item) clone() Item {
	return Item{ID: bytes.Clone(i.ID), Doc: append([]byte{}, i.Doc...), Due: i.Due}
}
