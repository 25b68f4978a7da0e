package store

import (
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
	MaxUses  *int64         // see Limits
	MaxFiles *int64
	MaxSize  *int64
	Share    *bool
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
// that of the sessions made by an invitation, begunBy of those among them that
// are not complete.
func invitationsOf(owner string) []byte { return text('i', owner) }
func madeBy(invitation Key) []byte      { return append([]byte{'j'}, invitation[:]...) }
func begunBy(invitation Key) []byte     { return append([]byte{'q'}, invitation[:]...) }

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
	l := &r.limits
	for _, x := range []struct{ said, to *int64 }{{spec.MaxUses, &l.MaxUses}, {spec.MaxFiles, &l.MaxFiles}, {spec.MaxSize, &l.MaxSize}} {
		if x.said != nil {
			*x.to = *x.said
		}
	}
	if min(l.MaxUses, l.MaxFiles, l.MaxSize) < 0 || max(l.MaxUses, l.MaxFiles) > maxCount {
		return Refuse(Invalid, fmt.Sprintf("limits must be between 0 (none) and %d, of bytes any number", int64(maxCount)))
	}
	if spec.Share != nil {
		l.Share = *spec.Share
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
