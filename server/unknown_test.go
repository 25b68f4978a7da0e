package server

import (
	"io"
	"strings"
	"testing"

	"fileshare/api"
	"fileshare/store"
)

// TestStrangeFieldsArePassedOver: clients of the old service, and forms of
// browsers, may say more than is needed.
func TestStrangeFieldsArePassedOver(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	body, ct := form(field{name: "submit", value: "Upload"}, field{name: "subscriber_id", value: "7"}, field{name: "MAX_FILE_SIZE", value: "10"},
		field{name: "expires_at", value: "null"}, field{name: "downloads", value: "0"}, field{name: "file", file: "f.txt", value: "x"}, field{name: `another"; filename="`})
	h.do("POST", "/uploads", "alice", body, "Content-Type", ct).want(t, 201)
	var sess api.Session
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &sess)
	for _, path := range []string{"/sessions", "/sessions/" + sess.ID + "/files"} {
		h.do("POST", path, "alice", strings.NewReader(`{"conference":"c","state":"NEW","expires_at":null,"subscriber_id":7}`), "Content-Type", "application/json").want(t, 201)
	}
}

// TestLimitsAreNotLost: whatever place or spelling a limit is asked in, it holds
// or is refused.
func TestLimitsAreNotLost(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true})
	var sess api.Session
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &sess)
	file := func() string {
		var f api.File
		h.do("POST", "/sessions/"+sess.ID+"/files", "alice", nil).want(t, 201).into(t, &f)
		return f.URL
	}
	stored := file()
	h.do("PUT", stored, "alice", strings.NewReader("x")).want(t, 200)
	read := func(r io.Reader, contentType string) (string, string) {
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), contentType
	}
	body, ct := read(form(field{name: "file", file: "f.txt", value: "x"}, field{name: "ttl", value: "61"}, field{name: "max_downloads", value: "2"}, field{name: "tags", value: "put"}))
	late, lateType := read(form(field{name: "file", file: "f.txt", value: "x"}, field{name: "ttl", value: "99999999999"}))
	for name, tc := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		"form of a session's file":    {"PUT", file(), body, []string{"Content-Type", ct}, 200, `"ttl":61,"state":"UPLOADED"`},
		"query of a session's file":   {"PUT", file() + "?ttl=61&max_downloads=2", "x", nil, 200, `"max_downloads":2,`},
		"header of a session's file":  {"PUT", file(), "x", []string{"X-Fileshare-TTL", "61"}, 200, `"ttl":61,`},
		"draft for a session's file":  {"PUT", file() + "?ttl=61&max_downloads=2&tags=put", "x", []string{"Upload-Complete", "?1", "Upload-Draft-Interop-Version", "8"}, 200, `"ttl":61,"state":"UPLOADED"`},
		"too long for a session":      {"PUT", file(), late, []string{"Content-Type", lateType}, 400, "ttl"},
		"misspelt at a session":       {"PUT", file() + "?max_download=1", "x", nil, 400, "max_downloads"},
		"query of a session":          {"POST", "/sessions?ttl=61", "", nil, 201, `"ttl":61,`},
		"header of a session":         {"POST", "/sessions", "", []string{"X-Fileshare-TTL", "61"}, 201, `"ttl":61,`},
		"body before query":           {"POST", "/sessions?ttl=62", `{"ttl":61}`, []string{"Content-Type", "application/json"}, 201, `"ttl":61,`},
		"misspelt in JSON":            {"POST", "/sessions", `{"TTL":61}`, []string{"Content-Type", "application/json"}, 400, "called ttl"},
		"no such limit of a session":  {"POST", "/sessions", `{"max_downloads":1}`, []string{"Content-Type", "application/json"}, 400, `no field \"max_downloads\" here`},
		"query of a new file":         {"POST", "/sessions/" + sess.ID + "/files?ttl=61", "", nil, 201, `"ttl":61,`},
		"query of a token":            {"POST", stored + "/tokens?max_downloads=3", "", nil, 201, `"max_downloads":3,`},
		"misspelt at a token":         {"POST", stored + "/tokens", "max-downloads=3", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "called max_downloads"},
		"unknown change of a session": {"PATCH", sess.URL, `{"title":"x"}`, []string{"Content-Type", "application/json"}, 400, `no field \"title\"`},
		"unknown in a query":          {"PATCH", sess.URL + "?_=1&key=k", "ttl=61", []string{"Content-Type", "application/x-www-form-urlencoded"}, 200, `"ttl":61,`},
		"unknown in a form":           {"PATCH", sess.URL, "ttl=61&title=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, `no field \"title\"`},
		"misspelt in a query":         {"PATCH", stored + "?max_download=1", `{}`, []string{"Content-Type", "application/json"}, 400, "called max_downloads"},
		"another's header":            {"PATCH", sess.URL, `{"name":"n"}`, []string{"Content-Type", "application/json", "X-Fileshare-Tags", "x"}, 200, `"name":"n"`},
		"session as it was read":      {"PATCH", sess.URL, `{"id":"x","owner":"bob","invitation_id":null,"name":"n"}`, []string{"Content-Type", "application/json"}, 200, `"name":"n"`},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.do(tc.method, tc.path, "alice", strings.NewReader(tc.body), tc.header...)
			if a.StatusCode != tc.status || !a.says(tc.want) {
				t.Errorf("%d %s, want %d with %s", a.StatusCode, a.body, tc.status, tc.want)
			}
		})
	}
	// Tags that came with a content are in the lists.
	var l api.List[api.File]
	h.do("GET", "/uploads?tag=put", "alice", nil).want(t, 200).into(t, &l)
	if len(l.Items) != 2 {
		t.Errorf("%d files with the tag, want 2", len(l.Items))
	}
}
