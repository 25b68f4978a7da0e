package server

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"fileshare/server/dialect"
	"fileshare/server/multipart"
	"fileshare/server/reply"
	"fileshare/store"
)

// maxFields is the most bytes of a JSON or form body, and of one form field.
const maxFields = 64 << 10

// fields is what a client said: members of a JSON object, form fields, and what
// stands beside a body. What is not there, or null, was not said.
type fields struct {
	json map[string]json.RawMessage
	form url.Values // what json does not say
	body url.Values // of it, what the body says
}

// readFields reads a body that is none, JSON, or a form of either type, and what
// query and headers say that it does not.
func (s *server) readFields(r *http.Request) (fields, error) {
	f, err := s.readBody(r)
	if err != nil {
		return f, err
	}
	said, err := besideBody(r)
	if err != nil {
		return f, err
	}
	maps.Copy(said, f.form)
	f.form, f.body = said, f.form
	return f, nil
}

// readBody reads a body that is none, JSON, or a form of either type.
func (s *server) readBody(r *http.Request) (fields, error) {
	ct := r.Header.Get("Content-Type")
	mt, _, err := mime.ParseMediaType(ct)
	if err != nil {
		mt = ""
	}
	if mt == "multipart/form-data" {
		return s.readForm(r)
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxFields+1))
	if err != nil {
		return fields{}, err
	}
	if len(data) > maxFields {
		return fields{}, store.Refuse(store.TooLarge, "the request body is too large")
	}
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0:
		return fields{}, nil
	case mt == "application/json", strings.HasSuffix(mt, "+json"), data[0] == '{' && (mt == "application/x-www-form-urlencoded" || ct == ""):
		// curl -d '{…}' calls JSON a form.
		var f fields
		if !utf8.Valid(data) {
			return f, invalid("the body is not UTF-8")
		}
		if err := json.Unmarshal(data, &f.json); err != nil {
			return f, store.RefuseCause(store.Invalid, "the body is not a JSON object", err)
		}
		return f, nil
	case mt == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(data))
		if err != nil {
			return fields{}, store.RefuseCause(store.Invalid, "the form is malformed", err)
		}
		return fields{form: form}, nil
	}
	return fields{}, reply.Refuse(reply.MediaType, "the body must be JSON or a form", nil)
}

// readForm reads a multipart form in which no file is expected.
func (s *server) readForm(r *http.Request) (fields, error) {
	boundary, err := multipart.Boundary(r.Header.Get("Content-Type"))
	if err != nil {
		return fields{}, dialect.FormError(err)
	}
	mr := multipart.NewReader(r.Body, boundary, s.o.Limits)
	defer mr.Close()
	f := fields{form: url.Values{}}
	total := 0
	for {
		part, err := mr.Next()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return f, dialect.FormError(err)
		}
		if part.HasFileName() {
			return f, invalid("no file is expected here")
		}
		v, err := part.Value(maxFields - total)
		if err != nil {
			return f, dialect.FormError(err)
		}
		total += len(v)
		f.form.Add(part.FormName(), v)
	}
}

func invalid(message string) error { return store.Refuse(store.Invalid, message) }

// text returns a string.
func (f fields) text(name string) (*string, error) {
	if raw, ok := f.member(name); ok {
		var v string
		if json.Unmarshal(raw, &v) != nil {
			return nil, invalid(name + " must be a string")
		}
		return &v, nil
	}
	if v, ok := f.form[name]; ok {
		return &v[len(v)-1], nil
	}
	return nil, nil
}

// number returns digits, bare or in a string.
func (f fields) number(name string) (*int64, error) {
	var text string
	if raw, ok := f.member(name); ok {
		text = string(raw)
		if raw[0] == '"' && json.Unmarshal(raw, &text) != nil {
			text = ""
		}
	} else if v, ok := f.form[name]; ok {
		text = v[len(v)-1]
	} else {
		return nil, nil
	}
	n, err := parseDigits(name, text)
	return &n, err
}

// seconds returns a time to live.
func (f fields) seconds(name string) (*time.Duration, error) {
	n, err := f.number(name)
	if n == nil || err != nil {
		return nil, err
	}
	return ttl(name, *n)
}

// list returns strings.
func (f fields) list(name string) (*[]string, error) {
	if raw, ok := f.member(name); ok {
		var v []string
		if json.Unmarshal(raw, &v) != nil {
			return nil, invalid(name + " must be a list of strings")
		}
		return &v, nil
	}
	if v, ok := f.form[name]; ok {
		return &v, nil
	}
	return nil, nil
}

func (f fields) member(name string) (json.RawMessage, bool) {
	raw, ok := f.json[name]
	return raw, ok && string(raw) != "null"
}

// parseDigits reads a number that is digits only.
func parseDigits(name, s string) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, invalid(name + " must be a number in digits")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, invalid(name + " is too large")
	}
	return n, nil
}

func ttl(name string, seconds int64) (*time.Duration, error) {
	switch {
	case seconds < 1:
		return nil, invalid(name + " must be at least 1")
	case seconds > int64(math.MaxInt64/time.Second):
		return nil, invalid(name + " is too large")
	}
	return new(time.Duration(seconds) * time.Second), nil
}

// fileSpec reads what may be said of a file in fields.
func (f fields) fileSpec() (spec store.FileSpec, err error) {
	if len(f.json) == 0 && len(f.form) == 0 {
		return spec, nil
	}
	if err = f.refuseLost("ttl", "max_downloads"); err != nil {
		return spec, err
	}
	if spec.Name, err = f.text("name"); err != nil {
		return spec, err
	}
	if spec.TTL, err = f.seconds("ttl"); err != nil {
		return spec, err
	}
	if spec.MaxDownloads, err = f.number("max_downloads"); err != nil {
		return spec, err
	}
	tags, err := f.list("tags")
	if tags != nil {
		spec.Tags = new(tidyTags(*tags))
	}
	return spec, err
}

// tidyTags drops what people leave in forms: spaces around tags, empty ones,
// repeated ones.
func tidyTags(tags []string) []string {
	out := []string{}
	for _, t := range tags {
		if t = strings.TrimSpace(t); t != "" && !slices.Contains(out, t) {
			out = append(out, t)
			if len(out) > maxFormTags {
				break // the engine will refuse them
			}
		}
	}
	return out
}

// maxFormTags bounds the work on tags that the engine refuses anyway.
const maxFormTags = 100

// headerSpec reads what may be said of a file in query and headers.
func headerSpec(r *http.Request) (store.FileSpec, error) {
	said, err := besideBody(r)
	if err != nil {
		return store.FileSpec{}, err
	}
	return fields{form: said}.fileSpec()
}

// besideBody reads the query, and those headers that stand for fields. The query
// goes first.
func besideBody(r *http.Request) (url.Values, error) {
	form := url.Values{}
	if r.URL.RawQuery != "" {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, invalid("the query is malformed")
		}
		form = q
	}
	for header, v := range r.Header {
		name, ok := strings.CutPrefix(header, "X-Fileshare-")
		if !ok {
			continue
		}
		if name = strings.ReplaceAll(strings.ToLower(name), "-", "_"); form[name] != nil {
			continue
		}
		if name == "tags" {
			v = strings.Split(strings.Join(v, ","), ",")
		} else if limitMeant(name) == "" {
			continue
		}
		form[name] = v
	}
	return form, nil
}

// mediaType cleans a Content-Type for storing. nil: it says nothing, the
// engine looks at name and bytes.
func mediaType(ct string) *string {
	t := store.MediaType(ct)
	if mt, _, _ := strings.Cut(t, ";"); mt == "" || mt == "application/x-www-form-urlencoded" {
		return nil // the second is what curl says of any --data
	}
	return &t
}
