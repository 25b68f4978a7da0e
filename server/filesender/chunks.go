package filesender

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"fileshare/server/reply"
	"fileshare/store"
)

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// find finds a file of the account's by the number in the path, and its transfer.
func (a *api) find(r *http.Request, c account) (f *store.File, s *store.Session, err error) {
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
	return f, s, a.checkRoundTrip(r, s, c.guest != nil)
}

var errComplete = fault(http.StatusBadRequest, "cannot_add_data_to_complete_transfer")

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
	if err != nil || r.ContentLength <= 0 || r.ContentLength > a.o.ChunkSize+overhead {
		return a.drained(r, fault(http.StatusBadRequest, "file_chunk_out_of_bounds"))
	}
	// Only who signs learns anything; until then what is looked up is not told.
	var at int64
	f, s, err := a.find(r, signed.Account)
	if err == nil {
		at, err = a.checkChunk(r, f, s, offset)
	}
	if errors.Is(err, store.ErrEnded) {
		err = errComplete
	}
	if err != nil {
		if _, rerr := io.Copy(signed, io.LimitReader(r.Body, a.o.ChunkSize+overhead)); rerr != nil {
			return rerr
		}
		if serr := signed.check(); serr != nil {
			return serr
		}
		return err
	}
	a.SetCaller(r, signed.Account.Caller)
	a.habits.expect(signed)
	body := io.TeeReader(r.Body, signed)
	check := func(again io.Reader) error { return a.habits.check(signed, again) }
	if _, err := a.Store.WriteAt(r.Context(), signed.Account.Caller, refOf(f), body, at, r.ContentLength, check); err != nil {
		return err
	}
	return reply.JSON(w, map[string]int64{"offset": offset, "written": r.ContentLength})
}

// drained reads a refused chunk, also one of a client that takes larger ones for
// allowed, so that it sees the answer.
func (a *api) drained(r *http.Request, err error) error {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4*(a.o.ChunkSize+overhead)))
	return err
}

// checkChunk refuses a chunk that cannot belong there, and tells where its bytes
// lie in the file.
func (a *api) checkChunk(r *http.Request, f *store.File, s *store.Session, offset int64) (at int64, err error) {
	n := r.ContentLength
	switch sealed := cryptOf(s); {
	case s.Attrs[attrStatus] != statusStarted, f.State == store.StateUploaded:
		return 0, errComplete
	case sealed != nil:
		var ok bool
		if at, n, ok = sealed.chunk(offset, plainSize(f)); !ok || r.ContentLength != n+overhead {
			return 0, fault(http.StatusBadRequest, "file_chunk_out_of_bounds")
		}
	case n > a.o.ChunkSize, n > f.Length-offset:
		return 0, fault(http.StatusBadRequest, "file_chunk_out_of_bounds")
	default:
		at = offset
	}
	for header, want := range map[string]int64{"X-Filesender-File-Size": plainSize(f), "X-Filesender-Chunk-Offset": offset, "X-Filesender-Chunk-Size": n} {
		if said := r.Header.Get(header); said != "" && said != strconv.FormatInt(want, 10) {
			return 0, fault(http.StatusBadRequest, "rest_sanity_check_failed")
		}
	}
	return at, nil
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
	c, _, err := a.userCaller(r)
	if err != nil {
		return err
	}
	f, s, err := a.find(r, c)
	if errors.Is(err, store.ErrEnded) {
		var all *store.Ended
		if all, err = a.endedOf(r, c, files); err == nil {
			i := slices.IndexFunc(all.Files, func(f *store.File) bool { return strconv.FormatInt(f.Number, 10) == a.Var(r, "id") })
			if i < 0 { // one of too many to be kept
				return fault(http.StatusNotFound, "file_not_found")
			}
			f, s = all.Files[i], all.Session
		}
	}
	if err != nil {
		return err
	}
	return reply.JSON(w, fileOf(s, f))
}

// deleteFile takes a file out of a transfer. One without files is closed.
func (a *api) deleteFile(w http.ResponseWriter, r *http.Request) error {
	c, _, err := a.userCaller(r)
	if err != nil {
		return err
	}
	f, s, err := a.find(r, c)
	if err != nil {
		return err
	}
	if err := a.withdraw(r, c, s); err != nil {
		return err
	}
	if err := a.Store.DeleteFile(r.Context(), c.Caller, refOf(f)); err != nil {
		return err
	}
	left, err := a.filesOf(r, c.Caller, s)
	return a.closed(w, r, c, s, len(left), err)
}
