package store

import (
	"log/slog"
	"slices"
)

// action is what a caller wants to do, as far as permission goes.
type action string

const (
	toUpload  action = "upload"  // make an upload
	toOwn     action = "own"     // list and make what is one's own
	toFile    action = "file"    // see and change an upload
	toSession action = "session" // use a session and what is in it
	toShare   action = "share"   // let others see a session, and have them told; the id of an open session is not enough for that
	toRule    action = "rule"    // change or end a session
	toFind    action = "find"    // learn where a thing is; the id of an open session does not help there
	toFetch   action = "fetch"   // read bytes by a link
	toAppend  action = "append"  // go on with an unfinished upload
	toSeeAll  action = "see all" // see what everybody has
)

// whose tells who may manage a thing: its owner, and what is in a session the
// members, too.
type whose struct {
	owner   string
	members []string
	granted Access // by the token that the caller presents
	needs   Access // what of that is asked for
	invited bool   // the caller presents the invitation by which the session was made
}

// permit is the one place that decides whether a caller may. It is asked twice:
// before anything is looked up (w nil), so that a stranger learns nothing, and
// again when it is known whose it is.
func (s *Store) permit(c Caller, a action, w *whose) error {
	err := s.decide(c, a, w)
	if err != nil {
		s.o.Log.Debug("refused", slog.String("caller", c.Name), slog.String("action", string(a)), slog.String("reason", err.Message))
		return err
	}
	return nil
}

// permitList is permit before anything is looked up, for a list.
func (s *Store) permitList(c Caller, a action, q Query) error {
	if err := s.permit(c, a, nil); err != nil || !q.All {
		return err
	}
	return s.permit(c, toSeeAll, nil)
}

func (s *Store) decide(c Caller, a action, w *whose) *Error {
	switch {
	case c.Admin,
		a == toUpload && s.o.AnonymousUploads,
		(a == toSession || a == toRule) && s.o.OpenSessions,
		a == toFetch && !s.o.PrivateDownloads,
		a == toAppend && s.o.AnonymousUploads && (w == nil || w.owner == ""):
		return nil
	case (c.Grant != "" || c.Share != "") && w == nil && (a == toFile || a == toSession), // asked again when the file is known
		c.Invite != "" && (w == nil || w.invited) && (a == toSession || a == toShare || a == toRule || a == toFind),
		w != nil && w.needs != "" && w.granted.number() >= w.needs.number():
		return nil
	case c.Name == "" && w != nil && w.granted != "":
		return Refuse(Denied, "the token does not allow that")
	case c.Name == "" && c.Invite != "":
		return Refuse(Denied, "the invitation does not allow that")
	case c.Name == "":
		return Refuse(Unauthenticated, "authentication required")
	case a == toSeeAll:
		return Refuse(Denied, "only an administrator sees everything")
	case a == toUpload, a == toFetch, w == nil, w.owner == c.Name, (a == toSession || a == toShare || a == toFind) && slices.Contains(w.members, c.Name):
		return nil
	}
	return Refuse(Denied, "not yours")
}

// Permissions is a set of what accounts may do besides using what is theirs.
type Permissions uint8

// Permissions. Administrators have all.
const (
	ViewFiles      Permissions = 1 << iota // ask for lists where a dialect wants this permission
	ViewSettings                           // read the settings of a dialect
	UpdateSettings                         // change them
)

// Can tells whether the caller has the permissions.
func (c Caller) Can(p Permissions) bool { return c.Admin || c.Permissions&p == p }

// Allow refuses a caller that has not the permissions: Unauthenticated one
// without an account, Denied any other.
func (s *Store) Allow(c Caller, p Permissions) error {
	switch {
	case c.Can(p):
		return nil
	case c.Name == "":
		return Refuse(Unauthenticated, "authentication required")
	}
	return Refuse(Denied, "the account lacks a permission")
}
