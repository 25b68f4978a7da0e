package filesender

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"fileshare/store"
)

// No query makes a reading of it fail, nor has one the signature in it.
func FuzzReadings(f *testing.F) {
	f.Add("a=b&signature=00&c=d+e%2B", "example.org:8080", "/rest.php/info")
	f.Add("%zz&&=&signature", "[::1]:80", "//x")
	f.Add("signature=1&signature=2", "", "")
	f.Fuzz(func(t *testing.T, query, host, path string) {
		r := &http.Request{Method: http.MethodPut, Host: host, URL: &url.URL{Path: path, RawQuery: query}}
		all := readings(r, "http://"+host+"/rtc")
		if host != "" && len(all) == 0 || len(all) > 16 {
			t.Errorf("%d readings", len(all))
		}
		for _, pair := range strings.Split(wireArguments(query), "&") {
			if strings.HasPrefix(pair, "signature=") && !strings.Contains(query, "%") {
				t.Errorf("%q", pair)
			}
		}
		rawArgument(query, "remote_user")
	})
}

// What is accepted of a body can be a transfer.
func FuzzNewTransfer(f *testing.F) {
	f.Add(`{"files":[{"name":"a","size":1}],"recipients":["a@b"],"options":{"get_a_link":0}}`)
	f.Add(`{"files":[{"name":"a/b","size":"17"}],"options":["get_a_link"],"expires":1.7e9,"encryption":1}`)
	f.Add(`{"files":null,"options":null,"expires":""}`)
	f.Fuzz(func(t *testing.T, body string) {
		var in newTransfer
		if json.Unmarshal([]byte(body), &in) != nil {
			return
		}
		for _, file := range in.Files {
			if name := file.Name.text; goodName(name) && (strings.HasPrefix(name, "/") || strings.Contains(name, "\\") || strings.Contains("/"+name+"/", "/../")) {
				t.Errorf("%q is good", name)
			}
		}
		in.Options.known(knownOptions())
	})
}

// Whatever is said of a guest, its options are those that there are.
func FuzzNewGuest(f *testing.F) {
	f.Add(`{"recipient":"a@b","options":{"guest":{"valid_only_one_time":1},"transfer":["get_a_link"]},"expires":"17"}`)
	f.Add(`{"recipient":"a@b","options":{"get_a_link":0}}`)
	f.Add(`{"options":["can_only_send_to_me"],"subject":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		var in newGuest
		if json.Unmarshal([]byte(body), &in) != nil {
			return
		}
		for name := range in.Options.guest.known(knownGuestOptions()) {
			if !slices.Contains(knownGuestOptions(), name) {
				t.Errorf("%q", name)
			}
		}
		for name := range in.Options.transfer.known(knownOptions()) {
			if !slices.Contains(knownOptions(), name) {
				t.Errorf("%q", name)
			}
		}
	})
}

// A name is taken as it is, or known not to be what was sent.
func TestNamesAreText(t *testing.T) {
	for text, want := range map[string]fileName{
		`"a"`:                   {"a", false},
		`"ü\u00fc\ud83d\ude00"`: {"üü😀", false},
		"\"\ufffd\"":            {"\ufffd", false},
		`"\ufffd\\ud800"`:       {"\ufffd\\ud800", false},
		"\"a\xff\"":             {"a\ufffd", true},
		`"a\ud800"`:             {"a\ufffd", true},
		`"\ud800\ud800\udc00"`:  {"\ufffd𐀀", true},
		`"\uDC00\\"`:            {"\ufffd\\", true},
		`null`:                  {},
	} {
		var got fileName
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "a b/c.txt": true, "ünï 😀": true, "...": true, "\ufffd": true, "a/..b": true, "": false, "/": false, "a/": false, ".": false, "..": false, "a/../b": false, `a\b`: false, "a\tb": false, "a\xff": false} {
		if goodName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	for address, want := range map[string]bool{"a@b": true, "a+b@example.org": true, "a": false, "@b": false, "a@": false, "a b@c": false, "a@b>": false, "a@b\r\nBcc: x@y": false} {
		if store.IsAddress(address) != want {
			t.Errorf("%q: %v", address, !want)
		}
	}
}
