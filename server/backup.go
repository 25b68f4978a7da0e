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
	err := s.store.Backup(r.Context(), x.caller, &flushed{ResponseWriter: w})
	switch {
	case err != nil && (r.Context().Err() != nil || isGone(err)):
		return reply.Gone(err)
	case err != nil && x.status == 0:
		clearHeaders(h)
	}
	return err
}

// flushed sends what is written first at once: the next bytes come when all
// records have been read.
type flushed struct {
	http.ResponseWriter
	begun bool
}

func (f *flushed) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if !f.begun && err == nil {
		f.begun = true
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
