package extrahorizon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"

	"fileshare/server/dialect"
	"fileshare/server/extrahorizon/rql"
	"fileshare/server/multipart"
	"fileshare/server/reply"
	"fileshare/store"
)

// Bounds of a file's tokens that are told, and of form fields.
const (
	mostTokens = 10_000 // in the details of a file
	mostListed = 1000   // of each file of a list
	mostName   = 1024   // bytes
	mostTags   = 4 << 10
)

// postFile takes a form. What is said of the file comes after it: the SDK
// writes name, file, tags.
func (a *api) postFile(w http.ResponseWriter, r *http.Request) error {
	who, err := a.caller(r)
	if err != nil {
		return err
	}
	ct := r.Header.Get("Content-Type")
	if ct == "" && r.ContentLength == 0 {
		return refuse(codeEmptyBody, "the body is empty")
	}
	ttl, err := a.TTL(r)
	if err != nil {
		return err
	}
	form, err := a.Form(r, who.Caller)
	if err != nil {
		return formFault(err)
	}
	defer form.Close()
	in := incoming{form: form, tags: []string{}}
	err = in.read()
	if err == nil && in.content == nil {
		err = refuse(codeMissingFields, "the form has no part named file")
	}
	if err == nil {
		err = a.create(w, r, who.Caller, &in, store.FileSpec{TTL: ttl})
	}
	if err != nil {
		in.content.Discard()
		return formFault(err)
	}
	return nil
}

// formFault tells that a form is none or is damaged; the engine's refusals
// stay what they are.
func formFault(err error) error {
	for _, bad := range []error{multipart.ErrMalformed, multipart.ErrTruncated, multipart.ErrNotForm, multipart.ErrTooManyParts, multipart.ErrHeaderTooLarge} {
		if errors.Is(err, bad) {
			return refuseCause(codeBodyFormat, "the body must be multipart/form-data", err)
		}
	}
	return err
}

// incoming is a form on its way in.
type incoming struct {
	form    *dialect.Form
	name    *string // field name
	said    string  // file name of the part
	typ     string  // Content-Type of the part; empty = none
	tags    []string
	content *store.Content
}

func (in *incoming) read() error {
	for {
		part, err := in.form.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch name := part.FormName(); name {
		case "file":
			if in.content != nil {
				return refuse(codeFieldFormat, "the form has more than one file")
			}
			in.said, in.typ = part.FileName(), part.ContentType()
			if in.content, err = in.form.Content(part); err != nil {
				return err
			}
		case "name":
			v, err := in.form.Value(part, mostName)
			if err != nil {
				return err
			}
			in.name = &v
		case "tags", "tags[]":
			v, err := in.form.Value(part, mostTags)
			if err != nil {
				return err
			}
			in.addTags(name, v)
		}
	}
}

// addTags takes a tag, or under the name tags a JSON list of them.
func (in *incoming) addTags(field, value string) {
	var list []string
	if field == "tags" && value != "" && value[0] == '[' && json.Unmarshal([]byte(value), &list) == nil {
		in.tags = append(in.tags, list...)
		return
	}
	in.tags = append(in.tags, value)
}

func (a *api) create(w http.ResponseWriter, r *http.Request, c store.Caller, in *incoming, spec store.FileSpec) error {
	name := in.said
	if in.name != nil {
		name = *in.name
	}
	spec.Name, spec.Tags = &name, &in.tags
	if in.typ != "" {
		spec.Type = &in.typ
	}
	if name == "" {
		spec.Attrs = &map[string]string{attrUnnamed: "1"}
	}
	spec.Grant = &store.TokenSpec{Access: store.AccessFull}
	f, err := a.Store.CreateUpload(r.Context(), c, spec, in.content)
	if err != nil {
		return err
	}
	first := []token{tokenOf(f.Grant)}
	return reply.JSON(w, a.file(f, func() []token { return first }).details(true))
}

// tokenOf is how a token of the engine is shown.
func tokenOf(t *store.Token) token {
	level := levelRead
	if t.Access == store.AccessFull {
		level = levelFull
	}
	return token{Token: tokenText(t.File, t.ID), AccessLevel: level}
}

// Access levels, as they are spelled.
const (
	levelRead = "read"
	levelFull = "full"
)

// held is a file with the token by which it is reached.
type held struct {
	file  *store.File
	token *store.Token
}

func (h held) full() bool           { return h.token.Access == store.AccessFull }
func (h held) caller() store.Caller { return store.Caller{Grant: h.token.ID} }
func (h held) ref() store.Ref       { return store.Ref{Session: h.file.Session, File: h.file.ID} }

// held finds what the path's token opens. Whatever is wrong with the token or
// its file is one error: the token is not good.
func (a *api) held(r *http.Request, text string) (held, error) {
	grant, ok := grantOf(text)
	if !ok {
		return held{}, refuse(codeToken, "the token is invalid")
	}
	token, file, err := a.Store.Grant(r.Context(), grant)
	if err != nil {
		if codeOf(err) == codeToken {
			err = refuseCause(codeToken, "the token is invalid", err)
		}
		return held{}, err
	}
	if !isToken(text, token) || file.State != store.StateUploaded {
		return held{}, refuse(codeToken, "the token is invalid")
	}
	return held{file, token}, nil
}

// managed is held for what only a token with full access may do.
func (a *api) managed(r *http.Request) (held, error) {
	h, err := a.held(r, a.Var(r, "token"))
	if err == nil && !h.full() {
		err = refuse(codeReadToken, "the token has no full access")
	}
	return h, err
}

func (a *api) getDetails(w http.ResponseWriter, r *http.Request) error {
	h, err := a.held(r, a.Var(r, "token"))
	if err != nil {
		return err
	}
	var tokens []token
	if h.full() {
		if tokens, err = a.tokens(r.Context(), h.caller(), h.file, mostTokens); err != nil {
			return err
		}
	}
	return reply.JSON(w, a.file(h.file, func() []token { return tokens }).details(h.full()))
}

// tokens returns the tokens of a file, the first one made first, at most so
// many.
func (a *api) tokens(ctx context.Context, c store.Caller, f *store.File, most int) ([]token, error) {
	all := []token{}
	q := store.Query{Limit: 1000}
	for {
		page, err := a.Store.Tokens(ctx, c, store.Ref{Session: f.Session, File: f.ID}, q)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Items {
			if t.State != store.StateDownloaded {
				all = append(all, tokenOf(t))
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" || len(all) >= most {
			slices.Reverse(all)
			return all, nil
		}
	}
}

// getContent sends the bytes. Where downloads need an account, a login that is
// good counts; one that is not is none.
func (a *api) getContent(w http.ResponseWriter, r *http.Request) error {
	h, err := a.held(r, a.Var(r, "token"))
	if err != nil {
		return err
	}
	s, _, err := a.readSettings(r.Context())
	if err != nil {
		return err
	}
	var c store.Caller
	if who, err := a.caller(r); err == nil {
		c = who.Caller
	}
	ref := h.ref()
	ref.Token = h.token.ID
	return a.Serve(w, r, c, ref, dialect.Serving{Inline: s.shows(h.file.Type)})
}

// deleteFile answers 200: of 204 the SDK says that nothing was removed.
func (a *api) deleteFile(w http.ResponseWriter, r *http.Request) error {
	h, err := a.managed(r)
	if err != nil {
		return err
	}
	if err := a.Store.DeleteFile(r.Context(), h.caller(), h.ref()); err != nil {
		return err
	}
	return reply.JSON(w, affected{1})
}

func (a *api) postToken(w http.ResponseWriter, r *http.Request) error {
	h, err := a.managed(r)
	if err != nil {
		return err
	}
	said, err := readObject(r)
	if err != nil {
		return err
	}
	spec := store.TokenSpec{Access: store.AccessRead}
	if raw := said["accessLevel"]; raw != nil && string(raw) != "null" {
		var level string
		if err := json.Unmarshal(raw, &level); err != nil || level != levelRead && level != levelFull {
			return refuseCause(codeFieldFormat, "accessLevel must be read or full", err)
		}
		spec.Access = store.Access(level)
	}
	t, err := a.Store.CreateToken(r.Context(), h.caller(), h.ref(), spec)
	if err != nil {
		return err
	}
	return reply.JSON(w, tokenOf(t))
}

// deleteToken removes a token of the same file.
func (a *api) deleteToken(w http.ResponseWriter, r *http.Request) error {
	h, err := a.managed(r)
	if err != nil {
		return err
	}
	text := a.Var(r, "other")
	grant, ok := grantOf(text)
	if !ok || text != tokenText(h.file.ID, grant) {
		return refuse(codeToken, "the token to delete is invalid")
	}
	ref := h.ref()
	ref.Token = grant
	err = a.Store.DeleteToken(r.Context(), h.caller(), ref)
	if store.KindOf(err) == store.Conflict {
		return refuseCause(codeLastToken, "the last token with full access cannot be deleted", err)
	}
	if err != nil {
		return err
	}
	return reply.JSON(w, affected{1})
}

// getFiles answers a question about files.
func (a *api) getFiles(w http.ResponseWriter, r *http.Request) error {
	c, err := a.permitted(r, store.ViewFiles)
	if err != nil {
		return err
	}
	query, err := rql.Parse(r.URL.RawQuery, fields())
	if err != nil {
		return refuse(codeRQL, err.Error())
	}
	select {
	case a.finding <- struct{}{}:
		defer func() { <-a.finding }()
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	q := question{a: a, ctx: r.Context(), caller: c, query: query}
	found, err := q.find()
	if err != nil {
		return err
	}
	answer := listOf(query, found.page)
	q.looks = a.o.Looks
	for _, f := range found.files {
		answer.add(query, f.details(query.Select == nil || slices.Contains(query.Select, "tokens")))
	}
	if q.failed != nil {
		return q.failed
	}
	return reply.JSON(w, answer)
}
