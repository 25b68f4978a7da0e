package extrahorizon

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

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
	said, err := readObject(r)
	if err != nil {
		return err
	}
	if said == nil {
		return refuse(codeEmptyBody, "the body is empty")
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
	login, err := a.Store.Login(r.Context(), store.LoginSpec{Realm: realmCode, Account: who.Name, TTL: codeTTL,
		Attrs: map[string]string{attrClient: text["clientId"], attrChallenge: text["codeChallenge"], attrMethod: method}})
	if err != nil {
		return err
	}
	now := stamp(time.Now())
	answer := map[string]any{
		"id": idOf("authorization", login.Token), "clientId": text["clientId"], "userId": a.Store.AccountID(who.Name), "authorizationCode": login.Token,
		"expiryTimestamp": stamp(login.Expires), "creationTimestamp": now, "updateTimestamp": now,
	}
	for _, name := range []string{"redirectUri", "state"} {
		if text[name] != "" {
			answer[name] = text[name]
		}
	}
	return reply.JSON(w, answer)
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
