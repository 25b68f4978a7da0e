package extrahorizon

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// Realms of logins: what kind of token one is.
const (
	realmAccess = "extrahorizon"        // access and refresh tokens
	realmCode   = "extrahorizon.code"   // authorization codes
	realmOAuth1 = "extrahorizon.oauth1" // OAuth1 tokens; their secret is an attribute
)

// Attributes of logins.
const (
	attrClient    = "client"    // its id, of OAuth1 its consumer key
	attrSecret    = "secret"    // of an OAuth1 token
	attrChallenge = "challenge" // of a code, and its method
	attrMethod    = "method"
	attrRedirect  = "redirect"
	attrState     = "state"
)

// How long tokens live.
const (
	// The SDK refreshes 10 s before the end that it is told. What comes later
	// (a slow upload, a clock that is wrong) is still let in: the SDK cannot
	// repeat an upload.
	accessTTL   = 5 * time.Minute
	accessGrace = time.Minute
	refreshTTL  = 30 * 24 * time.Hour
	// The SDK does not share a refresh between parallel calls: each redeems
	// the same refresh token.
	refreshGrace = 30 * time.Second
	codeTTL      = 5 * time.Minute
	oauth1TTL    = 365 * 24 * time.Hour // such logins cannot be refreshed
)

// tokenRequest is the body of POST /auth/v2/oauth2/tokens.
type tokenRequest struct {
	GrantType    string `json:"grant_type"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	RefreshToken string `json:"refresh_token"`
	Code         string `json:"code"`
	CodeVerifier string `json:"code_verifier"` // not of the SDK; RFC 7636
}

// tokenAnswer has all of its members in every answer: the SDK takes them over
// as they are.
type tokenAnswer struct {
	AccessToken   string `json:"access_token"`
	TokenType     string `json:"token_type"`
	ExpiresIn     int64  `json:"expires_in"` // seconds
	RefreshToken  string `json:"refresh_token"`
	UserID        string `json:"user_id"`
	ApplicationID string `json:"application_id"`
}

// grantFault is a refusal of the token endpoint (RFC 6749 §5.2), in which the
// service's own stands inside: a code at the top would win over the error.
type grantFault struct {
	Name        string `json:"error"`
	Description string `json:"description"`
	Inner       struct {
		Code        code   `json:"code"`
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"exh_error"`
	cause error
}

func (g *grantFault) Error() string { return g.Name + ": " + g.Description }
func (g *grantFault) Unwrap() error { return g.cause }

func refuseGrant(name string, c code, description string, cause error) error {
	g := &grantFault{Name: name, Description: description, cause: cause}
	g.Inner.Code, g.Inner.Name, g.Inner.Description = c, rowOf(c).name, description
	return g
}

// postTokens is the token endpoint.
func (a *api) postTokens(w http.ResponseWriter, r *http.Request) error {
	req, err := readTokenRequest(r)
	if err != nil {
		return err
	}
	if err := a.checkClient(req); err != nil {
		return err
	}
	ctx := r.Context()
	spec := store.LoginSpec{Realm: realmAccess, TTL: a.o.AccessTTL + accessGrace, Refresh: refreshTTL, Grace: refreshGrace,
		Attrs: map[string]string{attrClient: req.ClientID}}
	var login *store.Login
	switch req.GrantType {
	case "password":
		c, perr := a.password(r, req.Username, req.Password)
		if perr != nil {
			return grantError(perr, codeAuthentication, codeAuthentication, "the email address or the password is wrong")
		}
		spec.Account = c.Name
		login, err = a.Store.Login(ctx, spec)
	case "refresh_token":
		login, err = a.refresh(ctx, req, spec)
		err = grantError(err, codeRefreshUnknown, codeRefreshExpired, "the refresh token is unknown or expired")
	case "authorization_code":
		spec.Account, err = a.redeem(ctx, req)
		if err != nil {
			return grantError(err, codeCodeUnknown, codeCodeExpired, "the authorization code is unknown or expired")
		}
		login, err = a.Store.Login(ctx, spec)
	case "":
		return refuseGrant("invalid_request", codeMissingFields, "grant_type is missing", nil)
	default:
		return refuseGrant("unsupported_grant_type", codeGrantType, "grant_type must be password, refresh_token or authorization_code", nil)
	}
	if err != nil {
		return err
	}
	return a.answerTokens(w, req.ClientID, login)
}

// refresh makes a new login of an old one: of the same client (RFC 6749 §6), for
// an account that is still there.
func (a *api) refresh(ctx context.Context, req *tokenRequest, spec store.LoginSpec) (*store.Login, error) {
	spec.Attrs = nil // as before
	login, err := a.Store.RefreshLogin(ctx, req.RefreshToken, spec)
	if err != nil {
		return nil, err
	}
	if _, err = a.account(login.Account); err == nil && len(a.o.Clients) > 0 && login.Attrs[attrClient] != req.ClientID {
		err = store.Refuse(store.Unauthenticated, "the refresh token is another client's")
	}
	if err != nil {
		return nil, errors.Join(err, a.Store.Logout(ctx, realmAccess, login.Token))
	}
	return login, nil
}

func (a *api) answerTokens(w http.ResponseWriter, client string, login *store.Login) error {
	return reply.JSON(w, tokenAnswer{
		AccessToken: login.Token, TokenType: "bearer", ExpiresIn: int64(a.o.AccessTTL / time.Second), RefreshToken: login.RefreshToken,
		UserID: a.Store.AccountID(login.Account), ApplicationID: applicationID(client),
	})
}

// grantError tells why a grant is not good.
func grantError(err error, unknown, expired code, description string) error {
	switch store.KindOf(err) {
	case 0, store.Unavailable:
		return err
	case store.Expired:
		return refuseGrant("invalid_grant", expired, description, err)
	case store.RateLimited:
		return refuseGrant("invalid_grant", codeTooManyAttempts, "too many failed attempts", err)
	}
	return refuseGrant("invalid_grant", unknown, description, err)
}

// readTokenRequest reads JSON, as the SDK sends it, or a form, as RFC 6749 has
// it; the client may name itself by Basic (§2.3.1).
func readTokenRequest(r *http.Request) (*tokenRequest, error) {
	malformed := func(err error) error {
		return refuseGrant("invalid_request", codeBodyFormat, "the body must be a JSON object", err)
	}
	body, err := dialect.Body(r, mostBody)
	if err != nil {
		return nil, malformed(err)
	}
	req := new(tokenRequest)
	if mt, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mt == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, malformed(err)
		}
		*req = tokenRequest{form.Get("grant_type"), form.Get("client_id"), form.Get("client_secret"), form.Get("username"), form.Get("password"),
			form.Get("refresh_token"), form.Get("code"), form.Get("code_verifier")}
	} else if err := json.Unmarshal(body, req); err != nil {
		return nil, malformed(err)
	}
	if id, secret, ok := r.BasicAuth(); ok {
		if req.ClientID == "" {
			req.ClientID = id
		}
		if req.ClientSecret == "" && req.ClientID == id {
			req.ClientSecret = secret
		}
	}
	return req, nil
}

// checkClient refuses clients that are not listed; with an empty list all are
// welcome.
func (a *api) checkClient(req *tokenRequest) error {
	if len(a.o.Clients) == 0 {
		return nil
	}
	for _, c := range a.o.Clients {
		if c.ID == "" || c.ID != req.ClientID {
			continue
		}
		if c.Secret != "" && subtle.ConstantTimeCompare([]byte(c.Secret), []byte(req.ClientSecret)) != 1 {
			return refuseGrant("invalid_client", codeClientSecret, "the client secret is wrong", nil)
		}
		return nil
	}
	return refuseGrant("invalid_client", codeClient, "the client id is unknown", nil)
}
