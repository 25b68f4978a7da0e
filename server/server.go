// Package server is the HTTP face of the engine: the native API. It routes,
// parses, calls the engine and shapes the answer; it decides nothing.
//
// Serve connections through [Listener] and pass [ConnContext] to http.Server:
// idle writes are ended there, and a connection that breaks right after a
// counted download is noticed there.
package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"fileshare/api"
	"fileshare/server/dialect"
	"fileshare/server/multipart"
	"fileshare/server/reply"
	"fileshare/store"
)

// Authenticator tells who asks.
type Authenticator interface {
	// Authenticate returns the zero Caller and nil for a request without
	// credentials. Wrong credentials are a *store.Error of kind
	// Unauthenticated, too many attempts one of kind RateLimited with
	// RetryAfter. The request's body is not read.
	Authenticate(r *http.Request) (store.Caller, error)
}

// Options configures [New]. The zero value works: no prefix, links from the
// request, no proxy trusted, everybody a stranger.
type Options struct {
	Prefixes       []string       // path prefixes below which everything is served, too: "/rtc/fileshare"
	PublicURL      string         // base of links in answers; empty = from the request
	TrustedProxies []netip.Prefix // peers whose Forwarded and X-Forwarded-* are believed
	Addresses      bool           // the logs of transfers have the addresses of clients

	IdleTimeout time.Duration // a body that moves no byte for so long is ended; default 60 s, negative = never
	// InlineTypes are the media types that ?inline=1 shows in a browser,
	// "image/*" for a family (without SVG, which must be named). nil = the
	// default of downloads.inline_types.
	InlineTypes []string
	// PreviewBots are parts of User-Agents, in lower case, that never get the
	// bytes of a counted link. nil = those known to us.
	PreviewBots []string

	Tus          bool          // resumable uploads: tus 1.0 and the IETF draft
	Molgenis     bool          // speak the API of MOLGENIS' files
	FileSender   *FileSender   // speak the API of FileSender; nil = no
	OpenTera     *OpenTera     // speak the API of OpenTera's file transfer service; nil = no
	ExtraHorizon *ExtraHorizon // speak the API of Extra Horizon's file service; nil = no

	Auth   Authenticator    // nil = everybody is a stranger
	Realm  string           // of WWW-Authenticate; default "fileshare"
	Limits multipart.Limits // of forms
	Docs   http.Handler     // for /doc, /doc/… and /openapi.json; nil = 404

	dialects []func(dialect.Host) dialect.API // further ones, of tests

	Log        *slog.Logger          // default: discards
	Registerer prometheus.Registerer // where the metrics go; default: a registry of their own
	Gatherer   prometheus.Gatherer   // what /metrics shows; default: that registry
	Version    string                // of the build, for /health and the metrics
}

type server struct {
	store    *store.Store
	o        Options
	log      *slog.Logger
	router   *mux.Router
	metrics  *metrics
	links    links
	inline   inlineTypes
	bots     []string
	tails    tails
	prefixes []string
	pool     sync.Pool // of *exchange
}

// New makes the handler of the whole daemon.
func New(s *store.Store, o Options) http.Handler {
	srv := &server{store: s, o: o, log: o.Log}
	if srv.log == nil {
		srv.log = slog.New(slog.DiscardHandler)
	}
	if srv.o.IdleTimeout == 0 {
		srv.o.IdleTimeout = defaultIdle
	}
	if srv.o.Realm == "" {
		srv.o.Realm = "fileshare"
	}
	srv.inline = newInlineTypes(o.InlineTypes)
	srv.bots = o.PreviewBots
	if srv.bots == nil {
		srv.bots = previewBots()
	}
	srv.links = links{public: strings.TrimRight(o.PublicURL, "/"), trusted: o.TrustedProxies}
	for _, p := range o.Prefixes {
		if p = strings.TrimRight(p, "/"); p != "" {
			srv.prefixes = append(srv.prefixes, p)
		}
	}
	srv.metrics = newMetrics(s, o)
	srv.pool.New = func() any { return new(exchange) }
	srv.router = srv.routes()

	var h http.Handler = http.HandlerFunc(srv.dispatch)
	for _, wrap := range slices.Backward([]func(http.Handler) http.Handler{
		srv.observe,  // state, request id, access line, metrics
		srv.guard,    // panics
		srv.unprefix, // the routes exist once
	}) {
		h = wrap(h)
	}
	return h
}

const defaultIdle = 60 * time.Second

// handler is a call of the API: it answers, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is what a path has to offer.
type route struct {
	srv     *server
	name    string // template, the label of metrics
	open    bool   // no authentication: health and documentation
	page    bool   // errors of navigations are pages
	get     handler
	post    handler
	put     handler
	patch   handler
	delete  handler
	options handler      // nil: answers allow
	alias   bool         // of another route
	api     *dialect.API // whose route it is; nil: ours
	any     http.Handler // instead of the above
	resumes bool         // a body may be sent in pieces
	silent  bool         // other methods are 404, not 405
	noPut   string       // what a PUT that does not exist is told; empty: nothing special
	allow   string
	metrics *routeMetrics
}

// routes is the table of paths. mux tries them in order: hot ones come first.
// Methods are ours, as mux gives 405 to HEAD and no Allow.
func (s *server) routes() *mux.Router {
	m := mux.NewRouter().SkipClean(true)
	const (
		upload  = "/uploads/{id}"
		session = "/sessions/{sid}"
		files   = session + "/files"
		file    = files + "/{fid}"
		tokens  = file + "/tokens"
	)
	table := []route{
		{name: upload, page: true, resumes: true, get: s.getUpload, put: s.putUpload, patch: s.patchFile, delete: s.deleteFile},
		{name: "/uploads", resumes: true, get: s.listUploads, post: s.postUpload, noPut: "there is no name to PUT to: PUT /uploads/ or /uploads/NAME, or POST here"},
		{name: tokens + "/{tid}", page: true, get: s.getToken, delete: s.deleteToken},
		{name: tokens, get: s.listTokens, post: s.postToken},
		{name: file, page: true, resumes: true, get: s.getFile, put: s.putFile, patch: s.patchFile, delete: s.deleteFile},
		{name: files, get: s.listFiles, post: s.postFile},
		{name: "/sessions", get: s.listSessions, post: s.postSession},
		{name: session + "/complete", post: s.completeSession},
		{name: session, get: s.getSession, post: s.postFile, patch: s.patchSession, delete: s.deleteSession},
		{name: upload + "/info", get: s.fileInfo},
		{name: upload + "/tokens/{tid}", page: true, get: s.getToken, delete: s.deleteToken},
		{name: upload + "/tokens", get: s.listTokens, post: s.postToken},
		{name: file + "/info", get: s.fileInfo},
		{name: session + "/archive", get: s.archive},
		{name: "/invitations", get: s.listInvitations, post: s.postInvitation},
		{name: "/invitations/{id}", get: s.getInvitation, patch: s.patchInvitation, delete: s.deleteInvitation},
		{name: "/invitations/{id}/sessions", get: s.invitationSessions},
		{name: "/invite/{token}", open: true, page: true, get: s.invite},
		{name: session + "/recipients", get: s.listRecipients, post: s.postRecipient},
		{name: session + "/recipients/{share}", delete: s.deleteRecipient},
		{name: "/shares/{share}", page: true, get: s.getShare},
		{name: "/shares/{share}/files/{fid}", page: true, get: s.getSharedFile},
		{name: "/shares/{share}/archive", page: true, get: s.getSharedArchive},
		{name: "/events", get: s.listEvents},
		{name: "/backup", get: s.backup},
		{name: "/health", open: true, get: s.health},
		{name: "/ready", open: true, get: s.ready},
		{name: "/metrics", open: true, any: s.metrics.handler},
		{name: "/", open: true, page: true, get: s.front()},
		{name: "/uploads/", post: s.postUpload, put: s.putUpload, get: s.listUploads},
		{name: "/uploads/{id:.+}", put: s.putUpload, silent: true}, // names with (encoded) slashes
	}
	if s.o.Docs != nil {
		table = append(table,
			route{name: "/openapi.json", open: true, any: s.o.Docs},
			route{name: "/doc", open: true, any: s.o.Docs},
			route{name: "/doc/{rest:.*}", open: true, any: s.o.Docs})
	}
	table = append(table, s.dialectRoutes()...)
	for _, rt := range table {
		rt.srv = s
		rt.allow = rt.methods()
		rt.metrics = s.metrics.route(rt.name)
		m.Path(rt.name).Handler(&rt)
	}
	return m
}

func (rt *route) methods() string {
	var all []string
	for _, m := range []struct {
		name string
		h    handler
	}{{"GET", rt.get}, {"HEAD", rt.get}, {"POST", rt.post}, {"PUT", rt.put}, {"PATCH", rt.patch}, {"DELETE", rt.delete}} {
		if m.h != nil {
			all = append(all, m.name)
		}
	}
	return strings.Join(append(all, "OPTIONS"), ", ")
}

func (rt *route) handler(method string) handler {
	switch method {
	case http.MethodGet, http.MethodHead:
		return rt.get
	case http.MethodPost:
		return rt.post
	case http.MethodPut:
		return rt.put
	case http.MethodPatch:
		return rt.patch
	case http.MethodDelete:
		return rt.delete
	case http.MethodOptions:
		if rt.options != nil {
			return rt.options
		}
		return func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Allow", rt.allow)
			if rt.resumes && rt.srv.o.Tus {
				w.Header().Set("Upload-Limit", rt.srv.uploadLimit(r, nil))
			}
			return reply.None(w)
		}
	}
	return nil
}

// ServeHTTP authenticates and calls the handler of the method.
func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rt.any != nil {
		rt.any.ServeHTTP(w, r)
		return
	}
	rt.dress(w, r)
	if err := rt.call(w, r); err != nil {
		rt.srv.fail(w, r, err)
	}
}

func (rt *route) call(w http.ResponseWriter, r *http.Request) error {
	h := rt.handler(r.Method)
	if h == nil || rt.silent && r.Method != http.MethodPut {
		if rt.silent {
			return errPath
		}
		w.Header().Set("Allow", rt.allow)
		message := "method not allowed"
		if r.Method == http.MethodPut && rt.noPut != "" {
			message = rt.noPut
		}
		return reply.Refuse(reply.Method, message, nil)
	}
	if !rt.open {
		c, err := rt.srv.account(r)
		if err != nil {
			return err
		}
		state(r).caller = c
	}
	if rt.api == nil && !rt.open {
		state(r).caller.Grant = r.Header.Get(api.TokenHeader)
		state(r).caller.Invite = r.Header.Get(api.InvitationHeader)
	}
	return h(w, r)
}

var errPath = store.Refuse(store.NotFound, "no such path")

// dispatch finds the route. mux is used as the matcher only: its ServeHTTP
// would copy the request twice.
func (s *server) dispatch(w http.ResponseWriter, r *http.Request) {
	x := state(r)
	found := s.router.Match(r, &x.match)
	x.vars = x.match.Vars
	if x.route, _ = x.match.Handler.(*route); !found || x.route == nil {
		s.fail(w, r, errPath)
		return
	}
	x.route.ServeHTTP(w, r)
}

// unprefix takes a configured prefix off the path and remembers it for links.
func (s *server) unprefix(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, p := range s.prefixes {
			rest, ok := strings.CutPrefix(r.URL.Path, p)
			if !ok || rest != "" && rest[0] != '/' {
				continue
			}
			if rest == "" {
				rest = "/"
			}
			u := *r.URL
			u.Path, u.RawPath = rest, strings.TrimPrefix(u.RawPath, p)
			r.URL = &u // r is observe's own copy
			state(r).prefix = p
			break
		}
		next.ServeHTTP(w, r)
	})
}

// fail answers with err and writes it to the log.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	x := state(r)
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		err = reply.Gone(err)
	}
	if x.status != 0 {
		a := reply.Of(err)
		if a.Gone {
			s.log.LogAttrs(r.Context(), slog.LevelInfo, "client went away", slog.String("path", logPath(r.URL.Path)), slog.Int64("bytes", x.bytes), slog.String("request_id", x.id), slog.String("cause", err.Error()))
		} else {
			s.logError(r, a, err)
			// What went out is a part of an answer: only a broken
			// connection tells that.
			panic(http.ErrAbortHandler)
		}
		return
	}
	if b := x.body; b != nil && !b.ended {
		b.hurry()
	}
	if store.KindOf(err) == store.Unauthenticated && s.o.Realm != "fileshare" {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.o.Realm)+`"`)
	}
	var a reply.Answer
	if x.route != nil && x.route.api != nil {
		x.route.dress(w, r) // again: some errors take back what was set
		a = x.route.api.Fail(w, r, err)
	} else if p, ok := errors.AsType[problemError](err); ok {
		a = s.ietfFail(w, r, p)
	} else if x.route != nil && x.route.page && (r.Method == http.MethodGet || r.Method == http.MethodHead) && isNavigation(r) {
		a = s.errorPage(w, err)
	} else {
		a = reply.Error(w, r, err)
	}
	s.logError(r, a, err)
	if b := x.body; b != nil && !b.ended && r.ProtoMajor > 1 {
		b.linger(w)
	}
}

// exchange is the state of one request, and its ResponseWriter. It is pooled:
// nothing may keep it longer than the request.
type exchange struct {
	http.ResponseWriter
	match  mux.RouteMatch
	route  *route
	vars   map[string]string
	caller store.Caller
	prefix string // that was taken off the path
	id     string // of the request
	start  time.Time
	body   *body
	status int   // 0 = nothing answered yet
	bytes  int64 // of the answer's body
}

// reset forgets the request; the map of a match serves again.
func (x *exchange) reset() {
	vars := x.match.Vars
	clear(vars)
	*x = exchange{match: mux.RouteMatch{Vars: vars}}
}

type stateKey struct{}

func state(r *http.Request) *exchange { return r.Context().Value(stateKey{}).(*exchange) }

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(p)
	x.bytes += int64(n)
	return n, err
}

// ReadFrom keeps sendfile: net/http's own writer hands src to the connection.
func (x *exchange) ReadFrom(src io.Reader) (int64, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	var n int64
	var err error
	if rf, ok := x.ResponseWriter.(io.ReaderFrom); ok {
		if x.bytes == 0 && x.Header()["Content-Length"] != nil {
			// net/http would read a few bytes of the file, to write them with the
			// header, though it need not guess a type.
			err = x.FlushError()
		}
		if err == nil {
			n, err = rf.ReadFrom(src)
		}
	} else {
		n, err = io.Copy(struct{ io.Writer }{x.ResponseWriter}, src)
	}
	x.bytes += n
	return n, err
}

func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// FlushError is what http.ResponseController looks for: it tells whether the
// connection took what was buffered.
func (x *exchange) FlushError() error { return http.NewResponseController(x.ResponseWriter).Flush() }

// Flush is for those who ask for an http.Flusher.
func (x *exchange) Flush() { _ = x.FlushError() }

// ref names what the path names.
func (x *exchange) ref() store.Ref {
	f := x.vars["fid"]
	if f == "" {
		f = x.vars["id"]
	}
	return store.Ref{Session: x.vars["sid"], File: f, Token: x.vars["tid"]}
}

// observe gives every request its state and says in log and metrics what
// became of it.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := s.pool.Get().(*exchange)
		x.ResponseWriter, x.start, x.id = w, time.Now(), requestID(r)
		w.Header()["X-Request-Id"] = []string{x.id}
		r = r.WithContext(context.WithValue(r.Context(), stateKey{}, x))
		if r.Body != nil && r.Body != http.NoBody {
			x.body = newBody(r.Body, w, s.o.IdleTimeout)
			r.Body = x.body
			if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
				// RFC 9112 §6.1: with a Content-Length beside it (which net/http
				// does not show) nothing behind this body is to be trusted.
				w.Header()["Connection"] = []string{"close"}
			}
		}
		s.metrics.inFlight.Inc()
		done := false
		defer func() {
			s.metrics.inFlight.Dec()
			s.metrics.observe(x, r.Method)
			s.logAccess(r, x, !done)
			x.reset()
			s.pool.Put(x)
		}()
		next.ServeHTTP(x, r)
		done = true
	})
}
