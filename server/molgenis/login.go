package molgenis

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

const (
	realm      = "molgenis"    // of logins
	cookieName = "JSESSIONID"  // what browsers send along instead of a token
	loginTTL   = 2 * time.Hour // of a token
	mostLogin  = 16 << 10      // bytes of a login's body
)

// login answers a token. It is a cookie, too: the documented browser script has
// no token and relies on the session of the page.
func (a *api) login(w http.ResponseWriter, r *http.Request) error {
	body, err := dialect.Body(r, mostLogin)
	if err != nil {
		return err
	}
	var in struct {
		UserName string `json:"username"`
		Password string `json:"password"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return store.RefuseCause(store.Invalid, "the body must be JSON with username and password", err)
	}
	for _, field := range []struct{ name, value string }{{"username", in.UserName}, {"password", in.Password}} {
		if strings.TrimSpace(field.value) == "" {
			return store.Refuse(store.Invalid, field.name+" must not be empty")
		}
	}
	c, err := a.Password(r, in.UserName, in.Password)
	if err != nil {
		return err
	}
	a.SetCaller(r, c)
	l, err := a.Store.Login(r.Context(), store.LoginSpec{Realm: realm, Account: c.Name, TTL: loginTTL})
	if err != nil {
		return err
	}
	a.setCookie(w, r, l.Token, int(loginTTL/time.Second))
	return reply.JSON(w, login{Token: l.Token, UserName: c.Name})
}

// setCookie sets the cookie, or with a negative age removes it.
func (a *api) setCookie(w http.ResponseWriter, r *http.Request, token string, age int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: "/", MaxAge: age, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: strings.HasPrefix(a.Base(r), "https:")})
}

// logout ends the login whose token comes with the request.
func (a *api) logout(w http.ResponseWriter, r *http.Request) error {
	token := sentToken(r)
	if token == "" {
		token = cookieToken(r)
	}
	if token == "" {
		return store.Refuse(store.Unauthenticated, "a token is required")
	}
	l, err := a.Store.LoginOf(r.Context(), realm, token)
	if k := store.KindOf(err); k == store.Unauthenticated || k == store.Expired {
		return store.Refuse(store.NotFound, "unknown token")
	}
	if err != nil {
		return err
	}
	if err := a.Store.Logout(r.Context(), realm, token); err != nil {
		return err
	}
	a.SetCaller(r, store.Caller{Name: l.Account})
	a.setCookie(w, r, "", -1)
	return reply.Empty(w)
}

// caller tells who asks: by a token in header or query, else by Basic
// credentials, else by the cookie of a login. A token is one of a login, or the
// account's API key in place of those that MOLGENIS' administrators give to
// programs. One that is not good (any more) counts as none, as it does in
// MOLGENIS; wrong passwords do not.
func (a *api) caller(r *http.Request) (c store.Caller, err error) {
	found := false
	if token := sentToken(r); token != "" {
		c, found, err = a.holder(r, token)
	}
	if err == nil && !found && r.Header.Get("Authorization") != "" {
		c, err = a.Basic(r)
		found = true
	}
	if token := cookieToken(r); err == nil && !found && token != "" {
		c, _, err = a.holder(r, token)
	}
	if err == nil {
		a.SetCaller(r, c)
	}
	return c, err
}

// holder is who has a token.
func (a *api) holder(r *http.Request, token string) (c store.Caller, found bool, err error) {
	l, err := a.Store.LoginOf(r.Context(), realm, token)
	var acc dialect.Account
	switch k := store.KindOf(err); {
	case err == nil:
		acc, found = a.Account(l.Account)
	case k == store.Unauthenticated || k == store.Expired:
		acc, found = a.Keyed(token)
	default:
		return c, false, err
	}
	return acc.Caller, found, nil
}

func sentToken(r *http.Request) string {
	if t := r.Header.Get("X-Molgenis-Token"); t != "" {
		return t
	}
	return r.URL.Query().Get("molgenis-token")
}

// cookieToken is the token of the cookie, unless another site makes the browser
// send it.
func cookieToken(r *http.Request) string {
	c, err := r.Cookie(cookieName)
	if err != nil || http.NewCrossOriginProtection().Check(r) != nil {
		return ""
	}
	return c.Value
}
