package server

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

type openTeraAsset struct {
	IDAsset     int64  `json:"id_asset"`
	UUID        string `json:"asset_uuid"`
	Name        string `json:"asset_name"`
	Type        string `json:"asset_type"`
	FileName    string `json:"asset_original_filename"`
	Size        int64  `json:"asset_file_size"`
	Expires     string `json:"asset_expiration_datetime"`
	URL         string `json:"asset_url"`
	InfosURL    string `json:"asset_infos_url"`
	AccessToken string `json:"access_token"`
}

func (a openTeraAsset) query(uuid string) string {
	return "?" + url.Values{uuid: {a.UUID}, "access_token": {a.AccessToken}}.Encode()
}

// openTera is a house with sessions of alice and of bob; the tokens of their
// logins are returned.
func openTera(t *testing.T, so store.Options, change func(*Options)) (h *house, alice, bob string) {
	t.Helper()
	o := goldenOptions()
	if change != nil {
		change(&o)
	}
	h = newHouse(t, so, o)
	login := func(user string) string {
		var l struct {
			Token string `json:"user_token"`
		}
		h.do("GET", "/api/user/login?with_websocket=False", user, nil).want(t, 200).into(t, &l)
		h.do("POST", "/api/user/sessions", user, strings.NewReader(`{"session":{"id_session":0,"session_name":"of `+user+`"}}`)).want(t, 200)
		return "OpenTera " + l.Token
	}
	return h, login("alice"), login("bob")
}

// asset is the form of an upload.
func assetForm(t testing.TB, described string, name, content string) (*bytes.Reader, string) {
	t.Helper()
	b, contentType := form(field{name: "file_asset", value: described}, field{name: "file", file: name, value: content, typ: "application/octet-stream"})
	text, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(text), contentType
}

func (h *house) asset(token, described, name, content string) answer {
	h.t.Helper()
	body, contentType := assetForm(h.t, described, name, content)
	return h.do("POST", "/file/api/assets", "", body, "Content-Type", contentType, "Authorization", token)
}

// TestOpenTeraIsolation: no token of one caller is of use to another.
func TestOpenTeraIsolation(t *testing.T) {
	h, alice, bob := openTera(t, store.Options{}, nil)
	var a, b openTeraAsset
	h.asset(alice, `{"id_session":1,"asset_name":"hers"}`, "a.txt", "hers").want(t, 200).into(t, &a)
	h.asset(bob, `{"id_session":2,"asset_name":"his"}`, "b.txt", "his").want(t, 200).into(t, &b)
	device := "OpenTera 0123456789abcdef-device"
	mixed := openTeraAsset{UUID: a.UUID, AccessToken: b.AccessToken}
	for _, tt := range []struct{ method, path, token, body string }{
		{"GET", "/file/api/assets" + a.query("asset_uuid"), bob, ""},
		{"GET", "/file/api/assets" + a.query("asset_uuid"), device, ""},
		{"GET", "/file/api/assets" + a.query("asset_uuid"), "", ""},
		{"GET", "/file/api/assets" + mixed.query("asset_uuid"), bob, ""}, // a token of one file and another file
		{"GET", "/file/api/assets/infos" + a.query("asset_uuid"), bob, ""},
		{"DELETE", "/file/api/assets" + a.query("uuid"), bob, ""},
		{"DELETE", "/file/api/assets" + mixed.query("uuid"), bob, ""},
		{"POST", "/file/api/assets/infos", bob, fmt.Sprintf(`{"assets":[{"asset_uuid":%q,"access_token":%q}]}`, a.UUID, a.AccessToken)},
		{"POST", "/file/api/assets/infos", bob, fmt.Sprintf(`{"assets":[{"asset_uuid":%q,"access_token":%q},{"asset_uuid":%q,"access_token":%q}]}`, b.UUID, b.AccessToken, a.UUID, b.AccessToken)},
		{"POST", "/file/api/assets/infos", bob, fmt.Sprintf(`{"file_asset":{"asset_uuid":%q,"access_token":%q,"asset_original_filename":"x"}}`, a.UUID, a.AccessToken)},
		{"GET", "/api/user/assets?id_session=1", bob, ""},
		{"GET", "/api/user/assets?id_asset=1", bob, ""},
		{"GET", "/api/user/assets?asset_uuid=" + a.UUID, bob, ""},
		{"GET", "/api/user/sessions?id_session=1", bob, ""},
		{"DELETE", "/api/user/sessions?id=1", bob, ""},
		{"POST", "/api/user/sessions", bob, `{"session":{"id_session":1,"session_name":"mine"}}`},
	} {
		kv := []string{}
		if tt.token != "" {
			kv = append(kv, "Authorization", tt.token)
		}
		if got := h.do(tt.method, tt.path, "", strings.NewReader(tt.body), kv...); got.StatusCode != 403 {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, got.StatusCode, got.body)
		}
	}
	h.asset(bob, `{"id_session":1,"asset_name":"in hers"}`, "x.txt", "x").want(t, 403)
	for path, want := range map[string]int{"/api/user/assets?id_session=2": 1, "/api/user/sessions": 1, "/api/user/assets?id_asset=2&with_only_token=1": 1} {
		var list []map[string]any
		if h.do("GET", path, "", nil, "Authorization", bob).want(t, 200).into(t, &list); len(list) != want {
			t.Errorf("%s: %v", path, list)
		}
	}
	if got := h.do("GET", "/file/api/assets"+a.query("asset_uuid"), "", nil, "Authorization", alice).want(t, 200); string(got.body) != "hers" {
		t.Errorf("got %s", got.body)
	}
	// An administrator sees hers with a token of his own, not with one of hers.
	h.do("GET", "/file/api/assets"+a.query("asset_uuid"), "", nil, "Authorization", rootsToken(t, h)).want(t, 403)
	var list []openTeraAsset
	h.do("GET", "/api/user/assets?id_asset=1&with_urls=True", "", nil, "Authorization", rootsToken(t, h)).want(t, 200).into(t, &list)
	h.do("GET", "/file/api/assets"+list[0].query("asset_uuid"), "", nil, "Authorization", rootsToken(t, h)).want(t, 200)

	if log := h.log.String(); strings.Contains(log, a.AccessToken) || strings.Contains(log, strings.TrimPrefix(alice, "OpenTera ")) || !strings.Contains(log, "user=device:sensor") {
		t.Errorf("a token in the log, or no caller:\n%s", log)
	}
}

func rootsToken(t *testing.T, h *house) string {
	t.Helper()
	var l struct {
		Token string `json:"user_token"`
	}
	h.do("GET", "/api/user/login", "root", nil).want(t, 200).into(t, &l)
	return "OpenTera " + l.Token
}

// TestOpenTeraExpiry: the client's date counts, up to the end of the session.
func TestOpenTeraExpiry(t *testing.T) {
	h, alice, _ := openTera(t, store.Options{SessionTTL: time.Hour}, nil)
	described := func(until time.Time) string {
		return fmt.Sprintf(`{"id_session":1,"asset_name":"x","asset_expiration_datetime":%q}`, until.UTC().Format("2006-01-02T15:04:05.000000"))
	}
	soon := time.Now().Add(2 * time.Second)
	var a openTeraAsset
	h.asset(alice, described(soon), "a.txt", "x").want(t, 200).into(t, &a)
	if got, err := time.Parse(time.RFC3339, a.Expires); err != nil || got.Sub(soon).Abs() > 2*time.Second {
		t.Errorf("expires %s, want %s", a.Expires, soon)
	}
	var exact openTeraAsset
	whole := time.Now().Add(time.Minute).Truncate(time.Second)
	h.asset(alice, described(whole), "a.txt", "x").want(t, 200).into(t, &exact)
	if got, err := time.Parse(time.RFC3339, exact.Expires); err != nil || got.Before(whole) {
		t.Errorf("expires %s, want %s", exact.Expires, whole)
	}
	var late openTeraAsset
	h.asset(alice, described(time.Now().Add(1000*time.Hour)), "a.txt", "x").want(t, 200).into(t, &late)
	if got, err := time.Parse(time.RFC3339, late.Expires); err != nil || time.Until(got) > time.Hour {
		t.Errorf("expires %s, after its session", late.Expires)
	}
	h.asset(alice, described(time.Now().Add(-time.Minute)), "a.txt", "x").want(t, 400)
	body, contentType := assetForm(t, `{"id_session":1,"asset_name":"x"}`, "a.txt", "x")
	var short openTeraAsset
	h.do("POST", "/file/api/assets", "", body, "Content-Type", contentType, "Authorization", alice, "X-Fileshare-TTL", "60").want(t, 200).into(t, &short)
	if got, err := time.Parse(time.RFC3339, short.Expires); err != nil || time.Until(got) > time.Minute {
		t.Errorf("expires %s in spite of the header", short.Expires)
	}

	time.Sleep(time.Until(soon) + 100*time.Millisecond)
	for _, path := range []string{"/file/api/assets" + a.query("asset_uuid"), "/file/api/assets/infos" + a.query("asset_uuid")} {
		if got := h.do("GET", path, "", nil, "Authorization", alice).want(t, 404); string(got.body) != "\"No asset found\"\n" {
			t.Errorf("got %s", got.body)
		}
	}
	h.do("DELETE", "/file/api/assets"+a.query("uuid"), "", nil, "Authorization", alice).want(t, 404)
	var list []openTeraAsset
	if h.do("GET", "/api/user/assets?id_session=1", "", nil, "Authorization", alice).want(t, 200).into(t, &list); len(list) != 3 {
		t.Errorf("%+v", list)
	}
}

// TestOpenTeraOthers looks at assets through the native API and the other way
// round.
func TestOpenTeraOthers(t *testing.T) {
	h, alice, _ := openTera(t, store.Options{FileSize: 1 << 20, UserQuota: 1 << 21}, nil)
	var a openTeraAsset
	var f api.File
	content := strings.Repeat("0123456789abcdef", 8<<10)
	h.asset(alice, `{"id_session":1,"asset_name":"big one","asset_type":"application/x-sensor"}`, "C:\\data\\mesure 1.bin", content).want(t, 200).into(t, &a)
	var files api.List[api.File]
	h.do("GET", "/uploads", "alice", nil).want(t, 200).into(t, &files)
	if len(files.Items) != 1 {
		t.Fatalf("%+v", files)
	}
	if f = files.Items[0]; f.ID != a.UUID || f.Name != "mesure_1.bin" || f.Size != int64(len(content)) || f.SessionID == nil || f.State != "UPLOADED" {
		t.Errorf("%+v", f)
	}
	if got := h.do("GET", "/sessions/"+*f.SessionID+"/files/"+f.ID, "alice", nil).want(t, 200); string(got.body) != content {
		t.Errorf("%d other bytes", len(got.body))
	}

	// A file that the native API adds to the session is an asset of it.
	h.do("POST", "/sessions/"+*f.SessionID+"/files", "alice", nil).want(t, 201).into(t, &f)
	count := func() int {
		var list []openTeraAsset
		h.do("GET", "/api/user/assets?id_session=1&with_urls=1", "", nil, "Authorization", alice).want(t, 200).into(t, &list)
		if len(list) == 2 {
			a = list[1]
		}
		return len(list)
	}
	if count() != 1 {
		t.Error("a file without content is an asset")
	}
	h.do("PUT", "/sessions/"+*f.SessionID+"/files/"+f.ID, "alice", strings.NewReader("native"), "Content-Type", "text/plain").want(t, 200)
	if count() != 2 {
		t.Error("a file of the native API is no asset")
	}
	if a.UUID != f.ID || a.Size != 6 || a.Name == "" || a.Type != "text/plain" {
		t.Errorf("%+v", a)
	}
	if got := h.do("GET", "/file/api/assets"+a.query("asset_uuid"), "", nil, "Authorization", alice).want(t, 200); string(got.body) != "native" {
		t.Errorf("got %s", got.body)
	}

	// Limits are the daemon's, and nothing stays of what they stop.
	h.asset(alice, `{"id_session":1,"asset_name":"x"}`, "x.bin", strings.Repeat("x", 1<<20+1)).want(t, 413)
	h.asset(alice, `{"id_session":1,"asset_name":"x"}`, "x.bin", strings.Repeat("x", 1<<20)).want(t, 200)
	h.asset(alice, `{"id_session":1,"asset_name":"x"}`, "x.bin", strings.Repeat("x", 1<<20)).want(t, 507)
	h.asset(alice, `{"id_session":1,"asset_name":"x","asset_datetime":"yesterday"}`, "x.bin", "x").want(t, 400)
	body, contentType := form(field{name: "file", file: "a", value: "x"}, field{name: "file_asset", value: `{"id_session":7,"asset_name":"x"}`})
	h.do("POST", "/api/assets", "", body, "Content-Type", contentType, "Authorization", alice).want(t, 403)
	body, contentType = form(field{name: "file", file: "a", value: "x"}, field{name: "file", file: "b", value: "x"})
	h.do("POST", "/api/assets", "", body, "Content-Type", contentType, "Authorization", alice).want(t, 400)
	if h.do("GET", "/uploads", "alice", nil).want(t, 200).into(t, &files); len(files.Items) != 3 {
		t.Errorf("%d files", len(files.Items))
	}
}

// TestOpenTeraLinks: links are those by which the client came, or those that
// OpenTera's router tells, if it is to be believed.
func TestOpenTeraLinks(t *testing.T) {
	router := []string{"X-Script-Name", "/file", "X-ExternalHost", "tera.example.org", "X-ExternalPort", "40075", "X-Forwarded-Proto", "https"}
	for name, tt := range map[string]struct {
		path, public string
		trusted      bool
		headers      []string
		want         string // $ stands for our own address
	}{
		"routed path":      {"/file/api/assets", "", false, nil, "$/file/api/assets"},
		"bare path":        {"/api/assets", "", false, nil, "$/api/assets"},
		"prefix":           {"/rtc/fileshare/file/api/assets", "", false, nil, "$/rtc/fileshare/file/api/assets"},
		"router":           {"/api/assets", "", true, router, "https://tera.example.org:40075/file/api/assets"},
		"router, 443":      {"/api/assets", "", true, append(router, "X-ExternalPort", "443"), "https://tera.example.org/file/api/assets"},
		"stranger":         {"/api/assets", "", false, router, "$/api/assets"},
		"public URL":       {"/api/assets", "https://files.example.com", true, router, "https://files.example.com/file/api/assets"},
		"hostile headers":  {"/api/assets", "", true, []string{"X-Script-Name", "//evil.example", "X-ExternalHost", "a b"}, "$/api/assets"},
		"plain forwarding": {"/file/api/assets", "", true, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "x.example"}, "https://x.example/file/api/assets"},
	} {
		t.Run(name, func(t *testing.T) {
			h, alice, _ := openTera(t, store.Options{}, func(o *Options) {
				o.Prefixes, o.PublicURL = []string{"/rtc/fileshare"}, tt.public
				if tt.trusted {
					o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
				}
			})
			body, contentType := assetForm(t, `{"id_session":1,"asset_name":"x"}`, "a.txt", "x")
			var a openTeraAsset
			h.do("POST", tt.path, "", body, append([]string{"Content-Type", contentType, "Authorization", alice}, tt.headers...)...).want(t, 200).into(t, &a)
			want := strings.Replace(tt.want, "$", h.url, 1)
			if a.URL != want || a.InfosURL != want+"/infos" {
				t.Errorf("%s, %s, want %s", a.URL, a.InfosURL, want)
			}
		})
	}
}

// TestOpenTeraDoc: the page is where OpenTera has it, with all that it loads.
func TestOpenTeraDoc(t *testing.T) {
	docs, err := Docs()
	if err != nil {
		t.Fatal(err)
	}
	h, _, _ := openTera(t, store.Options{}, func(o *Options) { o.Docs = docs })
	if got := h.do("GET", "/file/doc", "", nil).want(t, 200); !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") || !got.says("doc/start.js") {
		t.Errorf("%v %.100s", got.Header, got.body)
	}
	for _, path := range []string{"/file/doc/start.js", "/file/openapi.json"} {
		h.do("GET", path, "", nil).want(t, 200)
	}
	h.do("GET", "/file/doc/nothing.js", "", nil).want(t, 404)
	// Cookies of a login that a page keeps are good for its own site only.
	var l struct {
		Token string `json:"user_token"`
	}
	h.do("GET", "/api/user/login", "alice", nil).want(t, 200).into(t, &l)
	h.do("GET", "/api/user/sessions", "", nil, "Cookie", "OpenTera="+l.Token).want(t, 200)
	h.do("POST", "/api/user/sessions", "", strings.NewReader(`{"session":{"id_session":0}}`), "Cookie", "OpenTera="+l.Token).want(t, 200)
	h.do("POST", "/api/user/sessions", "", strings.NewReader(`{"session":{"id_session":0}}`), "Cookie", "OpenTera="+l.Token, "Sec-Fetch-Site", "cross-site").want(t, 401)
}
