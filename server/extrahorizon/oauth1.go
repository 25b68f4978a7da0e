package extrahorizon

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/extrahorizon/oauth1"
	"fileshare/server/reply"
	"fileshare/store"
)

// clockSkew is how far a signed request's time may be from ours. Its nonce is
// remembered until it could no longer be replayed.
const clockSkew = 5 * time.Minute

// consumer finds a client by its consumer key.
func (a *api) consumer(key string) (Client, error) {
	for _, c := range a.o.Clients {
		if c.ConsumerKey != "" && c.ConsumerKey == key {
			return c, nil
		}
	}
	return Client{}, refuse(codeConsumer, "the consumer key is unknown")
}

// ofSignature tells who has signed a request.
func (a *api) ofSignature(r *http.Request, signed *oauth1.Request) (dialect.Account, error) {
	client, err := a.consumer(signed.ConsumerKey)
	if err != nil {
		return dialect.Account{}, err
	}
	unknown := func(err error) error { return refuseCause(codeOAuthToken, "the OAuth token is unknown", err) }
	login, err := a.Store.LoginOf(r.Context(), realmOAuth1, signed.Token)
	switch {
	case store.KindOf(err) == store.Unauthenticated, store.KindOf(err) == store.Expired:
		return dialect.Account{}, unknown(err)
	case err != nil:
		return dialect.Account{}, err
	case login.Attrs[attrClient] != client.ConsumerKey:
		return dialect.Account{}, unknown(nil)
	}
	who, err := a.account(login.Account)
	if err != nil {
		return who, unknown(err)
	}
	return who, a.checkSignature(r, signed, client, login.Attrs[attrSecret])
}

// checkSignature refuses what was not signed so, and what was there before. The
// nonce is looked at last, so that only who can sign fills our memory of them.
func (a *api) checkSignature(r *http.Request, signed *oauth1.Request, client Client, secret string) error {
	good := false
	for _, base := range a.addresses(r) {
		good = good || signed.Verify(r.Method, base, r.URL.RawQuery, client.ConsumerSecret, secret)
	}
	if !good {
		return refuse(codeSignature, "the signature is wrong")
	}
	if age := time.Since(time.Unix(signed.Timestamp, 0)); age > clockSkew || age < -clockSkew {
		return refuse(codeReplay, "the request was signed too long ago, or the client's clock is wrong")
	}
	// The parts have no NUL that could move a border: they are in a header.
	nonce := strings.Join([]string{signed.ConsumerKey, signed.Token, strconv.FormatInt(signed.Timestamp, 10), signed.Nonce}, "\x00")
	first, err := a.Store.Once(r.Context(), realmOAuth1, nonce, 2*clockSkew+time.Minute)
	if err == nil && !first {
		err = refuse(codeReplay, "the request was made before")
	}
	return err
}

// addresses are those at which the client may have seen us: as the request
// says, and as links say, which know of proxies.
func (a *api) addresses(r *http.Request) []string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return []string{"http://" + r.Host + path, "https://" + r.Host + path, a.Base(r) + r.URL.EscapedPath()}
}

// postOAuth1 is a login, signed by the consumer alone.
func (a *api) postOAuth1(w http.ResponseWriter, r *http.Request) error {
	signed, ok, err := oauth1.Parse(r.Header.Get("Authorization"))
	if err != nil || !ok {
		return refuseCause(codeSignature, "the request must be signed", err)
	}
	client, err := a.consumer(signed.ConsumerKey)
	if err != nil {
		return err
	}
	if err := a.checkSignature(r, signed, client, ""); err != nil {
		return err
	}
	said, err := needObject(r)
	if err != nil {
		return err
	}
	var email, password string
	if json.Unmarshal(said["email"], &email) != nil || json.Unmarshal(said["password"], &password) != nil {
		return refuse(codeMissingFields, "email and password are wanted")
	}
	who, err := a.password(r, email, password)
	if store.KindOf(err) == store.Unauthenticated {
		return refuseCause(codeAuthentication, "the email address or the password is wrong", err)
	}
	if err != nil {
		return err
	}
	secret := rand.Text()
	login, err := a.Store.Login(r.Context(), store.LoginSpec{Realm: realmOAuth1, Account: who.Name, TTL: oauth1TTL,
		Attrs: map[string]string{attrClient: client.ConsumerKey, attrSecret: secret}})
	if err != nil {
		return err
	}
	now := stamp(time.Now())
	return reply.JSON(w, map[string]any{
		"id": login.ID, "userId": a.Store.AccountID(who.Name), "applicationId": applicationID(client.ConsumerKey),
		"token": login.Token, "tokenSecret": secret, "creationTimestamp": now, "updateTimestamp": now,
	})
}
