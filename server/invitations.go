package server

import (
	"net/http"
	"net/url"
	"time"

	"fileshare/api"
	"fileshare/server/page"
	"fileshare/server/reply"
	"fileshare/store"
)

// invitation is in on the wire, for its owner.
func (s *server) invitation(r *http.Request, in *store.Invitation) api.Invitation {
	base := s.links.base(r, state(r).prefix)
	o := api.Invitation{
		ID: in.ID, Token: in.Secret, Owner: in.Owner, Email: in.Email, Name: in.Name, Message: in.Message, State: string(in.State),
		Uses: in.Uses, MaxUses: in.MaxUses, MaxFiles: in.MaxFiles, MaxSize: in.MaxSize,
		CreatedAt: api.Time{Time: in.Created}, ExpiresAt: api.Time{Time: in.Expires},
		URL: base + "/invitations/" + in.ID, UploadURL: base + "/invite/" + in.Secret,
	}
	if !in.Used.IsZero() {
		o.UsedAt = &api.Time{Time: in.Used}
	}
	return o
}

func (f fields) invitationSpec() (spec store.InvitationSpec, err error) {
	for name, to := range map[string]**string{"email": &spec.Email, "name": &spec.Name, "message": &spec.Message} {
		if *to, err = f.text(name); err != nil {
			return spec, err
		}
	}
	for name, to := range map[string]**int64{"max_uses": &spec.MaxUses, "max_files": &spec.MaxFiles, "max_size": &spec.MaxSize} {
		if *to, err = f.number(name); err != nil {
			return spec, err
		}
	}
	spec.TTL, err = f.seconds("ttl")
	return spec, err
}

func (s *server) postInvitation(w http.ResponseWriter, r *http.Request) error {
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	spec, err := said.invitationSpec()
	if err != nil {
		return err
	}
	in, err := s.store.Invite(r.Context(), state(r).caller, spec)
	if err != nil {
		return err
	}
	o := s.invitation(r, in)
	return reply.Created(w, o.URL, o)
}

func (s *server) listInvitations(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	q.All = state(r).caller.Admin
	all, err := s.store.Invitations(r.Context(), state(r).caller, q)
	if err != nil {
		return err
	}
	return reply.JSON(w, list(all, func(in *store.Invitation) api.Invitation { return s.invitation(r, in) }))
}

func (s *server) getInvitation(w http.ResponseWriter, r *http.Request) error {
	in, err := s.store.Invitation(r.Context(), state(r).caller, state(r).vars["id"])
	if err != nil {
		return err
	}
	return reply.JSON(w, s.invitation(r, in))
}

func (s *server) patchInvitation(w http.ResponseWriter, r *http.Request) error {
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	spec, err := said.invitationSpec()
	if err != nil {
		return err
	}
	in, err := s.store.PatchInvitation(r.Context(), state(r).caller, state(r).vars["id"], spec)
	if err != nil {
		return err
	}
	return reply.JSON(w, s.invitation(r, in))
}

// deleteInvitation withdraws an invitation; what was uploaded by it stays.
func (s *server) deleteInvitation(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.store.CloseInvitation(r.Context(), state(r).caller, state(r).vars["id"]); err != nil {
		return err
	}
	return reply.None(w)
}

func (s *server) invitationSessions(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	all, err := s.store.InvitationSessions(r.Context(), state(r).caller, state(r).vars["id"], q)
	if err != nil {
		return err
	}
	return reply.JSON(w, list(all, func(e *store.Session) api.Session { return s.session(r, e) }))
}

// completeSession says that all of a session is there.
func (s *server) completeSession(w http.ResponseWriter, r *http.Request) error {
	e, err := s.store.CompleteSession(r.Context(), state(r).caller, state(r).vars["sid"], nil)
	if err != nil {
		return err
	}
	return reply.JSON(w, s.session(r, e))
}

// invite is the link that an invited person opens: a page to send files by, or
// for a program what the invitation allows.
func (s *server) invite(w http.ResponseWriter, r *http.Request) error {
	in, err := s.store.Invited(r.Context(), state(r).vars["token"])
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept, Sec-Fetch-Mode")
	if !isNavigation(r) {
		return reply.JSON(w, api.Invite{From: in.Owner, Name: in.Name, Message: in.Message, MaxFiles: in.MaxFiles, MaxSize: in.MaxSize, ExpiresAt: api.Time{Time: in.Expires}})
	}
	if err := s.store.Visited(r.Context(), in.Secret); err != nil {
		return err
	}
	base, err := url.Parse(s.links.base(r, state(r).prefix))
	if err != nil {
		return err
	}
	d := page.Upload{Speaks: "native", Title: in.Name, Message: in.Message, From: in.Owner, Left: page.Left(time.Until(in.Expires)),
		Expires: in.Expires.UTC().Format("2 January 2006, 15:04 UTC"), Base: base.Path, Invitation: in.Secret, MaxFiles: in.MaxFiles, MaxSize: in.MaxSize}
	if s.o.Tus {
		d.ChunkSize = inviteChunk
	}
	html, script, err := page.RenderUpload(d)
	if err != nil {
		return err
	}
	return reply.Program(w, html, script)
}

// inviteChunk is how many bytes the page of an invitation sends in a request: so
// many at most have to be sent again when a line breaks.
const inviteChunk = 16 << 20
