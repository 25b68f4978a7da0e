package server

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/swaggest/swgui/v5/static"
	yaml "go.yaml.in/yaml/v3"

	"fileshare/api"
	"fileshare/server/reply"
)

// Docs serves the description of the API: /openapi.json, the page /doc, and
// below /doc/ what the page loads; it is made for [Options]. Every reference
// in the page, and the first of the document's servers, is relative, so that
// they are right below any prefix and behind a proxy that says nothing about
// itself.
//
// The error is one of the embedded description, that is, a fault of the build.
func Docs() (http.Handler, error) {
	description, err := describe(api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("reading the API description: %w", err)
	}
	assets, err := docAssets()
	if err != nil {
		return nil, fmt.Errorf("reading the API page: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			reply.Error(w, r, reply.Refuse(reply.Method, "method not allowed", nil))
			return
		}
		name, below := strings.CutPrefix(r.URL.Path, "/doc/")
		switch {
		case r.URL.Path == "/openapi.json":
			description.serve(w, r)
		case r.URL.Path == "/doc":
			setDocHeaders(w.Header())
			assets["index.html"].serve(w, r)
		case below && name == "":
			// http.Redirect would make the address absolute and lose a
			// prefix that was stripped.
			w.Header().Set("Location", "../doc")
			w.WriteHeader(http.StatusMovedPermanently)
		case below && assets[name] != nil:
			setDocHeaders(w.Header())
			assets[name].serve(w, r)
		default:
			reply.Error(w, r, errPath)
		}
	}), nil
}

// apiDescription is the document as JSON, cut open where its servers stand.
type apiDescription struct{ head, tail []byte }

// describe turns the YAML into JSON. It keeps the order of the keys: pages and
// generators show operations and fields in the order in which they are written.
func describe(text string) (apiDescription, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return apiDescription{}, err
	}
	const mark = `"servers":`
	var b bytes.Buffer
	if err := writeJSON(&b, &doc); err != nil {
		return apiDescription{}, err
	}
	head, rest, ok := bytes.Cut(b.Bytes(), []byte(mark))
	if !ok {
		return apiDescription{}, fmt.Errorf("no servers")
	}
	// Skip the value; what follows it begins with a comma or ends the object.
	dec := json.NewDecoder(bytes.NewReader(rest))
	var servers json.RawMessage
	if err := dec.Decode(&servers); err != nil {
		return apiDescription{}, err
	}
	return apiDescription{
		head: append(bytes.Clone(head), mark...),
		tail: bytes.Clone(rest[dec.InputOffset():]),
	}, nil
}

// writeJSON writes a YAML node as JSON, keys in their order.
func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		return writeJSON(b, n.Content[0])
	case yaml.AliasNode:
		return writeJSON(b, n.Alias)
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			key, err := json.Marshal(n.Content[i].Value)
			if err != nil {
				return err
			}
			b.Write(key)
			b.WriteByte(':')
			if err := writeJSON(b, n.Content[i+1]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, item); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	b.Write(out)
	return nil
}

func (d apiDescription) serve(w http.ResponseWriter, r *http.Request) {
	type server struct {
		URL         string `json:"url"`
		Description string `json:"description"`
	}
	// A relative URL is resolved against the address of the document itself
	// (OpenAPI 3.1 §4.8.5).
	servers := []server{{"./", "where this document comes from"}}
	if x, ok := r.Context().Value(stateKey{}).(*exchange); ok && x.route != nil {
		base := x.route.srv.links.base(r, x.prefix)
		servers = append(servers, server{strings.TrimRight(base, "/") + "/", "the address in links"})
	}
	list, err := json.Marshal(servers)
	if err != nil { // strings only: cannot happen
		reply.Error(w, r, err)
		return
	}
	body := make([]byte, 0, len(d.head)+len(list)+len(d.tail))
	body = append(append(append(body, d.head...), list...), d.tail...)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", etagOf(body))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func etagOf(b []byte) string {
	sum := sha256.Sum256(b)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}

// setDocHeaders says what the page may do: run and load what comes from here,
// and talk to here.
func setDocHeaders(h http.Header) {
	// Swagger UI has its icons as data: URLs and shows downloaded images
	// from blob: URLs.
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "+
		"media-src blob:; connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
}

// asset is one embedded file.
type asset struct {
	contentType string
	body        []byte
	packed      bool // body is compressed with gzip
	etag        string
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache") // asks again; the answer is a 304
	body, etag := a.body, a.etag
	if a.packed {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
		} else {
			// Rare enough not to keep the megabyte unpacked.
			var err error
			if body, err = unpack(a.body); err != nil {
				reply.Error(w, r, err)
				return
			}
			// Two representations, two validators (RFC 9110 §8.8.3.3).
			etag = strings.TrimSuffix(a.etag, `"`) + `-plain"`
		}
	}
	h.Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3) as browsers send it.
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
			q := strings.ReplaceAll(params, " ", "")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") && q != "q=0" && !strings.HasPrefix(q, "q=0.0") {
				return true
			}
		}
	}
	return false
}

// docAssets reads the parts of Swagger UI that the page needs, and the page.
func docAssets() (map[string]*asset, error) {
	assets := map[string]*asset{
		"index.html": newAsset("text/html; charset=utf-8", []byte(docPage)),
		"start.js":   newAsset("text/javascript; charset=utf-8", []byte(docStart)),
		"page.css":   newAsset("text/css; charset=utf-8", []byte(docStyle)),
	}
	icon, err := static.FS.ReadFile("favicon-32x32.png")
	if err != nil {
		return nil, err
	}
	assets["favicon.png"] = newAsset("image/png", icon)
	for name, contentType := range map[string]string{
		"swagger-ui.css":       "text/css; charset=utf-8",
		"swagger-ui-bundle.js": "text/javascript; charset=utf-8",
	} {
		packed, err := static.FS.ReadFile(name + ".gz")
		if err != nil {
			return nil, err
		}
		assets[name] = newAsset(contentType, packed)
		assets[name].packed = true
	}
	return assets, nil
}

func newAsset(contentType string, body []byte) *asset {
	return &asset{contentType: contentType, body: body, etag: etagOf(body)}
}

// The page is at …/doc, so that a relative reference begins at the daemon's
// root, whatever its prefix.
const docPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fileshare API</title>
<link rel="icon" type="image/png" href="doc/favicon.png">
<link rel="stylesheet" href="doc/swagger-ui.css">
<link rel="stylesheet" href="doc/page.css">
</head>
<body>
<div id="api"></div>
<noscript>This page needs JavaScript; the description itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="doc/swagger-ui-bundle.js"></script>
<script src="doc/start.js"></script>
</body>
</html>
`

const docStyle = `body { margin: 0; background: #fafafa }
.swagger-ui .info { margin: 30px 0 }
`

// The answer of a call may set the page's address right (a proxy may have
// added a slash); the document's address is taken from the script's.
const docStart = `"use strict";
SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 1,
  tryItOutEnabled: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
`
