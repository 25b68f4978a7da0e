// Package dialect is what the server and the foreign APIs below it say to each
// other. An [API] is a table of routes and a way to answer errors; a [Host] is
// what the server does for all of them alike: passwords, links, bodies,
// downloads. A dialect parses what is its own, calls the engine, and shapes
// the answer.
package dialect

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"fileshare/server/multipart"
	"fileshare/server/reply"
	"fileshare/store"
)

// Handler is a call: it answers, or returns why not, with nothing written.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Route is a path and what it has to offer. Path is a template of gorilla/mux,
// without a prefix; a slash at its end makes another path. HEAD goes to Get.
// Options is for preflight requests; without it OPTIONS answers Allow.
type Route struct {
	Alias                                  bool // of another route: not in the API's description
	Path                                   string
	Get, Post, Put, Patch, Delete, Options Handler
}

// API is a foreign API. Nobody is authenticated for it: that is the handlers'
// own first step.
type API struct {
	Name   string // as in apis.NAME of the configuration
	Routes []Route
	// Headers (may be nil) sets what every answer of the API carries.
	Headers func(h http.Header, r *http.Request)
	// Fail answers an error on the API's routes, those of the server itself
	// (405, panics) too, and tells what it became; see [reply.Statuses] and
	// [reply.Answer.Write]. It must not fail in its turn.
	Fail func(w http.ResponseWriter, r *http.Request, err error) reply.Answer
}

// Host is what the server offers. None of its functions is nil; they are for
// the time of a request.
type Host struct {
	Store *store.Store
	Log   *slog.Logger // adds the request's id; never a token or a password into it
	Docs  http.Handler // the native description at /doc, /doc/…, /openapi.json; answers 404 where there is none

	Public bool // Base is configured, not taken from the request
	// Base is scheme, host and prefix of links in the answer to r.
	Base func(r *http.Request) string
	// Address is the client's address, for store.Caller; empty where it is not to be
	// kept.
	Address func(r *http.Request) string
	// Trusted tells whether the peer is a proxy that is to be believed.
	Trusted func(r *http.Request) bool
	// Var is a variable of the route's template.
	Var func(r *http.Request, name string) string
	// SetCaller names the caller in log lines.
	SetCaller func(r *http.Request, c store.Caller)

	// Basic tells who sends Basic credentials; the zero Caller without an
	// Authorization header, refusals as Password. It is Denied to change
	// something when a page of another site makes a browser send them.
	Basic func(r *http.Request) (store.Caller, error)
	// Password checks the password of an account: Unauthenticated if it is
	// wrong, RateLimited after too many wrong ones.
	Password func(r *http.Request, name, password string) (store.Caller, error)

	// Account returns the account of exactly this name: what a login or a record
	// names.
	Account func(name string) (Account, bool)
	// Find finds an account by what people type: its name, or its email address
	// where no name is that. It is not for what we have written down: the account
	// of that name may have gone, and the address be another's.
	Find func(name string) (Account, bool)
	// Key finds an account as Find does, with its API key: to check what was
	// signed with it. Empty: it has none.
	Key func(name string) (Account, string, bool)
	// Keyed finds the account that has an API key.
	Keyed func(key string) (Account, bool)

	// TTL reads X-Fileshare-TTL; nil where it is not there.
	TTL func(r *http.Request) (*time.Duration, error)
	// Raw receives the body as the content of an upload of the caller's, after
	// asking whether he may; a digest in the headers is verified.
	Raw func(r *http.Request, c store.Caller) (*store.Content, error)
	// Form reads a multipart form with a file in it, likewise. Close it.
	Form func(r *http.Request, c store.Caller) (*Form, error)
	// Serve answers with the bytes of a content: ranges, conditions, counting.
	// The engine decides whether the caller may open it; a link without more
	// may be enough for that.
	Serve func(w http.ResponseWriter, r *http.Request, c store.Caller, ref store.Ref, as Serving) error
	// Archive answers with several contents as an archive ("zip" or "tar")
	// called name: ranges, conditions, counting, too.
	Archive func(w http.ResponseWriter, r *http.Request, c store.Caller, format, name string, files []Archived) error
}

// Archived is a file of an archive, and its name in there: a relative path.
type Archived struct {
	Ref  store.Ref
	File *store.File
	Name string
}

// Account is an account as the configuration has it now.
type Account struct {
	store.Caller
	Email string // empty = not known
}

// Serving says how a content is shown. The zero value is an attachment with
// the file's type and name.
type Serving struct {
	Type    string                             // Content-Type
	Name    string                             // file name of Content-Disposition
	Inline  bool                               // instead of attachment
	Headers func(h http.Header, f *store.File) // may be nil; has the last word
}

// Body reads a body of at most most bytes.
func Body(r *http.Request, most int) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, int64(most)+1))
	if err != nil {
		return nil, reply.BodyError(err)
	}
	if len(b) > most {
		return nil, store.Refuse(store.TooLarge, "the request body is too large")
	}
	return b, nil
}

// Part is a part of a form.
type Part = multipart.Part

// Form yields the parts of a form. All its errors are refusals, or the
// storage's.
type Form struct {
	parts   *multipart.Reader
	receive func(*Part) (*store.Content, error)
}

// NewForm makes a form of its parts; receive takes one as a content.
func NewForm(parts *multipart.Reader, receive func(*Part) (*store.Content, error)) *Form {
	return &Form{parts: parts, receive: receive}
}

// Next returns the next part, io.EOF after the last.
func (f *Form) Next() (*Part, error) {
	p, err := f.parts.Next()
	return p, FormError(err)
}

// Value reads a field of at most most bytes.
func (f *Form) Value(p *Part, most int) (string, error) {
	v, err := p.Value(most)
	return v, FormError(err)
}

// Content receives a part as the content of a file: attach or discard it. A
// digest in the part's header is verified.
func (f *Form) Content(p *Part) (*store.Content, error) { return f.receive(p) }

// Close gives back what the form has borrowed.
func (f *Form) Close() { f.parts.Close() }
