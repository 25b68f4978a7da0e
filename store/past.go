package store

import (
	"context"
	"slices"
)

// SessionEvents is Events for one session of the caller's, which must be alive.
func (s *Store) SessionEvents(ctx context.Context, c Caller, session string, q EventQuery) (page Page[*Event], err error) {
	if err := s.permit(c, toRule, nil); err != nil {
		return page, err
	}
	from, limit, err := s.eventQuery(q)
	if err != nil {
		return page, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, _, err := s.mySession(tx, c, toRule, session)
		if err != nil {
			return err
		}
		page.Items, page.Next, err = s.pastOf(tx, key, from, limit)
		return err
	})
	return page, err
}

// eventsOf is the prefix of the list of a session's events. An entry is due, and
// goes, with its event.
func eventsOf(session Key) []byte { return append([]byte{'v'}, session[:]...) }

// pastOf lists the kept events of a session, oldest first. next is the id of the
// last one.
func (s *Store) pastOf(tx Tx, session Key, from []byte, limit int) (out []*Event, next string, err error) {
	prefix, now := eventsOf(session), s.now()
	if from != nil {
		from = append(slices.Clone(prefix), from...)
	}
	out = []*Event{}
	for item, err := range tx.Scan(IndexRecords, prefix, from) {
		if err != nil {
			return nil, "", err
		}
		if len(out) == limit {
			break
		}
		key, ok := keyOf(eventID(Key(item.ID[len(prefix):])))
		if !ok {
			continue
		}
		doc, err := tx.Get(EventRecords, eventID(key))
		if err != nil {
			return nil, "", err
		}
		if doc == nil {
			continue
		}
		r, err := decodeEvent(doc)
		if err != nil {
			return nil, "", err
		}
		if e := s.showEvent(key, r); now.Before(e.Time.Add(s.o.EventKeep)) {
			out, next = append(out, e), e.ID
		}
	}
	return out, next, nil
}
