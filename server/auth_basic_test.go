package server

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"fileshare/store"
)

func TestParseBasic(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, test := range []struct{ header, name, password string }{
		{"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"}, // RFC 7617, section 2
		{"Basic dGVzdDoxMjPCow==", "test", "123£"},                       // section 2.1
		{"bAsIc " + b64("a:b"), "a", "b"},
		{"  Basic   " + b64("a:b") + " \t", "a", "b"},
		{"Basic " + b64("me@example.com:a:b:"), "me@example.com", "a:b:"},
		{"Basic " + b64("a:"), "a", ""},
		{"Basic " + b64("jürgen:😀 ok"), "jürgen", "😀 ok"},
	} {
		name, password, problem := parseBasic(test.header)
		if name != test.name || password != test.password || problem != "" {
			t.Errorf("parseBasic(%q) = %q, %q, %q; want %q, %q", test.header, name, password, problem, test.name, test.password)
		}
	}
	for _, bad := range []string{
		"", "Basic", "Basic ", "Bearer abc", "Basic" + b64("a:b"), "Basic !", "Basic YTpi\n", "Basic YTpiCg", "Basic YTpi YTpi",
		"Basic " + b64("nocolon"), "Basic " + b64(":b"), "Basic " + b64("a\x00:b"), "Basic " + b64("a:b\n"), "Basic " + b64("a:\x7f"),
		"Basic " + b64("a:\u0085"), "Basic " + b64("a:\xff"), `Digest username="a"`,
	} {
		if name, password, problem := parseBasic(bad); problem == "" {
			t.Errorf("parseBasic(%q) = %q, %q; want a refusal", bad, name, password)
		}
	}
}

func TestTwoAuthorizationHeaders(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Authorization"] = []string{"Basic YTpi", "Basic YTpi"}
	if _, _, found, err := basicCredentials(r); !found || store.KindOf(err) != store.Unauthenticated {
		t.Errorf("found %t, error %v; want a refusal", found, err)
	}
}

func FuzzParseBasic(f *testing.F) {
	for _, s := range []string{"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "basic dGVzdDoxMjPCow==", "Bearer x", "Basic", "Basic Og=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		name, password, problem := parseBasic(header)
		if problem != "" {
			if name != "" || password != "" {
				t.Fatalf("refused (%s), yet %q, %q", problem, name, password)
			}
			return
		}
		if name == "" || strings.Contains(name, ":") || hasControl(name+password) || !utf8.ValidString(name+password) {
			t.Fatalf("accepted: %q, %q", name, password)
		}
		// The oracle: what net/http understands, it understands in the same way.
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		if n, p, ok := r.BasicAuth(); ok && (n != name || p != password) {
			t.Fatalf("%q, %q; net/http has %q, %q", name, password, n, p)
		}
	})
}
