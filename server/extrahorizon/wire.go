package extrahorizon

import (
	"crypto/subtle"
	"time"

	wire "fileshare/api"
	"fileshare/server/extrahorizon/rql"
	"fileshare/store"
)

// attributes that we keep with a file.
const attrUnnamed = "extrahorizon.unnamed" // its name was empty

// token is what opens a file.
type token struct {
	Token       string `json:"token"`
	AccessLevel string `json:"accessLevel"`
}

// Get makes it a record for queries.
func (t token) Get(field string) (rql.Value, bool) {
	switch field {
	case "token":
		return rql.Value{Text: t.Token}, true
	case "accessLevel":
		return rql.Value{Text: t.AccessLevel}, true
	}
	return rql.Value{}, false
}

// The parts of a token: 24 digits of the file, a dash, the id of the grant.
const (
	filePart    = 24
	tokenLength = filePart + 1 + 36
)

// tokenText is how a token is shown.
func tokenText(file, grant string) string { return idOf("file", file) + "-" + grant }

// grantOf returns the grant in a token's text; ok is false for what cannot be
// a token. Whether its first part is right, [isToken] tells.
func grantOf(text string) (grant string, ok bool) {
	if len(text) != tokenLength || text[filePart] != '-' {
		return "", false
	}
	return text[filePart+1:], true
}

// isToken compares in constant time.
func isToken(text string, t *store.Token) bool {
	return subtle.ConstantTimeCompare([]byte(text), []byte(tokenText(t.File, t.ID))) == 1
}

// file is a file as the service tells it.
type file struct {
	*store.File
	name    string
	creator string         // user id, empty = anonymous
	read    func() []token // reads the tokens
	tokens  []token
	known   bool // tokens were read
}

// file makes a file of one of the engine's. tokens reads its tokens when
// somebody asks for them.
func (a *api) file(f *store.File, tokens func() []token) *file {
	return &file{File: f, name: nameOf(f), creator: a.Store.AccountID(f.Owner), read: tokens}
}

// nameOf returns the name as the client sent it, unless the file was renamed
// since.
func nameOf(f *store.File) string {
	switch {
	case f.Attrs[attrUnnamed] != "" && f.Name == store.CleanName(""):
		return ""
	case f.OriginalName == f.Name, store.CleanName(f.OriginalName) == f.Name:
		return f.OriginalName
	}
	return f.Name
}

func (f *file) allTokens() []token {
	if !f.known {
		f.tokens, f.known = f.read(), true
	}
	return f.tokens
}

// Get makes it a record for queries.
func (f *file) Get(field string) (rql.Value, bool) {
	switch field {
	case "name":
		return rql.Value{Text: f.name}, true
	case "mimetype":
		return rql.Value{Text: f.Type}, true
	case "size":
		return rql.Value{Number: float64(f.Size)}, true
	case "tags":
		return rql.Value{Texts: f.Tags}, true
	case "creatorId":
		return rql.Value{Text: f.creator}, f.creator != ""
	case "creationTimestamp":
		return rql.Value{Number: float64(f.Created.UnixMilli())}, true
	case "updateTimestamp":
		return rql.Value{Number: float64(f.Updated.UnixMilli())}, true
	case "expiryTimestamp":
		return rql.Value{Number: float64(f.Expires.UnixMilli())}, true
	case "tokens":
		var v rql.Value
		for _, t := range f.allTokens() {
			v.Objects = append(v.Objects, t)
		}
		return v, true
	}
	return rql.Value{}, false
}

// made implements listed.
func (f *file) made() (time.Time, string) { return f.Created, f.ID }

// details is the object that is answered. tokens says whether it has its
// tokens.
func (f *file) details(tokens bool) map[string]any {
	all := map[string]any{
		"name": f.name, "mimetype": f.Type, "size": f.Size, "tags": append([]string{}, f.Tags...),
		"creationTimestamp": stamp(f.Created), "updateTimestamp": stamp(f.Updated), "expiryTimestamp": stamp(f.Expires),
	}
	if f.creator != "" {
		all["creatorId"] = f.creator
	}
	if tokens {
		all["tokens"] = append([]token{}, f.allTokens()...)
	}
	return all
}

func stamp(t time.Time) wire.Time { return wire.Time{Time: t} }
