package filesender

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
	"fileshare/store"
)

// mostListed bounds the lists.
const mostListed = 200

// listing is which part of a list is asked for (contract §10).
type listing struct {
	from, most int       // startIndex and count
	oldest     bool      // sortOrder=ascending: the oldest first
	since      time.Time // updatedSince, zero: whenever
}

// asked reads which part of a list is asked for. What is no number is passed over.
func asked(r *http.Request) (l listing, err error) {
	q := r.URL.Query()
	l = listing{most: mostListed, oldest: q.Get("sortOrder") == "ascending"}
	if n, err := strconv.ParseUint(q.Get("count"), 10, 31); err == nil && n > 0 {
		l.most = min(int(n), mostListed)
	}
	if n, err := strconv.ParseUint(q.Get("startIndex"), 10, 31); err == nil {
		l.from = int(n)
	}
	if said := q.Get("updatedSince"); said != "" {
		l.since, err = updatedSince(said, time.Now())
	}
	return l, err
}

var ago = regexp.MustCompile(`^([0-9]{1,5})\s*(hour|day|week|month|year)s?$`)

// updatedSince reads a time: of ISO 8601 (UTC, where it says no zone), in UNIX
// seconds, or how long ago.
func updatedSince(said string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, said); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseUint(said, 10, 40); err == nil {
		return time.Unix(int64(n), 0), nil
	}
	m := ago.FindStringSubmatch(said)
	if m == nil {
		return time.Time{}, &faultError{http.StatusBadRequest, "rest_updatedsince_bad_format", said}
	}
	n, _ := strconv.Atoi(m[1])
	switch m[2] {
	case "hour":
		return now.Add(-time.Duration(n) * time.Hour), nil
	case "day":
		return now.AddDate(0, 0, -n), nil
	case "week":
		return now.AddDate(0, 0, -7*n), nil
	case "month":
		return now.AddDate(0, -n, 0), nil
	}
	return now.AddDate(-n, 0, 0), nil
}

// part collects what is asked for of a list that comes newest first, a page at a
// time. Of all of it no more is kept than that, so what is wanted from its other
// end is counted first.
func part[T any](l listing, next func(store.Query) (store.Page[T], error), wanted func(T) bool) (out []T, err error) {
	from, to := l.from, l.from+l.most
	if l.oldest {
		n := 0
		if err := walk(next, wanted, func(T) bool { n++; return true }); err != nil {
			return nil, err
		}
		from, to = max(n-to, 0), n-from
	}
	i := 0
	err = walk(next, wanted, func(v T) bool {
		if i >= from && i < to {
			out = append(out, v)
		}
		i++
		return i < to
	})
	if l.oldest {
		slices.Reverse(out)
	}
	return out, err
}

// walk does something with what is wanted of a list, until it says false.
func walk[T any](next func(store.Query) (store.Page[T], error), wanted func(T) bool, do func(T) bool) error {
	for q := (store.Query{Limit: 1000}); ; {
		page, err := next(q)
		if err != nil {
			return err
		}
		for _, v := range page.Items {
			if wanted(v) && !do(v) {
				return nil
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

// listTransfers answers the user's transfers, or those of all (administrators).
func (a *api) listTransfers(all bool) dialect.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, _, err := a.userCaller(r)
		switch {
		case err != nil:
			return err
		case all && !c.Admin:
			return fault(http.StatusForbidden, "rest_admin_required")
		}
		return a.answerTransfers(w, r, c, func(q store.Query) (store.Page[*store.Session], error) {
			q.All = all
			return a.Store.Sessions(r.Context(), c.Caller, q)
		})
	}
}

// answerTransfers answers the transfers among the sessions of a list.
func (a *api) answerTransfers(w http.ResponseWriter, r *http.Request, c account, next func(store.Query) (store.Page[*store.Session], error)) error {
	l, err := asked(r)
	if err != nil {
		return err
	}
	found, err := part(l, next, func(s *store.Session) bool { return s.Attrs[attrStatus] != "" && !s.Updated.Before(l.since) })
	if err != nil {
		return err
	}
	out := []*transfer{}
	for _, s := range found {
		t, err := a.transferOf(r, c, s)
		if err != nil {
			return err
		}
		out = append(out, t)
	}
	return reply.JSON(w, out)
}

// listGuests answers the user's guests who may still upload.
func (a *api) listGuests(w http.ResponseWriter, r *http.Request) error {
	c, _, err := a.userCaller(r)
	if err != nil {
		return err
	}
	l, err := asked(r)
	if err != nil {
		return err
	}
	found, err := part(l, func(q store.Query) (store.Page[*store.Invitation], error) {
		return a.Store.Invitations(r.Context(), c.Caller, q)
	}, func(in *store.Invitation) bool { // others were made by another API
		return in.Number > 0 && in.State == store.InviteOpen && (!in.Created.Before(l.since) || !in.Used.Before(l.since))
	})
	if err != nil {
		return err
	}
	out := []guest{}
	for _, in := range found {
		out = append(out, a.guestOf(r, in))
	}
	return reply.JSON(w, out)
}
