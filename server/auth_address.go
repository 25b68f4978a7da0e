package server

import (
	"net/http"
	"net/netip"
)

// ClientAddress returns the function that tells a client's address: the peer's,
// or what the trusted proxies say of it. It is for [AccountsOptions].Address.
// Over a unix socket without proxy headers it is the zero Addr.
func ClientAddress(trusted []netip.Prefix) func(*http.Request) netip.Addr {
	l := links{trusted: trusted}
	return func(r *http.Request) netip.Addr {
		a, _ := hopAddr(l.client(r))
		return a
	}
}
