package store

import (
	"context"
	"time"
)

// Access is what a token lets who presents it do with its file.
type Access string

// Levels of access. A token without one is what the native API makes: a
// counted link to the bytes.
const (
	AccessRead Access = "read" // see the file and read its bytes
	AccessFull Access = "full" // and change and remove it, and its tokens
)

// number is how an access is kept; each includes those below it.
func (a Access) number() uint64 {
	switch a {
	case AccessRead:
		return 1
	case AccessFull:
		return 2
	}
	return 0
}

func accessOf(n uint64) Access {
	switch n {
	case 1:
		return AccessRead
	case 2:
		return AccessFull
	}
	return ""
}

// Grant finds a token by its id alone, of whatever file, for those who are
// told of no file but only of the token: it returns the token, and its file as
// the token's holder may see it. A token that is unknown, expired or used up,
// and one whose file is, are refused as Open would refuse them.
func (s *Store) Grant(ctx context.Context, id string) (token *Token, file *File, err error) {
	err = s.view(ctx, func(tx Tx) error {
		f, err := s.findGrant(tx, id, s.now())
		if err != nil {
			return err
		}
		u, err := getUses(tx, f.tokenKey)
		if err != nil {
			return err
		}
		if f.token.max > 0 && u.complete >= f.token.max {
			return f.used(errUsedUp)
		}
		token = s.showToken(f, u)
		file, err = s.show(tx, f)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return token, file, nil
}

// findGrant finds a living token, its file and session by the token's id.
func (s *Store) findGrant(tx Tx, id string, now time.Time) (*found, error) {
	_, token, err := s.getToken(tx, id)
	if err != nil {
		return nil, err
	}
	rec, err := getFile(tx, token.file)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, errTokenUnknown()
	}
	ref := Ref{File: s.ids.id(token.file), Token: id}
	if !rec.session.zero() {
		ref.Session = s.ids.id(rec.session)
	}
	return s.find(tx, ref, now)
}

// granted tells what a token that the caller presents lets it do with a file:
// nothing, if it is of another file or no longer good.
func (s *Store) granted(tx Tx, c Caller, f *found, now time.Time) (Access, error) {
	if c.Grant == "" {
		return "", nil
	}
	g, err := s.findGrant(tx, c.Grant, now)
	if KindOf(err) != 0 {
		return "", nil
	}
	if err != nil || g.fileKey != f.fileKey {
		return "", err
	}
	if g.token.max > 0 { // a counted one that is used up is good for nothing more
		if u, err := getUses(tx, g.tokenKey); err != nil || u.complete >= g.token.max {
			return "", err
		}
	}
	return accessOf(g.token.access), nil
}
