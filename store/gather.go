package store

import (
	"context"
	"slices"
	"time"
)

// Who has a session by a share may fetch a file in pieces: where a line broke, or
// because it is encrypted in chunks. No limit counts that, but its owner wants to
// be told when all of it has arrived. So what went out of a file by a share is
// kept until it is whole, where events are wanted.

// forgotten is how long pieces wait for the next one.
const forgotten = 24 * time.Hour

func gatheredID(share, file Key) []byte { return append(slices.Clone(share[:]), file[:]...) }

// gather adds a piece, and tells whether with it the holder of the share has the
// whole file.
func (d *Download) gather(ctx context.Context, delivered, doubtful []Span) (whole bool, err error) {
	if d.share.zero() || !d.s.eventful() || len(delivered) == 0 {
		return false, nil
	}
	id := gatheredID(d.share, d.key)
	err = d.s.update(ctx, func(tx Tx) error {
		whole = false
		if h, err := getShare(tx, d.share); err != nil || h == nil {
			return err // it was taken back meanwhile
		}
		doc, err := tx.Get(UseRecords, id)
		if err != nil {
			return err
		}
		u, err := decodeUses(doc)
		if err != nil {
			return err
		}
		now, had := d.s.now(), use{}
		if len(u.open) == 1 && u.open[0].touched.Add(forgotten).After(now) {
			had = u.open[0]
		}
		had.piece(delivered, doubtful)
		had.touched = now
		whole = covers(had.got, d.file.Size)
		if whole || len(had.got)+len(had.doubt) > maxSpans {
			return tx.Delete(UseRecords, id)
		}
		return tx.Put(UseRecords, id, (&usesRec{open: []use{had}}).encode(), time.Time{})
	})
	return whole, err
}

// piece adds what went out in one answer. Who asks from the middle of a doubtful
// span has what lies before.
func (o *use) piece(delivered, doubtful []Span) {
	for _, s := range delivered {
		for _, d := range o.doubt {
			if d.From <= s.From && s.From <= d.To {
				o.got = add(o.got, Span{d.From, s.From})
			}
		}
		o.got = add(o.got, s)
	}
	for _, s := range doubtful {
		o.doubt = add(o.doubt, s)
	}
	o.doubt = without(o.doubt, o.got)
}

// dropGathered forgets the pieces of a share.
func dropGathered(tx Tx, share Key) error {
	for item, err := range tx.Scan(UseRecords, share[:], nil) {
		if err != nil {
			return err
		}
		if err := tx.Delete(UseRecords, slices.Clone(item.ID)); err != nil {
			return err
		}
	}
	return nil
}
