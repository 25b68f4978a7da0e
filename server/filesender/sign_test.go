package filesender

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// Clients sign the address that they were given, whatever the request and the
// proxies before us made of it.
func TestReadings(t *testing.T) {
	for _, x := range []struct {
		host, path, base string
		signed           []string
	}{
		{"files.example.org", "/rest.php/info", "https://files.example.org", []string{"files.example.org/rest.php/info", "files.example.org:443/rest.php/info"}},
		{"127.0.0.1:8080", "/rest.php/info", "http://127.0.0.1:8080", []string{"127.0.0.1:8080/rest.php/info", "127.0.0.1/rest.php/info"}},
		{"[::1]", "/rest.php/info", "http://[::1]", []string{"[::1]/rest.php/info", "[::1]:80/rest.php/info"}},
		{"back:8080", "/rest.php/info", "https://front.example.org/fs", []string{"front.example.org/fs/rest.php/info", "front.example.org:443/fs/rest.php/info", "back:8080/rest.php/info"}},
	} {
		r := &http.Request{Method: http.MethodPut, Host: x.host, URL: &url.URL{Path: x.path, RawQuery: "b=1+2&signature=00&a=%2B"}}
		all := readings(r, x.base)
		for _, at := range x.signed {
			for _, args := range []string{"b=1+2&a=+", "a=+&b=1 2"} {
				if want := "put&" + at + "?" + args; !slices.Contains(all, want) {
					t.Errorf("no %s in %q", want, all)
				}
			}
		}
	}
}
