package server

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// links builds absolute links and finds the client's address behind proxies.
type links struct {
	public  string // configured base, without the last slash; empty = from the request
	trusted []netip.Prefix
}

// base is scheme, host and prefix of the links in the answer to r.
func (l links) base(r *http.Request, prefix string) string {
	if l.public != "" {
		return join(l.public, prefix)
	}
	scheme, host, front := "http", r.Host, ""
	if host == "" { // HTTP/1.0
		if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			host = a.String()
		}
	}
	if r.TLS != nil {
		scheme = "https"
	}
	if l.trusts(r.RemoteAddr) {
		p, h, f := forwarded(r.Header)
		if p != "" {
			scheme = p
		}
		if h != "" {
			host = h
		}
		front = f
	}
	return join(scheme+"://"+host+front, prefix)
}

// join appends the prefix by which a request came, unless the base has it: a
// proxy may name the prefix without stripping it.
func join(base, prefix string) string {
	if strings.HasSuffix(base, prefix) {
		return base
	}
	return base + prefix
}

// trusts tells whether the peer is a proxy to be believed. A peer on a unix
// socket has no address: who may open the socket is trusted.
func (l links) trusts(remote string) bool {
	if len(l.trusted) == 0 {
		return false
	}
	if remote == "" || remote == "@" {
		return true
	}
	ap, err := netip.ParseAddrPort(remote)
	return err == nil && l.trustsAddr(ap.Addr())
}

func (l links) trustsAddr(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range l.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// client is the address of the client: the peer, or what trusted proxies say
// of it, read from the right up to the first address that is not trusted.
func (l links) client(r *http.Request) string {
	peer := r.RemoteAddr
	if ap, err := netip.ParseAddrPort(peer); err == nil {
		peer = ap.Addr().Unmap().String()
	}
	if !l.trusts(r.RemoteAddr) {
		return peer
	}
	var hops []string
	if fwd := r.Header.Values("Forwarded"); len(fwd) > 0 {
		for _, e := range elements(fwd) {
			hops = append(hops, e["for"])
		}
	} else if xff := r.Header.Values("X-Forwarded-For"); len(xff) > 0 {
		hops = strings.Split(strings.Join(xff, ","), ",")
	}
	for i := len(hops) - 1; i >= 0; i-- {
		a, ok := hopAddr(strings.TrimSpace(hops[i]))
		if !ok {
			break // unknown, obfuscated or rubbish: nothing left of it can be believed
		}
		peer = a.String()
		if !l.trustsAddr(a) {
			break
		}
	}
	return peer
}

// hopAddr reads an address with or without port, brackets around IPv6.
func hopAddr(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return a.Unmap(), err == nil
}

// forwarded reads scheme, host and path prefix that a trusted proxy reports:
// Forwarded (RFC 7239), else X-Forwarded-*. What is not sane counts as absent.
func forwarded(h http.Header) (scheme, host, prefix string) {
	if fwd := h.Values("Forwarded"); len(fwd) > 0 {
		for _, e := range elements(fwd) {
			if scheme == "" {
				scheme = e["proto"]
			}
			if host == "" {
				host = e["host"]
			}
		}
	} else {
		scheme, host = first(h.Get("X-Forwarded-Proto")), first(h.Get("X-Forwarded-Host"))
	}
	scheme = strings.ToLower(scheme)
	if scheme != "http" && scheme != "https" {
		scheme = ""
	}
	if strings.ContainsFunc(host, notHostRune) {
		host = ""
	}
	prefix = strings.TrimRight(first(h.Get("X-Forwarded-Prefix")), "/")
	if prefix != "" && (prefix[0] != '/' || strings.HasPrefix(prefix, "//") || strings.ContainsFunc(prefix, notPathRune)) {
		prefix = ""
	}
	return scheme, host, prefix
}

func first(list string) string {
	s, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(s)
}

func notHostRune(c rune) bool { return notIDRune(c) && c != ':' && c != '[' && c != ']' }
func notPathRune(c rune) bool { return notIDRune(c) && c != '/' && c != '~' }

// elements parses Forwarded (RFC 7239 §4): elements by comma, pairs by
// semicolon, values tokens or quoted strings. Parameters are in lower case.
func elements(values []string) []map[string]string {
	var all []map[string]string
	for _, v := range values {
		cur := map[string]string{}
		for v != "" {
			var name, val string
			name, v, _ = strings.Cut(v, "=")
			v = strings.TrimLeft(v, " \t")
			if strings.HasPrefix(v, `"`) {
				val, v = quoted(v)
			} else {
				i := strings.IndexAny(v, ",;")
				if i < 0 {
					i = len(v)
				}
				val, v = strings.TrimSpace(v[:i]), v[i:]
			}
			cur[strings.ToLower(strings.Trim(name, " \t,;"))] = val
			v = strings.TrimLeft(v, " \t")
			if strings.HasPrefix(v, ",") {
				all, cur = append(all, cur), map[string]string{}
			}
			v = strings.TrimLeft(v, ",; \t")
		}
		all = append(all, cur)
	}
	return all
}

// quoted takes a quoted string (RFC 9110 §5.6.4) off the front of s.
func quoted(s string) (value, rest string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}
