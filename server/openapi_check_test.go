package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"fileshare/api"
)

// checked wraps the handler of the daemon for a test: every request that it
// accepts and every answer that it gives must be as api/openapi.yaml says, or
// the test fails. Requests that it refuses (4xx) may be as wrong as they like;
// their answers may not. Paths that the description does not have must answer
// 404, unless they begin with one of except (other APIs below the same handler).
//
// The check happens when the handler has returned: close the server (or let
// t.Cleanup do it) before the test ends. Contents are not kept, only JSON and
// forms up to 1 MiB.
func checked(t testing.TB, h http.Handler, except ...string) http.Handler {
	t.Helper()
	c, err := ourContract()
	if err != nil {
		t.Fatal(err)
	}
	return c.wrap(h, func(err error) { t.Error(err) }, except...)
}

// ourContract is read once: it takes longer than most tests.
var ourContract = sync.OnceValues(func() (*contract, error) { return newContract(api.OpenAPI()) })

// contract is the description, ready for questions.
type contract struct {
	doc    *openapi3.T
	router routers.Router
	right  sync.Map // answers found right: string → nothing
}

func newContract(text string) (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("loading the API description: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("validating the API description: %w", err)
	}
	// Clients must bear new fields; this test must not: a field that is in
	// no description is a gap in the description.
	for _, name := range []string{"File", "FileList", "Session", "SessionList", "Token", "TokenList", "Invitation", "InvitationList", "Invite", "Status", "Error"} {
		s := doc.Components.Schemas[name]
		if s == nil {
			return nil, fmt.Errorf("the API description has no schema %s", name)
		}
		s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: new(false)}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("routing the API description: %w", err)
	}
	return &contract{doc: doc, router: router}, nil
}

func (c *contract) wrap(h http.Handler, report func(error), except ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := r.Clone(r.Context()) // the handler may change its own
		seen.Body = nil
		sent := &capture{}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &teeBody{ReadCloser: r.Body, to: sent}
		}
		got := &checkedWriter{ResponseWriter: w}
		h.ServeHTTP(got, r) // a panic is an aborted answer: nothing to check
		if got.status == 0 {
			got.status = http.StatusOK
		}
		if err := c.check(seen, sent, got, except); err != nil {
			report(fmt.Errorf("%s %s answered %d, which is not as in the API description: %w", r.Method, seen.URL, got.status, err))
		}
	})
}

func (c *contract) check(r *http.Request, sent *capture, got *checkedWriter, except []string) error {
	if r.Method == http.MethodOptions {
		return nil
	}
	route, vars, err := c.find(r)
	if err != nil {
		bare := c.bare(r.URL.Path)
		ok := got.status == http.StatusNotFound && errors.Is(err, routers.ErrPathNotFound) ||
			got.status == http.StatusMethodNotAllowed && got.Header().Get("Allow") != "" ||
			got.status == http.StatusNotFound && errors.Is(err, routers.ErrMethodNotAllowed) && strings.HasPrefix(bare, "/files/v1/") || // there it is the same
			bare == "/" || strings.HasPrefix(bare, "/doc/") ||
			slices.ContainsFunc(except, func(p string) bool { return strings.HasPrefix(bare, p) })
		if ok {
			return nil
		}
		return err
	}
	if got.status < 400 {
		if err := checkRequest(r, sent, route, vars); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	if err := c.checkAnswer(r, got, route, vars); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// bare takes the server's prefix off a path.
func (c *contract) bare(path string) string {
	for _, s := range c.doc.Servers {
		if p := strings.TrimRight(s.URL, "/"); p != "" && strings.HasPrefix(path, p+"/") {
			return path[len(p):]
		}
	}
	return path
}

// find finds the operation of a request.
func (c *contract) find(r *http.Request) (*routers.Route, map[string]string, error) {
	try := &http.Request{Method: r.Method, Host: r.Host, URL: &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath}, Header: r.Header}
	if p := c.bare(r.URL.Path); strings.HasPrefix(p, "/uploads/") {
		// curl -T f URL/uploads/ and names with slashes: one template
		// cannot say that they are the same call.
		switch name := p[len("/uploads/"):]; {
		case name == "" && r.Method != http.MethodPut:
			try.URL = &url.URL{Path: "/uploads"}
		case r.Method == http.MethodPut:
			try.URL = &url.URL{Path: "/uploads/name"}
		}
	}
	if p, ok := strings.CutPrefix(c.bare(r.URL.Path), "/tus"); ok {
		// Without its slash, a session's file, the method that counts, and the
		// other protocol.
		id := p[strings.LastIndexByte(p, '/')+1:]
		try.URL = &url.URL{Path: "/tus/" + id}
		if m := r.Header.Get("X-HTTP-Method-Override"); m != "" && id != "" {
			try.Method = strings.ToUpper(m)
		}
		if id == "" && r.Header.Get("Tus-Resumable") == "" && r.Header.Get("Upload-Complete") != "" {
			try.URL.Path = "/uploads"
		}
	}
	route, vars, err := c.router.FindRoute(try)
	if errors.Is(err, routers.ErrMethodNotAllowed) && r.Method == http.MethodHead {
		// RFC 9110 §9.3.2: HEAD is GET without the body.
		try.Method = http.MethodGet
		route, vars, err = c.router.FindRoute(try)
	}
	if err != nil {
		return nil, nil, err
	}
	return route, vars, nil
}

func checkRequest(r *http.Request, sent *capture, route *routers.Route, vars map[string]string) error {
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: vars, Route: route,
		Options: &openapi3filter.Options{
			ExcludeRequestBody:  true,
			SkipSettingDefaults: true,
			MultiError:          true,
			AuthenticationFunc: func(_ context.Context, in *openapi3filter.AuthenticationInput) error {
				if !hasCredentials(r, in.SecurityScheme) {
					return errors.New("succeeded without credentials")
				}
				return nil
			},
		},
	}
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		return err
	}
	if route.Operation.RequestBody == nil {
		return nil
	}
	body := route.Operation.RequestBody.Value
	if sent.n == 0 {
		return nil // an empty file is a file; forms and JSON that must not be empty were refused
	}
	contentType := r.Header.Get("Content-Type")
	if kind, _, _ := mime.ParseMediaType(contentType); body.Content.Get("application/json") != nil && sent.Len() > 0 && sent.Bytes()[0] == '{' &&
		(kind == "" || kind == "application/x-www-form-urlencoded" || strings.HasSuffix(kind, "+json")) {
		contentType = "application/json" // what curl -d '{…}' calls a form is understood
	}
	as := body.Content.Get(contentType)
	if as == nil {
		return fmt.Errorf("no body of type %q", contentType)
	}
	if as.Schema == nil || as.Schema.Value.Format == "binary" || sent.n > int64(sent.Len()) {
		return nil
	}
	value, err := decodeSent(contentType, sent.Bytes(), as.Schema.Value)
	if err != nil {
		return err
	}
	return as.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors(), openapi3.VisitAsRequest())
}

// hasCredentials tells whether a request has what a scheme asks for.
func hasCredentials(r *http.Request, s *openapi3.SecurityScheme) bool {
	switch s.In {
	case "query":
		return r.URL.Query().Get(s.Name) != ""
	case "cookie":
		_, err := r.Cookie(s.Name)
		return err == nil
	case "header":
		return r.Header.Get(s.Name) != ""
	}
	return r.Header.Get("Authorization") != ""
}

// decodeSent reads JSON, or a form into what its schema says of the fields.
func decodeSent(contentType string, body []byte, schema *openapi3.Schema) (any, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	form := map[string][]string{}
	switch kind {
	case "application/x-www-form-urlencoded":
		if form, err = url.ParseQuery(string(body)); err != nil {
			return nil, err
		}
	case "multipart/form-data":
		for parts := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
			part, err := parts.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			value, err := io.ReadAll(part)
			if err != nil {
				return nil, err
			}
			if part.FileName() != "" {
				value = nil // a content has no shape
			}
			form[part.FormName()] = append(form[part.FormName()], string(value))
		}
	default:
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		return plainFields(v, schema), nil
	}
	fields := map[string]any{}
	for name, values := range form {
		p := schema.Properties[name]
		switch {
		case p != nil && p.Value.Type.Is("array"):
			list := []any{}
			for _, v := range values {
				list = append(list, v)
			}
			fields[name] = list
		case p != nil && p.Value.Type.Is("integer"):
			n, err := strconv.ParseInt(values[0], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", name, err)
			}
			fields[name] = float64(n)
		default:
			fields[name] = values[0]
		}
	}
	return fields, nil
}

// plainFields undoes what the description says of requests in words: null is
// the same as nothing, and digits in a string are a number.
func plainFields(v any, schema *openapi3.Schema) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for name, value := range object {
		p := schema.Properties[name]
		switch value := value.(type) {
		case nil:
			delete(object, name)
		case string:
			if n, err := strconv.ParseUint(value, 10, 63); err == nil && p != nil && p.Value.Type.Is("integer") {
				object[name] = float64(n)
			}
		}
	}
	return object
}

func (c *contract) checkAnswer(r *http.Request, got *checkedWriter, route *routers.Route, vars map[string]string) error {
	ref := route.Operation.Responses.Status(got.status)
	if ref == nil {
		return errors.New("status is not in the description")
	}
	contentType := got.Header().Get("Content-Type")
	kind, _, _ := mime.ParseMediaType(contentType)
	if kind == "text/html" && got.status >= 400 && (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html") {
		return nil // the page that says to a person what went wrong
	}
	content := ref.Value.Content
	switch {
	case len(content) == 0 && (got.n > 0 || errors.Is(got.broken, http.ErrBodyNotAllowed)):
		return errors.New("a body where there should be none")
	case len(content) > 0 && content.Get(contentType) == nil:
		return fmt.Errorf("no body of type %q", contentType)
	}
	whole := r.Method != http.MethodHead && got.broken == nil
	if whole && kind == "application/json" && got.status < 300 && got.n > int64(got.Len()) {
		return fmt.Errorf("a JSON body of %d bytes is too long for this check", got.n)
	}
	// HEAD has the headers of GET, and is not looked at by the library.
	like := &http.Request{Method: http.MethodGet, URL: r.URL, Header: r.Header}
	isJSON := kind == "application/json" && content.Get(contentType).Schema.Value.Format != "binary"
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: like, PathParams: vars, Route: route},
		Status:                 got.status,
		Header:                 got.Header(),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, ExcludeResponseBody: !whole || !isJSON},
	}
	in.SetBodyBytes(got.Bytes())
	// The library compiles the schemas anew each time; a thousand equal
	// refusals need it once.
	headers := got.Header().Clone()
	headers.Del("X-Request-Id") // any text is right
	key := fmt.Sprint(route.Operation.OperationID, got.status, r.Method, headers, got.kept.String())
	if _, ok := c.right.Load(key); ok {
		return nil
	}
	if err := openapi3filter.ValidateResponse(r.Context(), in); err != nil {
		return err
	}
	c.right.Store(key, nil)
	return nil
}

// capture keeps the first MiB of what goes by and counts the rest.
type capture struct {
	bytes.Buffer
	n int64
}

func (c *capture) add(p []byte) {
	c.n += int64(len(p))
	if room := 1<<20 - c.Len(); room > 0 {
		c.Write(p[:min(room, len(p))])
	}
}

type teeBody struct {
	io.ReadCloser
	to *capture
}

func (b *teeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.to.add(p[:n])
	return n, err
}

// checkedWriter sees the answer go by. It stays as able as what it wraps.
type checkedWriter struct {
	http.ResponseWriter
	kept   capture
	n      int64
	status int
	broken error // of writing: the body is not whole
}

func (w *checkedWriter) Bytes() []byte               { return w.kept.Bytes() }
func (w *checkedWriter) Len() int                    { return w.kept.Len() }
func (w *checkedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *checkedWriter) Flush()                      { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *checkedWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		w.kept.add(p[:n])
	}
	if err != nil {
		w.broken = err
	}
	return n, err
}

// ReadFrom is for contents, which are not looked at.
func (w *checkedWriter) ReadFrom(src io.Reader) (int64, error) {
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok || strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := to.ReadFrom(src)
	w.n += n
	if err != nil {
		w.broken = err
	}
	return n, err
}

const goodFile = `{"id":"88e5905d-5d96-4750-ab3d-77a1ed26f569","name":"test.txt","original_name":"test.txt","mime_type":"text/plain",` +
	`"size":28,"sha256":null,"ttl":3600,"state":"UPLOADED","session_id":null,"tags":[],"owner":"me","downloads":0,"max_downloads":0,` +
	`"created_at":"2026-01-01T12:00:00.000Z","updated_at":"2026-01-01T12:00:00.000Z","expires_at":"2026-01-01T13:00:00.000Z",` +
	`"url":"http://host/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569"}`

// TestContractCatches shows the check right and wrong exchanges.
func TestContractCatches(t *testing.T) {
	const id = "88e5905d-5d96-4750-ab3d-77a1ed26f569"
	basic := []string{"Authorization", "Basic eDp5"}
	form := []string{"Content-Type", "multipart/form-data; boundary=B"}
	const fileForm = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--B\r\n" +
		"Content-Disposition: form-data; name=\"ttl\"\r\n\r\n%s\r\n--B--\r\n"
	jsonHead := []string{"Content-Type", "application/json"}
	created := append([]string{"Location", "http://host/uploads/x"}, jsonHead...)
	tests := []struct {
		name         string
		method, path string
		headers      []string // of the request
		sent         string
		status       int
		answers      []string // headers of the answer
		body         string
		want         string // part of the complaint; empty: none
	}{
		{name: "right creation", method: "POST", path: "/uploads", headers: form, sent: fmt.Sprintf(fileForm, "60"), status: 201, answers: created, body: goodFile},
		{name: "right below the prefix", method: "POST", path: "/rtc/fileshare/uploads", headers: form, sent: fmt.Sprintf(fileForm, "60"), status: 201, answers: created, body: goodFile},
		{name: "raw", method: "PUT", path: "/uploads/a%2Fb.txt?ttl=60", headers: []string{"X-Fileshare-Tags", "a,b"}, sent: "x", status: 201, answers: created, body: goodFile},
		{name: "raw with a slash", method: "PUT", path: "/rtc/fileshare/uploads/a/b.txt", sent: "x", status: 201, answers: created, body: goodFile},
		{name: "form with a bad ttl accepted", method: "POST", path: "/uploads", headers: form, sent: fmt.Sprintf(fileForm, "0"), status: 201, answers: created, body: goodFile, want: "ttl"},
		{name: "form with no number accepted", method: "POST", path: "/uploads", headers: form, sent: fmt.Sprintf(fileForm, "soon"), status: 201, answers: created, body: goodFile, want: "ttl"},
		{name: "form without file accepted", method: "POST", path: "/uploads", headers: form, sent: "--B\r\nContent-Disposition: form-data; name=\"ttl\"\r\n\r\n60\r\n--B--\r\n", status: 201, answers: created, body: goodFile, want: "file"},
		{name: "bad ttl refused", method: "POST", path: "/uploads", headers: form, sent: fmt.Sprintf(fileForm, "0"), status: 400, answers: jsonHead, body: `{"message":"bad ttl"}`},
		{name: "bad query accepted", method: "PUT", path: "/uploads/f?ttl=0", sent: "x", status: 201, answers: created, body: goodFile, want: "ttl"},
		{name: "no Location", method: "POST", path: "/uploads", headers: form, sent: fmt.Sprintf(fileForm, "60"), status: 201, answers: jsonHead, body: goodFile, want: "Location"},
		{name: "wrong status", method: "POST", path: "/uploads", headers: form, sent: fmt.Sprintf(fileForm, "60"), status: 200, answers: created, body: goodFile, want: "status"},
		{name: "unknown status", method: "GET", path: "/uploads/" + id, status: 418, answers: jsonHead, body: `{"message":"teapot"}`, want: "status"},
		{name: "missing field", method: "GET", path: "/uploads/" + id + "/info", headers: basic, status: 200, answers: jsonHead, body: strings.Replace(goodFile, `"owner":"me",`, "", 1), want: "owner"},
		{name: "wrong type", method: "GET", path: "/uploads/" + id + "/info", headers: basic, status: 200, answers: jsonHead, body: strings.Replace(goodFile, `"size":28`, `"size":"28"`, 1), want: "size"},
		{name: "wrong time", method: "GET", path: "/uploads/" + id + "/info", headers: basic, status: 200, answers: jsonHead, body: strings.Replace(goodFile, `12:00:00.000Z`, `12:00:00Z`, 1), want: "created_at"},
		{name: "undescribed field", method: "GET", path: "/uploads/" + id + "/info", headers: basic, status: 200, answers: jsonHead, body: strings.Replace(goodFile, `"size"`, `"secret":1,"size"`, 1), want: "secret"},
		{name: "right info", method: "GET", path: "/uploads/" + id + "/info", headers: basic, status: 200, answers: jsonHead, body: goodFile},
		{name: "info for everybody", method: "GET", path: "/uploads/" + id + "/info", status: 200, answers: jsonHead, body: goodFile, want: "credentials"},
		{name: "not JSON", method: "GET", path: "/uploads/" + id + "/info", headers: basic, status: 200, answers: jsonHead, body: "{", want: "body"},
		{name: "error in text", method: "GET", path: "/uploads/" + id, status: 404, answers: []string{"Content-Type", "text/plain"}, body: "404", want: "text/plain"},
		{name: "error page to a browser", method: "GET", path: "/uploads/" + id, headers: []string{"Accept", "text/html,*/*"}, status: 404, answers: []string{"Content-Type", "text/html"}, body: "404"},
		{name: "error without message", method: "GET", path: "/uploads/" + id, status: 410, answers: jsonHead, body: `{"request_id":"x"}`, want: "message"},
		{name: "401 without challenge", method: "GET", path: "/uploads", status: 401, answers: jsonHead, body: `{"message":"who"}`, want: "WWW-Authenticate"},
		{name: "download", method: "GET", path: "/uploads/" + id, headers: []string{"Range", "bytes=0-1"}, status: 206, answers: []string{"Content-Type", "text/plain", "Content-Range", "bytes 0-1/28", "ETag", `"x"`, "Accept-Ranges", "bytes", "Cache-Control", "private, no-store", "Content-Length", "2", "Repr-Digest", "sha-256=:LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=:"}, body: "ab"},
		{name: "stored JSON is a content", method: "GET", path: "/uploads/" + id, status: 200, answers: []string{"Content-Type", "application/json"}, body: "{"},
		{name: "weak ETag", method: "GET", path: "/uploads/" + id, status: 200, answers: []string{"ETag", `W/"x"`, "Content-Type", "text/plain"}, body: "x", want: "ETag"},
		{name: "weak ETag on HEAD", method: "HEAD", path: "/uploads/" + id, status: 200, answers: []string{"ETag", `W/"x"`, "Content-Type", "text/plain"}, want: "ETag"},
		{name: "cacheable", method: "GET", path: "/uploads/" + id, status: 200, answers: []string{"Cache-Control", "public", "Content-Type", "text/plain"}, body: "x", want: "Cache-Control"},
		{name: "body of 204", method: "DELETE", path: "/uploads/" + id, headers: basic, status: 204, body: "gone", want: "body"},
		{name: "JSON body accepted with a wrong type", method: "PATCH", path: "/uploads/" + id, headers: append([]string{"Content-Type", "application/json"}, basic...), sent: `{"ttl":"soon"}`, status: 200, answers: jsonHead, body: goodFile, want: "ttl"},
		{name: "liberal JSON", method: "PATCH", path: "/uploads/" + id, headers: append([]string{"Content-Type", "application/x-www-form-urlencoded"}, basic...), sent: `{"ttl":"60","name":null}`, status: 200, answers: jsonHead, body: goodFile},
		{name: "JSON with ttl 0 called a form", method: "PATCH", path: "/uploads/" + id, headers: append([]string{"Content-Type", "application/x-www-form-urlencoded"}, basic...), sent: `{"ttl":"0"}`, status: 200, answers: jsonHead, body: goodFile, want: "ttl"},
		{name: "form patch", method: "PATCH", path: "/uploads/" + id, headers: append([]string{"Content-Type", "application/x-www-form-urlencoded"}, basic...), sent: `ttl=0&tags=a`, status: 200, answers: jsonHead, body: goodFile, want: "ttl"},
		{name: "body of a wrong type accepted", method: "PATCH", path: "/uploads/" + id, headers: append([]string{"Content-Type", "text/plain"}, basic...), sent: `ttl`, status: 200, answers: jsonHead, body: goodFile, want: "text/plain"},
		{name: "array with a wrong element", method: "GET", path: "/sessions/" + id + "/files", status: 200, answers: jsonHead, body: `[` + goodFile + `,{}]`, want: "required"},
		{name: "bare array", method: "GET", path: "/sessions/" + id + "/files", status: 200, answers: append([]string{"Link", `<http://host/sessions?cursor=x>; rel="next"`}, jsonHead...), body: `[` + goodFile + `]`},
		{name: "HEAD where only GET is described", method: "HEAD", path: "/health", status: 200, answers: jsonHead},
		{name: "unknown path", method: "GET", path: "/nothing", status: 404, answers: jsonHead, body: `{"message":"no such path"}`},
		{name: "unknown path answers", method: "GET", path: "/nothing", status: 200, answers: jsonHead, body: `{}`, want: "no matching operation"},
		{name: "another API", method: "GET", path: "/other/thing", status: 200, answers: jsonHead, body: `{}`},
		{name: "unknown method", method: "POST", path: "/health", status: 405, answers: append([]string{"Allow", "GET"}, jsonHead...), body: `{"message":"method not allowed"}`},
		{name: "405 without Allow", method: "POST", path: "/health", status: 405, answers: jsonHead, body: `{"message":"method not allowed"}`, want: "method not allowed"},
		{name: "405 where the method is described", method: "GET", path: "/health", status: 405, answers: append([]string{"Allow", "PUT"}, jsonHead...), body: `{"message":"method not allowed"}`, want: "status"},
	}
	c, err := newContract(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var complaints []string
			h := c.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
				for i := 0; i < len(tt.answers); i += 2 {
					w.Header().Set(tt.answers[i], tt.answers[i+1])
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}), func(err error) { complaints = append(complaints, err.Error()) }, "/other/")
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.sent))
			for i := 0; i < len(tt.headers); i += 2 {
				r.Header.Set(tt.headers[i], tt.headers[i+1])
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			got := strings.Join(complaints, "\n")
			if tt.want == "" && got != "" {
				t.Errorf("complains of a right exchange: %s", got)
			}
			if tt.want != "" && !strings.Contains(got, tt.want) {
				t.Errorf("complaint %q does not name %q", got, tt.want)
			}
		})
	}
}
