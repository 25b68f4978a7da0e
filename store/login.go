package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// LoginSpec is what a login shall be.
type LoginSpec struct {
	Realm   string            // what kind of login: tokens of one realm are unknown in another
	Account string            // name of the account (or what the dialect has instead)
	TTL     time.Duration     // of the token; at least a second
	Refresh time.Duration     // of the refresh token; 0 = there is none
	Grace   time.Duration     // how long a refresh token stays good that was used
	Attrs   map[string]string // for the dialect: at most 4 KiB in all
	Listed  bool              // Logins tells of it; for such as live long enough to be looked for
}

// Login is a login. The tokens are shown when they are made and never again;
// kept is their hash.
type Login struct {
	ID             string // 24 hexadecimal digits, by which a list tells of it
	Created        time.Time
	Token          string // 40 hexadecimal digits
	RefreshToken   string // likewise; empty = none
	Expires        time.Time
	RefreshExpires time.Time
	Account        string
	Attrs          map[string]string
}

// loginMemory is how long an expired token is known as one.
const loginMemory = 24 * time.Hour

// Bounds of what is kept with a login, in bytes.
const (
	maxLoginAttrs   = 4 << 10
	maxLoginAccount = 512
)

// loginRec is the record of a token or refresh token.
type loginRec struct {
	account string
	expires time.Time
	pair    []byte // record id of the other one
	attrs   map[string]string
	used    bool // a refresh token that was used: its end is near
	created time.Time
	listed  bool
}

func (l *loginRec) encode() []byte {
	var e encoder
	e.string(1, l.account)
	e.time(2, l.expires)
	e.bytes(3, l.pair)
	e.uint(4, flag(l.used))
	e.attrs(5, 6, l.attrs)
	e.time(7, l.created)
	e.uint(8, flag(l.listed))
	return e
}

func decodeLogin(b []byte) (*loginRec, error) {
	l, attrs := new(loginRec), attrReader{}
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			l.account = string(x.raw)
		case 2:
			l.expires = x.time()
		case 3:
			l.pair = slices.Clone(x.raw)
		case 4:
			l.used = x.v&1 != 0
		case 5:
			attrs.key = string(x.raw)
		case 6:
			attrs.value(x.raw)
		case 7:
			l.created = x.time()
		case 8:
			l.listed = x.v&1 != 0
		}
	}
	l.attrs = attrs.all
	return l, nil
}

// loginID is the record id of a token: its hash. The token has 160 random bits,
// so a fast hash does.
func loginID(realm string, refresh bool, token string) []byte {
	letter := byte('a')
	if refresh {
		letter = 'r'
	}
	sum := sha256.Sum256(append(text(letter, realm), token...))
	return sum[:]
}

func newLoginToken() string {
	var b [20]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// listedLogins is what the ids of the list of an account's logins begin with;
// the hash follows. No hash can: it is shorter.
func listedLogins(realm, account string) []byte {
	return append(text('l', "logins in "+realm+" of an account"), text('l', account)...)
}

// show makes the public form of a login.
func (l *loginRec) show(id []byte) *Login {
	return &Login{ID: hex.EncodeToString(id[:12]), Created: l.created, Expires: l.expires, Account: l.account, Attrs: l.attrs}
}

func putLogin(tx Tx, id []byte, l *loginRec) error {
	return tx.Put(LoginRecords, id, l.encode(), l.expires.Add(loginMemory))
}

// Login makes a token, and a refresh token if the spec wants one. Who it is for
// must have been found out before.
func (s *Store) Login(ctx context.Context, spec LoginSpec) (*Login, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	var out *Login
	err := s.update(ctx, func(tx Tx) error {
		var err error
		out, err = s.login(tx, spec, s.now())
		return err
	})
	return out, err
}

func (l LoginSpec) check() error {
	size := 0
	for k, v := range l.Attrs {
		size += len(k) + len(v)
	}
	if size > maxLoginAttrs || len(l.Account) > maxLoginAccount {
		return Refuse(Invalid, "too much is kept with the login")
	}
	return nil
}

func (s *Store) login(tx Tx, spec LoginSpec, now time.Time) (*Login, error) {
	token := newLoginToken()
	id := loginID(spec.Realm, false, token)
	access := &loginRec{account: spec.Account, created: now, expires: now.Add(spec.TTL), attrs: spec.Attrs, listed: spec.Listed}
	l := access.show(id)
	l.Token = token
	if spec.Listed {
		if err := tx.Put(LoginRecords, append(listedLogins(spec.Realm, spec.Account), id...), nil, access.expires); err != nil {
			return nil, err
		}
	}
	if spec.Refresh > 0 {
		l.RefreshToken, l.RefreshExpires = newLoginToken(), now.Add(spec.Refresh)
		access.pair = loginID(spec.Realm, true, l.RefreshToken)
		refresh := &loginRec{account: spec.Account, expires: l.RefreshExpires, pair: id, attrs: spec.Attrs}
		if err := putLogin(tx, access.pair, refresh); err != nil {
			return nil, err
		}
	}
	return l, putLogin(tx, id, access)
}

// findLogin reads a living token: Unauthenticated if it is unknown, Expired if
// it was good once.
func findLogin(tx Tx, id []byte, now time.Time) (*loginRec, error) {
	doc, err := tx.Get(LoginRecords, id)
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, Refuse(Unauthenticated, "the login is unknown")
	}
	l, err := decodeLogin(doc)
	if err != nil {
		return nil, err
	}
	if !now.Before(l.expires) {
		return nil, Refuse(Expired, "the login has expired")
	}
	return l, nil
}

// LoginOf returns the login of a token (without its refresh token).
func (s *Store) LoginOf(ctx context.Context, realm, token string) (out *Login, err error) {
	err = s.view(ctx, func(tx Tx) error {
		id := loginID(realm, false, token)
		l, err := findLogin(tx, id, s.now())
		if err == nil {
			out = l.show(id)
			out.Token = token
		}
		return err
	})
	return out, err
}

// TakeLogin is LoginOf for a token that is good once.
func (s *Store) TakeLogin(ctx context.Context, realm, token string) (out *Login, err error) {
	err = s.update(ctx, func(tx Tx) error {
		id := loginID(realm, false, token)
		l, err := findLogin(tx, id, s.now())
		if err != nil {
			return err
		}
		out = l.show(id)
		out.Token = token
		return dropLogin(tx, realm, id, l)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RefreshLogin makes a new login in place of one, for the same account. The
// refresh token stays good for spec.Grace: clients that work in parallel use
// the same one several times, and an answer can be lost. Account and, where
// nil, Attrs of the spec are those of the old login.
func (s *Store) RefreshLogin(ctx context.Context, refreshToken string, spec LoginSpec) (out *Login, err error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		now := s.now()
		id := loginID(spec.Realm, true, refreshToken)
		old, err := findLogin(tx, id, now)
		if err != nil {
			return err
		}
		next := spec
		if next.Account = old.account; next.Attrs == nil {
			next.Attrs = old.attrs
		}
		if end := now.Add(spec.Grace); !old.used && end.Before(old.expires) {
			old.used, old.expires = true, end
			if err := putLogin(tx, id, old); err != nil {
				return err
			}
		}
		out, err = s.login(tx, next, now)
		return err
	})
	return out, err
}

// Logout ends a token and its refresh token. An unknown one is no error.
func (s *Store) Logout(ctx context.Context, realm, token string) error {
	return s.update(ctx, func(tx Tx) error {
		id := loginID(realm, false, token)
		doc, err := tx.Get(LoginRecords, id)
		if err != nil || doc == nil {
			return err
		}
		l, err := decodeLogin(doc)
		if err != nil {
			return err
		}
		return dropLogin(tx, realm, id, l)
	})
}

// mostLogins is how many listed logins of an account are looked at.
const mostLogins = 1000

// Logins lists the living listed logins of an account in a realm, at most 1000
// of them, in no particular order, without their tokens.
func (s *Store) Logins(ctx context.Context, realm, account string) (all []*Login, err error) {
	err = s.view(ctx, func(tx Tx) error {
		all = nil
		return s.eachLogin(tx, realm, account, func(id []byte, l *loginRec) error {
			all = append(all, l.show(id))
			return nil
		})
	})
	return all, err
}

func (s *Store) eachLogin(tx Tx, realm, account string, do func(id []byte, l *loginRec) error) error {
	prefix, looked := listedLogins(realm, account), 0
	for item, err := range tx.Scan(LoginRecords, prefix, nil) {
		if err != nil {
			return err
		}
		if looked++; looked > mostLogins {
			return nil
		}
		id := slices.Clone(item.ID[len(prefix):])
		l, err := findLogin(tx, id, s.now())
		if KindOf(err) != 0 {
			continue
		}
		if err != nil {
			return err
		}
		if err := do(id, l); err != nil {
			return err
		}
	}
	return nil
}

// DropLogin ends a listed login of an account by its ID.
func (s *Store) DropLogin(ctx context.Context, realm, account, id string) error {
	return s.update(ctx, func(tx Tx) error {
		found := false
		err := s.eachLogin(tx, realm, account, func(key []byte, l *loginRec) error {
			if found || l.show(key).ID != id {
				return nil
			}
			found = true
			return dropLogin(tx, realm, key, l)
		})
		if err == nil && !found {
			err = Refuse(NotFound, "the login is unknown")
		}
		return err
	})
}

func dropLogin(tx Tx, realm string, id []byte, l *loginRec) error {
	if l.listed {
		if err := tx.Delete(LoginRecords, append(listedLogins(realm, l.account), id...)); err != nil {
			return err
		}
	}
	if len(l.pair) > 0 {
		if err := tx.Delete(LoginRecords, l.pair); err != nil {
			return err
		}
	}
	return tx.Delete(LoginRecords, id)
}

// AccountID is a name for an account that tells nothing of it and stays the
// same: 24 hexadecimal digits; empty for no account.
func (s *Store) AccountID(name string) string {
	if name == "" {
		return ""
	}
	return hex.EncodeToString(s.Sign("account id", []byte(name))[:12])
}
