package server

import (
	"net/http"
	"slices"
	"time"

	"fileshare/api"
	"fileshare/server/dialect"
	"fileshare/server/filesender"
	"fileshare/server/page"
	"fileshare/server/reply"
	"fileshare/store"
)

// A session is sent to recipients: each has a link of its own, to a page with
// its files.

// postRecipient sends a session to somebody, by mail where there is any; the
// link is in the answer.
func (s *server) postRecipient(w http.ResponseWriter, r *http.Request) error {
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	spec := store.ShareSpec{Send: true}
	for name, to := range map[string]*string{"email": &spec.Email, "message": &spec.Message} {
		text, err := said.text(name)
		if err != nil {
			return err
		}
		if text != nil {
			*to = *text
		}
	}
	spec.Distinct = spec.Email != ""
	sess, err := s.store.Session(r.Context(), state(r).caller, state(r).vars["sid"])
	if err != nil {
		return err
	}
	if _, ok := filesender.Sending(sess); ok { // it is sent when it is complete
		spec.Send, spec.Sequence = false, filesender.Recipients
	}
	made, err := s.store.CreateShares(r.Context(), state(r).caller, sess.ID, []store.ShareSpec{spec})
	if err != nil {
		return err
	}
	o := s.recipient(r, sess, made[0])
	return reply.Created(w, o.URL, o)
}

func (s *server) listRecipients(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	sess, err := s.store.Session(r.Context(), state(r).caller, state(r).vars["sid"])
	if err != nil {
		return err
	}
	all, err := s.store.SharePage(r.Context(), state(r).caller, sess.ID, q)
	if err != nil {
		return err
	}
	return reply.JSON(w, list(all, func(h *store.Share) api.Recipient { return s.recipient(r, sess, h) }))
}

func (s *server) deleteRecipient(w http.ResponseWriter, r *http.Request) error {
	if err := s.store.DeleteShare(r.Context(), state(r).caller, state(r).vars["sid"], state(r).vars["share"]); err != nil {
		return err
	}
	return reply.None(w)
}

func (s *server) recipient(r *http.Request, sess *store.Session, h *store.Share) api.Recipient {
	says, ok := filesender.Sending(sess)
	if !ok {
		says.Link = shares
	}
	return api.Recipient{ID: h.ID, SessionID: h.Session, Email: h.Email, Message: h.Message, CreatedAt: api.Time{Time: h.Created},
		SentAt: timeOrNil(h.Sent), UsedAt: timeOrNil(h.Used), URL: s.links.base(r, state(r).prefix) + says.Link + h.ID}
}

func timeOrNil(t time.Time) *api.Time {
	if t.IsZero() {
		return nil
	}
	return &api.Time{Time: t}
}

// shares is below what the links of recipients lie, where no other API has pages
// for them.
const shares = "/shares/"

// shared finds what the link of a recipient leads to: not a session that was not
// sent yet, nor one of FileSender, whose page has rules of its own.
func (s *server) shared(r *http.Request, use bool) (h *store.Share, sess *store.Session, err error) {
	h, sess, err = s.store.Shared(r.Context(), state(r).caller, state(r).vars["share"], use)
	if err != nil {
		return nil, nil, err
	}
	if _, other := filesender.Sending(sess); other || h.Sent.IsZero() {
		return nil, nil, store.Refuse(store.NotFound, "token not found")
	}
	return h, sess, nil
}

// getShare is what a recipient opens: a page, or the same for programs.
func (s *server) getShare(w http.ResponseWriter, r *http.Request) error {
	h, sess, err := s.shared(r, r.Method == http.MethodGet)
	if err != nil {
		return err
	}
	files, err := s.archived(r, store.Caller{Share: h.ID}, sess)
	if err != nil {
		return err
	}
	slices.Reverse(files) // as they were added
	base := s.links.base(r, state(r).prefix) + shares + h.ID
	w.Header().Set("Vary", "Accept, Sec-Fetch-Mode")
	if !isNavigation(r) {
		o := api.Shared{From: sess.Owner, Name: sess.Name, Message: h.Message, ExpiresAt: api.Time{Time: sess.Expires}, Files: []api.SharedFile{}, ArchiveURL: base + "/archive"}
		for _, f := range files {
			o.Files = append(o.Files, api.SharedFile{Name: f.Name, Type: f.File.Type, Size: f.File.Size, URL: base + "/files/" + f.File.ID})
		}
		return reply.JSON(w, o)
	}
	d := page.Share{Title: sess.Name, Message: h.Message, From: sess.Owner, Left: page.Left(time.Until(sess.Expires)), Expires: sess.Expires.UTC().Format("2 January 2006, 15:04 UTC")}
	for i, f := range files {
		d.Files = append(d.Files, page.SharedFile{ID: int64(i + 1), Name: f.Name, Bytes: f.File.Size, Stored: f.File.Size, Size: page.Bytes(f.File.Size), Type: f.File.Type, URL: base + "/files/" + f.File.ID})
	}
	if len(files) > 1 {
		d.All = base + "/archive"
	}
	html, err := page.RenderShare(d)
	if err != nil {
		return err
	}
	return reply.Page(w, http.StatusOK, html)
}

// getSharedFile answers with the bytes of a file.
func (s *server) getSharedFile(w http.ResponseWriter, r *http.Request) error {
	h, sess, err := s.shared(r, false)
	if err != nil {
		return err
	}
	return s.dialectServe(w, r, store.Caller{Share: h.ID}, store.Ref{Session: sess.ID, File: state(r).vars["fid"]}, dialect.Serving{})
}

func (s *server) getSharedArchive(w http.ResponseWriter, r *http.Request) error {
	h, sess, err := s.shared(r, false)
	if err != nil {
		return err
	}
	return s.archiveOf(w, r, store.Caller{Share: h.ID}, sess)
}
