package opentera

import (
	"net/http"
	"strconv"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// Archives: files that are announced, stored later, and handed to their owner.
// An archive is a session of the engine with one file in it; archive_uuid is the
// session's id.

const archiveTTL = 7 * 24 * time.Hour

// Status of an archive; there are also 1 (in progress), 3 (cancelled) and 4
// (deleted), which clients set.
const (
	pending    = 0
	completed  = 2
	lastStatus = 4
)

const (
	attrStatus  = attrRest + "status"
	attrArchive = "opentera.archive" // that the session is one
)

// archive is what the service tells of an archive.
type archive struct {
	ID       int64   `json:"id_archive_file_data"`
	UUID     string  `json:"archive_uuid"`
	Name     string  `json:"archive_original_filename"`
	Size     int64   `json:"archive_file_size"`
	Status   int64   `json:"archive_status"`
	Owner    string  `json:"archive_owner_uuid"`
	Uploader *string `json:"archive_uploader_uuid"` // null before the upload, like its time
	Created  string  `json:"archive_creation_datetime"`
	Uploaded *string `json:"archive_upload_datetime"`
	Expires  string  `json:"archive_expiration_datetime"`
}

func (a *api) archiveOf(s *store.Session, f *store.File) archive {
	status, _ := parseNumber(s.Attrs[attrStatus])
	owner := a.uuidOf(s.Owner).String()
	out := archive{ID: s.Number, UUID: s.ID, Name: sessionName(s), Status: status, Owner: owner,
		Created: formatDate(s.Created), Expires: formatDate(s.Expires)}
	if f.State == store.StateUploaded {
		at := formatDate(f.Updated)
		out.Size, out.Uploader, out.Uploaded = f.Size, &owner, &at
	}
	return out
}

// content is the file of an archive, with its bytes or not.
func (a *api) content(r *http.Request, c who, s *store.Session) (*store.File, error) {
	page, err := a.Store.Files(r.Context(), c.Caller, store.Query{Session: s.ID, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(page.Items) == 0 { // removed by another API
		return nil, store.Refuse(store.NotFound, "the archive has no file")
	}
	return page.Items[0], nil
}

// archive finds an archive of the caller's by a parameter of the query.
func (a *api) archive(r *http.Request, param string) (c who, s *store.Session, err error) {
	if c, err = a.caller(r); err != nil {
		return c, nil, err
	}
	said, err := query(r, param)
	if err != nil {
		return c, nil, err
	}
	s, err = a.archiveBy(r, c, said[0])
	return c, s, err
}

// archiveBy finds an archive by its UUID.
func (a *api) archiveBy(r *http.Request, c who, id string) (*store.Session, error) {
	s, err := a.Store.Session(r.Context(), c.Caller, id)
	if err == nil && s.Attrs[attrArchive] == "" {
		err = store.Refuse(store.NotFound, "session not found")
	}
	return s, err
}

func (a *api) getArchive(w http.ResponseWriter, r *http.Request) error {
	c, s, err := a.archive(r, "archive_uuid")
	if err != nil {
		return err
	}
	f, err := a.content(r, c, s)
	if err != nil {
		return err
	}
	return reply.JSON(w, a.archiveOf(s, f))
}

func (a *api) downloadArchive(w http.ResponseWriter, r *http.Request) error {
	c, s, err := a.archive(r, "archive_uuid")
	if err != nil {
		return err
	}
	f, err := a.content(r, c, s)
	if err != nil {
		return err
	}
	return a.Serve(w, r, c.Caller, store.Ref{Session: s.ID, File: f.ID}, dialect.Serving{})
}

func (a *api) deleteArchive(w http.ResponseWriter, r *http.Request) error {
	c, s, err := a.archive(r, "uuid")
	if err != nil {
		return err
	}
	if err := a.Store.DeleteSession(r.Context(), c.Caller, s.ID); err != nil {
		return err
	}
	return reply.JSON(w, "Archive deleted")
}

// postArchive announces an archive, or with the number of one changes its
// status. Everybody announces for himself.
func (a *api) postArchive(w http.ResponseWriter, r *http.Request) error {
	c, err := a.caller(r)
	if err != nil {
		return err
	}
	o, id, err := readNumbered(r, "archive", "id_archive_file_data")
	if err != nil {
		return err
	}
	if id != 0 {
		return a.changeArchive(w, r, c, o, id)
	}
	said, err := o.required("archive_original_filename", "archive_owner_uuid")
	if err != nil {
		return err
	}
	if owner, ok := parseUUID(said[1]); !ok || owner != c.uuid {
		return store.Refuse(store.Denied, "Forbidden")
	}
	ttl := archiveTTL
	if said, err := a.TTL(r); err != nil {
		return err
	} else if said != nil {
		ttl = *said
	}
	attrs := map[string]string{attrName: said[0], attrStatus: strconv.Itoa(pending), attrArchive: "1"}
	s, err := a.Store.CreateSession(r.Context(), c.Caller, store.SessionSpec{Name: &said[0], TTL: &ttl, Attrs: &attrs, Sequence: archives})
	if err != nil {
		return err
	}
	typ := typeOfName(said[0])
	f, err := a.Store.CreateFile(r.Context(), c.Caller, s.ID, store.FileSpec{Name: &said[0], Type: &typ})
	if err != nil {
		return err // the empty session ends by itself
	}
	return reply.JSON(w, a.archiveOf(s, f))
}

func (a *api) changeArchive(w http.ResponseWriter, r *http.Request, c who, o object, id int64) error {
	status, ok, err := o.number("archive_status")
	if err != nil {
		return err
	}
	if !ok || status > lastStatus {
		return invalid("Missing archive_status")
	}
	s, err := a.Store.SessionByNumber(r.Context(), c.Caller, archives, id)
	if err != nil {
		return err
	}
	if s, err = a.setStatus(r, c, s, status); err != nil {
		return err
	}
	f, err := a.content(r, c, s)
	if err != nil {
		return err
	}
	return reply.JSON(w, a.archiveOf(s, f))
}

func (a *api) setStatus(r *http.Request, c who, s *store.Session, status int64) (*store.Session, error) {
	return a.Store.PatchSession(r.Context(), c.Caller, s.ID, store.SessionSpec{Attrs: &map[string]string{attrStatus: strconv.FormatInt(status, 10)}})
}

// uploadArchive stores the content of an announced archive, which the field
// archive names. A second content is refused, as unknown.
func (a *api) uploadArchive(w http.ResponseWriter, r *http.Request) error {
	c, err := a.caller(r)
	if err != nil {
		return err
	}
	var s *store.Session
	var ref store.Ref
	in, err := a.receive(r, c, "archive", func(text []byte) error {
		s, ref, err = a.announced(r, c, text)
		return err
	})
	if err != nil {
		return err
	}
	if in.name != sessionName(s) {
		in.content.Discard()
		return invalid("The file name does not match the archive")
	}
	f, err := a.Store.StoreFile(r.Context(), c.Caller, ref, store.FileSpec{}, in.content)
	if err != nil {
		in.content.Discard()
		return err
	}
	if s, err = a.setStatus(r, c, s, completed); err != nil {
		return err
	}
	return reply.JSON(w, a.archiveOf(s, f))
}

// announced finds the archive that the field of a form names, and its file,
// which must not have its content yet.
func (a *api) announced(r *http.Request, c who, text []byte) (s *store.Session, ref store.Ref, err error) {
	o, err := parseObject(text, "archive")
	if err != nil {
		return nil, ref, err
	}
	// By number, as the service itself has it, or by UUID.
	if id, ok, e := o.number("id_archive_file_data"); e != nil {
		return nil, ref, e
	} else if ok {
		s, err = a.Store.SessionByNumber(r.Context(), c.Caller, archives, id)
	} else if said, e := o.required("archive_uuid"); e != nil {
		return nil, ref, e
	} else {
		s, err = a.archiveBy(r, c, said[0])
	}
	if err != nil {
		return nil, ref, err
	}
	f, err := a.content(r, c, s)
	if err != nil {
		return nil, ref, err
	}
	ref = store.Ref{Session: s.ID, File: f.ID}
	return s, ref, a.Store.MayStore(r.Context(), c.Caller, ref, -1)
}
