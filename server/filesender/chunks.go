package filesender

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// find finds a file of the account's by the number in the path, and its transfer.
func (a *api) find(r *http.Request, c dialect.Account) (f *store.File, s *store.Session, err error) {
	id, err := strconv.ParseInt(a.Var(r, "id"), 10, 64)
	if err != nil {
		return nil, nil, fault(http.StatusNotFound, "file_not_found")
	}
	ref, err := a.Store.FileByNumber(r.Context(), c.Caller, files, id)
	if err != nil {
		return nil, nil, err
	}
	if f, err = a.Store.File(r.Context(), c.Caller, ref); err != nil {
		return nil, nil, err
	}
	if s, err = a.Store.Session(r.Context(), c.Caller, ref.Session); err != nil {
		return nil, nil, err
	}
	if key := r.URL.Query().Get("key"); key != "" && !same(key, f.Attrs[attrUID]) {
		return nil, nil, fault(http.StatusForbidden, "rest_ownership_required")
	}
	return f, s, a.checkRoundTrip(r, s)
}

func refOf(f *store.File) store.Ref { return store.Ref{Session: f.Session, File: f.ID} }

// putChunk adds bytes at an offset of a file (contract §6.2): in any order, more
// than one at a time, again if the client is not sure. The signature covers the
// bytes, so they are committed when it is right.
func (a *api) putChunk(w http.ResponseWriter, r *http.Request) error {
	signed, err := a.begin(r)
	if err != nil {
		return a.drained(r, err)
	}
	offset, err := strconv.ParseInt(a.Var(r, "offset"), 10, 64)
	if err != nil || r.ContentLength <= 0 || r.ContentLength > a.o.ChunkSize {
		return a.drained(r, fault(http.StatusBadRequest, "file_chunk_out_of_bounds"))
	}
	// Only who signs learns anything; until then what is looked up is not told.
	f, s, err := a.find(r, signed.Account)
	if err == nil {
		err = checkChunk(r, f, s, offset)
	}
	if err != nil {
		if _, rerr := io.Copy(signed, io.LimitReader(r.Body, a.o.ChunkSize)); rerr != nil {
			return rerr
		}
		if serr := signed.check(); serr != nil {
			return serr
		}
		return err
	}
	a.SetCaller(r, signed.Account.Caller)
	body := io.TeeReader(r.Body, signed)
	if _, err := a.Store.WriteAt(r.Context(), signed.Account.Caller, refOf(f), body, offset, r.ContentLength, signed.check); err != nil {
		return err
	}
	return reply.JSON(w, map[string]int64{"offset": offset, "written": r.ContentLength})
}

// drained reads a refused chunk, so that the client sees the answer.
func (a *api) drained(r *http.Request, err error) error {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, a.o.ChunkSize))
	return err
}

// checkChunk refuses a chunk that cannot belong there.
func checkChunk(r *http.Request, f *store.File, s *store.Session, offset int64) error {
	switch {
	case s.Attrs[attrStatus] != statusStarted:
		return fault(http.StatusBadRequest, "cannot_add_data_to_complete_transfer")
	case f.State == store.StateUploaded:
		return fault(http.StatusBadRequest, "cannot_add_data_to_complete_transfer")
	case offset+r.ContentLength > f.Length:
		return fault(http.StatusBadRequest, "file_chunk_out_of_bounds")
	}
	for header, want := range map[string]int64{"X-Filesender-File-Size": f.Length, "X-Filesender-Chunk-Offset": offset, "X-Filesender-Chunk-Size": r.ContentLength} {
		if said := r.Header.Get(header); said != "" && said != strconv.FormatInt(want, 10) {
			return fault(http.StatusBadRequest, "rest_sanity_check_failed")
		}
	}
	return nil
}

// putFile completes a file (contract §6.3): every byte must be there.
func (a *api) putFile(w http.ResponseWriter, r *http.Request) error {
	c, body, err := a.caller(r)
	if err != nil {
		return err
	}
	f, _, err := a.find(r, c)
	if err != nil {
		return err
	}
	var in struct {
		Complete flag `json:"complete"`
	}
	if err := json.Unmarshal(body, &in); err != nil || !bool(in.Complete) {
		return fault(http.StatusBadRequest, "rest_missing_parameter")
	}
	if f.State != store.StateUploaded {
		if _, err := a.Store.Finish(r.Context(), c.Caller, refOf(f)); store.KindOf(err) == store.Conflict {
			return &faultError{http.StatusConflict, "file_integrity_check_failed", err.Error()}
		} else if err != nil {
			return err
		}
	}
	return reply.JSON(w, true)
}

func (a *api) getFile(w http.ResponseWriter, r *http.Request) error {
	c, _, err := a.caller(r)
	if err != nil {
		return err
	}
	f, s, err := a.find(r, c)
	if err != nil {
		return err
	}
	return reply.JSON(w, fileOf(s, f))
}

func (a *api) deleteFile(w http.ResponseWriter, r *http.Request) error {
	c, _, err := a.caller(r)
	if err != nil {
		return err
	}
	f, _, err := a.find(r, c)
	if err != nil {
		return err
	}
	if err := a.Store.DeleteFile(r.Context(), c.Caller, refOf(f)); err != nil {
		return err
	}
	return reply.JSON(w, true)
}
