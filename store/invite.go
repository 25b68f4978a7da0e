package store

import (
	"context"
	"fmt"
	"time"
)

// Invite makes an invitation of the caller's.
func (s *Store) Invite(ctx context.Context, c Caller, spec InvitationSpec) (out *Invitation, err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return nil, err
	}
	now := s.now()
	rec := &invitationRec{owner: c.Name, created: now, expires: now.Add(s.o.SessionTTL), sequence: spec.Sequence}
	if err := rec.apply(spec, now, s.o.MaxSessionTTL); err != nil {
		return nil, err
	}
	key, list := newKey(now), invitationsOf(c.Name)
	err = s.update(ctx, func(tx Tx) error {
		if full, err := holds(tx, list, mostInvitations); err != nil || full {
			return orRefuse(err, Quota, fmt.Sprintf("too many invitations: at most %d", mostInvitations))
		}
		if err := number(tx, rec.sequence, &rec.number, key); err != nil {
			return err
		}
		if err := tx.Put(IndexRecords, entry(list, key), nil, time.Time{}); err != nil {
			return err
		}
		if err := s.putInvitation(tx, key, rec); err != nil {
			return err
		}
		return s.emitInvitation(tx, now, InvitationCreated, key, rec)
	})
	if err != nil {
		return nil, err
	}
	return s.showInvitation(key, rec), nil
}

// holds tells whether a list has at least most entries.
func holds(tx Tx, list []byte, most int) (bool, error) {
	n := 0
	for _, err := range tx.Scan(IndexRecords, list, nil) {
		if err != nil {
			return false, err
		}
		if n++; n == most {
			return true, nil
		}
	}
	return false, nil
}

// orRefuse is err, or where there is none a refusal.
func orRefuse(err error, k Kind, message string) error {
	if err != nil {
		return err
	}
	return Refuse(k, message)
}

// myInvitation finds an invitation of the caller's.
func (s *Store) myInvitation(tx Tx, c Caller, id string) (Key, *invitationRec, error) {
	key, ok := s.ids.key(id)
	if !ok {
		return key, nil, errInvitationUnknown()
	}
	rec, err := getInvitation(tx, key)
	if err == nil && rec == nil {
		err = errInvitationUnknown()
	}
	if err != nil {
		return key, nil, err
	}
	return key, rec, s.permit(c, toOwn, &whose{owner: rec.owner})
}

// Invitation returns an invitation to its owner, also one that is over.
func (s *Store) Invitation(ctx context.Context, c Caller, id string) (out *Invitation, err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, rec, err := s.myInvitation(tx, c, id)
		if err == nil {
			out = s.showInvitation(key, rec)
		}
		return err
	})
	return out, err
}

// InvitationByNumber is Invitation for a number of a sequence.
func (s *Store) InvitationByNumber(ctx context.Context, c Caller, sequence string, n int64) (out *Invitation, err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, ok, err := numbered(tx, sequence, n)
		if err != nil || !ok {
			return orRefuse(err, NotFound, errInvitationUnknown().Message)
		}
		key, rec, err := s.myInvitation(tx, c, s.ids.id(key))
		if err == nil {
			out = s.showInvitation(key, rec)
		}
		return err
	})
	return out, err
}

// Invitations lists the caller's invitations, newest first, those that are over
// as long as they are remembered (Options.Tombstones). Session and Tag of the
// query are not used.
func (s *Store) Invitations(ctx context.Context, c Caller, q Query) (page Page[*Invitation], err error) {
	if err := s.permitList(c, toOwn, q); err != nil {
		return page, err
	}
	err = s.view(ctx, func(tx Tx) error {
		l := lister{s: s, in: IndexRecords, prefix: invitationsOf(c.Name), q: q}
		if q.All {
			l.in, l.prefix = InviteRecords, nil
		}
		page, err = list(&l, tx, func(key Key) (*Invitation, error) {
			rec, err := getInvitation(tx, key)
			if err != nil || rec == nil {
				return nil, err
			}
			return s.showInvitation(key, rec), nil
		})
		return err
	})
	return page, err
}

// PatchInvitation changes an invitation that is open: its TTL (from now), limits
// and Attrs.
func (s *Store) PatchInvitation(ctx context.Context, c Caller, id string, spec InvitationSpec) (out *Invitation, err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		key, rec, err := s.myInvitation(tx, c, id)
		if err != nil {
			return err
		}
		now := s.now()
		if err := rec.open(now); err != nil {
			return err
		}
		if err := rec.apply(spec, now, s.o.MaxSessionTTL); err != nil {
			return err
		}
		if rec.limits.MaxUses > 0 && rec.uses >= rec.limits.MaxUses {
			return Refuse(Conflict, "the invitation has been used as often already")
		}
		out = s.showInvitation(key, rec)
		return s.putInvitation(tx, key, rec)
	})
	return out, err
}

// RemindInvited reminds who is invited by an invitation of the caller's. It
// refuses with Invalid without Options.Notices.
func (s *Store) RemindInvited(ctx context.Context, c Caller, id string) error {
	if err := s.permit(c, toOwn, nil); err != nil {
		return err
	}
	if s.o.Notices == nil {
		return errNoNotices()
	}
	return s.update(ctx, func(tx Tx) error {
		key, rec, err := s.myInvitation(tx, c, id)
		if err != nil {
			return err
		}
		now := s.now()
		if err := rec.open(now); err != nil {
			return err
		}
		return s.emitInvitation(tx, now, InvitationReminded, key, rec)
	})
}

// Visited tells that who is invited has looked where to upload. Where nobody
// wants events it costs nothing.
func (s *Store) Visited(ctx context.Context, secret string) error {
	if !s.eventful() {
		return nil
	}
	return s.update(ctx, func(tx Tx) error {
		now := s.now()
		key, rec, err := s.findInvitation(tx, secret, now)
		if err != nil {
			return err
		}
		return s.emitInvitation(tx, now, InvitationVisited, key, rec)
	})
}

// CloseInvitation withdraws an invitation: it is good for nothing more from now
// on. What was uploaded by it stays. One that is over already stays as it is.
func (s *Store) CloseInvitation(ctx context.Context, c Caller, id string) (out *Invitation, err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		key, rec, err := s.myInvitation(tx, c, id)
		if err != nil {
			return err
		}
		now := s.now()
		if rec.state(now) == InviteOpen {
			rec.reason, rec.ended = deleted, now
			if err := s.putInvitation(tx, key, rec); err != nil {
				return err
			}
			if err := s.emitInvitation(tx, now, InvitationClosed, key, rec); err != nil {
				return err
			}
		}
		out = s.showInvitation(key, rec)
		return nil
	})
	return out, err
}

// InvitationSessions lists the living sessions that were made by an invitation
// of the caller's, newest first. Of the query only the bounds of the page are used.
func (s *Store) InvitationSessions(ctx context.Context, c Caller, id string, q Query) (page Page[*Session], err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return page, err
	}
	now := s.now()
	err = s.view(ctx, func(tx Tx) error {
		key, _, err := s.myInvitation(tx, c, id)
		if err != nil {
			return err
		}
		l := lister{s: s, in: IndexRecords, prefix: madeBy(key), q: q}
		page, err = list(&l, tx, func(key Key) (*Session, error) { return s.listedSession(tx, key, now) })
		return err
	})
	return page, err
}

// forgetInvitations is the step of Purge that ends invitations whose time is
// over, and forgets those that have been remembered long enough.
func (s *Store) forgetInvitations(ctx context.Context, _ *PurgeResult, limit int) (n int, err error) {
	err = s.update(ctx, func(tx Tx) error {
		now := s.now()
		items, err := tx.Due(InviteRecords, now, limit)
		if err != nil {
			return err
		}
		n = len(items)
		for _, item := range items {
			key, ok := keyOf(item.ID)
			if !ok {
				return fmt.Errorf("invitation record %x: %w", item.ID, errCodec)
			}
			rec, err := decodeInvitation(item.Doc)
			if err != nil {
				return fmt.Errorf("invitation record %x: %w", item.ID, err)
			}
			if err := s.purgeInvitation(tx, key, rec, now); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (s *Store) purgeInvitation(tx Tx, key Key, rec *invitationRec, now time.Time) error {
	if rec.reason == alive {
		rec.reason, rec.ended = expired, rec.expires
		if err := s.putInvitation(tx, key, rec); err != nil {
			return err
		}
		return s.emitInvitation(tx, now, InvitationExpired, key, rec)
	}
	if err := unnumber(tx, rec.sequence, rec.number, key); err != nil {
		return err
	}
	if err := tx.Delete(IndexRecords, entry(invitationsOf(rec.owner), key)); err != nil {
		return err
	}
	return tx.Delete(InviteRecords, key[:])
}

// emitInvitation is emit for what happens to an invitation.
func (s *Store) emitInvitation(tx Tx, now time.Time, t EventType, key Key, r *invitationRec) error {
	return s.emit(tx, now, &eventRec{Event: Event{Type: t, Owner: r.owner, Name: r.name}, invitation: key})
}
