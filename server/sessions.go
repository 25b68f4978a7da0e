package server

import (
	"cmp"
	"context"
	"net/http"

	"fileshare/api"
	"fileshare/server/reply"
	"fileshare/store"
)

func (f fields) sessionSpec() (spec store.SessionSpec, err error) {
	if err = f.refuseLost("ttl"); err != nil {
		return spec, err
	}
	if spec.Name, err = f.text("name"); err != nil {
		return spec, err
	}
	spec.TTL, err = f.seconds("ttl")
	return spec, err
}

func (s *server) postSession(w http.ResponseWriter, r *http.Request) error {
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	spec, err := said.sessionSpec()
	if err != nil {
		return err
	}
	sess, err := s.store.CreateSession(r.Context(), state(r).caller, spec)
	if err != nil {
		return err
	}
	o := s.session(r, sess)
	return reply.Created(w, o.URL, o)
}

// listSessions answers a bare array, as the old service's clients expect.
func (s *server) listSessions(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	q.All = state(r).caller.Admin
	page, err := s.store.Sessions(r.Context(), state(r).caller, q)
	if err != nil {
		return err
	}
	s.linkNext(w, r, page.Next)
	return reply.JSON(w, list(page, func(e *store.Session) api.Session { return s.session(r, e) }).Items)
}

func (s *server) getSession(w http.ResponseWriter, r *http.Request) error {
	sess, err := s.store.Session(r.Context(), state(r).caller, state(r).vars["sid"])
	if err != nil {
		return err
	}
	return reply.JSON(w, s.session(r, sess))
}

func (s *server) patchSession(w http.ResponseWriter, r *http.Request) error {
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	spec, err := said.sessionSpec()
	if err != nil {
		return err
	}
	if err := said.refuseUnknown(api.Session{}, "ttl", "name"); err != nil {
		return err
	}
	sess, err := s.store.PatchSession(r.Context(), state(r).caller, state(r).vars["sid"], spec)
	if err != nil {
		return err
	}
	return reply.JSON(w, s.session(r, sess))
}

func (s *server) deleteSession(w http.ResponseWriter, r *http.Request) error {
	if err := s.store.DeleteSession(r.Context(), state(r).caller, state(r).vars["sid"]); err != nil {
		return err
	}
	return reply.None(w)
}

// postFile makes a file without content; its URL is where to PUT that.
func (s *server) postFile(w http.ResponseWriter, r *http.Request) error {
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	spec, err := said.fileSpec()
	if err != nil {
		return err
	}
	if spec.OriginalName, err = said.text("original_name"); err != nil {
		return err
	}
	if spec.Size, err = said.number("size"); err != nil {
		return err
	}
	typ, err := said.text("mime_type")
	if err != nil {
		return err
	}
	if typ != nil && *typ != "" {
		if spec.Type = mediaType(*typ); spec.Type == nil {
			return invalid("mime_type is not a media type")
		}
	}
	f, err := s.store.CreateFile(r.Context(), state(r).caller, state(r).vars["sid"], spec)
	if err != nil {
		return err
	}
	o := s.file(r, f)
	return reply.Created(w, o.URL, o)
}

// listFiles answers a bare array, as the old service's clients expect.
func (s *server) listFiles(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	q.Session = state(r).vars["sid"]
	s.tails.settle(r.Context(), store.Ref{Session: q.Session})
	page, err := s.store.Files(r.Context(), state(r).caller, q)
	if err != nil {
		return err
	}
	s.linkNext(w, r, page.Next)
	return reply.JSON(w, list(page, func(f *store.File) api.File { return s.file(r, f) }).Items)
}

// putFile gives a file of a session its content.
func (s *server) putFile(w http.ResponseWriter, r *http.Request) error {
	if err := uncoded(w, r); err != nil {
		return err
	}
	x := state(r)
	ref := x.ref()
	may := func(ctx context.Context, size int64) error { return s.store.MayStore(ctx, x.caller, ref, size) }
	if err := s.condition(r); err != nil {
		return cmp.Or(may(r.Context(), -1), err) // what is refused anyway has no conditions (RFC 9110 §13.2.1)
	}
	in := s.incoming(r)
	if isForm(r.Header.Get("Content-Type")) {
		if err := s.formAlone(r); err != nil {
			return err
		}
		in.may = may
		if err := in.form(); err != nil {
			in.content.Discard()
			return err
		}
	} else {
		var err error
		if in.spec, err = headerSpec(r); err != nil {
			return err
		}
		if d, ok := drafted(r); ok && s.o.Tus {
			in.spec.Type = mediaType(r.Header.Get("Content-Type"))
			return s.ietfCreate(w, r, d, func(b store.Begin) (*store.Progress, error) {
				return s.store.BeginFile(r.Context(), x.caller, ref, in.spec, b)
			})
		}
		if err := may(r.Context(), r.ContentLength); err != nil {
			return err
		}
		if err := in.raw(); err != nil {
			return err
		}
	}
	f, err := s.store.StoreFile(r.Context(), x.caller, ref, in.spec, in.content)
	if err != nil {
		in.content.Discard()
		return err
	}
	return reply.JSON(w, s.file(r, f))
}
