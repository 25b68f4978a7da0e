package server

import (
	"cmp"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// file is f on the wire.
func (s *server) file(r *http.Request, f *store.File) api.File {
	o := api.File{
		ID: f.ID, Name: f.Name, OriginalName: f.OriginalName, MimeType: f.Type, Size: f.Size,
		TTL: int64(f.TTL / time.Second), State: string(f.State), Tags: f.Tags, Owner: f.Owner,
		Downloads: f.Downloads, MaxDownloads: f.MaxDownloads,
		CreatedAt: api.Time{Time: f.Created}, UpdatedAt: api.Time{Time: f.Updated}, ExpiresAt: api.Time{Time: f.Expires},
	}
	if o.Tags == nil {
		o.Tags = []string{}
	}
	if len(f.SHA256) > 0 {
		o.SHA256 = new(hex.EncodeToString(f.SHA256))
	}
	o.URL = s.links.base(r, state(r).prefix)
	if f.Session == "" {
		o.URL += "/uploads/" + f.ID
	} else {
		o.SessionID = &f.Session
		o.URL += "/sessions/" + f.Session + "/files/" + f.ID
	}
	return o
}

// session is e on the wire.
func (s *server) session(r *http.Request, e *store.Session) api.Session {
	o := api.Session{
		ID: e.ID, Name: e.Name, TTL: int64(e.TTL / time.Second), Owner: e.Owner,
		CreatedAt: api.Time{Time: e.Created}, UpdatedAt: api.Time{Time: e.Updated}, ExpiresAt: api.Time{Time: e.Expires},
		URL: s.links.base(r, state(r).prefix) + "/sessions/" + e.ID,
	}
	if e.Invitation != "" {
		o.InvitationID = &e.Invitation
	}
	if !e.Completed.IsZero() {
		o.CompletedAt = &api.Time{Time: e.Completed}
	}
	return o
}

// token is t on the wire.
func (s *server) token(r *http.Request, t *store.Token) api.Token {
	o := api.Token{
		ID: t.ID, Token: t.ID, Access: cmp.Or(string(t.Access), api.AccessDownload), UploadID: t.File, State: string(t.State), Downloads: t.Downloads, MaxDownloads: t.MaxDownloads,
		CreatedAt: api.Time{Time: t.Created}, ExpiresAt: api.Time{Time: t.Expires},
	}
	base := s.links.base(r, state(r).prefix)
	if t.Session == "" {
		o.URL = base + "/uploads/" + t.File + "/tokens/" + t.ID
	} else {
		o.SessionID = &t.Session
		o.URL = base + "/sessions/" + t.Session + "/files/" + t.File + "/tokens/" + t.ID
	}
	return o
}

// query reads what a client asks of a list.
func query(r *http.Request) (q store.Query, err error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, invalid("the query is malformed")
	}
	q.Cursor, q.Tag = v.Get("cursor"), v.Get("tag")
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > 1000 {
			return q, invalid("limit must be a number from 1 to 1000")
		}
	}
	return q, nil
}

// list is a page on the wire.
func list[T, O any](page store.Page[T], convert func(T) O) api.List[O] {
	l := api.List[O]{Items: make([]O, 0, len(page.Items))}
	for _, e := range page.Items {
		l.Items = append(l.Items, convert(e))
	}
	if page.Next != "" {
		l.Next = &page.Next
	}
	return l
}

// linkNext puts the cursor of a bare array into a Link header (RFC 8288).
func (s *server) linkNext(w http.ResponseWriter, r *http.Request, next string) {
	if next == "" {
		return
	}
	v := r.URL.Query()
	v.Set("cursor", next)
	w.Header().Set("Link", "<"+s.links.base(r, state(r).prefix)+r.URL.EscapedPath()+"?"+v.Encode()+`>; rel="next"`)
}

// Event is e on the wire: for GET /events, and for webhooks.
func Event(e *store.Event) api.Event {
	o := api.Event{ID: e.ID, Type: string(e.Type), Timestamp: api.Time{Time: e.Time}, Data: api.EventData{
		Owner: e.Owner, SessionID: e.Session, FileID: e.File, TokenID: e.Token, InviteID: e.Invitation, Recipient: e.Email, Name: e.Name, SHA256: hex.EncodeToString(e.SHA256), Count: e.Count,
	}}
	if e.File != "" {
		o.Data.Size = &e.Size
	}
	return o
}
