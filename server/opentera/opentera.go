package opentera

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// Options says who else than the daemon's accounts may call. A participant or
// device has the number of its place in the list, from 1.
type Options struct {
	Participants []Caller
	Devices      []Caller // without a password
	// ParticipantBasic tells the name of the participant whose Basic
	// credentials come with a request: Unauthenticated if they are wrong,
	// empty if there are none. nil: no participant has a password.
	ParticipantBasic func(r *http.Request) (string, error)
}

// Caller is a participant or a device.
type Caller struct {
	Name  string // once in its list
	Token string // that never ends; empty: none
}

// New makes the API.
func New(h dialect.Host, o Options) dialect.API {
	a := &api{Host: h, o: o, tokens: make(map[[sha256.Size]byte]who)}
	for i, c := range o.Participants {
		a.know(participant, i, c)
	}
	for i, c := range o.Devices {
		a.know(device, i, c)
	}
	var routes []dialect.Route
	for _, at := range []string{"", servicePath} {
		routes = append(routes, a.service(at)...)
		routes = append(routes, a.mainServer(at)...)
	}
	docs := http.StripPrefix(servicePath, h.Docs)
	for _, path := range []string{"/doc", "/doc/{rest:.*}", "/openapi.json"} {
		routes = append(routes, dialect.Route{Path: servicePath + path, Alias: true, Get: func(w http.ResponseWriter, r *http.Request) error {
			docs.ServeHTTP(w, r)
			return nil
		}})
	}
	return dialect.API{Name: "opentera", Routes: routes, Headers: cors, Fail: a.fail}
}

// servicePath is where OpenTera's router has the service.
const servicePath = "/file"

// service are the calls of the File Transfer Service.
func (a *api) service(at string) []dialect.Route {
	alias := at != ""
	return []dialect.Route{
		{Path: at + "/api/assets", Alias: alias, Get: a.download, Post: a.upload, Delete: a.deleteAsset},
		{Path: at + "/api/assets/infos", Alias: alias, Get: a.getInfos, Post: a.postInfos},
		{Path: at + "/api/archives", Alias: alias, Get: a.downloadArchive, Post: a.uploadArchive, Delete: a.deleteArchive},
		{Path: at + "/api/archives/infos", Alias: alias, Get: a.getArchive, Post: a.postArchive},
	}
}

// mainServer are the calls of OpenTera's main server around a transfer.
func (a *api) mainServer(at string) []dialect.Route {
	alias := at != ""
	var routes []dialect.Route
	for _, k := range []kind{user, participant, device} {
		base := at + "/api/" + string(k)
		routes = append(routes,
			dialect.Route{Path: base + "/login", Alias: alias, Get: map[kind]dialect.Handler{user: a.loginUser, participant: a.loginParticipant, device: a.loginDevice}[k]},
			dialect.Route{Path: base + "/logout", Alias: alias, Get: a.as(k, a.logout)},
			dialect.Route{Path: base + "/sessions", Alias: alias, Get: a.as(k, a.getSessions), Post: a.as(k, a.postSession), Delete: a.as(k, a.deleteSession)},
			dialect.Route{Path: base + "/assets", Alias: alias, Get: a.as(k, a.listAssets), Post: a.as(k, notThere), Delete: a.as(k, notThere)},
		)
		if k != device {
			routes = append(routes, dialect.Route{Path: base + "/refresh_token", Alias: alias, Get: a.as(k, a.refresh)})
		}
	}
	return routes
}

// notThere are calls that the main server knows and refuses.
func notThere(http.ResponseWriter, *http.Request, who) error {
	return reply.Refuse(reply.NotImplemented, "Not implemented", nil)
}

type api struct {
	dialect.Host
	o      Options
	tokens map[[sha256.Size]byte]who // by the hash of tokens that never end
}

// cors is what the service puts on every answer.
func cors(h http.Header, _ *http.Request) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Allow-Methods", "*")
}

// missing are parameters of the query that a request lacks.
type missing []string

func (m missing) Error() string { return "missing parameters: " + strings.Join(m, ", ") }
func (m missing) Unwrap() error {
	return store.Refuse(store.Invalid, "Input payload validation failed")
}

// query reads parameters all of which must be there.
func query(r *http.Request, names ...string) ([]string, error) {
	q := r.URL.Query()
	var values []string
	var lacks missing
	for _, name := range names {
		v := q.Get(name)
		if v == "" {
			lacks = append(lacks, name)
		}
		values = append(values, v)
	}
	if lacks != nil {
		return nil, lacks
	}
	return values, nil
}

// statuses are those in which the API differs: what has ended is unknown, and so
// is what has no content yet.
func statuses() reply.Statuses {
	return reply.Statuses{store.Expired: http.StatusNotFound, store.Used: http.StatusNotFound, store.Conflict: http.StatusNotFound}
}

// fail answers with a message as a JSON string. Without a login, the file
// service says 403 and the main server 401.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) reply.Answer {
	const contentType = "application/json"
	table := statuses()
	path := strings.TrimPrefix(r.URL.Path, servicePath)
	ofService := strings.HasPrefix(path, "/api/assets") || strings.HasPrefix(path, "/api/archives")
	if ofService {
		table[store.Unauthenticated] = http.StatusForbidden
	}
	ans := table.Of(err)
	if m, ok := errors.AsType[missing](err); ok {
		body := paramErrors{Errors: map[string]string{}, Message: ans.Message}
		for _, name := range m {
			body.Errors[name] = "Missing required parameter in the query string"
		}
		return ans.Write(w, contentType, body)
	}
	message := ans.Message
	switch {
	case ans.Status == http.StatusForbidden && store.KindOf(err) == store.Unauthenticated:
		message = "Forbidden"
	case ans.Status == http.StatusNotFound && strings.HasPrefix(path, "/api/archives"):
		message = "No archive found"
	case ans.Status == http.StatusNotFound && ofService:
		message = "No asset found"
	case ans.Status == http.StatusUnauthorized:
		realm, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/"), "/")
		w.Header().Set("WWW-Authenticate", `Basic realm="`+realm+`"`)
	}
	return ans.Write(w, contentType, message)
}

// serviceURL is the base of the links to the service. Behind OpenTera's router
// it tells where clients see it (its peer must be trusted); a client that comes
// straight to us and without the router's path goes on so.
func (a *api) serviceURL(r *http.Request) string {
	base, at := a.Base(r), servicePath
	if strings.HasPrefix(r.URL.Path, "/api/assets") {
		at = ""
	}
	if !a.Trusted(r) {
		return base + at
	}
	if name := strings.TrimRight(r.Header.Get("X-Script-Name"), "/"); at == "" && strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "//") && plain(name) {
		at = name
	}
	host, port := r.Header.Get("X-ExternalHost"), r.Header.Get("X-ExternalPort")
	if host == "" {
		host = r.Header.Get("X_ExternalServer")
	}
	u, err := url.Parse(base)
	if host == "" || !plain(host) || err != nil || a.Public {
		return base + at
	}
	if _, ok := parseNumber(port); ok && !strings.Contains(host, ":") && !(u.Scheme == "https" && port == "443") && !(u.Scheme == "http" && port == "80") {
		host += ":" + port
	}
	u.Host = host
	return u.String() + at
}

// plain tells whether s has only what a host or a path may have without
// escaping.
func plain(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/[]") == ""
}
