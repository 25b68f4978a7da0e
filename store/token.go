package store

import (
	"context"
	"strconv"
	"time"
)

// CreateToken makes a token for a file that has its content.
func (s *Store) CreateToken(ctx context.Context, c Caller, ref Ref, spec TokenSpec) (out *Token, err error) {
	if err := s.permit(c, ref.action(), nil); err != nil {
		return nil, err
	}
	now := s.now()
	rec, err := s.newToken(spec, now)
	if err != nil {
		return nil, err
	}
	key := newKey(now)
	err = s.update(ctx, func(tx Tx) error {
		f, err := s.mine(tx, c.uninvited(), ref)
		if err != nil {
			return err
		}
		if !f.file.stored {
			return Refuse(Conflict, "the file has no content yet")
		}
		if err := f.addToken(tx, key, rec); err != nil {
			return err
		}
		out = s.showToken(f, new(usesRec))
		if rec.access == 0 {
			return nil
		}
		f.file.updated = now
		return putFile(tx, f.fileKey, f.file)
	})
	return out, err
}

// newToken makes the record of a token.
func (s *Store) newToken(spec TokenSpec, now time.Time) (*tokenRec, error) {
	rec := &tokenRec{max: int64(s.o.TokenDownloads), created: now, access: spec.Access.number()}
	least := int64(1)
	if spec.Access != "" {
		if rec.max, least = 0, 0; rec.access == 0 {
			return nil, Refuse(Invalid, "unknown access "+strconv.Quote(cut(string(spec.Access), 40)))
		}
		if spec.Access == AccessFull && spec.TTL != nil {
			// The last one may not go, see DeleteToken.
			return nil, Refuse(Invalid, "a token with full access lives as long as its file")
		}
	}
	var err error
	if spec.MaxDownloads != nil {
		if rec.max, err = cleanMax(*spec.MaxDownloads, least); err != nil {
			return nil, err
		}
	}
	if spec.TTL != nil {
		ttl, err := cleanTTL(*spec.TTL, max(s.o.MaxSessionTTL, s.o.MaxUploadTTL))
		if err != nil {
			return nil, err
		}
		rec.expires = now.Add(ttl)
	}
	return rec, nil
}

// addToken writes the record of a token. Who calls it writes that of the file,
// if the token has an access.
func (f *found) addToken(tx Tx, key Key, rec *tokenRec) error {
	rec.file, f.token, f.tokenKey = f.fileKey, rec, key
	if rec.access == AccessFull.number() {
		f.file.managers++
	}
	if err := tx.Put(TokenRecords, key[:], rec.encode(), time.Time{}); err != nil {
		return err
	}
	return tx.Put(IndexRecords, entry(tokensOf(f.fileKey), key), nil, time.Time{})
}

func (s *Store) showToken(f *found, u *usesRec) *Token {
	t := &Token{ID: s.ids.id(f.tokenKey), Access: accessOf(f.token.access), File: s.ids.id(f.fileKey), State: StateNew, Downloads: u.complete,
		MaxDownloads: f.token.max, Created: f.token.created, Expires: f.linkExpires()}
	if f.session != nil {
		t.Session = s.ids.id(f.sessionKey)
	}
	switch {
	case f.token.max > 0 && u.complete >= f.token.max:
		t.State = StateDownloaded
	case u.complete > 0 || len(u.open) > 0:
		t.State = StateDownloading
	}
	return t
}

// linkExpires is when the link ends: with the token or the file.
func (f *found) linkExpires() time.Time {
	e := f.expires()
	if f.token != nil && !f.token.expires.IsZero() && f.token.expires.Before(e) {
		return f.token.expires
	}
	return e
}

// Tokens lists the tokens of a file, newest first, expired ones left out.
func (s *Store) Tokens(ctx context.Context, c Caller, ref Ref, q Query) (page Page[*Token], err error) {
	if err := s.permit(c, ref.action(), nil); err != nil {
		return page, err
	}
	now := s.now()
	err = s.view(ctx, func(tx Tx) error {
		f, err := s.mine(tx, c.uninvited(), ref)
		if err != nil {
			return err
		}
		l := lister{s: s, in: IndexRecords, prefix: tokensOf(f.fileKey), q: q}
		page, err = list(&l, tx, func(key Key) (*Token, error) {
			err := s.findToken(tx, s.ids.id(key), f, now)
			if KindOf(err) != 0 {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			u, err := getUses(tx, key)
			if err != nil {
				return nil, err
			}
			return s.showToken(f, u), nil
		})
		return err
	})
	return page, err
}

// DeleteToken revokes a token. A download that has begun goes on to its end.
// Who manages the file by a token alone must leave one by which it can be
// managed: the last one of full access is refused with Conflict.
func (s *Store) DeleteToken(ctx context.Context, c Caller, ref Ref) error {
	if err := s.permit(c, ref.action(), nil); err != nil {
		return err
	}
	return s.update(ctx, func(tx Tx) error {
		f, err := s.mine(tx, c.uninvited(), ref)
		if err != nil {
			return err
		}
		if err := s.findToken(tx, ref.Token, f, s.now()); err != nil && KindOf(err) != Expired {
			return err
		}
		key, _ := s.ids.key(ref.Token)
		if err := dropToken(tx, f.fileKey, key); err != nil || f.token == nil || f.token.access == 0 {
			return err
		}
		if f.token.access == AccessFull.number() {
			if f.file.managers <= 1 && c.Grant != "" {
				return Refuse(Conflict, "the last token with full access cannot be deleted")
			}
			f.file.managers = max(f.file.managers, 1) - 1
		}
		f.file.updated = s.now()
		return putFile(tx, f.fileKey, f.file)
	})
}

// dropToken removes a token and its downloads.
func dropToken(tx Tx, file, key Key) error {
	if err := tx.Delete(TokenRecords, key[:]); err != nil {
		return err
	}
	if err := tx.Delete(UseRecords, key[:]); err != nil {
		return err
	}
	return tx.Delete(IndexRecords, entry(tokensOf(file), key))
}
