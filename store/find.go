package store

import (
	"errors"
	"time"
)

// found is what a Ref leads to, all of it alive.
type found struct {
	ref        Ref         // by which it was found; zero: by its key
	session    *sessionRec // nil: an upload
	sessionKey Key
	file       *fileRec // nil: only a session was asked for
	fileKey    Key
	token      *tokenRec // nil: none was asked for
	tokenKey   Key
}

// owner is who has to pay: a session's files are the session owner's.
func (f *found) owner() string { return f.whose().owner }

func (f *found) whose() *whose {
	if f.session != nil {
		return f.session.whose()
	}
	return &whose{owner: f.file.owner}
}

// expires is when the file ends.
func (f *found) expires() time.Time {
	if f.session == nil {
		return f.file.expires
	}
	if f.file.expires.IsZero() || f.session.expires.Before(f.file.expires) {
		return f.session.expires
	}
	return f.file.expires
}

// noun is what messages call the file.
func (f *found) noun() string {
	if f.session != nil {
		return "file"
	}
	return "upload"
}

// find reads what ref leads to and refuses what is unknown, expired, used up
// or deleted. It is the only way to a record by a public id.
func (s *Store) find(tx Tx, ref Ref, now time.Time) (*found, error) {
	f := &found{ref: ref}
	if ref.Session != "" {
		var err error
		if f.sessionKey, f.session, err = s.findSession(tx, ref.Session, now); err != nil {
			return nil, err
		}
	}
	key, ok := s.ids.key(ref.File)
	if !ok {
		return nil, Refuse(NotFound, f.noun()+" not found")
	}
	file, err := getFile(tx, key)
	if err != nil {
		return nil, err
	}
	if file == nil || file.session != f.sessionKey {
		return nil, Refuse(NotFound, f.noun()+" not found")
	}
	f.file, f.fileKey = file, key
	switch file.reason {
	case expired:
		return nil, errUploadExpired()
	case usedUp:
		return nil, Refuse(Used, "upload used")
	case deleted:
		return nil, Refuse(NotFound, f.noun()+" not found")
	}
	if !now.Before(f.expires()) {
		return nil, errUploadExpired()
	}
	if ref.Token != "" {
		if err := s.findToken(tx, ref.Token, f, now); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func errUploadExpired() *Error { return Refuse(Expired, "upload expired") }

func (s *Store) findToken(tx Tx, id string, f *found, now time.Time) error {
	key, token, err := s.getToken(tx, id)
	if err != nil {
		return err
	}
	if token.file != f.fileKey {
		return errTokenUnknown()
	}
	if !token.expires.IsZero() && !now.Before(token.expires) {
		return Refuse(Expired, "token expired")
	}
	f.token, f.tokenKey = token, key
	return nil
}

// getToken reads a token's record, of whatever file and whether it still lives.
func (s *Store) getToken(tx Tx, id string) (Key, *tokenRec, error) {
	key, ok := s.ids.key(id)
	if !ok {
		return key, nil, errTokenUnknown()
	}
	doc, err := tx.Get(TokenRecords, key[:])
	if err != nil {
		return key, nil, err
	}
	if doc == nil {
		return key, nil, errTokenUnknown()
	}
	token, err := decodeToken(doc)
	return key, token, err
}

func errTokenUnknown() *Error { return Refuse(NotFound, "token not found") }

func errSessionUnknown() *Error { return Refuse(NotFound, "session not found") }

// findSession reads a living session.
func (s *Store) findSession(tx Tx, id string, now time.Time) (Key, *sessionRec, error) {
	key, ok := s.ids.key(id)
	if !ok {
		return key, nil, errSessionUnknown()
	}
	session, err := sessionAt(tx, key, now)
	return key, session, err
}

// sessionAt reads a living session by its key.
func sessionAt(tx Tx, key Key, now time.Time) (*sessionRec, error) {
	session, err := getSession(tx, key)
	switch {
	case err != nil:
		return nil, err
	case session == nil || session.reason == deleted:
		return nil, errSessionUnknown()
	case session.reason != alive || !now.Before(session.expires):
		return nil, Refuse(Expired, "session expired")
	}
	return session, nil
}

// getSession reads a session's record; nil if there is none.
func getSession(tx Tx, key Key) (*sessionRec, error) {
	doc, err := tx.Get(SessionRecords, key[:])
	if err != nil || doc == nil {
		return nil, err
	}
	return decodeSession(doc)
}

// getFile reads a file's record; nil if there is none.
func getFile(tx Tx, key Key) (*fileRec, error) {
	doc, err := tx.Get(FileRecords, key[:])
	if err != nil || doc == nil {
		return nil, err
	}
	return decodeFile(doc)
}

// getUses reads the downloads of a file or token; never nil without an error.
func getUses(tx Tx, key Key) (*usesRec, error) {
	doc, err := tx.Get(UseRecords, key[:])
	if err != nil {
		return nil, err
	}
	return decodeUses(doc)
}

// putUses writes the downloads of a file or token.
func putUses(tx Tx, key Key, u *usesRec) error {
	return tx.Put(UseRecords, key[:], u.encode(), time.Time{})
}

// used turns errUsedUp into the refusal for what was used up.
func (f *found) used(err error) error {
	switch {
	case !errors.Is(err, errUsedUp):
		return err
	case f.token != nil:
		return Refuse(Used, "token used")
	}
	return Refuse(Used, "upload used")
}

// putFile writes a file's record. What has its own end is due then; a file of
// a session without one goes with the session.
func putFile(tx Tx, key Key, f *fileRec) error {
	return tx.Put(FileRecords, key[:], f.encode(), f.expires)
}

// show makes the public form of a file.
func (s *Store) show(tx Tx, f *found) (*File, error) {
	uses, err := getUses(tx, f.fileKey)
	if err != nil {
		return nil, err
	}
	downloads := uses.complete
	if f.file.max == 0 { // else only those count that the limit does
		downloads += s.tally.waiting(f.fileKey, downloads)
	}
	return s.render(f, downloads), nil
}

// render makes the public form of a file that has been downloaded so often.
func (s *Store) render(f *found, downloads int64) *File {
	r, id, session := f.file, f.ref.File, f.ref.Session
	if id == "" {
		id = s.ids.id(f.fileKey)
	}
	if session == "" && f.session != nil {
		session = s.ids.id(f.sessionKey)
	}
	out := &File{
		ID: id, Session: session, Owner: r.owner, Name: r.name, OriginalName: r.original, Type: r.mime, Size: r.size, Length: r.size,
		SHA256: r.sha, CRC32: r.crc, State: StateNew, Tags: r.tags, Attrs: r.attrs, Number: r.number, Downloads: downloads, MaxDownloads: r.max,
		TTL: r.ttl, Created: r.created, Updated: r.updated, Expires: f.expires(),
	}
	switch {
	case r.stored:
		out.State = StateUploaded
	case r.open != nil:
		out.State, out.Size, out.Length = StateUploading, r.open.got, r.open.length
	}
	if out.TTL == 0 {
		out.TTL = out.Expires.Sub(r.created).Truncate(time.Second)
	}
	return out
}
