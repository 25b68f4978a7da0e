package store

import (
	"context"
	"time"
)

// A transfer is a session that is handed over: its owner has said that it is
// complete, or has sent it to somebody. What happens to it then is told in
// events of its own, besides those of the session.

// transferEvent is an event of a transfer, with h of one of its shares.
func transferEvent(t EventType, session Key, r *sessionRec, share Key, h *shareRec) *eventRec {
	e := &eventRec{Event: Event{Type: t, Owner: r.owner, Name: r.name, Address: r.from}, session: session, invitation: r.invitation, share: share, audit: r.audit}
	if h != nil {
		e.Email = h.email
	}
	return e
}

// emitSent tells of a share whose holder can have the session, if there is
// somebody to be told. with is kept for all shares of one Update.
func (s *Store) emitSent(tx Tx, now time.Time, session Key, r *sessionRec, share Key, h *shareRec, with *listing) error {
	if h.sent.IsZero() || h.email == "" {
		return nil
	}
	return s.emitAbout(tx, now, transferEvent(TransferSent, session, r, share, h), &About{content: with})
}

// handOver tells that a session is complete, and its recipients.
func (s *Store) handOver(tx Tx, now time.Time, key Key, r *sessionRec) error {
	if err := s.emit(tx, now, transferEvent(TransferAvailable, key, r, Key{}, nil)); err != nil {
		return err
	}
	with := new(listing)
	return s.eachShare(tx, key, func(share Key, h *shareRec) error {
		if !h.sent.IsZero() {
			return nil
		}
		h.sent = now
		if err := tx.Put(ShareRecords, share[:], h.encode(), time.Time{}); err != nil {
			return err
		}
		return s.emitSent(tx, now, key, r, share, h, with)
	})
}

// handedOver tells whether a session is a transfer.
func (s *Store) handedOver(tx Tx, key Key, r *sessionRec) (yes bool, err error) {
	if !r.completed.IsZero() {
		return true, nil
	}
	err = s.eachShare(tx, key, func(_ Key, h *shareRec) error {
		yes = yes || !h.sent.IsZero()
		return nil
	})
	return yes, err
}

// emitTransferEnd tells of the end of a session that is a transfer, while all of
// it is still there.
func (s *Store) emitTransferEnd(tx Tx, now time.Time, t EventType, key Key, r *sessionRec) error {
	if !s.eventful() && !r.audit {
		return nil
	}
	if yes, err := s.handedOver(tx, key, r); err != nil || !yes {
		return err
	}
	return s.emit(tx, now, transferEvent(t, key, r, Key{}, nil))
}

// Remind reminds those of a transfer of the caller's to whom it was sent: share
// is the id of one of them, empty all.
func (s *Store) Remind(ctx context.Context, c Caller, session, share string) error {
	return s.tellOf(ctx, c, session, share, TransferReminded)
}

// Audit sends the owner of a transfer its log, also when it has ended (see Ended).
func (s *Store) Audit(ctx context.Context, c Caller, session string) error {
	return s.tellOf(ctx, c, session, "", TransferAudited)
}

func errNoNotices() *Error { return Refuse(Invalid, "nobody is sent mail here") }

// tellOf writes an event that is nothing but a reason for notices. It refuses
// with Conflict where the session was not handed over yet, and with Invalid
// without Options.Notices.
func (s *Store) tellOf(ctx context.Context, c Caller, session, share string, t EventType) error {
	if err := s.permit(c, toRule, nil); err != nil {
		return err
	}
	if s.o.Notices == nil {
		return errNoNotices()
	}
	return s.update(ctx, func(tx Tx) error {
		find := s.mySession
		if t == TransferAudited {
			find = s.mySessionEver
		}
		key, rec, err := find(tx, c, toRule, session)
		if err != nil {
			return err
		}
		if yes, err := s.handedOver(tx, key, rec); err != nil || !yes {
			return orRefuse(err, Conflict, "the session was not sent yet")
		}
		e := transferEvent(t, key, rec, Key{}, nil)
		if share != "" {
			at, ok := s.ids.key(share)
			h, err := getShare(tx, at)
			if err != nil || !ok || h == nil || h.session != key {
				return orRefuse(err, NotFound, errShareUnknown().Message)
			}
			e.share, e.Email = at, h.email
		}
		return s.emit(tx, s.now(), e)
	})
}

// emailOf is the address of whom a share is for; empty: there is no share, or
// none is known.
func emailOf(tx Tx, share Key) (string, error) {
	if share.zero() {
		return "", nil
	}
	h, err := getShare(tx, share)
	if err != nil || h == nil {
		return "", err
	}
	return h.email, nil
}

// taken is what the holder of a share has downloaded.
type taken struct {
	session, share Key
	asked          bool // he wants to be told
}

// emitTaken tells of what the holder of a share has downloaded of a transfer:
// files names it, count is how many downloads these are.
func (s *Store) emitTaken(tx Tx, now time.Time, t taken, files []string, count int64) error {
	rec, err := getSession(tx, t.session)
	if err != nil || rec == nil || rec.reason != alive {
		return err
	}
	h, err := getShare(tx, t.share)
	if err != nil || h == nil {
		return err
	}
	e := transferEvent(TransferDownloaded, t.session, rec, t.share, h)
	e.Count = count
	return s.emitAbout(tx, now, e, &About{Files: files, Asked: t.asked})
}
