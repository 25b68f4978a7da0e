package store

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An invitation lets somebody without an account upload: whoever presents its
// secret may make sessions on the account of who invites, fill them, and say that
// they are complete. It sees and touches nothing else, those sessions of other
// invitations neither.
//
// The secret is the key of the invitation's record under a permutation of its
// own (see idCodec). So it is kept nowhere and can still be shown to the owner
// again, who may have to send the link once more; and the id, which is in
// addresses, logs and events, does not tell it.

// InvitationState is what an invitation is good for.
type InvitationState string

// States of an invitation.
const (
	InviteOpen    InvitationState = "OPEN"
	InviteUsed    InvitationState = "USED"    // the last of its uses is done
	InviteClosed  InvitationState = "CLOSED"  // by its owner
	InviteExpired InvitationState = "EXPIRED" // its time is over
)

// Invitation is an invitation as its owner sees it.
type Invitation struct {
	ID      string
	Secret  string // UUID form; whoever knows it is invited
	Owner   string
	Email   string            // of who is invited, empty = not told
	Name    string            // what it is about; may be empty
	Message string            // to who is invited; may be empty
	Attrs   map[string]string // what faces keep with it
	Number  int64             // of its sequence, 0 = none
	State   InvitationState
	Uses    int64 // sessions that were completed
	Used    time.Time
	Created time.Time
	Expires time.Time
	Limits
}

// Limits bound what may be done by an invitation. Zero is no limit.
type Limits struct {
	MaxUses  int64 // sessions that may be completed; 1 = good once
	MaxFiles int64 // of a session
	MaxSize  int64 // bytes of all files of a session
	// Share lets the invited make shares of the session, so that others get what
	// is uploaded, too.
	Share bool
}

// InvitationSpec is what is said of an invitation. Nil means: not said.
type InvitationSpec struct {
	TTL      *time.Duration // from now, at most Options.MaxSessionTTL; default Options.SessionTTL
	Limits   *Limits
	Email    *string // an address (see IsAddress), or empty
	Name     *string // with Message at most 4 KiB
	Message  *string
	Attrs    *map[string]string // as of files
	Sequence string             // of a new one
}

// Bounds of invitations.
const (
	mostInvitations = 1000 // of an account, those included that are over and remembered
	mostInvited     = 100  // sessions of an invitation that are not complete
	maxLetter       = 4 << 10
)

// invitationRec is the record of an invitation; with a reason it is over, and
// remembered for a while.
type invitationRec struct {
	reason   reason // deleted: closed
	owner    string
	email    string
	name     string
	message  string
	attrs    map[string]string
	number   int64
	sequence string
	uses     int64
	used     time.Time
	created  time.Time
	expires  time.Time
	ended    time.Time // with a reason: since when
	limits   Limits
}

func (r *invitationRec) encode() []byte {
	var e encoder
	e.uint(1, uint64(r.reason))
	e.string(2, r.owner)
	e.attrs(3, 4, r.attrs)
	e.uint(5, uint64(r.number))
	e.string(6, r.sequence)
	e.uint(7, uint64(r.uses))
	e.time(8, r.used)
	e.time(9, r.created)
	e.time(10, r.expires)
	e.uint(11, uint64(r.limits.MaxUses))
	e.uint(12, uint64(r.limits.MaxFiles))
	e.uint(13, uint64(r.limits.MaxSize))
	e.uint(14, flag(r.limits.Share))
	e.time(15, r.ended)
	e.string(16, r.email)
	e.string(17, r.name)
	e.string(18, r.message)
	return e
}

func decodeInvitation(b []byte) (*invitationRec, error) {
	r, attrs := new(invitationRec), attrReader{}
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			r.reason = reason(x.v)
		case 2:
			r.owner = string(x.raw)
		case 3:
			attrs.key = string(x.raw)
		case 4:
			attrs.value(x.raw)
		case 5:
			r.number = int64(x.v)
		case 6:
			r.sequence = string(x.raw)
		case 7:
			r.uses = int64(x.v)
		case 8:
			r.used = x.time()
		case 9:
			r.created = x.time()
		case 10:
			r.expires = x.time()
		case 11:
			r.limits.MaxUses = int64(x.v)
		case 12:
			r.limits.MaxFiles = int64(x.v)
		case 13:
			r.limits.MaxSize = int64(x.v)
		case 14:
			r.limits.Share = x.v != 0
		case 15:
			r.ended = x.time()
		case 16:
			r.email = string(x.raw)
		case 17:
			r.name = string(x.raw)
		case 18:
			r.message = string(x.raw)
		}
	}
	r.attrs = attrs.all
	return r, nil
}

// invitationsOf is the prefix of the list of an account's invitations, madeBy
// that of the sessions made by an invitation.
func invitationsOf(owner string) []byte { return text('i', owner) }
func madeBy(invitation Key) []byte      { return append([]byte{'j'}, invitation[:]...) }

// putInvitation writes the record: it is due when its time is over, or when it
// has been remembered long enough after its end.
func (s *Store) putInvitation(tx Tx, key Key, r *invitationRec) error {
	due := r.expires
	if r.reason != alive {
		due = r.ended.Add(s.o.Tombstones)
	}
	return tx.Put(InviteRecords, key[:], r.encode(), due)
}

func getInvitation(tx Tx, key Key) (*invitationRec, error) {
	doc, err := tx.Get(InviteRecords, key[:])
	if err != nil || doc == nil {
		return nil, err
	}
	return decodeInvitation(doc)
}

func (s *Store) showInvitation(key Key, r *invitationRec) *Invitation {
	return &Invitation{ID: s.ids.id(key), Secret: s.invites.id(key), Owner: r.owner, Email: r.email, Name: r.name, Message: r.message, Attrs: r.attrs, Number: r.number, State: r.state(s.now()),
		Uses: r.uses, Used: r.used, Created: r.created, Expires: r.expires, Limits: r.limits}
}

func (r *invitationRec) state(now time.Time) InvitationState {
	switch {
	case r.reason == usedUp:
		return InviteUsed
	case r.reason == deleted:
		return InviteClosed
	case r.reason == expired, !now.Before(r.expires):
		return InviteExpired
	}
	return InviteOpen
}

// open refuses an invitation that is good for nothing any more.
func (r *invitationRec) open(now time.Time) error {
	switch r.state(now) {
	case InviteUsed:
		return Refuse(Used, "the invitation has been used")
	case InviteClosed:
		return Refuse(Expired, "the invitation was withdrawn")
	case InviteExpired:
		return Refuse(Expired, "the invitation has expired")
	}
	return nil
}

func errInvitationUnknown() *Error { return Refuse(NotFound, "invitation not found") }

// apply writes what is said of an invitation into its record.
func (r *invitationRec) apply(spec InvitationSpec, now time.Time, most time.Duration) (err error) {
	if spec.TTL != nil {
		ttl, err := cleanTTL(*spec.TTL, most)
		if err != nil {
			return err
		}
		r.expires = now.Add(ttl)
	}
	if l := spec.Limits; l != nil {
		if l.MaxUses < 0 || l.MaxUses > maxCount || l.MaxFiles < 0 || l.MaxFiles > maxCount || l.MaxSize < 0 {
			return Refuse(Invalid, fmt.Sprintf("limits must be between 0 (none) and %d, of bytes any number", int64(maxCount)))
		}
		r.limits = *l
	}
	for _, x := range []struct {
		said *string
		to   *string
	}{{spec.Email, &r.email}, {spec.Name, &r.name}, {spec.Message, &r.message}} {
		if x.said != nil {
			*x.to = *x.said
		}
	}
	switch {
	case r.email != "" && !IsAddress(r.email):
		return Refuse(Invalid, "email must be an address")
	case len(r.name)+len(r.message) > maxLetter || !utf8.ValidString(r.name+r.message) || strings.ContainsFunc(r.name, unicode.IsControl):
		return Refuse(Invalid, fmt.Sprintf("name and message must be at most %d bytes of UTF-8, the name without control characters", maxLetter))
	}
	if spec.Attrs != nil {
		r.attrs, err = mergeAttrs(r.attrs, *spec.Attrs)
	}
	return err
}

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
	if err := s.permit(c, toOwn, nil); err != nil {
		return page, err
	}
	if q.All && !c.Admin {
		return page, Refuse(Denied, "only an administrator sees everything")
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
