package filesender

import (
	"errors"
	"net/http"
	"strconv"

	"fileshare/server/dialect"
	"fileshare/store"
)

// extend lets a transfer live once more as long as one that does not say, as
// often as that may be done.
func (a *api) extend(r *http.Request, c account, s *store.Session) (*transfer, error) {
	for {
		done := extensions(s)
		switch {
		case a.o.Extensions == 0:
			return nil, fault(http.StatusBadRequest, "transfer_expiry_extension_not_allowed")
		case done >= a.o.Extensions:
			return nil, fault(http.StatusBadRequest, "transfer_expiry_extension_count_exceeded")
		}
		ttl := min(dialect.Until(s.Expires)+a.o.TTL, a.Store.MaxSessionTTL())
		to := store.SessionSpec{TTL: &ttl, Was: map[string]string{attrExtends: s.Attrs[attrExtends]}, Attrs: &map[string]string{attrExtends: strconv.Itoa(done + 1)}}
		later, err := a.Store.PatchSession(r.Context(), c.Caller, s.ID, to)
		if err == nil {
			return a.transferOf(r, c, later)
		}
		if !errors.Is(err, store.ErrChanged) {
			return nil, err
		}
		// Another request did it meanwhile: is there one left?
		if s, err = a.Store.Session(r.Context(), c.Caller, s.ID); err != nil {
			return nil, err
		}
	}
}

// extensions is how often the end of a transfer was put off.
func extensions(s *store.Session) int {
	n, _ := strconv.Atoi(s.Attrs[attrExtends]) // written by us
	return n
}
