package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/api"
	"fileshare/store"
)

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func TestUploadObject(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Prefixes: []string{"/rtc/fileshare"}})
	body, ct := form(field{name: "file", file: "test.txt", typ: "text/plain", value: "This is a test file content\n"}, field{name: "ttl", value: "3600"},
		field{name: "tags", value: "a"}, field{name: "tags", value: "b"}, field{name: "nonsense", value: "x"})
	a := h.do("POST", "/rtc/fileshare/uploads", "alice", body, "Content-Type", ct).want(t, 201)
	var f api.File
	a.into(t, &f)
	sum := sha256.Sum256([]byte("This is a test file content\n"))
	want := api.File{ID: f.ID, Name: "test.txt", OriginalName: "test.txt", MimeType: "text/plain", Size: 28, SHA256: new(hex.EncodeToString(sum[:])), TTL: 3600,
		State: "UPLOADED", Tags: []string{"a", "b"}, Owner: "alice", CreatedAt: f.CreatedAt, UpdatedAt: f.CreatedAt, ExpiresAt: api.Time{Time: f.CreatedAt.Add(time.Hour)},
		URL: h.url + "/rtc/fileshare/uploads/" + f.ID}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	if got := a.Header.Get("Location"); got != f.URL {
		t.Errorf("Location %q, url %q", got, f.URL)
	}
	if !regexp.MustCompile(`"created_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`).Match(a.body) || !strings.Contains(string(a.body), `"session_id":null`) {
		t.Errorf("%s", a.body)
	}
	if got := h.do("GET", f.URL, "", nil).want(t, 200); string(got.body) != "This is a test file content\n" {
		t.Errorf("got %q", got.body)
	}
	h.do("GET", "/uploads/"+f.ID, "", nil).want(t, 200)
}

func TestUploadForms(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 100}, Options{})
	file := field{name: "file", file: "f.txt", value: "hello"}
	for name, tc := range map[string]struct {
		fields []field
		user   string
		status int
		want   string // part of the answer
	}{
		"fields before":   {[]field{{name: "ttl", value: "60"}, file}, "alice", 201, `"ttl":60,`},
		"fields after":    {[]field{file, {name: "ttl", value: "60"}}, "alice", 201, `"ttl":60,`},
		"name":            {[]field{file, {name: "name", value: "n.txt"}}, "alice", 201, `"name":"n.txt","original_name":"f.txt"`},
		"limit":           {[]field{file, {name: "max_downloads", value: "2"}}, "alice", 201, `"max_downloads":2,`},
		"path in name":    {[]field{{name: "file", file: "../../etc/passwd", value: "x"}}, "alice", 201, `"name":"passwd"`},
		"no file name":    {[]field{{name: "file", value: "hello"}}, "alice", 201, `"name":"unnamed"`},
		"empty file":      {[]field{{name: "file", file: "e", value: ""}}, "alice", 201, `"size":0,`},
		"bad type":        {[]field{{name: "file", file: "f.bin", typ: "///", value: "\x00\x01"}}, "alice", 201, `"mime_type":"application/octet-stream"`},
		"no user":         {[]field{file}, "", 401, `authentication required`},
		"no file":         {[]field{{name: "ttl", value: "60"}}, "alice", 400, `no part named file`},
		"empty form":      {nil, "alice", 400, `no part named file`},
		"two files":       {[]field{file, file}, "alice", 400, "more than one file"},
		"file elsewhere":  {[]field{file, {name: "file2", file: "g.txt", value: "x"}}, "alice", 400, "more than one file"},
		"elsewhere first": {[]field{{name: "file2", file: "g.txt", value: strings.Repeat("x", 70_000)}, file}, "alice", 400, "no part named file"},
		"misspelt limit":  {[]field{file, {name: "max_download", value: "1"}}, "alice", 400, `no field \"max_download\", the limit is called max_downloads`},
		"other's limit":   {[]field{{name: "expires", value: "60"}, file}, "alice", 400, `no field \"expires\", the limit is called ttl`},
		"zero ttl":        {[]field{file, {name: "ttl", value: "0"}}, "alice", 400, "ttl"},
		"negative ttl":    {[]field{file, {name: "ttl", value: "-5"}}, "alice", 400, "ttl"},
		"fraction":        {[]field{file, {name: "ttl", value: "1.5"}}, "alice", 400, "ttl"},
		"empty ttl":       {[]field{file, {name: "ttl", value: ""}}, "alice", 400, "ttl"},
		"endless ttl":     {[]field{file, {name: "ttl", value: "99999999999999999999999"}}, "alice", 400, "ttl"},
		"overflowing ttl": {[]field{file, {name: "ttl", value: "9223372036854775807"}}, "alice", 400, "ttl"},
		"bad limit":       {[]field{file, {name: "max_downloads", value: "x"}}, "alice", 400, "max_downloads"},
		"too large":       {[]field{{name: "file", file: "f", value: strings.Repeat("x", 101)}}, "alice", 413, `file too large`},
		"too many parts":  {append(make([]field, 200), file), "alice", 400, ""},
		"long field":      {[]field{file, {name: "name", value: strings.Repeat("x", 70_000)}}, "alice", 400, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			body, ct := form(tc.fields...)
			a := h.do("POST", "/uploads", tc.user, body, "Content-Type", ct)
			if a.StatusCode != tc.status || !a.says(tc.want) {
				t.Errorf("%d %s, want %d with %s", a.StatusCode, a.body, tc.status, tc.want)
			}
			if a.StatusCode >= 400 && a.message(t) == "" {
				t.Error("no message")
			}
		})
	}
	// Nothing of what was refused is left.
	var l api.List[api.File]
	h.do("GET", "/uploads?limit=1000", "alice", nil).want(t, 200).into(t, &l)
	if len(l.Items) != 8 {
		t.Errorf("%d uploads, want 8", len(l.Items))
	}
	files, bytes, err := h.store.Usage(t.Context())
	if err != nil || files != 8 || bytes != 5*5+1+0+2 {
		t.Errorf("%d files, %d bytes, %v", files, bytes, err)
	}
	if r, err := h.store.Sweep(t.Context(), 0); err != nil || r.Removed != 0 {
		t.Errorf("orphans: %+v, %v", r, err)
	}
}

func TestRawUploads(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	for name, tc := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		"curl -T":       {"PUT", "/uploads/a%20b.txt", "x", nil, 201, `"name":"a b.txt"`},
		"slash in name": {"PUT", "/uploads/a%2Fb.txt", "x", nil, 201, `"name":"b.txt"`},
		"no name":       {"PUT", "/uploads/", "x", nil, 201, `"name":"unnamed"`},
		"empty":         {"PUT", "/uploads/e", "", nil, 201, `"size":0`},
		"query":         {"PUT", "/uploads/q?ttl=60&max_downloads=3&tags=a&tags=b", "x", nil, 201, `"tags":["a","b"]`},
		"untidy tags":   {"PUT", "/uploads/q?tags=+a&tags=&tags=b+&tags=a", "x", nil, 201, `"tags":["a","b"]`},
		"headers":       {"PUT", "/uploads/h", "x", []string{"X-Fileshare-TTL", "61", "X-Fileshare-Tags", "a, b", "X-Fileshare-Max-Downloads", "2"}, 201, `"ttl":61,`},
		"bad header":    {"PUT", "/uploads/h", "x", []string{"X-Fileshare-TTL", "one"}, 400, "ttl"},
		"type":          {"POST", "/uploads?name=n.json", "{}", []string{"Content-Type", "application/json"}, 201, `"mime_type":"application/json"`},
		"disposition":   {"POST", "/uploads", "x", []string{"Content-Type", "text/css", "Content-Disposition", `attachment; filename="d.css"`}, 201, `"name":"d.css"`},
		"form type":     {"POST", "/uploads", "\x00\x01", []string{"Content-Type", "application/x-www-form-urlencoded"}, 201, `"mime_type":"application/octet-stream"`},
		"nothing":       {"POST", "/uploads", "", nil, 400, "no part named file"},
		"compressed":    {"PUT", "/uploads/x", "x", []string{"Content-Encoding", "gzip"}, 415, "Content-Encoding gzip"},
		"form on a way": {"POST", "/uploads", "x", []string{"Content-Encoding", "br", "Content-Type", "multipart/form-data; boundary=b"}, 415, "Content-Encoding br"},
		"no coding":     {"PUT", "/uploads/x", "x", []string{"Content-Encoding", "identity"}, 201, `"size":1`},
		"broken form":   {"POST", "/uploads", "xyz", []string{"Content-Type", "multipart/form-data; boundary=b"}, 400, "form"},
		"no boundary":   {"POST", "/uploads", "xyz", []string{"Content-Type", "multipart/form-data"}, 400, "form"},
		"digest":        {"PUT", "/uploads/d", "x", []string{"Repr-Digest", digestOf("x")}, 201, `"size":1`},
		"content":       {"PUT", "/uploads/d", "x", []string{"Content-Digest", digestOf("x")}, 201, `"size":1`},
		"mismatch":      {"PUT", "/uploads/d", "x", []string{"Repr-Digest", digestOf("y")}, 422, "digest_mismatch"},
		"both differ":   {"PUT", "/uploads/d", "x", []string{"Repr-Digest", digestOf("x"), "Content-Digest", digestOf("y")}, 422, "digest_mismatch"},
		"malformed":     {"PUT", "/uploads/d", "x", []string{"Repr-Digest", "sha-256=abc"}, 400, "Repr-Digest"},
		"unknown only":  {"PUT", "/uploads/d", "x", []string{"Repr-Digest", "sha-512=:AAAA:"}, 400, "sha-256"},
		"unknown too":   {"PUT", "/uploads/d", "x", []string{"Repr-Digest", "sha-512=:AAAA:, " + digestOf("x")}, 201, `"size":1`},
		"wrong method":  {"PUT", "/uploads", "x", nil, 405, "/uploads/NAME"},
		"misspelt":      {"PUT", "/uploads/q?maxDownloads=1", "x", nil, 400, `no field \"maxDownloads\", the limit is called max_downloads`},
		"misspelt too":  {"PUT", "/uploads/q", "x", []string{"X-Fileshare-Max-Download", "1"}, 400, `no field \"max_download\"`},
		"anything else": {"PUT", "/uploads/q?utm_source=x&comment=y", "x", []string{"X-Fileshare-Comment", "z"}, 201, `"max_downloads":0`},
		"slashes":       {"PUT", "//x", "x", nil, 404, "not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.do(tc.method, tc.path, "alice", strings.NewReader(tc.body), tc.header...)
			if a.StatusCode != tc.status || !a.says(tc.want) {
				t.Errorf("%d %s, want %d with %s", a.StatusCode, a.body, tc.status, tc.want)
			}
		})
	}
}

func TestDigestOfAFormIsThatOfThePart(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	send := func(digest string) answer {
		body := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\nContent-Digest: " + digest + "\r\n\r\nx\r\n--b--\r\n"
		return h.do("POST", "/uploads", "alice", strings.NewReader(body), "Content-Type", "multipart/form-data; boundary=b", "Content-Digest", digestOf("of the whole form"))
	}
	send(digestOf("x")).want(t, 201)
	send(digestOf("y")).want(t, 422)
}

func TestLists(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	for i := range 5 {
		h.do("PUT", fmt.Sprintf("/uploads/%d?tags=t%d", i, i%2), "alice", strings.NewReader("x")).want(t, 201)
	}
	h.do("PUT", "/uploads/b", "bob", strings.NewReader("x")).want(t, 201)
	names := func(user, query string) (all []string) {
		cursor := ""
		for {
			var l api.List[api.File]
			h.do("GET", "/uploads?limit=2&"+query+"&cursor="+cursor, user, nil).want(t, 200).into(t, &l)
			for _, f := range l.Items {
				all = append(all, f.Name)
			}
			if l.Next == nil {
				return all
			}
			cursor = *l.Next
		}
	}
	for _, tc := range []struct {
		user, query string
		want        []string
	}{
		{"alice", "", []string{"4", "3", "2", "1", "0"}}, {"alice", "tag=t1", []string{"3", "1"}}, {"bob", "", []string{"b"}},
		{"root", "", []string{"b", "4", "3", "2", "1", "0"}},
	} {
		if d := cmp.Diff(tc.want, names(tc.user, tc.query)); d != "" {
			t.Errorf("%+v: %s", tc, d)
		}
	}
	h.do("GET", "/uploads", "", nil).want(t, 401)
	h.do("GET", "/uploads?limit=0", "alice", nil).want(t, 400)
	h.do("GET", "/uploads?limit=1001", "alice", nil).want(t, 400)
	h.do("GET", "/uploads?cursor=%21", "alice", nil).want(t, 400)

	for range 3 {
		h.do("POST", "/sessions", "alice", nil).want(t, 201)
	}
	var page []api.Session
	seen := map[string]bool{}
	for next := "/sessions?limit=2"; next != ""; {
		a := h.do("GET", next, "alice", nil).want(t, 200)
		a.into(t, &page)
		for _, s := range page {
			seen[s.ID] = true
		}
		next = ""
		if m := regexp.MustCompile(`^<([^>]+)>; rel="next"$`).FindStringSubmatch(a.Header.Get("Link")); m != nil {
			next = m[1]
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d sessions by links, want 3", len(seen))
	}
}

func TestPatchAndDelete(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	f := h.upload("x", "")
	p := "/uploads/" + f.ID
	for _, tc := range []struct {
		body, user string
		status     int
		want       string
	}{
		{`{"ttl":60,"name":"n","tags":["x"],"max_downloads":4,"size":7,"owner":"bob"}`, "alice", 200, `"max_downloads":4`},
		{`{"max_downloads":5,"unknown":[1]}`, "alice", 400, `there is no field \"unknown\"`}, {`{"Name":"m"}`, "alice", 400, `there is no field \"Name\"`},
		{`{"ttl":"90"}`, "alice", 200, `"ttl":90`}, {`{}`, "alice", 200, `"ttl":90`}, {`{"ttl":null}`, "alice", 200, `"ttl":90`},
		{`{"ttl":1.5}`, "alice", 400, "ttl"}, {`{"ttl":0}`, "alice", 400, "ttl"}, {`{"ttl":true}`, "alice", 400, "ttl"}, {`{"ttl":[1]}`, "alice", 400, "ttl"},
		{`{"name":7}`, "alice", 400, "name"}, {`{"tags":"x"}`, "alice", 400, "tags"}, {`{"max_downloads":-1}`, "alice", 400, "max_downloads"},
		{`[1]`, "alice", 400, "JSON"}, {`{"a"`, "alice", 400, "JSON"}, {`{"name":"` + strings.Repeat("x", 70_000) + `"}`, "alice", 413, "too_large"},
		{`{"ttl":60}`, "bob", 403, "denied"}, {`{"ttl":60}`, "", 401, "unauthenticated"},
	} {
		a := h.do("PATCH", p, tc.user, strings.NewReader(tc.body), "Content-Type", "application/json")
		if a.StatusCode != tc.status || !a.says(tc.want) {
			t.Errorf("%.60s by %q: %d %s, want %d with %s", tc.body, tc.user, a.StatusCode, a.body, tc.status, tc.want)
		}
	}
	h.do("PATCH", p, "alice", strings.NewReader("<x/>"), "Content-Type", "text/xml").want(t, 415)
	h.do("GET", p+"/info", "alice", nil).want(t, 200)
	h.do("GET", p+"/info", "bob", nil).want(t, 403)
	h.do("DELETE", p, "bob", nil).want(t, 403)
	if a := h.do("DELETE", p, "alice", nil).want(t, 204); len(a.body) != 0 {
		t.Errorf("body %q", a.body)
	}
	h.do("GET", p, "", nil).want(t, 404)
	h.do("GET", "/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569", "", nil).want(t, 404)
	h.do("GET", "/uploads/nonsense", "", nil).want(t, 404)
	h.do("GET", "/nowhere", "", nil).want(t, 404)
}

func TestMethods(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	for path, want := range map[string]string{
		"/uploads":          "GET, HEAD, POST, OPTIONS",
		"/uploads/x":        "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
		"/sessions/x":       "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
		"/health":           "GET, HEAD, OPTIONS",
		"/uploads/x/info":   "GET, HEAD, OPTIONS",
		"/sessions/x/files": "GET, HEAD, POST, OPTIONS",
	} {
		if got := h.do("TRACE", path, "", nil).want(t, http.StatusMethodNotAllowed).Header.Get("Allow"); got != want {
			t.Errorf("%s: Allow %q, want %q", path, got, want)
		}
		if got := h.do("OPTIONS", path, "", nil).want(t, http.StatusNoContent).Header.Get("Allow"); got != want {
			t.Errorf("%s: Allow %q to OPTIONS, want %q", path, got, want)
		}
	}
}
