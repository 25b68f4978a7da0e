package store

import "context"

// Locate tells where a file is that is known by its id alone: in which session,
// or that it is an upload. Only who owns the file, or is a member of its
// session, is told.
func (s *Store) Locate(ctx context.Context, c Caller, id string) (ref Ref, err error) {
	if err := s.permit(c, toFind, nil); err != nil {
		return ref, err
	}
	err = s.view(ctx, func(tx Tx) error {
		key, ok := s.ids.key(id)
		if !ok {
			return errFileUnknown()
		}
		ref, err = s.locate(tx, c, key)
		return err
	})
	return ref, err
}

func (s *Store) locate(tx Tx, c Caller, key Key) (Ref, error) {
	rec, err := getFile(tx, key)
	if err != nil {
		return Ref{}, err
	}
	if rec == nil {
		return Ref{}, errFileUnknown()
	}
	ref := Ref{File: s.ids.id(key)}
	if !rec.session.zero() {
		ref.Session = s.ids.id(rec.session)
	}
	f, err := s.find(tx, ref, s.now())
	if err != nil {
		return Ref{}, err
	}
	w, err := s.whoseFile(tx, c, f)
	if err != nil {
		return Ref{}, err
	}
	if err := s.permit(c, toFind, w); err != nil {
		return Ref{}, err
	}
	return ref, nil
}

func errFileUnknown() *Error { return Refuse(NotFound, "file not found") }
