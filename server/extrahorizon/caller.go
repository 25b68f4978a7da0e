package extrahorizon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"fileshare/server/dialect"
	"fileshare/server/extrahorizon/oauth1"
	"fileshare/server/reply"
	"fileshare/store"
)

// caller tells who asks: nobody without credentials (or with some that are not
// for us), else an account. Calls that a file's token opens do not ask: they
// must not fail because a login is over, which the SDK cannot repair there.
func (a *api) caller(r *http.Request) (dialect.Account, error) {
	header := r.Header.Get("Authorization")
	var who dialect.Account
	var err error
	if token, ok := bearer(header); ok {
		who, err = a.ofBearer(r.Context(), token)
	} else if signed, ok, bad := oauth1.Parse(header); ok {
		if bad != nil {
			return who, refuseCause(codeSignature, "the Authorization header is malformed", bad)
		}
		who, err = a.ofSignature(r, signed)
	}
	if err == nil && who.Name != "" {
		a.SetCaller(r, who.Caller)
	}
	return who, err
}

// bearer returns the token of a header of the scheme Bearer (RFC 6750 §2.1).
func bearer(header string) (string, bool) {
	const scheme = "Bearer "
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimSpace(header[len(scheme):]), true
}

// ofBearer takes an access token or an account's API key.
func (a *api) ofBearer(ctx context.Context, token string) (dialect.Account, error) {
	if who, ok := a.Keyed(token); ok {
		return who, nil
	}
	login, err := a.Store.LoginOf(ctx, realmAccess, token)
	switch store.KindOf(err) {
	case store.Unauthenticated:
		return dialect.Account{}, refuseCause(codeAccessUnknown, "the access token is unknown", err)
	case store.Expired:
		return dialect.Account{}, refuseCause(codeAccessExpired, "the access token has expired", err)
	}
	if err != nil {
		return dialect.Account{}, err
	}
	who, err := a.account(login.Account)
	if err != nil {
		return who, refuseCause(codeAccessUnknown, "the access token is unknown", err)
	}
	return who, nil
}

// account returns an account by its name; it may have been removed.
func (a *api) account(name string) (dialect.Account, error) {
	who, ok := a.Account(name)
	if !ok {
		return who, store.Refuse(store.Unauthenticated, "the account is unknown")
	}
	return who, nil
}

// password checks a password; an account may be named by its email address.
func (a *api) password(r *http.Request, name, password string) (dialect.Account, error) {
	if who, ok := a.Find(name); ok {
		name = who.Name
	}
	c, err := a.Password(r, name, password)
	if err != nil {
		return dialect.Account{}, err
	}
	a.SetCaller(r, c)
	return a.account(c.Name)
}

// loggedIn is caller for calls that need an account.
func (a *api) loggedIn(r *http.Request) (dialect.Account, error) {
	who, err := a.caller(r)
	if err == nil && who.Name == "" {
		err = refuse(codeAnonymous, "this needs a login")
	}
	return who, err
}

// permitted is caller for calls that need a permission.
func (a *api) permitted(r *http.Request, p store.Permissions) (store.Caller, error) {
	who, err := a.caller(r)
	if err == nil {
		err = a.Store.Allow(who.Caller, p)
	}
	return who.Caller, err
}

// getMe tells who is logged in.
func (a *api) getMe(w http.ResponseWriter, r *http.Request) error {
	who, err := a.loggedIn(r)
	if err != nil {
		return err
	}
	email := who.Email
	if email == "" {
		email = who.Name
	}
	return reply.JSON(w, map[string]any{
		"id": a.Store.AccountID(who.Name), "email": email, "firstName": who.Name, "lastName": "", "language": "EN", "activation": true,
	})
}

// logout ends the login that a proxy in front of us would have kept.
func (a *api) logout(w http.ResponseWriter, r *http.Request) error {
	if token, ok := bearer(r.Header.Get("Authorization")); ok {
		if err := a.Store.Logout(r.Context(), realmAccess, token); err != nil {
			return err
		}
	}
	return reply.None(w)
}

// applicationID is an id for a client, of the form that the service's have.
func applicationID(client string) string { return idOf("application", client) }

// idOf makes 24 hexadecimal digits of something that has no such id.
func idOf(what, value string) string {
	sum := sha256.Sum256([]byte("extrahorizon " + what + " " + value))
	return hex.EncodeToString(sum[:12])
}
