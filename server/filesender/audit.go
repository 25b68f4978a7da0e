package filesender

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"fileshare/server/reply"
	"fileshare/store"
)

// The log of a transfer (contract §10, "Audit entry") is made of the events that
// are kept of it, also when it is closed. Of downloads these know those that are
// complete, and when they began.

// auditEntry is a line of the log.
type auditEntry struct {
	Date   date        `json:"date"`
	Event  string      `json:"event"`
	Author auditParty  `json:"author"`
	Target auditTarget `json:"target"`
	Taken  struct {
		Raw       *int64 `json:"raw"` // seconds, null: not known
		Formatted string `json:"formatted"`
	} `json:"time_taken"`

	at time.Time // Date, exactly
}

type auditParty struct {
	Type     string  `json:"type"`
	ID       string  `json:"id"`
	Identity string  `json:"identity"`
	IP       *string `json:"ip"` // null: not known
	Email    string  `json:"email"`
}

type auditTarget struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Path  string `json:"path,omitempty"`
	Name  string `json:"name,omitempty"`
	Size  *int64 `json:"size,omitempty"`
	Email string `json:"email,omitempty"`
}

// auditNames are the names that FileSender has for events; others are not in its
// log. began is that of the beginning which an event tells of, too.
func auditNames() map[store.EventType]struct{ name, began string } {
	return map[store.EventType]struct{ name, began string }{
		store.SessionCreated: {name: "transfer_started"}, store.FileUploaded: {name: "file_uploaded"}, store.SessionCompleted: {name: "upload_ended"},
		store.TransferAvailable: {name: "transfer_available"}, store.TransferSent: {name: "transfer_sent"}, store.FileDeleted: {name: "file_deleted"},
		store.FileDownloaded: {"download_ended", "download_started"}, store.TransferArchived: {"archive_download_ended", "archive_download_started"},
		store.TransferExpired: {name: "transfer_expired"}, store.TransferClosed: {name: "transfer_closed"},
	}
}

// mailed makes of the refusal to send mail what the contract has for it.
func (a *api) mailed(err error) error {
	switch store.KindOf(err) {
	case store.Invalid: // mail is switched off
		return fault(http.StatusNotImplemented, "rest_method_not_implemented")
	case store.Conflict:
		return fault(http.StatusBadRequest, "transfer_not_availabe") // as FileSender spells it
	}
	return err
}

// mostAudited bounds the log; of a longer one the end is left out.
const mostAudited = 10_000

// auditLog answers the log of a transfer.
func (a *api) auditLog(w http.ResponseWriter, r *http.Request) error {
	c, all, _, err := a.seen(r)
	if err != nil {
		return err
	}
	s := all.Session
	l := auditing{a: a, s: s, sealed: cryptOf(s), numbers: map[string]int64{}, paths: map[string]string{}, begun: map[string]time.Time{}}
	for _, f := range all.Files {
		l.numbers[f.ID], l.paths[f.ID] = f.Number, f.Attrs[attrPath]
	}
	for _, h := range all.Shares {
		l.numbers[h.ID] = h.Number
	}
	for q := (store.EventQuery{Limit: 1000}); len(l.out) < mostAudited; {
		page, err := a.Store.SessionEvents(r.Context(), c.Caller, s.ID, q)
		if store.KindOf(err) == store.NotFound { // none are kept
			return fault(http.StatusNotImplemented, "rest_method_not_implemented")
		}
		if err != nil {
			return err
		}
		for _, e := range page.Items {
			l.add(e)
		}
		if q.After = page.Next; len(page.Items) < q.Limit {
			break
		}
	}
	// What began is told when it has ended.
	slices.SortStableFunc(l.out, func(x, y auditEntry) int { return x.at.Compare(y.at) })
	return reply.JSON(w, append([]auditEntry{}, l.out...))
}

// auditing makes the log of a transfer.
type auditing struct {
	a       *api
	s       *store.Session
	sealed  *crypt               // nil: it is not encrypted
	numbers map[string]int64     // of files and recipients, by their ids
	paths   map[string]string    // of files
	begun   map[string]time.Time // when the first bytes of a file came; "": of any
	out     []auditEntry
}

// add adds the lines of an event.
func (l *auditing) add(e *store.Event) {
	if e.Type == store.FileBegun {
		l.begun[e.File] = e.Time
		if l.begun[""].IsZero() {
			l.begun[""] = e.Time
			first := *e
			first.File = ""
			l.out = append(l.out, l.line(&first, "upload_started"))
		}
		return
	}
	names := auditNames()[e.Type]
	if names.name == "" {
		return
	}
	line := l.line(e, names.name)
	if names.began != "" && !e.Began.IsZero() {
		start := line
		start.Event, start.Date, start.at = names.began, auditDate(e.Began), e.Began
		l.out = append(l.out, start)
	}
	since := l.s.Created
	switch e.Type {
	case store.FileUploaded:
		since = l.begun[e.File]
	case store.SessionCompleted:
		if at := l.begun[""]; !at.IsZero() {
			since = at
		}
	case store.TransferAvailable:
	default:
		since = time.Time{}
	}
	if !since.IsZero() {
		took := int64(e.Time.Sub(since) / time.Second)
		line.Taken.Raw, line.Taken.Formatted = &took, takenText(took)
	}
	l.out = append(l.out, line)
}

func auditDate(t time.Time) date { return date{t.Unix(), t.UTC().Format("02 Jan 2006 15:04:05")} }

// takenText is so many seconds as FileSender writes them: 1h 02min 03s.
func takenText(n int64) string {
	var parts []string
	for _, p := range []struct {
		n    int64
		unit string
	}{{n / 3600, "h"}, {n / 60 % 60, "min"}, {n % 60, "s"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%02d%s", p.n, p.unit))
		}
	}
	return cmp.Or(strings.TrimPrefix(strings.Join(parts, " "), "0"), "0s")
}

// line is what a line says of an event, but for the time it took.
func (l *auditing) line(e *store.Event, name string) auditEntry {
	number := func(id string) string {
		if n := l.numbers[id]; n != 0 {
			return strconv.FormatInt(n, 10)
		}
		return ""
	}
	guest := l.s.Attrs[attrGuest]
	out := auditEntry{at: e.Time, Date: auditDate(e.Time), Event: name, Target: auditTarget{Type: "Transfer", ID: strconv.FormatInt(l.s.Number, 10)},
		Author: auditParty{Type: "User", ID: e.Owner, Identity: e.Owner, Email: l.a.addressOf(e.Owner)}}
	out.Taken.Formatted = "0s"
	switch e.Type {
	case store.FileDownloaded, store.TransferArchived:
		if e.Share != "" {
			out.Author = auditParty{Type: "Recipient", ID: number(e.Share), Identity: e.Email, Email: e.Email}
		}
	case store.TransferExpired:
		out.Author = auditParty{} // nobody
	case store.FileDeleted, store.TransferClosed:
	default:
		if guest != "" {
			out.Author = auditParty{Type: "Guest", Identity: guest, Email: guest}
		}
	}
	if e.Address != "" {
		out.Author.IP = &e.Address
	}
	switch {
	case e.Type == store.TransferSent:
		out.Target = auditTarget{Type: "Recipient", ID: number(e.Share), Email: e.Email}
	case e.File != "":
		size := l.sealed.plain(e.Size)
		out.Target = auditTarget{Type: "File", ID: number(e.File), Path: cmp.Or(l.paths[e.File], e.Name), Name: e.Name, Size: &size}
	}
	return out
}

// auditMail sends the log to the owner.
func (a *api) auditMail(w http.ResponseWriter, r *http.Request) error {
	c, all, _, err := a.seen(r)
	if err != nil {
		return err
	}
	if err := a.mailed(a.Store.Audit(r.Context(), c.Caller, all.Session.ID)); err != nil {
		return err
	}
	return reply.JSON(w, true)
}
