package opentera

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// mostAhead is how far into a body a token is looked for, in bytes: one that a
// client puts there stands before the file.
const mostAhead = mostJSON

// bodyToken is the token in the body of a request, a member of the JSON or a
// field of the form; empty if there is none. Whoever reads the body next finds
// all of it.
func bodyToken(r *http.Request) string {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.Body == nil {
		return ""
	}
	ahead := bufio.NewReaderSize(r.Body, mostAhead)
	r.Body = struct {
		io.Reader
		io.Closer
	}{ahead, r.Body}
	start, _ := ahead.Peek(mostAhead) // an error comes again
	switch kind {
	case "application/json":
		o, err := parseObject(start, "")
		if err != nil {
			return ""
		}
		token, _, _ := o.text("token")
		return token
	case "multipart/form-data":
		return formToken(start, params["boundary"])
	}
	return ""
}

// formToken is the field token of a form, of which the start is there.
func formToken(start []byte, boundary string) string {
	form := multipart.NewReader(bytes.NewReader(start), boundary)
	for {
		part, err := form.NextRawPart()
		if err != nil {
			return ""
		}
		if part.FormName() != "token" || part.FileName() != "" {
			continue
		}
		token, err := io.ReadAll(part)
		if err != nil || len(token) > mostText {
			return ""
		}
		return string(token)
	}
}
