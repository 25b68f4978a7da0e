package store

import (
	"context"
	"slices"
	"time"
)

// SessionEvents is Events for one session of the caller's, which must be alive or
// kept (see Ended). One that is made for an audit has all of its events.
func (s *Store) SessionEvents(ctx context.Context, c Caller, session string, q EventQuery) (page Page[*Event], err error) {
	if err := s.permit(c, toRule, nil); err != nil {
		return page, err
	}
	from, limit, err := s.eventQuery(q)
	if err != nil {
		return page, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, rec, err := s.mySessionEver(tx, c, toRule, session)
		switch {
		case err != nil:
			return err
		case s.o.EventKeep <= 0 && !rec.audit:
			return errNoEvents()
		}
		page.Items, page.Next, err = s.pastOf(tx, key, from, limit)
		return err
	})
	return page, err
}

// eventsOf is the prefix of the list of a session's events. An entry is due, and
// goes, with its event; or it is for an audit and has the event in it: then it
// goes with its session.
func eventsOf(session Key) []byte { return append([]byte{'v'}, session[:]...) }

// enterEvent enters an event into the list of its session.
func (s *Store) enterEvent(tx Tx, now time.Time, key Key, r *eventRec, doc []byte) error {
	id := append(eventsOf(r.session), eventID(key)...)
	switch {
	case r.session.zero(), r.within:
		return nil
	case r.audit:
		e := encoder(slices.Clone(doc))
		e.string(14, r.Address)
		e.time(15, r.Began)
		return tx.Put(IndexRecords, id, e, time.Time{})
	case s.o.EventKeep > 0:
		return tx.Put(IndexRecords, id, nil, now.Add(s.o.EventKeep))
	}
	return nil
}

// note writes an event that is for the log of its session alone, if that has one
// for an audit.
func (s *Store) note(tx Tx, now time.Time, r *eventRec) error {
	if !r.audit {
		return nil
	}
	r.Time = now
	return s.enterEvent(tx, now, s.events.next(now), r, r.encode())
}

// dropEvents removes entries of a session's list, at most limit; more tells that
// there are still some.
func dropEvents(tx Tx, session Key, limit int) (more bool, err error) {
	n := 0
	for item, err := range tx.Scan(IndexRecords, eventsOf(session), nil) {
		if err != nil {
			return false, err
		}
		if n++; n > limit {
			return true, nil
		}
		if err := tx.Delete(IndexRecords, item.ID); err != nil {
			return false, err
		}
	}
	return false, nil
}

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
		doc := item.Doc
		if len(doc) == 0 {
			if doc, err = tx.Get(EventRecords, eventID(key)); err != nil {
				return nil, "", err
			}
		}
		if doc == nil {
			continue
		}
		r, err := decodeEvent(doc)
		if err != nil {
			return nil, "", err
		}
		if e := s.showEvent(key, r); len(item.Doc) > 0 || now.Before(e.Time.Add(s.o.EventKeep)) {
			out, next = append(out, e), e.ID
		}
	}
	return out, next, nil
}
