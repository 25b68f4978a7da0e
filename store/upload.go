package store

import (
	"context"
	"time"
)

// CreateUpload makes an upload of a received content, which is attached when
// this returns nil.
func (s *Store) CreateUpload(ctx context.Context, c Caller, spec FileSpec, content *Content) (*File, error) {
	if err := s.permit(c, toUpload, nil); err != nil {
		return nil, err
	}
	now := s.now()
	f := &found{fileKey: newKey(now), file: &fileRec{owner: c.Name, ttl: s.o.UploadTTL, created: now, updated: now, expires: now.Add(s.o.UploadTTL)}}
	if err := f.file.apply(spec, now, s.o.MaxUploadTTL); err != nil {
		return nil, err
	}
	f.file.take(content, spec)
	f.file.sequence = spec.Sequence
	var grant *tokenRec
	if spec.Grant != nil {
		var err error
		if grant, err = s.newToken(*spec.Grant, now); err != nil {
			return nil, err
		}
	}
	err := s.updateContent(ctx, content, func(tx Tx) error {
		if grant != nil {
			f.file.managers = 0 // this function may run again
			if err := f.addToken(tx, newKey(now), grant); err != nil {
				return err
			}
		}
		if err := number(tx, f.file.sequence, &f.file.number, f.fileKey); err != nil {
			return err
		}
		if err := s.attach(tx, f, content); err != nil {
			return err
		}
		return s.index(tx, f)
	})
	if err != nil {
		return nil, err
	}
	out := s.render(f, 0)
	if grant != nil {
		out.Grant = s.showToken(f, new(usesRec))
	}
	return out, nil
}

// take makes the content that of the record.
func (f *fileRec) take(c *Content, spec FileSpec) {
	if f.name == "" {
		f.name, f.original = "unnamed", "unnamed"
	}
	said := f.mime
	if spec.Type != nil {
		said = *spec.Type
	}
	f.mime = typeOf(said, f.name, c.head)
	f.size, f.sha, f.crc, f.stored, f.inline = c.size, c.sha, c.crc, true, c.inline != nil
	if !f.inline {
		f.runs = []run{c.run}
	}
}

// attach writes the record of a file with its content, within the quota.
func (s *Store) attach(tx Tx, f *found, c *Content) error {
	owner := f.owner()
	u, err := getUsage(tx, owner)
	if err != nil {
		return err
	}
	if err := s.quota(u, c.size); err != nil {
		return err
	}
	if err := f.claim(tx, 0, c.size); err != nil {
		return err
	}
	u.files, u.bytes = u.files+1, u.bytes+c.size
	if err := tx.Put(UsageRecords, usageID(owner), u.encode(), time.Time{}); err != nil {
		return err
	}
	if c.inline != nil {
		err = tx.Put(ContentRecords, f.fileKey[:], *c.inline, time.Time{})
	} else {
		err = s.refer(tx, c.run.key, f.fileKey)
	}
	if err != nil {
		return err
	}
	if err := s.emitFile(tx, f.file.updated, FileUploaded, f); err != nil {
		return err
	}
	return putFile(tx, f.fileKey, f.file)
}

// quota refuses more bytes than an account may store.
func (s *Store) quota(u usageRec, more int64) error {
	if s.o.UserQuota > 0 && more > s.o.UserQuota-u.bytes {
		return Refuse(Quota, "your quota is used up")
	}
	return nil
}

func getUsage(tx Tx, owner string) (usageRec, error) {
	doc, err := tx.Get(UsageRecords, usageID(owner))
	if err != nil {
		return usageRec{}, err
	}
	return decodeUsage(doc)
}

// index enters a file into the lists it belongs to.
func (s *Store) index(tx Tx, f *found) error {
	return eachIndex(f, func(id []byte) error { return tx.Put(IndexRecords, id, nil, time.Time{}) })
}

// unindex is the inverse of index.
func unindex(tx Tx, f *found) error {
	return eachIndex(f, func(id []byte) error { return tx.Delete(IndexRecords, id) })
}

func eachIndex(f *found, do func(id []byte) error) error {
	if f.file.open != nil && f.file.open.part {
		return nil
	}
	if err := do(entry(byOwner(f.file.owner), f.fileKey)); err != nil {
		return err
	}
	for _, t := range f.file.tags {
		if err := do(entry(byTag(f.file.owner, t), f.fileKey)); err != nil {
			return err
		}
	}
	if f.file.session.zero() {
		return nil
	}
	return do(entry(bySession(f.file.session), f.fileKey))
}

// CreateFile makes a file without content (state NEW) in a session.
func (s *Store) CreateFile(ctx context.Context, c Caller, session string, spec FileSpec) (*File, error) {
	if err := s.permit(c, toSession, nil); err != nil {
		return nil, err
	}
	f, err := s.newFile(spec)
	if err != nil {
		return nil, err
	}
	if s.o.FileSize > 0 && f.file.size > s.o.FileSize {
		return nil, errTooLarge(s.o.FileSize)
	}
	err = s.update(ctx, func(tx Tx) error {
		if err := s.enterSession(tx, c, session, f); err != nil {
			return err
		}
		return putFile(tx, f.fileKey, f.file)
	})
	if err != nil {
		return nil, err
	}
	return s.render(f, 0), nil
}

// StoreNew makes a file in a session together with its content, which is
// attached when this returns nil.
func (s *Store) StoreNew(ctx context.Context, c Caller, session string, spec FileSpec, content *Content) (*File, error) {
	if err := s.permit(c, toSession, nil); err != nil {
		return nil, err
	}
	spec.Size = nil
	f, err := s.newFile(spec)
	if err != nil {
		return nil, err
	}
	f.file.take(content, spec)
	err = s.updateContent(ctx, content, func(tx Tx) error {
		if err := s.enterSession(tx, c, session, f); err != nil {
			return err
		}
		return s.attach(tx, f, content)
	})
	if err != nil {
		return nil, err
	}
	return s.render(f, 0), nil
}

// newFile makes the record of a file that is to be in a session.
func (s *Store) newFile(spec FileSpec) (*found, error) {
	now := s.now()
	rec := &fileRec{sequence: spec.Sequence, created: now, updated: now}
	if err := rec.apply(spec, now, s.o.MaxSessionTTL); err != nil {
		return nil, err
	}
	return &found{fileKey: newKey(now), file: rec}, nil
}

// enterSession puts a new file into a session, but for its record.
func (s *Store) enterSession(tx Tx, c Caller, session string, f *found) (err error) {
	if f.sessionKey, f.session, err = s.findSession(tx, session, f.file.created); err != nil {
		return err
	}
	w, err := s.whoseSession(tx, c, f.session)
	if err != nil {
		return err
	}
	if err := s.permit(c, toSession, w); err != nil {
		return err
	}
	if err := f.session.changeable(); err != nil {
		return err
	}
	if err := f.claim(tx, 1, 0); err != nil {
		return err
	}
	f.file.session, f.file.owner, f.file.audit = f.sessionKey, f.session.owner, f.session.audit
	if err := number(tx, f.file.sequence, &f.file.number, f.fileKey); err != nil {
		return err
	}
	return s.index(tx, f)
}

// MayStore refuses what StoreFile would refuse before its content is read:
// unknown file, not the owner, content already there, size beyond a limit.
func (s *Store) MayStore(ctx context.Context, c Caller, ref Ref, size int64) error {
	if err := s.permit(c, toSession, nil); err != nil {
		return err
	}
	var owner string
	err := s.view(ctx, func(tx Tx) error {
		f, err := s.storable(tx, c, ref)
		if err != nil {
			return err
		}
		owner = f.owner()
		return f.session.fits(0, size)
	})
	if err != nil {
		return err
	}
	return s.mayHold(ctx, owner, size)
}

// storable finds a session's file that has no content yet.
func (s *Store) storable(tx Tx, c Caller, ref Ref) (*found, error) {
	f, err := s.find(tx, Ref{Session: ref.Session, File: ref.File}, s.now())
	if err != nil {
		return nil, err
	}
	w, err := s.whoseFile(tx, c, f)
	if err != nil {
		return nil, err
	}
	if err := s.permit(c, f.action(), w); err != nil {
		return nil, err
	}
	if err := f.session.changeable(); err != nil {
		return nil, err
	}
	switch {
	case f.file.stored:
		return nil, Refuse(Conflict, "the file has its content already")
	case f.file.open != nil:
		return nil, Refuse(Conflict, "an upload of the content has begun already")
	}
	return f, nil
}

// StoreFile gives a file of a session its content, which is attached when this
// returns nil. spec may set Name and Type where the file has none yet, and TTL,
// MaxDownloads and Tags anew.
func (s *Store) StoreFile(ctx context.Context, c Caller, ref Ref, spec FileSpec, content *Content) (*File, error) {
	if err := s.permit(c, toSession, nil); err != nil {
		return nil, err
	}
	var f *found
	err := s.updateContent(ctx, content, func(tx Tx) error {
		var err error
		if f, err = s.storable(tx, c, ref); err != nil {
			return err
		}
		now := s.now()
		spec, err := s.fill(tx, f, spec, now)
		if err != nil {
			return err
		}
		f.file.take(content, spec)
		f.file.updated = now
		return s.attach(tx, f, content)
	})
	if err != nil {
		return nil, err
	}
	return s.render(f, 0), nil
}

// fill applies what a client says together with the content of a session's file:
// Name and Type only where the file has none yet. It returns what was applied.
func (s *Store) fill(tx Tx, f *found, spec FileSpec, now time.Time) (FileSpec, error) {
	if f.file.name != "" {
		spec.Name, spec.OriginalName = nil, nil
	}
	if f.file.mime != "" {
		spec.Type = nil
	}
	spec.Size = nil
	return spec, s.reapply(tx, f, spec, now, s.o.MaxSessionTTL)
}

// reapply is apply for a file that is in lists already, which follow its tags.
func (s *Store) reapply(tx Tx, f *found, spec FileSpec, now time.Time, most time.Duration) error {
	if spec.Tags == nil {
		return f.file.apply(spec, now, most)
	}
	if err := unindex(tx, f); err != nil {
		return err
	}
	if err := f.file.apply(spec, now, most); err != nil {
		return err
	}
	return s.index(tx, f)
}

// updateContent is update for a function that attaches a content. If the
// function refused, the content stays the caller's; if the backend failed,
// nobody knows whether a record refers to it now: it is then left to the sweep.
func (s *Store) updateContent(ctx context.Context, c *Content, fn func(Tx) error) error {
	return s.updateContents(ctx, []*Content{c}, fn)
}

func (s *Store) updateContents(ctx context.Context, all []*Content, fn func(Tx) error) error {
	unknown := false
	err := s.update(ctx, func(tx Tx) error {
		err := fn(tx)
		unknown = err == nil
		return err
	})
	if unknown || err == nil {
		for _, c := range all {
			c.attached()
		}
	}
	return err
}

// action is what using a file means to permission.
func (f *found) action() action {
	if f.session != nil {
		return toSession
	}
	return toFile
}
