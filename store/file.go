package store

import (
	"context"
	"slices"
	"time"
)

// File returns a file to its owner, or to who presents a token that lets see
// it. ref.Token is ignored.
func (s *Store) File(ctx context.Context, c Caller, ref Ref) (out *File, err error) {
	if err := s.permit(c, ref.action(), nil); err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx Tx) error {
		f, err := s.reach(tx, c, ref, AccessRead)
		if err != nil {
			return err
		}
		out, err = s.show(tx, f)
		return err
	})
	return out, err
}

// mine finds a file that the caller may manage.
func (s *Store) mine(tx Tx, c Caller, ref Ref) (*found, error) {
	return s.reach(tx, c, ref, AccessFull)
}

// reach finds a file that the caller may use so far, by its account or by a
// token that it presents.
func (s *Store) reach(tx Tx, c Caller, ref Ref, least Access) (*found, error) {
	now := s.now()
	f, err := s.find(tx, Ref{Session: ref.Session, File: ref.File}, now)
	if err != nil {
		return nil, err
	}
	w, err := s.whoseFile(tx, c, f)
	if err != nil {
		return nil, err
	}
	w.needs = least
	if w.granted, err = s.granted(tx, c, f, now); err != nil {
		return nil, err
	}
	if err := s.permit(c, f.action(), w); err != nil || least != AccessFull {
		return f, err
	}
	return f, f.session.changeable()
}

// appending is action for going on with an unfinished file.
func (r Ref) appending() action {
	if r.Session != "" {
		return toSession
	}
	return toAppend
}

// action is what using a file means to permission, as far as its name tells.
func (r Ref) action() action {
	if r.Session != "" {
		return toSession
	}
	return toFile
}

// PatchFile changes TTL (from now), Name, Type, Tags, MaxDownloads.
func (s *Store) PatchFile(ctx context.Context, c Caller, ref Ref, spec FileSpec) (out *File, err error) {
	if err := s.permit(c, ref.action(), nil); err != nil {
		return nil, err
	}
	most := s.o.MaxUploadTTL
	if ref.Session != "" {
		most = s.o.MaxSessionTTL
	}
	spec.Size = nil
	err = s.update(ctx, func(tx Tx) error {
		f, err := s.mine(tx, c, ref)
		if err != nil {
			return err
		}
		now := s.now()
		original := f.file.original
		if err := s.reapply(tx, f, spec, now, most); err != nil {
			return err
		}
		if spec.OriginalName == nil && original != "" {
			f.file.original = original // a rename does not change what the client once sent
		}
		f.file.updated = now
		if err := putFile(tx, f.fileKey, f.file); err != nil {
			return err
		}
		out, err = s.show(tx, f)
		return err
	})
	return out, err
}

// DeleteFile removes a file, its content and its tokens. It is unknown
// afterwards, not expired.
func (s *Store) DeleteFile(ctx context.Context, c Caller, ref Ref) error {
	if err := s.permit(c, ref.action(), nil); err != nil {
		return err
	}
	var key Key
	err := s.update(ctx, func(tx Tx) error {
		f, err := s.mine(tx, c, ref)
		if err != nil {
			return err
		}
		key = f.fileKey
		d := newDropper(s, s.now())
		if err := s.emitEnd(tx, d.now, f, deleted, false); err != nil {
			return err
		}
		if err := f.unclaim(tx); err != nil {
			return err
		}
		if err := d.drop(tx, f.fileKey, f.file, deleted); err != nil {
			return err
		}
		return d.finish(tx)
	})
	if w := s.writers.at(key); err == nil && w != nil {
		w.interrupt() // what it sends is for nothing
	}
	return err
}

// Files lists files, newest first; expired ones are left out. Every page costs
// a bounded number of reads: it may hold fewer items than asked for, even none,
// and still have a next one.
func (s *Store) Files(ctx context.Context, c Caller, q Query) (page Page[*File], err error) {
	a := toOwn
	if q.Session != "" {
		a = toSession
	}
	if err := s.permitList(c, a, q); err != nil {
		return page, err
	}
	now := s.now()
	err = s.view(ctx, func(tx Tx) error {
		l := lister{s: s, in: IndexRecords, q: q}
		switch {
		case q.Session != "":
			key, session, err := s.findSession(tx, q.Session, now)
			if err != nil {
				return err
			}
			w, err := s.whoseSession(tx, c, session)
			if err != nil {
				return err
			}
			w.needs = AccessRead
			if w.granted, err = s.sharedWith(tx, c, key); err != nil {
				return err
			}
			if err := s.permit(c, toSession, w); err != nil {
				return err
			}
			l.prefix = bySession(key)
		case q.All:
			l.in = FileRecords
		case q.Tag != "":
			l.prefix = byTag(c.Name, q.Tag)
		default:
			l.prefix = byOwner(c.Name)
		}
		sessions := map[Key]*sessionRec{}
		page, err = list(&l, tx, func(key Key) (*File, error) { return s.listed(tx, key, q, now, sessions) })
		return err
	})
	return page, err
}

// listed returns a file for a list, nil if it does not belong there.
func (s *Store) listed(tx Tx, key Key, q Query, now time.Time, sessions map[Key]*sessionRec) (*File, error) {
	f, err := s.findListed(tx, key, now, sessions)
	if err != nil || f == nil || q.Tag != "" && !slices.Contains(f.file.tags, q.Tag) {
		return nil, err
	}
	return s.show(tx, f)
}

// findListed finds a living file by its key, nil if there is none. sessions
// remembers those already read.
func (s *Store) findListed(tx Tx, key Key, now time.Time, sessions map[Key]*sessionRec) (*found, error) {
	rec, err := getFile(tx, key)
	if err != nil || rec == nil || rec.reason != alive || rec.open != nil && rec.open.part {
		return nil, err
	}
	f := &found{file: rec, fileKey: key, sessionKey: rec.session}
	if !rec.session.zero() {
		session, ok := sessions[rec.session]
		if !ok {
			if session, err = sessionAt(tx, rec.session, now); err != nil && KindOf(err) == 0 {
				return nil, err
			}
			sessions[rec.session] = session
		}
		if f.session = session; session == nil {
			return nil, nil
		}
	}
	if !now.Before(f.expires()) {
		return nil, nil
	}
	return f, nil
}
