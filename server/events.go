package server

import (
	"net/http"

	"fileshare/server/reply"
	"fileshare/store"
)

// listEvents answers the caller's events, oldest first. next is the after of
// the next question, also when nothing more has happened yet.
func (s *server) listEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	page, err := s.store.Events(r.Context(), state(r).caller, store.EventQuery{After: r.URL.Query().Get("after"), Limit: q.Limit})
	if err != nil {
		return err
	}
	return reply.JSON(w, list(page, Event))
}
