package molgenis

import (
	"net/http"
	"net/url"
	"strings"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// New makes the API.
func New(h dialect.Host) dialect.API {
	a := &api{h}
	var routes []dialect.Route
	for _, base := range []string{"/api/files/v1", "/api/files"} {
		alias := base != "/api/files"
		all := dialect.Route{Path: base, Alias: alias, Post: a.upload}
		one := dialect.Route{Path: base + "/{id}", Alias: alias, Get: a.get, Delete: a.delete}
		routes = append(routes, all, slashed(all), one, slashed(one))
	}
	for _, call := range []dialect.Route{{Path: "/api/v1/login", Post: a.login}, {Path: "/api/v1/logout", Post: a.logout, Get: a.logout}} {
		routes = append(routes, call, slashed(call))
	}
	return dialect.API{Name: "molgenis", Routes: routes, Fail: a.fail}
}

func slashed(rt dialect.Route) dialect.Route {
	rt.Path, rt.Alias = rt.Path+"/", true
	return rt
}

type api struct{ dialect.Host }

// upload stores the body, whatever its type, but for forms.
func (a *api) upload(w http.ResponseWriter, r *http.Request) error {
	c, err := a.caller(r)
	if err != nil {
		return err
	}
	ct := r.Header.Get("Content-Type")
	if isForm(ct) {
		return reply.Refuse(reply.MediaType, "forms are not stored: send the bytes of the file with their own Content-Type", nil)
	}
	ttl, err := a.TTL(r)
	if err != nil {
		return err
	}
	name, typ := fileName(r.Header.Get("X-Molgenis-Filename")), mediaType(ct)
	content, err := a.Raw(r, c)
	if err != nil {
		return err
	}
	f, err := a.Store.CreateUpload(r.Context(), c, store.FileSpec{Name: &name, Type: &typ, TTL: ttl, Attrs: &map[string]string{attrType: typ}}, content)
	if err != nil {
		content.Discard()
		return err
	}
	m := metaOf(f)
	return reply.Created(w, a.Base(r)+strings.TrimRight(r.URL.Path, "/")+"/"+m.ID+"?alt=media", m)
}

// get answers what is known of a file, or its bytes.
func (a *api) get(w http.ResponseWriter, r *http.Request) error {
	c, ref, err := a.find(r)
	if err != nil {
		return err
	}
	f, err := a.Store.File(r.Context(), c, ref)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("alt") == "media" {
		return a.Serve(w, r, c, ref, dialect.Serving{Type: typeOf(f)})
	}
	if f.State != store.StateUploaded {
		return store.Refuse(store.NotFound, "the file has no content yet")
	}
	return reply.JSON(w, metaOf(f))
}

func (a *api) delete(w http.ResponseWriter, r *http.Request) error {
	c, ref, err := a.find(r)
	if err != nil {
		return err
	}
	if err := a.Store.DeleteFile(r.Context(), c, ref); err != nil {
		return err
	}
	return reply.None(w)
}

// find tells who asks, and for which file.
func (a *api) find(r *http.Request) (c store.Caller, ref store.Ref, err error) {
	if c, err = a.caller(r); err != nil {
		return c, ref, err
	}
	id, _ := toEngine(a.Var(r, "id")) // what is no id is one that nobody has
	ref, err = a.Store.Locate(r.Context(), c, id)
	return c, ref, err
}

// statuses are those in which this API differs: what has ended is unknown.
func statuses() reply.Statuses {
	return reply.Statuses{store.Expired: http.StatusNotFound, store.Used: http.StatusNotFound}
}

// fail answers with a problem document; the older part of the API has lists of
// messages.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) reply.Answer {
	ans := statuses().Of(err)
	if mode := r.Header.Get("Sec-Fetch-Mode"); ans.Status == http.StatusUnauthorized && mode != "" && mode != "navigate" {
		// A script of a page asks: the browser must not come between with a
		// dialogue of its own, as it does for Basic.
		w.Header().Set("WWW-Authenticate", `Token realm="molgenis"`)
	}
	if strings.HasPrefix(r.URL.Path, "/api/v1/") {
		return ans.Write(w, "application/json", errorList{[]errorItem{{ans.Message}}})
	}
	p := problem{Type: a.server(r) + "/problem", Title: http.StatusText(ans.Status), Status: ans.Status, Detail: ans.Message}
	switch {
	case ans.Status == http.StatusNotFound:
		p.ErrorCode, p.Detail = "D02a", "Unknown entity '"+a.Var(r, "id")+"' of type 'sys_FileMeta'."
	case store.KindOf(err) == store.Denied:
		p.ErrorCode, p.Detail = "DS04a", "No '"+permission(r)+"' permission on entity type with id 'sys_FileMeta'."
	}
	return ans.Write(w, "application/problem+json", p)
}

// server is scheme and host, without a path.
func (a *api) server(r *http.Request) string {
	u, err := url.Parse(a.Base(r))
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// permission is what MOLGENIS calls the right that a request needs.
func permission(r *http.Request) string {
	switch r.Method {
	case http.MethodPost:
		return "add"
	case http.MethodDelete:
		return "delete"
	}
	return "read"
}
