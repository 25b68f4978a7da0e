package client

import (
	"fmt"
	"net/url"
	"strings"
)

// Ref names a file: an upload by File alone, a file of a session by Session and
// File. With a Token it is the link that the token is, to either.
type Ref struct{ Session, File, Token string }

// ParseLink takes a link apart: the base of its server, and what it names. The
// id of an upload alone is a link without a base.
func ParseLink(link string) (base string, ref Ref, err error) {
	bad := fmt.Errorf("%q is neither a link of fileshare nor the id of an upload", link)
	if isID(link) {
		return "", Ref{File: link}, nil
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", Ref{}, bad
	}
	path := strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/info")
	steps := strings.Split(path, "/")
	n := len(steps)
	at := func(i int) string { // counted from the end
		if n-i < 0 {
			return ""
		}
		return steps[n-i]
	}
	length, ids := 0, []string{at(1)} // what must be ids
	switch {
	case at(2) == "uploads":
		ref, length = Ref{File: at(1)}, 2
	case at(6) == "sessions" && at(4) == "files" && at(2) == "tokens":
		ref, length = Ref{Session: at(5), File: at(3), Token: at(1)}, 6
		ids = []string{at(5), at(3), at(1)}
	case at(4) == "uploads" && at(2) == "tokens":
		ref, length = Ref{File: at(3), Token: at(1)}, 4
		ids = []string{at(3), at(1)}
	case at(4) == "sessions" && at(2) == "files":
		ref, length = Ref{Session: at(3), File: at(1)}, 4
		ids = []string{at(3), at(1)}
	case at(2) == "sessions":
		ref, length = Ref{Session: at(1)}, 2
	default:
		return "", Ref{}, bad
	}
	for _, id := range ids {
		if !isID(id) {
			return "", Ref{}, bad
		}
	}
	b := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.Join(steps[:n-length], "/")}
	return b.String(), ref, nil
}

// ParseShare takes the link of a recipient apart, to whom a session was sent; base
// is that of its server. It tells whether link is one.
func ParseShare(link string) (base string, ok bool) {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", false
	}
	before, id, ok := strings.Cut(strings.TrimRight(u.Path, "/"), "/shares/")
	if !ok || !isID(id) {
		return "", false
	}
	b := url.URL{Scheme: u.Scheme, Host: u.Host, Path: before}
	return b.String(), true
}

// isID tells whether s may be an id of the server: a UUID.
func isID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// path is where a reference is, below the base.
func (r Ref) path() string {
	p := "/uploads/" + url.PathEscape(r.File)
	if r.Session != "" {
		p = "/sessions/" + url.PathEscape(r.Session)
		if r.File != "" {
			p += "/files/" + url.PathEscape(r.File)
		}
	}
	if r.Token != "" {
		p += "/tokens/" + url.PathEscape(r.Token)
	}
	return p
}

// Link is the address of what a reference names at this server.
func (c *Client) Link(r Ref) string { return c.base.String() + r.path() }
