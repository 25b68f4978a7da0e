package server

import (
	"net/http"

	"fileshare/api"
	"fileshare/server/reply"
	"fileshare/store"
)

func (s *server) postToken(w http.ResponseWriter, r *http.Request) error {
	said, err := s.readFields(r)
	if err != nil {
		return err
	}
	if err := said.refuseLost("ttl", "max_downloads"); err != nil {
		return err
	}
	var spec store.TokenSpec
	access, err := said.text("access")
	if err != nil {
		return err
	}
	if access != nil && *access != api.AccessDownload {
		if spec.Access = store.Access(*access); spec.Access == "" {
			return invalid("access must be download, read or full")
		}
	}
	if spec.MaxDownloads, err = said.number("max_downloads"); err != nil {
		return err
	}
	if spec.TTL, err = said.seconds("ttl"); err != nil {
		return err
	}
	t, err := s.store.CreateToken(r.Context(), state(r).caller, state(r).ref(), spec)
	if err != nil {
		return err
	}
	o := s.token(r, t)
	return reply.Created(w, o.URL, o)
}

func (s *server) listTokens(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	s.tails.settle(r.Context(), state(r).ref())
	page, err := s.store.Tokens(r.Context(), state(r).caller, state(r).ref(), q)
	if err != nil {
		return err
	}
	return reply.JSON(w, list(page, func(t *store.Token) api.Token { return s.token(r, t) }))
}

func (s *server) deleteToken(w http.ResponseWriter, r *http.Request) error {
	if err := s.store.DeleteToken(r.Context(), state(r).caller, state(r).ref()); err != nil {
		return err
	}
	return reply.None(w)
}
