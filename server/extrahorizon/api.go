package extrahorizon

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// Client is an application that is known by name.
type Client struct {
	ID, Secret                  string // OAuth2; without a secret the id is enough
	ConsumerKey, ConsumerSecret string // OAuth1; empty: not for it
}

// Options configures [New]. The zero value works.
type Options struct {
	Clients   []Client      // empty: any client id is good, and there is no OAuth1
	AccessTTL time.Duration // that clients are told; default 5 min
	// Looks is how many files one question may look at; a look at the tokens of
	// one counts for five. Default 100,000.
	Looks int
}

type api struct {
	dialect.Host
	o       Options
	finding chan struct{} // one element per question that is being answered
}

// Bounds of what is read and done at the same time.
const (
	mostBody    = 64 << 10 // bytes of JSON
	mostFinding = 2
)

// New makes the API.
func New(h dialect.Host, o Options) dialect.API {
	if o.AccessTTL <= 0 {
		o.AccessTTL = accessTTL
	}
	if o.Looks <= 0 {
		o.Looks = mostLooked
	}
	a := &api{Host: h, o: o, finding: make(chan struct{}, mostFinding)}
	routes := []dialect.Route{
		{Path: "/files/v1/", Get: a.getFiles, Post: a.postFile},
		{Path: "/files/v1/settings", Get: a.getSettings, Put: a.putSettings},
		{Path: "/files/v1/{token}", Delete: a.deleteFile},
		{Path: "/files/v1/{token}/file", Get: a.getContent},
		{Path: "/files/v1/{token}/details", Get: a.getDetails},
		{Path: "/files/v1/{token}/tokens", Post: a.postToken},
		{Path: "/files/v1/{token}/tokens/{other}", Delete: a.deleteToken},
		{Path: "/auth/v2/oauth2/tokens", Post: a.postTokens},
		{Path: "/auth/v2/oauth2/authorizations", Get: a.getAuthorizations, Post: a.postAuthorization},
		{Path: "/auth/v2/oauth2/authorizations/{id}", Delete: a.deleteAuthorization},
		{Path: "/auth/v2/oauth1/tokens", Post: a.postOAuth1},
		{Path: "/auth/v2/health", Get: a.health},
		{Path: "/users/v1/health", Get: a.health},
		{Path: "/users/v1/me", Get: a.getMe},
		{Path: "/logout", Post: a.logout},
	}
	// What is not there has a path, too, so that its error is ours.
	for _, base := range []string{"/files/v1", "/auth/v2", "/users/v1"} {
		routes = append(routes, dialect.Route{Path: base}, dialect.Route{Path: base + "/{rest:.*}"})
	}
	for i := range routes {
		routes[i].Options = a.preflight
	}
	return dialect.API{Name: "extrahorizon", Routes: routes, Headers: allowOrigin, Fail: fail}
}

func (a *api) health(w http.ResponseWriter, _ *http.Request) error {
	return reply.JSON(w, map[string]string{"status": "ok"})
}

// affected is the answer of what changes something.
type affected struct {
	Records int `json:"affectedRecords"`
}

// fail answers an error as the SDK wants it.
func fail(w http.ResponseWriter, _ *http.Request, err error) reply.Answer {
	a := reply.Of(err)
	if g, ok := errors.AsType[*grantFault](err); ok {
		a.Status, a.Code, a.Message, a.Ours = http.StatusBadRequest, kindOf(g.Inner.Code), g.Description, false
		w.Header().Set("Cache-Control", "no-store")
		return a.Write(w, jsonType, g)
	}
	c := codeOf(err)
	switch {
	case c != 0:
		a.Status, a.Code, a.Ours = rowOf(c).status, kindOf(c), false
	case a.Status < http.StatusInternalServerError:
		c = codeFieldFormat // what HTTP itself refuses (a range, a condition) has no code of its own
	default:
		c = codeServer
	}
	if f, ok := errors.AsType[*fault](err); ok {
		a.Message = f.message
	}
	if c == codeUnknownPath {
		w.Header().Del("Allow")
		a.Message = "there is nothing here"
	}
	if a.Status == http.StatusUnauthorized {
		// Not Basic, for which browsers would ask the user.
		w.Header().Set("WWW-Authenticate", `Bearer realm="fileshare"`)
	}
	return a.Write(w, jsonType, struct {
		Code    code   `json:"code"`
		Name    string `json:"name"`
		Message string `json:"message"`
	}{c, rowOf(c).name, a.Message})
}

const jsonType = "application/json"

// needObject is readObject for calls that are nothing without a body.
func needObject(r *http.Request) (map[string]json.RawMessage, error) {
	object, err := readObject(r)
	if err == nil && object == nil {
		err = refuse(codeEmptyBody, "the body is empty")
	}
	return object, err
}

// readObject reads a JSON object; nil if the body is empty.
func readObject(r *http.Request) (map[string]json.RawMessage, error) {
	body, err := dialect.Body(r, mostBody)
	if store.KindOf(err) == store.TooLarge {
		return nil, refuseCause(codeBodyFormat, "the body is too large", err)
	}
	if err != nil || len(body) == 0 {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		return nil, refuseCause(codeBodyFormat, "the body must be a JSON object", err)
	}
	return object, nil
}
