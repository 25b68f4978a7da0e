package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestLinks(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
	for name, tc := range map[string]struct {
		public, remote, prefix string
		header                 http.Header
		base, client           string
	}{
		"plain":       {"", "192.0.2.1:99", "", nil, "http://host:8080", "192.0.2.1"},
		"prefix":      {"", "192.0.2.1:99", "/p", nil, "http://host:8080/p", "192.0.2.1"},
		"public":      {"https://pub/x", "192.0.2.1:99", "/p", nil, "https://pub/x/p", "192.0.2.1"},
		"untrusted":   {"", "192.0.2.1:99", "", http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-For": {"1.1.1.1"}}, "http://host:8080", "192.0.2.1"},
		"x-forwarded": {"", "127.0.0.1:99", "", http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"pub:1446"}, "X-Forwarded-Prefix": {"/rtc/fileshare/"}, "X-Forwarded-For": {"6.6.6.6, 198.51.100.7, 10.1.1.1"}}, "https://pub:1446/rtc/fileshare", "198.51.100.7"},
		"not twice":   {"", "127.0.0.1:99", "/p", http.Header{"X-Forwarded-Prefix": {"/p"}}, "http://host:8080/p", "127.0.0.1"},
		"forwarded":   {"", "10.2.3.4:99", "/p", http.Header{"Forwarded": {`for="[2001:db8::1]:4711";proto=https;host="pub:1446", for=10.0.0.1`}, "X-Forwarded-Host": {"other"}}, "https://pub:1446/p", "2001:db8::1"},
		"rubbish":     {"", "127.0.0.1:99", "", http.Header{"X-Forwarded-Proto": {"javascript"}, "X-Forwarded-Host": {`a"><script>`}, "X-Forwarded-Prefix": {"//evil"}, "X-Forwarded-For": {"unknown"}}, "http://host:8080", "127.0.0.1"},
		"unix":        {"", "@", "", http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-For": {"198.51.100.7"}}, "https://host:8080", "198.51.100.7"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://host:8080/x", nil)
			r.RemoteAddr = tc.remote
			for k, v := range tc.header {
				r.Header[k] = v
			}
			l := links{public: tc.public, trusted: trusted}
			if got := l.base(r, tc.prefix); got != tc.base {
				t.Errorf("base %s, want %s", got, tc.base)
			}
			if got := l.client(r); got != tc.client {
				t.Errorf("client %s, want %s", got, tc.client)
			}
		})
	}
}
