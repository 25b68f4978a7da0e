package filesender

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/store"
)

// Signed requests (contract §2): an HMAC-SHA1 over method, address, arguments
// and body under the user's API key. Clients do not agree on how the text is
// made, so every reading of it is tried.

const (
	latest = 15 * time.Second // how old a signature may be
	ahead  = time.Hour        // and how far in the future: slow clients sign ahead
)

var (
	errUnsigned    = fault(http.StatusForbidden, "rest_authentication_required")
	errSignature   = fault(http.StatusInternalServerError, "auth_remote_signature_check_failed")
	errApplication = fault(http.StatusInternalServerError, "auth_remote_unknown_application") // there are none
	errTooLate     = fault(http.StatusInternalServerError, "auth_remote_too_late")
)

// account is who sends a request: a user who signs it, or a guest.
type account struct {
	dialect.Account                   // of a guest: Invite and Email alone
	guest           *store.Invitation // nil: a user
}

// user refuses a guest.
func (c account) user() error {
	if c.guest != nil {
		return fault(http.StatusForbidden, "rest_ownership_required")
	}
	return nil
}

// signed is a request whose signature is being checked while its body is read.
type signed struct {
	Account   account
	known     bool
	macs      []mac // of the readings that are tried
	others    []mac // of those that are tried if none of these fits
	fits      int   // the reading that fitted, set by check
	signature []byte
	body      int64 // bytes of the body so far
	began     bool
}

// mac is what a signature must be if the request is read in one way.
type mac struct {
	hash.Hash
	reading int // its place among the readings
}

// begin reads who signed a request. Nothing is to be believed before check.
func (a *api) begin(r *http.Request) (*signed, error) {
	q := r.URL.Query()
	if q.Has("vid") && !q.Has("signature") {
		c, err := a.guest(r, q.Get("vid"))
		c.Address = a.Address(r)
		return &signed{Account: c}, err
	}
	signature, err := hex.DecodeString(q.Get("signature"))
	at, terr := strconv.ParseInt(q.Get("timestamp"), 10, 64)
	if q.Get("signature") == "" || q.Get("timestamp") == "" || q.Get("remote_user") == "" && q.Get("remote_application") == "" {
		return nil, errUnsigned
	}
	age := time.Since(time.Unix(at, 0))
	switch {
	case q.Get("remote_application") != "":
		return nil, errApplication
	case err != nil || terr != nil || len(signature) != sha1.Size:
		return nil, errSignature
	case age > latest || age < -ahead:
		return nil, errTooLate
	}
	s := &signed{signature: signature}
	key := "unknown"
	for _, name := range []string{rawArgument(r.URL.RawQuery, "remote_user"), q.Get("remote_user")} {
		found, apiKey, ok := a.Key(name)
		if ok && apiKey != "" {
			s.Account, s.known, key = account{Account: found}, true, apiKey
			break
		}
	}
	s.Account.Address = a.Address(r)
	for i, text := range readings(r, a.Base(r)) {
		m := mac{hmac.New(sha1.New, []byte(key)), i}
		_, _ = io.WriteString(m, text)
		s.macs = append(s.macs, m)
	}
	return s, nil
}

// Write takes a part of the body.
func (s *signed) Write(p []byte) (int, error) {
	for _, m := range s.macs {
		if !s.began && len(p) > 0 {
			_, _ = io.WriteString(m, "&")
		}
		_, _ = m.Write(p)
	}
	s.began = s.began || len(p) > 0
	s.body += int64(len(p))
	return len(p), nil
}

// check is called after the body: it tells whether any reading is the one that
// was signed.
func (s *signed) check() error {
	if s.Account.guest != nil { // has shown all it has
		return nil
	}
	ok := false
	for _, m := range s.macs {
		fits := hmac.Equal(m.Sum(nil), s.signature)
		if s.body == 0 { // one of the clients ends the text of an empty body with &
			_, _ = io.WriteString(m, "&")
			fits = hmac.Equal(m.Sum(nil), s.signature) || fits
		}
		if fits {
			ok, s.fits = true, m.reading
		}
	}
	if !ok || !s.known {
		return errSignature
	}
	return nil
}

// caller checks a signed request with a small body, and returns the body.
func (a *api) caller(r *http.Request) (account, []byte, error) {
	s, err := a.begin(r)
	if err != nil {
		return account{}, nil, err
	}
	body, err := dialect.Body(r, mostJSON)
	if err != nil {
		return account{}, nil, err
	}
	_, _ = s.Write(body)
	if err := s.check(); err != nil {
		return account{}, nil, err
	}
	a.SetCaller(r, s.Account.Caller)
	return s.Account, body, nil
}

// userCaller is caller for what guests may not do.
func (a *api) userCaller(r *http.Request) (c account, body []byte, err error) {
	if c, body, err = a.caller(r); err == nil {
		err = c.user()
	}
	return c, body, err
}

// mostJSON bounds the bodies of all calls but chunks.
const mostJSON = 1 << 20

// readings are the texts that may have been signed, but for the body.
func readings(r *http.Request, base string) []string {
	u, err := url.Parse(base)
	if err != nil {
		u = new(url.URL)
	}
	port := ":443"
	if u.Scheme == "http" {
		port = ":80"
	}
	var hosts []string
	for _, host := range []string{r.Host, u.Host} {
		if host == "" {
			continue
		}
		other := host + port // of an address that says what goes without saying
		if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
			other = host[:i] // scripts for the PHP server sign without the port
		}
		for _, h := range []string{host, other} {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	paths := []string{r.URL.Path}
	if p := strings.TrimRight(u.Path, "/") + r.URL.Path; !slices.Contains(paths, p) {
		paths = append(paths, p) // as the client sees it, before a prefix was taken off
	}
	var out []string
	for _, host := range hosts {
		for _, path := range paths {
			for _, args := range []string{wireArguments(r.URL.RawQuery), sortedArguments(r.URL.RawQuery)} {
				text := strings.ToLower(r.Method) + "&" + host + path + "?" + args
				if !slices.Contains(out, text) {
					out = append(out, text)
				}
			}
		}
	}
	return out
}

// wireArguments is the query as it came, without the signature, percent-decoded;
// a plus stays one.
func wireArguments(raw string) string {
	var kept []string
	for pair := range strings.SplitSeq(raw, "&") {
		if strings.HasPrefix(pair, "signature=") {
			continue
		}
		if text, err := url.PathUnescape(pair); err == nil {
			pair = text
		}
		kept = append(kept, pair)
	}
	return strings.Join(kept, "&")
}

// rawArgument is an argument of the query, percent-decoded; a plus stays one.
func rawArgument(raw, name string) string {
	for pair := range strings.SplitSeq(raw, "&") {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			if text, err := url.PathUnescape(value); err == nil {
				return text
			}
		}
	}
	return ""
}

// sortedArguments is the query read as a form, sorted by name.
func sortedArguments(raw string) string {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return ""
	}
	q.Del("signature")
	q.Del("_")
	var names []string
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []string
	for _, name := range names {
		for _, value := range q[name] {
			out = append(out, name+"="+value)
		}
	}
	return strings.Join(out, "&")
}
