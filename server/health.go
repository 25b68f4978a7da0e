package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"fileshare/api"
	"fileshare/server/reply"
)

// readyTimeout is how long records and blobs have to answer.
const readyTimeout = 5 * time.Second

// health tells that the process lives.
func (s *server) health(w http.ResponseWriter, _ *http.Request) error {
	return reply.JSON(w, api.Health{Status: "ok", Version: s.o.Version})
}

// ready tells that records and blobs answer.
func (s *server) ready(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := s.store.Ready(ctx); err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "not ready", slog.String("cause", err.Error()))
		w.Header().Set("Retry-After", "5")
		return reply.NotReady(w, api.Health{Status: "unavailable", Message: "the storage does not answer"})
	}
	return reply.JSON(w, api.Health{Status: "ok"})
}
