package store

import (
	"context"
	"time"
)

// CreateSession makes a session of the caller's; by an invitation that it
// presents, one of who invites. It needs one or the other also with open
// sessions: there is no id to know yet.
func (s *Store) CreateSession(ctx context.Context, c Caller, spec SessionSpec) (*Session, error) {
	if c.Invite != "" {
		return s.createInvited(ctx, c, spec)
	}
	if err := s.permit(c, toOwn, nil); err != nil {
		return nil, err
	}
	now := s.now()
	rec, err := s.newSession(c.Name, spec, now)
	if err != nil {
		return nil, err
	}
	rec.from = c.Address
	key := newKey(now)
	if err := s.update(ctx, func(tx Tx) error { return s.addSession(tx, key, rec, now) }); err != nil {
		return nil, err
	}
	return s.showSession(key, rec), nil
}

// newSession makes the record of a session.
func (s *Store) newSession(owner string, spec SessionSpec, now time.Time) (*sessionRec, error) {
	rec := &sessionRec{owner: owner, ttl: s.o.SessionTTL, created: now, updated: now, expires: now.Add(s.o.SessionTTL), sequence: spec.Sequence,
		audit: spec.Audit && s.o.Audit > 0}
	return rec, rec.apply(spec, now, s.o.MaxSessionTTL)
}

// addSession writes the record of a new session.
func (s *Store) addSession(tx Tx, key Key, rec *sessionRec, now time.Time) error {
	if err := number(tx, rec.sequence, &rec.number, key); err != nil {
		return err
	}
	if err := putSession(tx, key, rec); err != nil {
		return err
	}
	if err := s.emitSession(tx, now, SessionCreated, key, rec); err != nil {
		return err
	}
	return rec.eachIndex(key, func(id []byte) error { return tx.Put(IndexRecords, id, nil, time.Time{}) })
}

// apply writes what a client says of a session into its record.
func (r *sessionRec) apply(spec SessionSpec, now time.Time, most time.Duration) (err error) {
	for name, value := range spec.Was {
		if r.attrs[name] != value {
			return RefuseCause(Conflict, "the session was changed meanwhile", ErrChanged)
		}
	}
	if spec.Name != nil {
		r.name = cut(cleanLine(*spec.Name), maxName) // a title, not the name of a file: AC/DC
	}
	if spec.TTL != nil {
		if r.ttl, err = cleanTTL(*spec.TTL, most); err != nil {
			return err
		}
		r.expires = now.Add(r.ttl)
	}
	if spec.Attrs != nil {
		if r.attrs, err = mergeAttrs(r.attrs, *spec.Attrs); err != nil {
			return err
		}
	}
	if spec.Members != nil {
		if r.members, err = cleanMembers(*spec.Members); err != nil {
			return err
		}
	}
	if spec.Summaries != nil {
		return r.summarize(*spec.Summaries, now)
	}
	return nil
}

func (r *sessionRec) whose() *whose { return &whose{owner: r.owner, members: r.members} }

// eachIndex does something with the entries of a session in the lists of its
// owner, of its members, and of the invitation by which it was made.
func (r *sessionRec) eachIndex(key Key, do func(id []byte) error) error {
	for _, name := range append([]string{r.owner}, r.members...) {
		if err := do(entry(sessionsOf(name), key)); err != nil {
			return err
		}
	}
	if r.invitation.zero() {
		return nil
	}
	if r.completed.IsZero() {
		if err := do(entry(begunBy(r.invitation), key)); err != nil {
			return err
		}
	}
	return do(entry(madeBy(r.invitation), key))
}

func putSession(tx Tx, key Key, r *sessionRec) error {
	return tx.Put(SessionRecords, key[:], r.encode(), r.due())
}

func (s *Store) showSession(key Key, r *sessionRec) *Session {
	out := &Session{ID: s.ids.id(key), Owner: r.owner, Members: r.members, Name: r.name, Attrs: r.attrs, Number: r.number, TTL: r.ttl,
		Created: r.created, Updated: r.updated, Expires: r.expires, Completed: r.completed}
	if !r.invitation.zero() {
		out.Invitation = s.ids.id(r.invitation)
	}
	return out
}

// MaxSessionTTL is the longest that a session may be told to live from now on.
func (s *Store) MaxSessionTTL() time.Duration { return s.o.MaxSessionTTL }

// MayFill refuses n more bytes in a session of the caller's, in whatever files,
// where they would not fit into its owner's quota or on the disk.
func (s *Store) MayFill(ctx context.Context, c Caller, id string, n int64) error {
	session, err := s.Session(ctx, c, id)
	if err != nil {
		return err
	}
	return s.mayKeep(ctx, session.Owner, n)
}

// Session returns a session to its owner and its members (with open sessions:
// to anyone who knows the id).
func (s *Store) Session(ctx context.Context, c Caller, id string) (out *Session, err error) {
	if err := s.permit(c, toSession, nil); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, rec, err := s.mySession(tx, c, toSession, id)
		if err == nil {
			out = s.showSession(key, rec)
		}
		return err
	})
	return out, err
}

// mySession finds a session with which the caller may do something.
func (s *Store) mySession(tx Tx, c Caller, a action, id string) (Key, *sessionRec, error) {
	key, rec, err := s.findSession(tx, id, s.now())
	if err != nil {
		return key, nil, err
	}
	w, err := s.whoseSession(tx, c, rec)
	if err != nil {
		return key, nil, err
	}
	return key, rec, s.permit(c, a, w)
}

// Sessions lists the sessions that the caller owns or is a member of, newest
// first; an administrator may ask for all. With open sessions a stranger has none to list.
func (s *Store) Sessions(ctx context.Context, c Caller, q Query) (page Page[*Session], err error) {
	if err := s.permitList(c, toOwn, q); err != nil {
		return page, err
	}
	now := s.now()
	err = s.view(ctx, func(tx Tx) error {
		l := lister{s: s, in: IndexRecords, prefix: sessionsOf(c.Name), q: q}
		if q.All {
			l.in, l.prefix = SessionRecords, nil
		}
		page, err = list(&l, tx, func(key Key) (*Session, error) { return s.listedSession(tx, key, now) })
		return err
	})
	return page, err
}

// listedSession returns a session for a list, nil if it is over.
func (s *Store) listedSession(tx Tx, key Key, now time.Time) (*Session, error) {
	rec, err := sessionAt(tx, key, now)
	switch {
	case err == nil:
		return s.showSession(key, rec), nil
	case KindOf(err) != 0:
		return nil, nil
	}
	return nil, err
}

// PatchSession changes TTL (from now), Name, Members and Attrs. Files without a
// TTL of their own live and end with the session.
func (s *Store) PatchSession(ctx context.Context, c Caller, id string, spec SessionSpec) (out *Session, err error) {
	if err := s.permit(c, toRule, nil); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		key, rec, err := s.mySession(tx, c, toRule, id)
		if err != nil {
			return err
		}
		if rec.guest != nil && (spec.Members != nil || spec.TTL != nil) {
			return Refuse(Denied, "the invitation does not allow that")
		}
		if err := rec.changeable(); err != nil {
			return err
		}
		if spec.Members != nil {
			if err := rec.eachIndex(key, func(id []byte) error { return tx.Delete(IndexRecords, id) }); err != nil {
				return err
			}
		}
		now := s.now()
		if err := rec.apply(spec, now, s.o.MaxSessionTTL); err != nil {
			return err
		}
		if spec.Members != nil {
			if err := rec.eachIndex(key, func(id []byte) error { return tx.Put(IndexRecords, id, nil, time.Time{}) }); err != nil {
				return err
			}
		}
		rec.updated = now
		out = s.showSession(key, rec)
		return putSession(tx, key, rec)
	})
	return out, err
}

// DeleteSession removes a session and everything below it: at once for every
// reader, from the storage by the next Purge.
func (s *Store) DeleteSession(ctx context.Context, c Caller, id string) error {
	if err := s.permit(c, toRule, nil); err != nil {
		return err
	}
	s.tally.settle(ctx) // its downloads are told before it ends
	return s.update(ctx, func(tx Tx) error {
		key, rec, err := s.mySession(tx, c, toRule, id)
		if err != nil {
			return err
		}
		if rec.guest != nil && rec.guest.reason != alive {
			return rec.guest.open(s.now()) // only to be seen any more
		}
		now := s.now()
		if err := s.emitSession(tx, now, SessionDeleted, key, rec); err != nil {
			return err
		}
		if err := s.emitTransferEnd(tx, now, TransferClosed, key, rec); err != nil {
			return err
		}
		keeps, err := s.keeps(tx, key, rec)
		if err != nil {
			return err
		}
		if keeps {
			return s.keep(tx, now, key, rec, deleted)
		}
		return s.endSession(tx, key, rec, deleted)
	})
}

// unlistSession takes a session out of all lists.
func unlistSession(tx Tx, key Key, rec *sessionRec) error {
	if err := unnumber(tx, rec.sequence, rec.number, key); err != nil {
		return err
	}
	return rec.eachIndex(key, func(id []byte) error { return tx.Delete(IndexRecords, id) })
}

// endSession makes a session a tombstone that is due at once, so that Purge
// goes on with its files.
func (s *Store) endSession(tx Tx, key Key, rec *sessionRec, why reason) error {
	if err := unlistSession(tx, key, rec); err != nil {
		return err
	}
	end := &sessionRec{reason: why, owner: rec.owner, expires: rec.expires, audit: rec.audit}
	if why == deleted {
		end.expires = s.now()
	}
	return putSession(tx, key, end)
}
