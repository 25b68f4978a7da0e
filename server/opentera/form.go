package opentera

import (
	"io"
	"mime"
	"net/http"

	"fileshare/server/dialect"
	"fileshare/store"
)

// received is the file of a form, to be discarded or attached.
type received struct {
	name    string // as it was sent
	content *store.Content
}

// receive reads a form that has a file and a field which describes it, in either
// order. describe gets the text of the field: if it fails when the field comes
// first, the file need not be read. After an error nothing is to be discarded.
func (a *api) receive(r *http.Request, c who, field string, describe func(text []byte) error) (in received, err error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "multipart/form-data" {
		return in, invalid("Wrong content type: multipart/form-data is expected")
	}
	form, err := a.Form(r, c.Caller)
	if err != nil {
		return in, err
	}
	defer form.Close()
	defer func() {
		if err != nil {
			in.content.Discard()
		}
	}()
	described := false
	for {
		part, err := form.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return in, err
		}
		switch part.FormName() {
		case field:
			if described {
				return in, invalid(field + " is there twice")
			}
			described = true
			text, err := form.Value(part, mostJSON)
			if err != nil {
				return in, err
			}
			if err := describe([]byte(text)); err != nil {
				return in, err
			}
		case "file":
			if err := in.take(form, part); err != nil {
				return in, err
			}
		}
	}
	switch {
	case !described:
		return in, invalid("Missing " + field)
	case in.content == nil:
		return in, invalid("Missing uploaded file")
	}
	return in, nil
}

// take receives the file.
func (in *received) take(form *dialect.Form, part *dialect.Part) (err error) {
	switch in.name = part.FileName(); {
	case in.content != nil:
		return invalid("More than one uploaded file")
	case !part.HasFileName():
		return invalid("Missing uploaded file")
	case in.name == "":
		return invalid("Missing filename")
	}
	in.content, err = form.Content(part)
	return err
}

// readNumbered reads a body {name: {id: number, …}} and returns the inner object
// and the number.
func readNumbered(r *http.Request, name, id string) (o object, n int64, err error) {
	body, err := dialect.Body(r, mostJSON)
	if err != nil {
		return nil, 0, err
	}
	all, err := parseObject(body, "")
	if err != nil {
		return nil, 0, err
	}
	o, ok, err := all.object(name)
	if err == nil && !ok {
		err = invalid("Missing " + name)
	}
	if err != nil {
		return nil, 0, err
	}
	n, ok, err = o.number(id)
	if err == nil && !ok {
		err = invalid("Missing " + id)
	}
	return o, n, err
}
