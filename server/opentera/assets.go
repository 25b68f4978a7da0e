package opentera

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

const (
	accessPurpose = "opentera access"
	mostInfos     = 1 << 20 // bytes of a request for infos
)

// give makes an access token for a file.
func (a *api) give(c who, f *store.File) string {
	t := access{ref: store.Ref{Session: f.Session, File: f.ID}, requester: c.uuid, until: time.Now().Add(accessTTL)}
	return t.token(func(b []byte) []byte { return a.Store.Sign(accessPurpose, b) })
}

// admit reads an access token and refuses it unless it lets the caller use the
// asset.
func (a *api) admit(c who, token, asset string) (store.Ref, error) {
	t, ok := parseAccess(token, func(statement, signature []byte) bool { return a.Store.Signed(accessPurpose, statement, signature) })
	if !ok || !t.covers(asset, c.uuid, time.Now()) {
		return store.Ref{}, store.Refuse(store.Denied, "Access denied to asset")
	}
	return t.ref, nil
}

// reader is the caller of what a participant with a token that never ends may
// not do.
func (a *api) reader(r *http.Request) (who, error) {
	c, err := a.caller(r)
	if err == nil && c.kind == participant && c.fixed {
		err = store.Refuse(store.Denied, "Forbidden")
	}
	return c, err
}

// asset finds the caller and the asset of a query.
func (a *api) asset(r *http.Request, param string) (c who, ref store.Ref, err error) {
	if c, err = a.reader(r); err != nil {
		return c, ref, err
	}
	said, err := query(r, param, "access_token")
	if err != nil {
		return c, ref, err
	}
	ref, err = a.admit(c, said[1], said[0])
	return c, ref, err
}

func (a *api) download(w http.ResponseWriter, r *http.Request) error {
	c, ref, err := a.asset(r, "asset_uuid")
	if err != nil {
		return err
	}
	return a.Serve(w, r, c.Caller, ref, dialect.Serving{})
}

func (a *api) deleteAsset(w http.ResponseWriter, r *http.Request) error {
	c, ref, err := a.asset(r, "uuid")
	if err != nil {
		return err
	}
	if err := a.Store.DeleteFile(r.Context(), c.Caller, ref); err != nil {
		return err
	}
	return reply.JSON(w, "")
}

func (a *api) getInfos(w http.ResponseWriter, r *http.Request) error {
	c, ref, err := a.asset(r, "asset_uuid")
	if err != nil {
		return err
	}
	f, err := a.Store.File(r.Context(), c.Caller, ref)
	if err != nil {
		return err
	}
	return reply.JSON(w, infosOf(f))
}

// postInfos lists what is known of several assets, or renames one.
func (a *api) postInfos(w http.ResponseWriter, r *http.Request) error {
	c, err := a.caller(r)
	if err != nil {
		return err
	}
	body, err := dialect.Body(r, mostInfos)
	if err != nil {
		return err
	}
	o, err := parseObject(body, "")
	if err != nil {
		return err
	}
	if list, ok, err := o.objects("assets"); ok || err != nil {
		if err != nil {
			return err
		}
		return a.listInfos(w, r, c, list)
	}
	one, ok, err := o.object("file_asset")
	if err != nil {
		return err
	}
	if !ok {
		return invalid("Badly formatted request")
	}
	return a.rename(w, r, c, one)
}

func (a *api) listInfos(w http.ResponseWriter, r *http.Request, c who, list []object) error {
	var refs []store.Ref
	for _, o := range list {
		said, err := o.required("access_token", "asset_uuid")
		if err != nil {
			return err
		}
		ref, err := a.admit(c, said[0], said[1])
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	out := []infosAnswer{}
	for _, ref := range refs {
		f, err := a.Store.File(r.Context(), c.Caller, ref)
		switch store.KindOf(err) {
		case 0:
			if err != nil {
				return err
			}
			out = append(out, infosOf(f))
		case store.NotFound, store.Expired, store.Used: // silently absent
		default:
			return err
		}
	}
	return reply.JSON(w, out)
}

func (a *api) rename(w http.ResponseWriter, r *http.Request, c who, o object) error {
	said, err := o.required("access_token", "asset_uuid")
	if err != nil {
		return err
	}
	ref, err := a.admit(c, said[0], said[1])
	if err != nil {
		return err
	}
	name, err := o.required("asset_original_filename")
	if err != nil {
		return err
	}
	typ := typeOfName(name[0])
	f, err := a.Store.PatchFile(r.Context(), c.Caller, ref, store.FileSpec{Name: &name[0], Type: &typ})
	if err != nil {
		return err
	}
	return reply.JSON(w, infosOf(f))
}

// upload stores the file of a form, which the field file_asset describes.
func (a *api) upload(w http.ResponseWriter, r *http.Request) error {
	c, err := a.caller(r)
	if err != nil {
		return err
	}
	var as newAsset
	var s *store.Session
	in, err := a.receive(r, c, "file_asset", func(text []byte) error {
		if as, err = parseAsset(text); err == nil {
			s, err = a.session(r, c, as.session)
		}
		return err
	})
	if err != nil {
		return err
	}
	f, err := a.store(r, c, as, s, in)
	if err != nil {
		in.content.Discard()
		return err
	}
	out := a.assetOf(c, f, s)
	a.link(r, c, f, &out)
	return reply.JSON(w, out)
}

func (a *api) store(r *http.Request, c who, as newAsset, s *store.Session, in received) (*store.File, error) {
	spec, err := a.spec(r, c, as, s, in.name)
	if err != nil {
		return nil, err
	}
	return a.Store.StoreNew(r.Context(), c.Caller, s.ID, spec, in.content)
}

// session finds a session that the caller may use; others are all alike to it.
func (a *api) session(r *http.Request, c who, number int64) (*store.Session, error) {
	s, err := a.Store.SessionByNumber(r.Context(), c.Caller, sessions, number)
	if err != nil {
		return nil, inaccessible(err)
	}
	return s, nil
}

// inaccessible makes of an error of finding a session what clients are told:
// whether it is another's or not there at all is nobody's business.
func inaccessible(err error) error {
	switch store.KindOf(err) {
	case store.NotFound, store.Expired, store.Denied:
		return store.RefuseCause(store.Denied, "Session not accessible", err)
	}
	return err
}

// spec is what the engine is told of an asset. It ends when the client says, but
// with its session at the latest; the answer tells.
func (a *api) spec(r *http.Request, c who, as newAsset, s *store.Session, sent string) (spec store.FileSpec, err error) {
	name := safeName(sent)
	typ := typeOfName(name)
	attrs := map[string]string{attrName: as.name, attrDate: as.date, attrType: as.typ}
	if as.typ == "" {
		attrs[attrType], _, _ = strings.Cut(typ, ";")
	}
	if c.Name != s.Owner {
		attrs[attrMaker] = c.Name
	}
	spec = store.FileSpec{Name: &name, OriginalName: &sent, Type: &typ, Attrs: &attrs, Sequence: assets}
	if spec.TTL, err = a.TTL(r); err != nil || as.expires.IsZero() {
		return spec, err
	}
	ttl := dialect.Until(as.expires)
	switch {
	case ttl < time.Second:
		return spec, invalid("asset_expiration_datetime is in the past")
	case as.expires.Before(s.Expires):
		spec.TTL = &ttl
	default:
		spec.TTL = nil // with the session
	}
	return spec, nil
}

// assetOf is f on the wire.
func (a *api) assetOf(c who, f *store.File, s *store.Session) asset {
	out := asset{
		IDAsset: f.Number, IDSession: s.Number, Name: f.Attrs[attrName], UUID: f.ID, ServiceUUID: a.serviceUUID(), Type: f.Attrs[attrType],
		Date: f.Attrs[attrDate], Expires: formatDate(f.Expires), ServiceName: "FileTransferService", SessionName: sessionName(s), infos: infosOf(f).infos,
	}
	if out.Name == "" {
		out.Name = f.Name
	}
	if out.Type == "" {
		out.Type, _, _ = strings.Cut(f.Type, ";")
	}
	if out.Date == "" {
		out.Date = formatDate(f.Created)
	}
	maker := makerOf(f)
	if maker == c.Name {
		out.made(c)
	} else if w, ok := a.named(maker); ok {
		out.made(w)
	}
	return out
}

// serviceUUID is that of the file transfer service.
func (a *api) serviceUUID() string { return a.uuidOf("service:").String() }

// makerOf is the engine's name of who stored a file.
func makerOf(f *store.File) string {
	if m := f.Attrs[attrMaker]; m != "" {
		return m
	}
	return f.Owner
}

// made says who made an asset.
func (out *asset) made(w who) {
	switch w.kind {
	case user:
		out.IDUser, out.User = &w.id, w.name
	case participant:
		out.IDParticipant, out.Participant = &w.id, w.name
	case device:
		out.IDDevice, out.Device = &w.id, w.name
	}
}

// link adds where the asset is, and what it takes to get it.
func (a *api) link(r *http.Request, c who, f *store.File, out *asset) {
	base := a.serviceURL(r)
	out.URL, out.InfosURL, out.AccessToken = base+"/api/assets", base+"/api/assets/infos", a.give(c, f)
}

// Bounds of a list.
const (
	mostAssets   = 10_000
	mostSessions = 1000
)

// listed is an asset of a list.
type listed struct {
	file    *store.File
	session *store.Session
}

// listAssets lists assets of a session, of who made them, one by its id or
// number, or all that the caller may see: users ask for those of the service,
// others for nothing in particular.
func (a *api) listAssets(w http.ResponseWriter, r *http.Request, c who) error {
	found, err := a.find(r, c)
	if err != nil {
		return err
	}
	if isSet(r, "with_only_token") {
		out := []tokenOnly{}
		for _, l := range found {
			out = append(out, tokenOnly{l.file.ID, a.give(c, l.file)})
		}
		return reply.JSON(w, out)
	}
	out := []asset{}
	for _, l := range found {
		o := a.assetOf(c, l.file, l.session)
		if isSet(r, "with_urls") {
			a.link(r, c, l.file, &o)
		}
		out = append(out, o)
	}
	return reply.JSON(w, out)
}

// isSet reads a flag of the query as Python's clients write it.
func isSet(r *http.Request, name string) bool {
	v := strings.ToLower(r.URL.Query().Get(name))
	return v != "" && v != "0" && v != "false"
}

// find finds what a list is to have, the oldest first.
func (a *api) find(r *http.Request, c who) ([]listed, error) {
	q := r.URL.Query()
	if id := q.Get("id_session"); id != "" {
		n, _ := parseNumber(id)
		s, err := a.session(r, c, n)
		if err != nil {
			return nil, err
		}
		return a.collect(r, c, nil, s, "")
	}
	if id := q.Get("asset_uuid"); id != "" {
		ref, err := a.Store.Locate(r.Context(), c.Caller, strings.ToLower(id))
		return a.single(r, c, ref, err)
	}
	if id := q.Get("id_asset"); id != "" {
		n, _ := parseNumber(id)
		ref, err := a.Store.FileByNumber(r.Context(), c.Caller, assets, n)
		return a.single(r, c, ref, err)
	}
	for _, k := range []kind{user, participant, device} {
		for _, param := range []string{"id_" + string(k), "id_creator_" + string(k)} {
			if id := q.Get(param); id != "" {
				return a.madeBy(r, c, k, id)
			}
		}
	}
	switch service := q.Get("service_uuid"); {
	case service != "" && !strings.EqualFold(service, a.serviceUUID()):
		return nil, nil
	case service == "" && c.kind == user:
		return nil, invalid("Missing arguments")
	case c.kind == participant && c.fixed:
		return nil, store.Refuse(store.Denied, "Forbidden")
	}
	return a.all(r, c, "")
}

// single is a list of one; what is not to be seen is forbidden, as in every list
// of the main server.
func (a *api) single(r *http.Request, c who, ref store.Ref, err error) ([]listed, error) {
	var f *store.File
	var s *store.Session
	if err == nil {
		f, err = a.Store.File(r.Context(), c.Caller, ref)
	}
	if err == nil && ref.Session != "" {
		s, err = a.Store.Session(r.Context(), c.Caller, ref.Session)
	}
	if s != nil && s.Attrs[attrArchive] != "" {
		err = store.Refuse(store.NotFound, "file not found")
	}
	switch store.KindOf(err) {
	case store.NotFound, store.Expired, store.Used, store.Denied:
		return nil, store.RefuseCause(store.Denied, "Forbidden", err)
	}
	if err != nil {
		return nil, err
	}
	if s == nil { // an upload, which no session of OpenTera has
		s = new(store.Session)
	}
	return []listed{{f, s}}, nil
}

// madeBy lists what a caller has made, in all sessions that the caller who asks
// may use.
func (a *api) madeBy(r *http.Request, c who, k kind, id string) ([]listed, error) {
	maker, ok := c, k == c.kind
	if n, isNumber := parseNumber(id); !ok || !isNumber || n != c.id {
		if maker, ok = a.numbered(k, id); !ok || c.kind != user {
			return nil, store.Refuse(store.Denied, "Forbidden")
		}
	}
	return a.all(r, c, maker.Name)
}

// all lists what is in all sessions that the caller may use, of one maker if it
// is named.
func (a *api) all(r *http.Request, c who, maker string) ([]listed, error) {
	mine, err := a.mySessions(r, c)
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, s := range mine {
		if all, err = a.collect(r, c, all, s, maker); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// collect adds the complete files of a session, of one maker if it is named.
func (a *api) collect(r *http.Request, c who, all []listed, s *store.Session, maker string) ([]listed, error) {
	q := store.Query{Session: s.ID, Limit: 1000}
	before := len(all)
	for {
		page, err := a.Store.Files(r.Context(), c.Caller, q)
		if err != nil {
			return nil, err
		}
		for _, f := range page.Items {
			if f.State == store.StateUploaded && (maker == "" || makerOf(f) == maker) {
				all = append(all, listed{f, s})
			}
		}
		if len(all) > mostAssets {
			return nil, invalid("Too many assets for one list")
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	slices.Reverse(all[before:])
	return all, nil
}
