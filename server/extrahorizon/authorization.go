package extrahorizon

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"fileshare/server/extrahorizon/rql"
	"fileshare/server/reply"
	"fileshare/store"
)

// postAuthorization gives who is logged in a code, by which a client can log
// in for him once (RFC 6749 §4.1).
func (a *api) postAuthorization(w http.ResponseWriter, r *http.Request) error {
	who, err := a.loggedIn(r)
	if err != nil {
		return err
	}
	said, err := needObject(r)
	if err != nil {
		return err
	}
	text := map[string]string{}
	for _, name := range []string{"responseType", "clientId", "redirectUri", "state", "codeChallenge", "codeChallengeMethod"} {
		var v *string
		if raw := said[name]; raw != nil && json.Unmarshal(raw, &v) != nil {
			return refuse(codeFieldFormat, name+" must be a string")
		}
		if v != nil {
			text[name] = *v
		}
	}
	if text["responseType"] != "code" || text["clientId"] == "" {
		return refuse(codeMissingFields, "responseType must be code, and clientId is wanted")
	}
	if err := a.checkClientID(text["clientId"]); err != nil {
		return err
	}
	method := text["codeChallengeMethod"]
	if text["codeChallenge"] == "" && method != "" || method != "" && method != "plain" && method != "S256" {
		return refuse(codeFieldFormat, "codeChallengeMethod must be plain or S256, and belongs to a codeChallenge")
	}
	login, err := a.Store.Login(r.Context(), store.LoginSpec{Realm: realmCode, Account: who.Name, TTL: codeTTL, Listed: true, Attrs: map[string]string{
		attrClient: text["clientId"], attrChallenge: text["codeChallenge"], attrMethod: method, attrRedirect: text["redirectUri"], attrState: text["state"]}})
	if err != nil {
		return err
	}
	return reply.JSON(w, authorization{login, a.Store.AccountID(who.Name)}.details())
}

// authorization is a code that was not redeemed. A list of them does not have
// the codes themselves.
type authorization struct {
	*store.Login
	user string // its id
}

func (a authorization) details() map[string]any {
	all := map[string]any{"id": a.ID, "clientId": a.Attrs[attrClient], "userId": a.user,
		"expiryTimestamp": stamp(a.Expires), "creationTimestamp": stamp(a.Created), "updateTimestamp": stamp(a.Created)}
	for name, value := range map[string]string{"authorizationCode": a.Token, "redirectUri": a.Attrs[attrRedirect], "state": a.Attrs[attrState]} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

func (a authorization) made() (time.Time, string) { return a.Created, a.ID }

// Get makes it a record for queries.
func (a authorization) Get(field string) (rql.Value, bool) {
	switch field {
	case "creationTimestamp", "updateTimestamp":
		return rql.Value{Number: float64(a.Created.UnixMilli())}, true
	case "expiryTimestamp":
		return rql.Value{Number: float64(a.Expires.UnixMilli())}, true
	}
	text, ok := a.details()[field].(string)
	return rql.Value{Text: text}, ok
}

// getAuthorizations lists one's own codes.
func (a *api) getAuthorizations(w http.ResponseWriter, r *http.Request) error {
	who, err := a.loggedIn(r)
	if err != nil {
		return err
	}
	schema := rql.Schema{}
	for _, name := range []string{"id", "clientId", "userId", "redirectUri", "state"} {
		schema[name] = rql.Field{Name: name, Type: rql.Text}
	}
	for _, name := range []string{"creationTimestamp", "updateTimestamp", "expiryTimestamp"} {
		schema[name] = rql.Field{Name: name, Type: rql.Time}
	}
	query, err := rql.Parse(r.URL.RawQuery, schema)
	if err != nil {
		return refuse(codeRQL, err.Error())
	}
	logins, err := a.Store.Logins(r.Context(), realmCode, who.Name)
	if err != nil {
		return err
	}
	p := pageOf(query)
	top := &ranking[authorization]{query: query, most: min(p.Offset+p.Limit, len(logins))}
	for _, l := range logins {
		if one := (authorization{l, a.Store.AccountID(who.Name)}); query.Match(one) {
			*p.Total++
			top.add(one)
		}
	}
	answer := listOf(query, p)
	for _, one := range top.page(p.Offset) {
		answer.add(query, one.details())
	}
	return reply.JSON(w, answer)
}

// deleteAuthorization takes one of one's own codes back.
func (a *api) deleteAuthorization(w http.ResponseWriter, r *http.Request) error {
	who, err := a.loggedIn(r)
	if err != nil {
		return err
	}
	err = a.Store.DropLogin(r.Context(), realmCode, who.Name, a.Var(r, "id"))
	if store.KindOf(err) == store.NotFound {
		return refuseCause(codeUnknownPath, "there is no such authorization", err)
	}
	if err != nil {
		return err
	}
	return reply.JSON(w, affected{1})
}

// checkClientID refuses a client that is not listed, where clients are.
func (a *api) checkClientID(id string) error {
	for _, c := range a.o.Clients {
		if c.ID == id {
			return nil
		}
	}
	if len(a.o.Clients) == 0 {
		return nil
	}
	return refuse(codeClient, "the client id is unknown")
}

// redeem takes a code, which is good once, and returns whose it is.
func (a *api) redeem(ctx context.Context, req *tokenRequest) (account string, err error) {
	login, err := a.Store.TakeLogin(ctx, realmCode, req.Code)
	if err != nil {
		return "", err
	}
	if login.Attrs[attrClient] != req.ClientID || !proves(req.CodeVerifier, login.Attrs[attrChallenge], login.Attrs[attrMethod]) {
		return "", store.Refuse(store.Unauthenticated, "the code was made for another client")
	}
	who, err := a.account(login.Account)
	return who.Name, err
}

// proves is RFC 7636 §4.6. Without a challenge nothing is to be proved.
func proves(verifier, challenge, method string) bool {
	if challenge == "" {
		return true
	}
	if method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return subtle.ConstantTimeCompare([]byte(verifier), []byte(challenge)) == 1
}
