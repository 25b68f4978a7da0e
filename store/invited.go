package store

import (
	"context"
	"fmt"
	"time"
)

// Invited finds the invitation that a secret is of, for whoever presents it. One
// that is over is refused, Expired or Used, and returned all the same: so that it
// can be told whose it was.
func (s *Store) Invited(ctx context.Context, secret string) (out *Invitation, err error) {
	err = s.view(ctx, func(tx Tx) error {
		key, rec, err := s.findInvitation(tx, secret, s.now())
		if rec != nil {
			out = s.showInvitation(key, rec)
		}
		return err
	})
	return out, err
}

// findInvitation finds an open invitation by its secret.
func (s *Store) findInvitation(tx Tx, secret string, now time.Time) (Key, *invitationRec, error) {
	key, ok := s.invites.key(secret)
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
	return key, rec, rec.open(now)
}

// createInvited is CreateSession by an invitation: the session is of who
// invites.
func (s *Store) createInvited(ctx context.Context, c Caller, spec SessionSpec) (*Session, error) {
	if spec.Members != nil {
		return nil, Refuse(Denied, "the invitation does not allow that")
	}
	now := s.now()
	key := newKey(now)
	var rec *sessionRec
	err := s.update(ctx, func(tx Tx) error {
		by, in, err := s.findInvitation(tx, c.Invite, now)
		if err != nil {
			return err
		}
		if full, err := holds(tx, begunBy(by), mostInvited); err != nil || full {
			return orRefuse(err, Quota, "too many uploads have begun and are not complete")
		}
		if rec, err = s.newSession(in.owner, spec, now); err != nil {
			return err
		}
		rec.invitation, rec.from = by, c.Address
		return s.addSession(tx, key, rec, now)
	})
	if err != nil {
		return nil, err
	}
	return s.showSession(key, rec), nil
}

// whoseSession tells whose a session is, and notes in it the invitation by which
// the caller may use it, and the caller's address. After the last use it may still be seen what was
// uploaded, so that an answer that was lost can be asked for again.
func (s *Store) whoseSession(tx Tx, c Caller, r *sessionRec) (*whose, error) {
	w := r.whose()
	r.from = c.Address
	key, ok := s.invites.key(c.Invite)
	if c.Invite == "" || !ok || r.invitation.zero() || key != r.invitation || c.Name != "" && c.Name == r.owner {
		return w, nil
	}
	rec, err := getInvitation(tx, key)
	if err != nil || rec == nil {
		return w, err
	}
	now := s.now()
	if err := rec.open(now); err != nil && (rec.state(now) != InviteUsed || r.completed.IsZero()) {
		return nil, err
	}
	r.guest, w.invited = rec, true
	return w, nil
}

// whoseFile is whoseSession for a file.
func (s *Store) whoseFile(tx Tx, c Caller, f *found) (*whose, error) {
	if f.session != nil {
		return s.whoseSession(tx, c, f.session)
	}
	return f.whose(), nil
}

// uninvited is the caller without what its invitation allows: an invitation
// gives no links to files.
func (c Caller) uninvited() Caller {
	c.Invite = ""
	return c
}

// changeable refuses to let who is invited change what it said is complete.
func (r *sessionRec) changeable() error {
	if r != nil && r.guest != nil && !r.completed.IsZero() {
		return Refuse(Conflict, "the session is complete")
	}
	return nil
}

// shareable refuses to let who is invited share a session where the invitation
// does not allow it, or the session is complete.
func (r *sessionRec) shareable() error {
	if r.guest != nil && !r.guest.limits.Share {
		return Refuse(Denied, "the invitation does not allow that")
	}
	return r.changeable()
}

// fits refuses more files and bytes than the invitation of the caller allows in
// a session. bytes is -1 where it is not known how many there will be.
func (r *sessionRec) fits(files, bytes int64) error {
	if r == nil || r.guest == nil {
		return nil
	}
	switch l := r.guest.limits; {
	case l.MaxFiles > 0 && files > 0 && r.files+files > l.MaxFiles:
		return Refuse(TooLarge, "the invitation allows at most "+counted(l.MaxFiles, "file"))
	case l.MaxSize > 0 && bytes < 0:
		return Refuse(Invalid, "the invitation limits the size: it must be told before the content")
	case l.MaxSize > 0 && bytes > 0 && bytes > l.MaxSize-r.bytes:
		return Refuse(TooLarge, "the invitation allows at most "+counted(l.MaxSize, "byte"))
	}
	return nil
}

// counted is so many of something.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// claim counts files and bytes that who is invited puts into a session.
func (f *found) claim(tx Tx, files, bytes int64) error {
	if f.session == nil || f.session.guest == nil {
		return nil
	}
	if err := f.session.fits(files, bytes); err != nil {
		return err
	}
	f.session.files, f.session.bytes = f.session.files+files, f.session.bytes+max(bytes, 0)
	return putSession(tx, f.sessionKey, f.session)
}

// unclaim is the inverse of claim for a file that who is invited removes.
func (f *found) unclaim(tx Tx) error {
	if f.session == nil || f.session.guest == nil {
		return nil
	}
	bytes := int64(0)
	if u := f.file.open; u != nil {
		bytes = max(u.length, 0)
	} else if f.file.stored {
		bytes = f.file.size
	}
	f.session.files, f.session.bytes = max(f.session.files-1, 0), max(f.session.bytes-bytes, 0)
	return putSession(tx, f.sessionKey, f.session)
}

// CompleteSession says that all is in a session that is to be there; all of its
// files must have their content (Conflict). Attributes are set with it. If the
// session was made by an invitation, that is one of its uses, whoever says it:
// the last one ends the invitation, and of several sessions that are completed
// at once only so many are as it allows. Said again it changes nothing.
func (s *Store) CompleteSession(ctx context.Context, c Caller, id string, attrs map[string]string) (out *Session, err error) {
	if err := s.permit(c, toSession, nil); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		key, rec, err := s.mySession(tx, c, toSession, id)
		if err != nil {
			return err
		}
		if !rec.completed.IsZero() {
			out = s.showSession(key, rec)
			return nil
		}
		if err := whole(tx, key); err != nil {
			return err
		}
		now := s.now()
		if err := rec.apply(SessionSpec{Attrs: &attrs}, now, s.o.MaxSessionTTL); err != nil {
			return err
		}
		if err := s.use(tx, key, rec, now); err != nil {
			return err
		}
		rec.completed, rec.updated = now, now
		rec.told.from(now, now)
		if err := s.emitSession(tx, now, SessionCompleted, key, rec); err != nil {
			return err
		}
		out = s.showSession(key, rec)
		if err := putSession(tx, key, rec); err != nil {
			return err
		}
		return s.handOver(tx, now, key, rec)
	})
	return out, err
}

// whole refuses a session without files, and one with a file that has not all of
// its content.
func whole(tx Tx, session Key) error {
	prefix, files := bySession(session), 0
	for item, err := range tx.Scan(IndexRecords, prefix, nil) {
		if err != nil {
			return err
		}
		key, ok := keyOf(item.ID[len(prefix):])
		if !ok {
			continue
		}
		rec, err := getFile(tx, key)
		if err != nil {
			return err
		}
		if rec != nil && rec.reason == alive && !rec.stored {
			return Refuse(Conflict, "the content of a file is missing: "+rec.name)
		}
		files++
	}
	if files == 0 {
		return Refuse(Conflict, "there are no files")
	}
	return nil
}

// use counts a use of the invitation by which a session was made, if there is
// one and it is not forgotten.
func (s *Store) use(tx Tx, key Key, r *sessionRec, now time.Time) error {
	if r.invitation.zero() {
		return nil
	}
	if err := tx.Delete(IndexRecords, entry(begunBy(r.invitation), key)); err != nil {
		return err
	}
	in, err := getInvitation(tx, r.invitation)
	if err != nil || in == nil {
		return err
	}
	over := in.open(now)
	if over != nil && r.guest != nil {
		return over
	}
	in.uses, in.used = in.uses+1, now
	if over == nil && in.limits.MaxUses > 0 && in.uses >= in.limits.MaxUses {
		in.reason, in.ended = usedUp, now
	}
	if err := s.emitInvitation(tx, now, InvitationUsed, r.invitation, in); err != nil {
		return err
	}
	return s.putInvitation(tx, r.invitation, in)
}
