// Package oauth1 reads and verifies requests signed by OAuth 1.0 (RFC 5849)
// with HMAC-SHA1. It keeps nothing: secrets come from the caller, who also
// refuses a nonce that was there before.
package oauth1

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what a client may say.
const (
	maxHeader = 4 << 10 // bytes of an Authorization header
	maxParams = 1000    // of the query, as many as one of the foreign query language has arguments
)

// What can be wrong with a header.
var (
	ErrMalformed = errors.New("malformed OAuth header")
	ErrMissing   = errors.New("OAuth parameter missing")
	ErrMethod    = errors.New("OAuth signature method or version not supported")
)

// Request is what a signed request says of itself.
type Request struct {
	ConsumerKey string
	Token       string // empty where a login asks for one
	Nonce       string
	Timestamp   int64 // seconds since 1970
	signature   []byte
	params      []param // that are signed: all but realm and signature
}

type param struct{ name, value string }

// Parse reads an Authorization header of the scheme OAuth (§3.5.1); ok is
// false if it is of another one. Other transmissions (§3.5.2, §3.5.3) are not
// read.
func Parse(header string) (r *Request, ok bool, err error) {
	const scheme = "OAuth "
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return nil, false, nil
	}
	if len(header) > maxHeader {
		return nil, true, ErrMalformed
	}
	r = new(Request)
	said := map[string]string{}
	for item := range strings.SplitSeq(header[len(scheme):], ",") {
		name, value, found := strings.Cut(strings.TrimSpace(item), "=")
		if n := len(value); !found || n < 2 || value[0] != '"' || value[n-1] != '"' {
			return nil, true, ErrMalformed
		}
		name, nameErr := url.PathUnescape(name)
		value, valueErr := url.PathUnescape(value[1 : len(value)-1])
		if _, twice := said[name]; twice || nameErr != nil || valueErr != nil {
			return nil, true, ErrMalformed
		}
		said[name] = value
		if name != "realm" && name != "oauth_signature" {
			r.params = append(r.params, param{name, value})
		}
	}
	return r, true, r.take(said)
}

// take reads what §3.1 wants.
func (r *Request) take(said map[string]string) (err error) {
	for _, name := range []string{"oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce", "oauth_signature"} {
		if said[name] == "" {
			return ErrMissing
		}
	}
	if v, ok := said["oauth_version"]; said["oauth_signature_method"] != "HMAC-SHA1" || ok && v != "1.0" {
		return ErrMethod
	}
	r.ConsumerKey, r.Token, r.Nonce = said["oauth_consumer_key"], said["oauth_token"], said["oauth_nonce"]
	if r.Timestamp, err = strconv.ParseInt(said["oauth_timestamp"], 10, 64); err != nil || r.Timestamp < 1 {
		return ErrMalformed
	}
	if r.signature, err = base64.StdEncoding.DecodeString(said["oauth_signature"]); err != nil {
		return ErrMalformed
	}
	return nil
}

// Verify tells whether the request was signed with these secrets. base is the
// address as the client saw it, up to its path (escaped); query is raw. Bodies
// are not signed: this is for clients that send no forms.
func (r *Request) Verify(method, base, query, consumerSecret, tokenSecret string) bool {
	text, ok := r.text(method, base, query)
	if !ok {
		return false
	}
	return hmac.Equal(sign(text, consumerSecret, tokenSecret), r.signature)
}

// sign is §3.4.2.
func sign(text, consumerSecret, tokenSecret string) []byte {
	h := hmac.New(sha1.New, []byte(escape(consumerSecret)+"&"+escape(tokenSecret)))
	h.Write([]byte(text))
	return h.Sum(nil)
}

// text is the signature base string, §3.4.1.
func (r *Request) text(method, base, query string) (string, bool) {
	all := slices.Clone(r.params)
	if query != "" {
		for item := range strings.SplitSeq(query, "&") {
			if len(all) == maxParams {
				return "", false
			}
			if item == "" {
				continue
			}
			name, value, _ := strings.Cut(item, "=")
			all = append(all, param{unescape(name), unescape(value)})
		}
	}
	for i, p := range all {
		all[i] = param{escape(p.name), escape(p.value)}
	}
	slices.SortFunc(all, func(a, b param) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range all {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return escape(strings.ToUpper(method)) + "&" + escape(baseURI(base)) + "&" + escape(b.String()), true
}

// baseURI is §3.4.1.2: scheme and host in lower case, no default port.
func baseURI(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	host, path := rest, "/"
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	scheme, host = strings.ToLower(scheme), strings.ToLower(host)
	if port := map[string]string{"http": ":80", "https": ":443"}[scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	return scheme + "://" + host + path
}

// unescape decodes a part of a query, where + is a space. What cannot be
// decoded is taken as it is.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// escape is §3.6.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
