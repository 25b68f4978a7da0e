package server

import (
	"net/http"
	"time"

	"fileshare/server/reply"
)

// backup streams a backup of everything. What goes wrong in the middle breaks
// the connection; the archive then has no end, too.
func (s *server) backup(w http.ResponseWriter, r *http.Request) error {
	x := state(r)
	if err := s.store.MayBackup(x.caller); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Disposition", disposition(false, "fileshare-"+time.Now().UTC().Format("20060102T150405Z")+".tar"))
	h.Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	err := s.store.Backup(r.Context(), x.caller, w)
	switch {
	case err != nil && (r.Context().Err() != nil || isGone(err)):
		return reply.Gone(err)
	case err != nil && x.status == 0:
		clearHeaders(h)
	}
	return err
}
