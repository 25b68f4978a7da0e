package opentera

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// kind is what a caller is.
type kind string

const (
	user        kind = "user"
	participant kind = "participant"
	device      kind = "device"
)

// prefix is what the engine's name of a caller of that kind begins with. No
// account has a colon in its name, so nobody is taken for another.
func (k kind) prefix() string {
	if k == user {
		return ""
	}
	return string(k) + ":"
}

const (
	realm      = "opentera"
	cookieName = "OpenTera"
	loginTTL   = time.Hour
	refreshTTL = 30 * time.Minute
)

// who is a caller whom we know.
type who struct {
	store.Caller
	kind  kind
	name  string // without the prefix
	id    int64
	uuid  uuid
	token string // of the login by which it came; empty: Basic, or a token that never ends
	fixed bool   // came by a token that never ends
}

// know enters a participant or device of the configuration.
func (a *api) know(k kind, i int, c Caller) {
	if c.Token != "" {
		w := a.outsider(k, i)
		w.fixed = true
		a.tokens[sha256.Sum256([]byte(c.Token))] = w
	}
}

// list is the configuration's list of a kind.
func (a *api) list(k kind) []Caller {
	switch k {
	case participant:
		return a.o.Participants
	case device:
		return a.o.Devices
	}
	return nil
}

// outsider is the participant or device at a place of its list.
func (a *api) outsider(k kind, i int) who {
	name := a.list(k)[i].Name
	c := store.Caller{Name: k.prefix() + name}
	return who{Caller: c, kind: k, name: name, id: int64(i) + 1, uuid: a.uuidOf(c.Name)}
}

// account is who an account is.
func (a *api) account(c store.Caller) who {
	// The number of a user must be the same tomorrow, whoever comes and goes. It
	// is an int of 32 bits, of ten digits.
	id := int64(binary.BigEndian.Uint32(a.Store.Sign("opentera user number", []byte(c.Name)))>>2 | 1<<30)
	return who{Caller: c, kind: user, name: c.Name, id: id, uuid: a.uuidOf(c.Name)}
}

// uuidOf is the UUID of a caller: always the same, and telling nothing of the
// name.
func (a *api) uuidOf(name string) uuid {
	u := uuid(a.Store.Sign("opentera uuid", []byte(name))[:16])
	u[6], u[8] = u[6]&0xf|0x80, u[8]&0x3f|0x80 // version 8, RFC 9562 §5.8
	return u
}

// named finds a caller by the engine's name.
func (a *api) named(name string) (who, bool) {
	for _, k := range []kind{participant, device} {
		rest, ok := strings.CutPrefix(name, k.prefix())
		if !ok {
			continue
		}
		for i, c := range a.list(k) {
			if c.Name == rest {
				return a.outsider(k, i), true
			}
		}
		return who{}, false
	}
	acc, ok := a.Account(name)
	return a.account(acc.Caller), ok
}

// numbered finds a participant or device by its number or UUID in digits.
func (a *api) numbered(k kind, key string) (who, bool) {
	n, isNumber := parseNumber(key)
	for i := range a.list(k) {
		if w := a.outsider(k, i); isNumber && w.id == n || strings.EqualFold(w.uuid.String(), key) {
			return w, true
		}
	}
	return who{}, false
}

// sentToken is the token of a request: of the header (the scheme is written so
// and not otherwise), else of the query or the body, else of the cookie, which
// another site cannot make a browser send here.
func sentToken(r *http.Request) string {
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "OpenTera "); ok {
		return strings.TrimSpace(t)
	}
	if t := r.URL.Query().Get("token"); t != "" {
		return t
	}
	if r.Method == http.MethodPost && r.Header.Get("Authorization") == "" {
		if t := bodyToken(r); t != "" {
			return t
		}
	}
	if c, err := r.Cookie(cookieName); err == nil && http.NewCrossOriginProtection().Check(r) == nil {
		return c.Value
	}
	return ""
}

// caller tells who asks, by token; Unauthenticated if nobody does.
func (a *api) caller(r *http.Request) (who, error) {
	token := sentToken(r)
	if token == "" {
		return who{}, store.Refuse(store.Unauthenticated, "Unauthorized")
	}
	w, ok := a.tokens[sha256.Sum256([]byte(token))]
	if !ok {
		l, err := a.Store.LoginOf(r.Context(), realm, token)
		switch store.KindOf(err) {
		case store.Unauthenticated, store.Expired:
			return who{}, store.RefuseCause(store.Unauthenticated, "Unauthorized", err)
		}
		if err != nil {
			return who{}, err
		}
		if w, ok = a.named(l.Account); !ok {
			return who{}, store.Refuse(store.Unauthenticated, "Unauthorized")
		}
		w.token = token
	}
	a.SetCaller(r, w.Caller)
	return w, nil
}

// byHand is a handler that knows who asks.
type byHand func(w http.ResponseWriter, r *http.Request, c who) error

// as makes a handler for callers of one kind. Users and participants may give
// their password instead of a token.
func (a *api) as(k kind, do byHand) dialect.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, err := a.caller(r)
		if sentToken(r) == "" && r.Header.Get("Authorization") != "" {
			c, err = a.basic(k, r)
		}
		if err != nil {
			return err
		}
		if c.kind != k {
			return store.Refuse(store.Unauthenticated, "Unauthorized")
		}
		return do(w, r, c)
	}
}

// basic tells who sends Basic credentials of a kind.
func (a *api) basic(k kind, r *http.Request) (who, error) {
	var w who
	switch k {
	case user:
		c, err := a.Basic(r)
		if err != nil {
			return w, err
		}
		w = a.account(c)
	case participant:
		if a.o.ParticipantBasic == nil {
			break
		}
		name, err := a.o.ParticipantBasic(r)
		if err != nil {
			return w, err
		}
		w, _ = a.named(participant.prefix() + name)
	}
	if w.Name == "" {
		return w, store.Refuse(store.Unauthenticated, "Unauthorized")
	}
	a.SetCaller(r, w.Caller)
	return w, nil
}

// login makes a token.
func (a *api) login(r *http.Request, c who, ttl time.Duration) (string, error) {
	l, err := a.Store.Login(r.Context(), store.LoginSpec{Realm: realm, Account: c.Name, TTL: ttl})
	if err != nil {
		return "", err
	}
	return l.Token, nil
}

func (a *api) loginUser(w http.ResponseWriter, r *http.Request) error {
	c, err := a.basic(user, r)
	if err != nil {
		return err
	}
	token, err := a.login(r, c, loginTTL)
	if err != nil {
		return err
	}
	return reply.JSON(w, map[string]any{"user_uuid": c.uuid.String(), "user_fullname": c.name, "user_token": token})
}

// loginParticipant takes a password, or the token that never ends; with the
// latter there is no other token.
func (a *api) loginParticipant(w http.ResponseWriter, r *http.Request) error {
	c, err := a.caller(r)
	if sentToken(r) == "" {
		c, err = a.basic(participant, r)
	}
	if err != nil {
		return err
	}
	if c.kind != participant {
		return store.Refuse(store.Unauthenticated, "Unauthorized")
	}
	out := map[string]any{"participant_uuid": c.uuid.String(), "participant_name": c.name, "session_types_info": []any{}, "base_token": nil}
	if base := a.o.Participants[c.id-1].Token; base != "" {
		out["base_token"] = base
	}
	if !c.fixed {
		token, err := a.login(r, c, loginTTL)
		if err != nil {
			return err
		}
		out["participant_token"] = token
	}
	return reply.JSON(w, out)
}

// loginDevice tells a device who it is; its token stays the same.
func (a *api) loginDevice(w http.ResponseWriter, r *http.Request) error {
	c, err := a.caller(r)
	if err != nil {
		return err
	}
	if c.kind != device {
		return store.Refuse(store.Unauthenticated, "Unauthorized")
	}
	return reply.JSON(w, map[string]any{
		"device_info":       map[string]any{"id_device": c.id, "device_name": c.name, "device_uuid": c.uuid.String(), "device_enabled": true},
		"participants_info": []any{}, "session_types_info": []any{},
	})
}

// refresh makes a new token in place of the one that comes with the request.
func (a *api) refresh(w http.ResponseWriter, r *http.Request, c who) error {
	if c.token == "" {
		return store.Refuse(store.Denied, "Only the token of a login can be refreshed")
	}
	token, err := a.login(r, c, refreshTTL)
	if err != nil {
		return err
	}
	if err := a.Store.Logout(r.Context(), realm, c.token); err != nil {
		return err
	}
	return reply.JSON(w, map[string]any{"refresh_token": token})
}

// logout ends the token of a login; one that never ends stays.
func (a *api) logout(w http.ResponseWriter, r *http.Request, c who) error {
	if c.token != "" {
		if err := a.Store.Logout(r.Context(), realm, c.token); err != nil {
			return err
		}
	}
	return reply.JSON(w, "Logged out")
}
