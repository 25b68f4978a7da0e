package server

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"

	"fileshare/api"
)

// docServer is the daemon's handler with its documentation and nothing else.
func docServer(t *testing.T) *httptest.Server {
	t.Helper()
	docs, err := Docs()
	if err != nil {
		t.Fatal(err)
	}
	h := checked(t, New(nil, Options{Docs: docs, Prefixes: []string{"/rtc/fileshare"}}))
	root := http.NewServeMux()
	root.Handle("/", h)
	root.Handle("/proxy/", http.StripPrefix("/proxy", h)) // a proxy that strips its prefix and says nothing
	srv := httptest.NewServer(root)
	t.Cleanup(srv.Close)
	return srv
}

func fetch(t *testing.T, method, address string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestDocPage loads what the page refers to, as a browser would find it, below
// every prefix.
func TestDocPage(t *testing.T) {
	srv := docServer(t)
	reference := regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	for _, prefix := range []string{"", "/rtc/fileshare", "/proxy", "/proxy/rtc/fileshare"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			resp, page := fetch(t, "GET", srv.URL+prefix+"/doc")
			if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
				t.Fatalf("page: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
			}
			policy := resp.Header.Get("Content-Security-Policy")
			if !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "unsafe") {
				t.Errorf("policy %q", policy)
			}
			refs := reference.FindAllStringSubmatch(page, -1)
			if len(refs) < 5 {
				t.Fatalf("only %d references in the page", len(refs))
			}
			for _, m := range refs {
				if strings.Contains(m[1], ":") || strings.HasPrefix(m[1], "/") {
					t.Errorf("reference %s is not relative", m[1])
				}
				at, err := resp.Request.URL.Parse(m[1])
				if err != nil {
					t.Fatal(err)
				}
				if r, body := fetch(t, "GET", at.String()); r.StatusCode != 200 || body == "" {
					t.Errorf("%s: %s, %d bytes", at, r.Status, len(body))
				}
			}
			resp, _ = fetch(t, "GET", srv.URL+prefix+"/doc/")
			to, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
			if err != nil || to.Path != prefix+"/doc" {
				t.Errorf("/doc/ leads to %v, %v", to, err)
			}
		})
	}
}

func TestDocAssets(t *testing.T) {
	srv := docServer(t)
	const script = "/doc/swagger-ui-bundle.js"
	plain, want := fetch(t, "GET", srv.URL+script)
	if plain.Header.Get("Content-Encoding") != "" || len(want) < 1<<20 {
		t.Fatalf("%q, %d bytes", plain.Header.Get("Content-Encoding"), len(want))
	}
	refused, same := fetch(t, "GET", srv.URL+script, "Accept-Encoding", "gzip;q=0")
	if refused.Header.Get("Content-Encoding") != "" || same != want {
		t.Error("gzip although it was refused")
	}
	packed, body := fetch(t, "GET", srv.URL+script, "Accept-Encoding", "br, gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("headers %v", packed.Header)
	}
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != want {
		t.Errorf("unpacked, it is another: %d bytes, %v", len(got), err)
	}
	if a, b := plain.Header.Get("ETag"), packed.Header.Get("ETag"); a == b {
		t.Errorf("both representations have the ETag %s", a)
	}
	if again, _ := fetch(t, "GET", srv.URL+script, "Accept-Encoding", "gzip", "If-None-Match", packed.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("again: %s", again.Status)
	}
	for _, path := range []string{"/doc/nothing.js", "/doc/index.html.gz", "/doc/swagger-ui.css.gz"} {
		if resp, body := fetch(t, "GET", srv.URL+path); resp.StatusCode != 404 || !strings.Contains(body, `"message"`) {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	if resp, _ := fetch(t, "POST", srv.URL+"/doc"); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s, Allow %q", resp.Status, resp.Header.Get("Allow"))
	}
}

func TestDescriptionServed(t *testing.T) {
	srv := docServer(t)
	for _, tt := range []struct{ path, base string }{
		{"/openapi.json", "/"},
		{"/rtc/fileshare/openapi.json", "/rtc/fileshare/"},
	} {
		resp, body := fetch(t, "GET", srv.URL+tt.path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s, %s", resp.Status, resp.Header.Get("Content-Type"))
		}
		doc, err := openapi3.NewLoader().LoadFromData([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.Validate(t.Context()); err != nil {
			t.Error(err)
		}
		var got []string
		for _, s := range doc.Servers {
			got = append(got, s.URL)
		}
		if diff := cmp.Diff([]string{"./", srv.URL + tt.base}, got); diff != "" {
			t.Errorf("servers (-want +got):\n%s", diff)
		}
		here, err := resp.Request.URL.Parse(got[0])
		if err != nil || here.Path != tt.base {
			t.Errorf("the relative server is %v, %v", here, err)
		}
		if again, _ := fetch(t, "GET", srv.URL+tt.path, "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != 304 {
			t.Errorf("again: %s", again.Status)
		}
		if head, body := fetch(t, "HEAD", srv.URL+tt.path); head.StatusCode != 200 || body != "" || head.ContentLength != resp.ContentLength {
			t.Errorf("HEAD: %s, %d of %d bytes", head.Status, head.ContentLength, resp.ContentLength)
		}
	}
}

// TestDescriptionIsTheYAML compares the JSON with the YAML by another reader.
func TestDescriptionIsTheYAML(t *testing.T) {
	d, err := describe(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	text := string(d.head) + `[]` + string(d.tail)
	want, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want.Servers, got.Servers = nil, nil
	a, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Errorf("JSON differs from YAML (-YAML +JSON):\n%.2000s", diff)
	}
	if i, j := strings.Index(text, `"/uploads"`), strings.Index(text, `"/sessions"`); i < 0 || j < i {
		t.Errorf("the order of the paths is lost: /uploads at %d, /sessions at %d", i, j)
	}
}

// TestDescriptionIsUseful holds what the description promises its readers.
func TestDescriptionIsUseful(t *testing.T) {
	c, err := newContract(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			where := method + " " + path
			if op.OperationID == "" || seen[op.OperationID] {
				t.Errorf("%s: operationId %q is missing or not the only one", where, op.OperationID)
			}
			seen[op.OperationID] = true
			if len(op.Tags) != 1 || c.doc.Tags.Get(op.Tags[0]) == nil {
				t.Errorf("%s: tags %v", where, op.Tags)
			}
			if op.Summary == "" || !strings.Contains(op.Description, "**Who:**") || path != "/doc" && !strings.Contains(op.Description, "curl ") {
				t.Errorf("%s: no summary, caller or curl line", where)
			}
			if op.Responses.Status(500) == nil {
				t.Errorf("%s: no 500", where)
			}
		}
	}
	for name, s := range c.doc.Components.Schemas {
		if s.Value.Description == "" || len(s.Value.Examples) == 0 {
			t.Errorf("schema %s has no description or no example", name)
		}
		for _, example := range s.Value.Examples {
			if err := s.Value.VisitJSON(example, openapi3.EnableJSONSchema2020()); err != nil {
				t.Errorf("example of schema %s: %v", name, err)
			}
		}
	}
	for name, r := range c.doc.Components.Responses {
		for kind, m := range r.Value.Content {
			examples := []any{m.Example}
			for _, e := range m.Examples {
				examples = append(examples, e.Value.Value)
			}
			for _, e := range examples {
				if e == nil {
					continue
				}
				if err := m.Schema.Value.VisitJSON(e, openapi3.EnableJSONSchema2020()); err != nil {
					t.Errorf("example of answer %s, %s: %v", name, kind, err)
				}
			}
		}
	}
}

// TestRoutesAreDescribed compares the daemon's table of paths with the
// description, both ways.
func TestRoutesAreDescribed(t *testing.T) {
	docs, err := Docs()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Docs: docs, Tus: true, Molgenis: true, OpenTera: &OpenTera{}, ExtraHorizon: &ExtraHorizon{}}
	s := &server{o: o, metrics: newMetrics(nil, o)}
	variable := regexp.MustCompile(`\{[^}]*\}`)
	served := map[string][]string{}
	err = s.routes().Walk(func(m *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := m.GetPathTemplate()
		if err != nil {
			return err
		}
		path := variable.ReplaceAllString(template, "{}")
		if path == "/" || path == "/doc/{}" {
			return nil // for people and for the page itself, no calls
		}
		if path == "/uploads/" {
			path = "/uploads" // with a slash, for curl -T
		}
		rt, ok := m.GetHandler().(*route)
		if !ok {
			t.Errorf("%s is served by a %T", template, m.GetHandler())
			return nil
		}
		if rt.alias {
			return nil
		}
		methods := []string{"GET", "HEAD"} // of those that are handlers of their own
		if rt.any == nil {
			methods = strings.Split(rt.methods(), ", ")
		}
		if len(methods) == 1 { // OPTIONS: a path for errors
			return nil
		}
		for _, method := range methods {
			if method == "PUT" && template == "/uploads/" {
				continue // PUT /uploads/{id} without a name
			}
			served[path] = append(served[path], method)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := newContract(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	described := map[string][]string{}
	for path, item := range c.doc.Paths.Map() {
		path = variable.ReplaceAllString(path, "{}")
		for method := range item.Operations() {
			described[path] = append(described[path], method)
			if method == "GET" { // HEAD goes with it (RFC 9110 §9.3.2)
				described[path] = append(described[path], "HEAD")
			}
		}
		described[path] = append(described[path], "OPTIONS")
	}
	for _, table := range []map[string][]string{served, described} {
		for path, methods := range table {
			slices.Sort(methods)
			methods = slices.DeleteFunc(slices.Compact(methods), func(m string) bool { return m == "OPTIONS" })
			table[path] = methods
		}
	}
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("paths and methods (-described +served):\n%s", diff)
	}
}

// TestDocStartFindsTheDescription: the script takes the document's address
// from its own, which is one step below the page's.
func TestDocStartFindsTheDescription(t *testing.T) {
	m := regexp.MustCompile(`new URL\("([^"]+)", document.currentScript.src\)`).FindStringSubmatch(docStart)
	if m == nil {
		t.Fatal("no address in the script")
	}
	script, err := url.Parse("https://host/a/b/doc/start.js")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := script.Parse(m[1]); err != nil || got.String() != "https://host/a/b/openapi.json" {
		t.Errorf("got %v, %v", got, err)
	}
}
