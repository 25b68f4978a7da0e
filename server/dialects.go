package server

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/extrahorizon"
	"fileshare/server/filesender"
	"fileshare/server/molgenis"
	"fileshare/server/multipart"
	"fileshare/server/opentera"
	"fileshare/store"
)

// What the foreign APIs are configured with.
type (
	ExtraHorizon       = extrahorizon.Options
	ExtraHorizonClient = extrahorizon.Client
	OpenTeraCaller     = opentera.Caller
)

// FileSender is what its API is configured with.
type FileSender = filesender.Options

// OpenTera is what its API is configured with.
type OpenTera struct {
	Participants, Devices []OpenTeraCaller
	// Passwords tells which participant sends Basic credentials; nil: none
	// has a password.
	Passwords Authenticator
}

func (o *OpenTera) basic(r *http.Request) (string, error) {
	if o.Passwords == nil {
		return "", nil
	}
	c, err := o.Passwords.Authenticate(r)
	return c.Name, err
}

// dialects are the foreign APIs that are switched on.
func (s *server) dialects() []dialect.API {
	h := s.host()
	var all []dialect.API
	if s.o.Molgenis {
		all = append(all, molgenis.New(h))
	}
	if o := s.o.OpenTera; o != nil {
		all = append(all, opentera.New(h, opentera.Options{Participants: o.Participants, Devices: o.Devices, ParticipantBasic: o.basic}))
	}
	if s.o.ExtraHorizon != nil {
		all = append(all, extrahorizon.New(h, *s.o.ExtraHorizon))
	}
	if s.o.FileSender != nil {
		all = append(all, filesender.New(h, *s.o.FileSender))
	}
	if s.o.Tus {
		all = append(all, s.resumable())
	}
	for _, speak := range s.o.dialects {
		all = append(all, speak(h))
	}
	return all
}

// dialectRoutes are the routes of all foreign APIs.
func (s *server) dialectRoutes() []route {
	var table []route
	for _, api := range s.dialects() {
		for _, rt := range api.Routes {
			table = append(table, route{name: rt.Path, open: true, alias: rt.Alias, api: &api, get: handler(rt.Get), post: handler(rt.Post),
				put: handler(rt.Put), patch: handler(rt.Patch), delete: handler(rt.Delete), options: handler(rt.Options)})
		}
	}
	return table
}

// dress sets the headers that every answer of a foreign API carries.
func (rt *route) dress(w http.ResponseWriter, r *http.Request) {
	if rt.api != nil && rt.api.Headers != nil {
		rt.api.Headers(w.Header(), r)
	}
}

// host is what we do for foreign APIs.
func (s *server) host() dialect.Host {
	docs := s.o.Docs
	if docs == nil {
		docs = http.NotFoundHandler()
	}
	return dialect.Host{
		Store:     s.store,
		Log:       s.log,
		Docs:      docs,
		Public:    s.links.public != "",
		Base:      func(r *http.Request) string { return s.links.base(r, state(r).prefix) },
		Address:   s.kept,
		Trusted:   func(r *http.Request) bool { return s.links.trusts(r.RemoteAddr) },
		Var:       func(r *http.Request, name string) string { return state(r).vars[name] },
		SetCaller: func(r *http.Request, c store.Caller) { state(r).caller = c },
		Basic:     s.account,
		Password:  s.password,
		Account:   func(name string) (dialect.Account, bool) { return s.directory().Account(name) },
		Find:      func(name string) (dialect.Account, bool) { return s.directory().Find(name) },
		Key:       func(name string) (dialect.Account, string, bool) { return s.directory().Key(name) },
		Keyed:     func(key string) (dialect.Account, bool) { return s.directory().Keyed(key) },
		TTL: func(r *http.Request) (*time.Duration, error) {
			said := r.Header["X-Fileshare-Ttl"]
			if len(said) == 0 {
				return nil, nil
			}
			return fields{form: url.Values{"ttl": said}}.seconds("ttl")
		},
		Raw: func(r *http.Request, c store.Caller) (*store.Content, error) {
			if err := s.store.MayUpload(r.Context(), c, r.ContentLength); err != nil {
				return nil, err
			}
			return s.receive(r, c)
		},
		Form:    s.dialectForm,
		Serve:   s.dialectServe,
		Archive: s.sendArchive,
	}
}

// kept is the client's address where it may be kept.
func (s *server) kept(r *http.Request) string {
	if !s.o.Addresses {
		return ""
	}
	return s.links.client(r)
}

func (s *server) basic(r *http.Request) (store.Caller, error) {
	if s.o.Auth == nil {
		return store.Caller{}, nil
	}
	return s.o.Auth.Authenticate(r)
}

// Directory is an Authenticator that tells of accounts without a password.
type Directory interface {
	// Account returns the account of exactly this name.
	Account(name string) (dialect.Account, bool)
	// Find finds an account by its name, or by its email address where no name
	// is that.
	Find(name string) (dialect.Account, bool)
	// Key is Find, with the account's API key.
	Key(name string) (dialect.Account, string, bool)
	// Keyed finds the account that has an API key.
	Keyed(key string) (dialect.Account, bool)
}

type nobody struct{}

func (nobody) Account(string) (dialect.Account, bool)     { return dialect.Account{}, false }
func (nobody) Find(string) (dialect.Account, bool)        { return dialect.Account{}, false }
func (nobody) Key(string) (dialect.Account, string, bool) { return dialect.Account{}, "", false }
func (nobody) Keyed(string) (dialect.Account, bool)       { return dialect.Account{}, false }

func (s *server) directory() Directory {
	if d, ok := s.o.Auth.(Directory); ok {
		return d
	}
	return nobody{}
}

// password asks whoever knows accounts as if the credentials had come as Basic
// ones, so that every rule about them is in one place.
func (s *server) password(r *http.Request, name, password string) (store.Caller, error) {
	basic := r.Clone(r.Context())
	basic.Header.Del("Authorization")
	basic.SetBasicAuth(name, password)
	c, err := s.basic(basic)
	if err == nil && c.Name != name { // a colon in the name, or nobody knows accounts
		err = store.Refuse(store.Unauthenticated, "wrong user name or password")
	}
	if store.KindOf(err) == store.Unauthenticated {
		return store.Caller{}, store.Refuse(store.Unauthenticated, "wrong user name or password")
	}
	return c, err
}

func (s *server) dialectForm(r *http.Request, c store.Caller) (*dialect.Form, error) {
	parts, err := s.formReader(r, func(ctx context.Context, size int64) error { return s.store.MayUpload(ctx, c, size) })
	if err != nil {
		return nil, err
	}
	return dialect.NewForm(parts, func(p *multipart.Part) (*store.Content, error) { return s.receivePart(r, c, p) }), nil
}

func (s *server) dialectServe(w http.ResponseWriter, r *http.Request, c store.Caller, ref store.Ref, as dialect.Serving) error {
	d, err := s.store.Open(r.Context(), c, ref)
	if err != nil {
		return err
	}
	defer d.Close()
	f := d.File()
	h := w.Header()
	s.contentHeaders(h, r, d)
	if as.Type != "" {
		h.Set("Content-Type", as.Type)
	}
	name := f.Name
	if as.Name != "" {
		name = as.Name
	}
	h.Set("Content-Disposition", disposition(as.Inline, name))
	if as.Headers != nil {
		as.Headers(h, f)
	}
	return s.send(w, r, ref, d)
}
