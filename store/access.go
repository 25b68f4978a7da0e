package store

import "log/slog"

// action is what a caller wants to do, as far as permission goes.
type action string

const (
	toUpload  action = "upload"  // make an upload
	toOwn     action = "own"     // see and change what is one's own
	toSession action = "session" // use a session and what is in it
	toFetch   action = "fetch"   // read bytes by a link
)

// permit is the one place that decides whether a caller may. It is asked twice:
// before anything is looked up (owner nil), so that a stranger learns nothing,
// and again when the owner is known.
func (s *Store) permit(c Caller, a action, owner *string) error {
	err := s.decide(c, a, owner)
	if err != nil {
		s.o.Log.Debug("refused", slog.String("caller", c.Name), slog.String("action", string(a)), slog.String("reason", err.Message))
		return err
	}
	return nil
}

func (s *Store) decide(c Caller, a action, owner *string) *Error {
	switch {
	case c.Admin,
		a == toUpload && s.o.AnonymousUploads,
		a == toSession && s.o.OpenSessions,
		a == toFetch && !s.o.PrivateDownloads:
		return nil
	case c.Name == "":
		return Refuse(Unauthenticated, "authentication required")
	case a == toUpload, a == toFetch, owner == nil, *owner == c.Name:
		return nil
	}
	return Refuse(Denied, "not yours")
}
