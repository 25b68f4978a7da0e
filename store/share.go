package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Share lets whoever presents it see a session and read its files: it is what a
// recipient of a session gets. (A token is for one file.) It ends with its
// session.
type Share struct {
	ID      string
	Session string
	Email   string            // of whom it is for; empty = not known
	Message string            // to him alone
	Attrs   map[string]string // what faces keep with it
	Number  int64             // of its sequence, 0 = none
	Created time.Time
	Used    time.Time // when it was last presented since it was sent, zero: never
	Sent    time.Time // since when whom it is for can have the session, zero: not yet
}

// ShareSpec is what is said of a new share.
type ShareSpec struct {
	Email    string // an address (see IsAddress), or empty
	Message  string // at most 4096 bytes
	Attrs    map[string]string
	Sequence string
	// Distinct tells shares of the session apart by Email, letters of either case
	// alike: one that is there is returned instead of a new one.
	Distinct bool
	// Most is how many shares the session may have with this one; 0 = 1000.
	Most int
	// Send says that the session may be had at once. Else that is so when it is
	// complete.
	Send bool
}

// maxMessage is the most bytes of a message to a share's holder.
const maxMessage = 4096

// mostShares is how many shares a session may have.
const mostShares = 1000

// ErrShares is the cause of a refusal (Invalid) of more shares than there may
// be.
var ErrShares = errors.New("too many shares")

// shareRec is the record of a share.
type shareRec struct {
	session  Key
	attrs    map[string]string
	number   int64
	sequence string
	created  time.Time
	used     time.Time
	email    string
	message  string
	sent     time.Time
}

func (h *shareRec) encode() []byte {
	var e encoder
	e.key(1, h.session)
	e.time(2, h.created)
	e.time(3, h.used)
	e.attrs(4, 5, h.attrs)
	e.uint(6, uint64(h.number))
	e.string(7, h.sequence)
	e.string(8, h.email)
	e.string(9, h.message)
	e.time(10, h.sent)
	return e
}

func decodeShare(b []byte) (*shareRec, error) {
	h := new(shareRec)
	var attrs attrReader
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			h.session = x.key()
		case 2:
			h.created = x.time()
		case 3:
			h.used = x.time()
		case 4:
			attrs.key = string(x.raw)
		case 5:
			attrs.value(x.raw)
		case 6:
			h.number = int64(x.v)
		case 7:
			h.sequence = string(x.raw)
		case 8:
			h.email = string(x.raw)
		case 9:
			h.message = string(x.raw)
		case 10:
			h.sent = x.time()
		}
	}
	h.attrs = attrs.all
	return h, nil
}

// sharesOf is the prefix of the index records of a session's shares.
func sharesOf(session Key) []byte { return append([]byte{'h'}, session[:]...) }

func (s *Store) showShare(key Key, h *shareRec) *Share {
	return &Share{ID: s.ids.id(key), Session: s.ids.id(h.session), Email: h.email, Message: h.message, Attrs: h.attrs,
		Number: h.number, Created: h.created, Used: h.used, Sent: h.sent}
}

// CreateShares makes shares of a session of the caller's, all of them or none.
// Those that a spec finds there already are as they were.
func (s *Store) CreateShares(ctx context.Context, c Caller, session string, specs []ShareSpec) (out []*Share, err error) {
	if err := s.permit(c, toShare, nil); err != nil {
		return nil, err
	}
	now := s.now()
	err = s.update(ctx, func(tx Tx) error {
		out = nil
		key, rec, err := s.mySession(tx, c, toShare, session)
		if err != nil {
			return err
		}
		if err := rec.shareable(); err != nil {
			return err
		}
		var have []*Share
		if err := s.eachShare(tx, key, func(share Key, h *shareRec) error {
			have = append(have, s.showShare(share, h))
			return nil
		}); err != nil {
			return err
		}
		with := new(listing)
		for _, spec := range specs {
			if i := spec.among(have); i >= 0 {
				out = append(out, have[i])
				continue
			}
			if most := cmp.Or(spec.Most, mostShares); len(have) >= most {
				return RefuseCause(Invalid, fmt.Sprintf("too many recipients: at most %d", most), ErrShares)
			}
			h := &shareRec{session: key, created: now, sequence: spec.Sequence, email: spec.Email, message: spec.Message}
			if h.email != "" && !IsAddress(h.email) {
				return Refuse(Invalid, "email is no address")
			}
			if len(h.message) > maxMessage || !utf8.ValidString(h.message) {
				return Refuse(Invalid, fmt.Sprintf("message is too long: at most %d bytes", maxMessage))
			}
			if h.attrs, err = mergeAttrs(nil, spec.Attrs); err != nil {
				return err
			}
			share := newKey(now)
			if err := number(tx, h.sequence, &h.number, share); err != nil {
				return err
			}
			if err := tx.Put(IndexRecords, entry(sharesOf(key), share), nil, time.Time{}); err != nil {
				return err
			}
			if spec.Send || !rec.completed.IsZero() {
				h.sent = now
			}
			if err := tx.Put(ShareRecords, share[:], h.encode(), time.Time{}); err != nil {
				return err
			}
			if err := s.emitSent(tx, now, key, rec, share, h, with); err != nil {
				return err
			}
			have = append(have, s.showShare(share, h))
			out = append(out, have[len(have)-1])
		}
		return nil
	})
	return out, err
}

// among finds the share that is not told apart from a new one, -1 if there is
// none.
func (spec *ShareSpec) among(have []*Share) int {
	if !spec.Distinct {
		return -1
	}
	return slices.IndexFunc(have, func(h *Share) bool { return strings.EqualFold(h.Email, spec.Email) })
}

// ShareByNumber finds a share of a session of the caller's by the number of a
// sequence, and its session, as SessionByNumber does.
func (s *Store) ShareByNumber(ctx context.Context, c Caller, sequence string, n int64) (out *Share, session *Session, err error) {
	if err := s.permit(c, toFind, nil); err != nil {
		return nil, nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, ok, err := numbered(tx, sequence, n)
		if err != nil {
			return err
		}
		if !ok {
			return errShareUnknown()
		}
		h, err := getShare(tx, key)
		if err != nil {
			return err
		}
		if h == nil {
			return errShareUnknown()
		}
		rec, err := s.sessionFound(tx, c, h.session)
		if err == nil {
			out, session = s.showShare(key, h), s.showSession(h.session, rec)
		}
		return err
	})
	return out, session, err
}

// Shares lists all shares of a session of the caller's, newest first.
func (s *Store) Shares(ctx context.Context, c Caller, session string) (out []*Share, err error) {
	if err := s.permit(c, toSession, nil); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		out = nil
		key, _, err := s.mySession(tx, c, toSession, session)
		if err != nil {
			return err
		}
		return s.eachShare(tx, key, func(share Key, h *shareRec) error {
			out = append(out, s.showShare(share, h))
			return nil
		})
	})
	return out, err
}

// SharePage lists shares of a session of the caller's page by page, newest first.
// Of the query Limit and Cursor are used.
func (s *Store) SharePage(ctx context.Context, c Caller, session string, q Query) (page Page[*Share], err error) {
	if err := s.permit(c, toSession, nil); err != nil {
		return page, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, _, err := s.mySession(tx, c, toSession, session)
		if err != nil {
			return err
		}
		l := lister{s: s, in: IndexRecords, prefix: sharesOf(key), q: Query{Limit: q.Limit, Cursor: q.Cursor}}
		page, err = list(&l, tx, func(share Key) (*Share, error) {
			h, err := getShare(tx, share)
			if err != nil || h == nil {
				return nil, err
			}
			return s.showShare(share, h), nil
		})
		return err
	})
	return page, err
}

// eachShare reads the shares of a session.
func (s *Store) eachShare(tx Tx, session Key, do func(Key, *shareRec) error) error {
	prefix := sharesOf(session)
	for item, err := range tx.Scan(IndexRecords, prefix, nil) {
		if err != nil {
			return err
		}
		key, ok := keyOf(item.ID[len(prefix):])
		if !ok {
			continue
		}
		h, err := getShare(tx, key)
		if err != nil {
			return err
		}
		if h == nil {
			continue
		}
		if err := do(key, h); err != nil {
			return err
		}
	}
	return nil
}

func getShare(tx Tx, key Key) (*shareRec, error) {
	doc, err := tx.Get(ShareRecords, key[:])
	if err != nil || doc == nil {
		return nil, err
	}
	return decodeShare(doc)
}

// DeleteShare takes a share of a session of the caller's back.
func (s *Store) DeleteShare(ctx context.Context, c Caller, session, id string) error {
	if err := s.permit(c, toSession, nil); err != nil {
		return err
	}
	s.tally.settle(ctx) // its downloads are told before it goes
	return s.update(ctx, func(tx Tx) error {
		session, rec, err := s.mySession(tx, c, toSession, session)
		if err != nil {
			return err
		}
		if err := rec.shareable(); err != nil {
			return err
		}
		key, ok := s.ids.key(id)
		if !ok {
			return errShareUnknown()
		}
		h, err := getShare(tx, key)
		if err != nil {
			return err
		}
		if h == nil || h.session != session {
			return errShareUnknown()
		}
		if !h.sent.IsZero() {
			if err := s.emit(tx, s.now(), transferEvent(TransferWithdrawn, session, rec, key, h)); err != nil {
				return err
			}
		}
		return dropShare(tx, key, h)
	})
}

func errShareUnknown() *Error { return Refuse(NotFound, "token not found") }

func dropShare(tx Tx, key Key, h *shareRec) error {
	if err := dropGathered(tx, key); err != nil {
		return err
	}
	if err := unnumber(tx, h.sequence, h.number, key); err != nil {
		return err
	}
	if err := tx.Delete(ShareRecords, key[:]); err != nil {
		return err
	}
	return tx.Delete(IndexRecords, entry(sharesOf(h.session), key))
}

// Shared finds what a share is of, for whoever presents it: the session must
// live. With use it is noted when, if the session was sent to its holder: before
// that there is nothing to be seen.
func (s *Store) Shared(ctx context.Context, c Caller, id string, use bool) (share *Share, session *Session, err error) {
	if err := s.permit(c, toFetch, nil); err != nil {
		return nil, nil, err
	}
	read := func(tx Tx) error {
		key, ok := s.ids.key(id)
		if !ok {
			return errShareUnknown()
		}
		h, err := getShare(tx, key)
		if err != nil {
			return err
		}
		if h == nil {
			return errShareUnknown()
		}
		rec, err := sessionAt(tx, h.session, s.now())
		if err != nil {
			return err
		}
		if use && !h.sent.IsZero() {
			h.used = s.now()
			if err := tx.Put(ShareRecords, key[:], h.encode(), time.Time{}); err != nil {
				return err
			}
		}
		share, session = s.showShare(key, h), s.showSession(h.session, rec)
		return nil
	}
	if use {
		err = s.update(ctx, read)
	} else {
		err = s.view(ctx, read)
	}
	if err != nil {
		return nil, nil, err
	}
	return share, session, nil
}

// sharedWith tells what a share that the caller presents lets it do with what
// is in a session.
func (s *Store) sharedWith(tx Tx, c Caller, session Key) (Access, error) {
	key, ok := s.ids.key(c.Share)
	if c.Share == "" || !ok {
		return "", nil
	}
	h, err := getShare(tx, key)
	if err != nil || h == nil || h.session != session {
		return "", err
	}
	return AccessRead, nil
}
