package store

import (
	"context"
	"errors"
	"time"
)

// Ended is a session that has ended and is kept for a while, for its owner and
// its members alone: what it was, without its content. That is so of sessions
// that are made for an audit (SessionSpec.Audit) and were handed over.
type Ended struct {
	Session *Session // Expires is when it ended
	Files   []*File  // that it had, newest first
	More    bool     // there were further ones, of which nothing is kept
	Shares  []*Share // newest first; they open nothing any more
}

// ErrEnded is the cause of a refusal (Expired) to find what has ended but is
// kept.
var ErrEnded = errors.New("the session has ended")

// remains are what an ended session has besides its record.
type remains struct {
	until time.Time // it is kept
	files [][]byte  // each the key and the record of a file, without what is of its content
	more  bool
}

// mostRemains bounds the records of files that are kept of a session, bytes.
const mostRemains = 256 << 10

func (r *remains) encode() []byte {
	var e encoder
	e.time(1, r.until)
	for _, f := range r.files {
		e.bytes(2, f)
	}
	e.uint(3, flag(r.more))
	return e
}

func decodeRemains(b []byte) (*remains, error) {
	r := new(remains)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			r.until = x.time()
		case 2:
			if len(x.raw) < len(Key{}) {
				return nil, errCodec
			}
			r.files = append(r.files, append([]byte(nil), x.raw...))
		case 3:
			r.more = x.v != 0
		}
	}
	return r, nil
}

// remainsUntil is when the record of an ended session goes: when it is not kept
// any more and answers "gone" no longer, for which tombstones are there.
func (r *sessionRec) remainsUntil(tombstones time.Duration) time.Time {
	if gone := r.expires.Add(tombstones); r.reason == expired && gone.After(r.remains.until) {
		return gone
	}
	return r.remains.until
}

// keeps tells whether a session is kept when it ends.
func (s *Store) keeps(tx Tx, key Key, r *sessionRec) (bool, error) {
	if s.o.Audit <= 0 || !r.audit || r.reason != alive {
		return false, nil
	}
	return s.handedOver(tx, key, r)
}

// keep ends a session that is kept. It is due at once, so that Purge goes on with
// its files, and then when it is not kept any more.
func (s *Store) keep(tx Tx, now time.Time, key Key, r *sessionRec, why reason) (err error) {
	if r.remains, err = s.remainsOf(tx, key, r); err != nil {
		return err
	}
	if r.reason = why; why == deleted {
		r.expires, r.remains.until = now, now.Add(s.o.Audit)
	}
	if err := r.eachIndex(key, func(id []byte) error { return tx.Delete(IndexRecords, id) }); err != nil {
		return err
	}
	if err := r.remains.eachNumber(key, func(id []byte) error { return tx.Put(IndexRecords, id, nil, time.Time{}) }); err != nil {
		return err
	}
	return tx.Put(SessionRecords, key[:], r.encode(), now)
}

// eachNumber calls do for the entries by which the numbers of the files that are
// kept of a session lead to it, when those of the files themselves are gone.
func (r *remains) eachNumber(session Key, do func(id []byte) error) error {
	for _, doc := range r.files {
		f, err := decodeFile(doc[len(Key{}):])
		if err != nil {
			return err
		}
		if f.sequence == "" {
			continue
		}
		if err := do(entry(byNumber(f.sequence, f.number), session)); err != nil {
			return err
		}
	}
	return nil
}

// expireKept is keep for a session whose time is over.
func (s *Store) expireKept(tx Tx, now time.Time, key Key, r *sessionRec) error {
	if err := s.emitTransferEnd(tx, now, TransferExpired, key, r); err != nil {
		return err
	}
	if err := s.emitSession(tx, now, SessionExpired, key, r); err != nil {
		return err
	}
	return s.keep(tx, now, key, r, expired)
}

// remainsOf collects what is to be kept of a session that is over.
func (s *Store) remainsOf(tx Tx, key Key, r *sessionRec) (*remains, error) {
	out := &remains{until: r.expires.Add(s.o.Audit)}
	prefix, room := bySession(key), mostRemains
	for item, err := range tx.Scan(IndexRecords, prefix, nil) {
		if err != nil {
			return nil, err
		}
		k, ok := keyOf(item.ID[len(prefix):])
		if !ok {
			continue
		}
		f, err := getFile(tx, k)
		if err != nil {
			return nil, err
		}
		if f == nil || f.reason != alive || !f.stored {
			continue
		}
		kept := &fileRec{owner: f.owner, session: f.session, name: f.name, original: f.original, mime: f.mime, size: f.size, sha: f.sha, crc: f.crc, stored: true,
			tags: f.tags, attrs: f.attrs, sequence: f.sequence, number: f.number, max: f.max, ttl: f.ttl, created: f.created, updated: f.updated, expires: f.expires}
		doc := append(k[:], kept.encode()...)
		if room -= len(doc); room < 0 {
			out.more = true
			break
		}
		out.files = append(out.files, doc)
	}
	return out, nil
}

// remained are the files that are kept of an ended session.
func (s *Store) remained(key Key, r *sessionRec) (out []*File, err error) {
	for _, doc := range r.remains.files {
		f := &found{fileKey: Key(doc[:len(Key{})]), sessionKey: key, session: r}
		if f.file, err = decodeFile(doc[len(Key{}):]); err != nil {
			return nil, err
		}
		out = append(out, s.render(f, 0))
	}
	return out, nil
}

// EndedByNumber finds a session that has ended and is kept by its number, or by
// that of one of its shares or files, for its owner and its members; to others
// there is none.
func (s *Store) EndedByNumber(ctx context.Context, c Caller, sequence string, n int64) (out *Ended, err error) {
	if err := s.permit(c, toFind, nil); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, ok, err := numbered(tx, sequence, n)
		if err != nil || !ok {
			return orRefuse(err, NotFound, errSessionUnknown().Message)
		}
		if key, err = sessionOf(tx, key); err != nil {
			return err
		}
		rec, err := s.endedSession(tx, c, key)
		if KindOf(err) != 0 {
			return errSessionUnknown()
		}
		if err != nil {
			return err
		}
		out = &Ended{Session: s.showSession(key, rec), More: rec.remains.more}
		if out.Files, err = s.remained(key, rec); err != nil {
			return err
		}
		return s.eachShare(tx, key, func(share Key, h *shareRec) error {
			out.Shares = append(out.Shares, s.showShare(share, h))
			return nil
		})
	})
	return out, err
}

// sessionOf is the session that a numbered record belongs to, or is.
func sessionOf(tx Tx, key Key) (Key, error) {
	h, err := getShare(tx, key)
	if err != nil {
		return key, err
	}
	if h != nil {
		return h.session, nil
	}
	f, err := getFile(tx, key) // until Purge comes to it
	if err != nil {
		return key, err
	}
	if f != nil {
		return f.session, nil
	}
	return key, nil
}

// endedSession reads a session that has ended and is kept, or will be when Purge
// comes to it, for a caller who may see it; NotFound says that it is not kept.
func (s *Store) endedSession(tx Tx, c Caller, key Key) (*sessionRec, error) {
	rec, err := getSession(tx, key)
	if err != nil {
		return nil, err
	}
	now := s.now()
	if rec != nil && rec.reason == alive && !now.Before(rec.expires) {
		keeps, err := s.keeps(tx, key, rec)
		if err == nil && keeps {
			rec.remains, err = s.remainsOf(tx, key, rec)
		}
		if err != nil {
			return nil, err
		}
	}
	if rec == nil || rec.remains == nil || !now.Before(rec.remains.until) {
		return nil, errSessionUnknown()
	}
	return rec, s.permit(c, toFind, rec.whose())
}

// sessionFound is mySession for a session to which a number led. Numbers can be
// guessed: only who may see one that is kept is told that it has ended.
func (s *Store) sessionFound(tx Tx, c Caller, key Key) (*sessionRec, error) {
	_, rec, err := s.mySession(tx, c, toFind, s.ids.id(key))
	if k := KindOf(err); k != NotFound && k != Expired {
		return rec, err
	}
	_, e := s.endedSession(tx, c, key)
	switch {
	case e == nil:
		return nil, RefuseCause(Expired, "session expired", ErrEnded)
	case KindOf(e) == NotFound: // it is not kept
		return nil, err
	case KindOf(e) != 0:
		return nil, errSessionUnknown()
	}
	return nil, e
}

// mySessionEver is mySession, for a session that has ended and is kept, too.
func (s *Store) mySessionEver(tx Tx, c Caller, a action, id string) (Key, *sessionRec, error) {
	key, rec, err := s.mySession(tx, c, a, id)
	if k := KindOf(err); k != NotFound && k != Expired {
		return key, rec, err
	}
	ended, e := s.endedSession(tx, c, key)
	if KindOf(e) != 0 {
		return key, nil, err
	}
	return key, ended, e
}
