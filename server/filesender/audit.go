package filesender

import (
	"cmp"
	"net/http"
	"strconv"

	"fileshare/server/reply"
	"fileshare/store"
)

// The log of a transfer (contract §10, "Audit entry") is made of the events that
// are kept of it, also when it is closed. These know no beginnings of downloads.

// auditEntry is a line of the log.
type auditEntry struct {
	Date   date        `json:"date"`
	Event  string      `json:"event"`
	Author auditParty  `json:"author"`
	Target auditTarget `json:"target"`
	Taken  struct {
		Raw       *int64 `json:"raw"`
		Formatted string `json:"formatted"`
	} `json:"time_taken"` // not known
}

type auditParty struct {
	Type     string  `json:"type"`
	ID       string  `json:"id"`
	Identity string  `json:"identity"`
	IP       *string `json:"ip"` // not known
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
// log.
func auditNames() map[store.EventType]string {
	return map[store.EventType]string{
		store.SessionCreated: "transfer_started", store.FileUploaded: "file_uploaded", store.SessionCompleted: "upload_ended",
		store.TransferAvailable: "transfer_available", store.TransferSent: "transfer_sent", store.FileDownloaded: "download_ended", store.FileDeleted: "file_deleted",
		store.TransferExpired: "transfer_expired", store.TransferClosed: "transfer_closed",
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

// mostAudited bounds the log.
const mostAudited = 1000

// auditLog answers the log of a transfer.
func (a *api) auditLog(w http.ResponseWriter, r *http.Request) error {
	c, all, _, err := a.seen(r)
	if err != nil {
		return err
	}
	s := all.Session
	page, err := a.Store.SessionEvents(r.Context(), c.Caller, s.ID, store.EventQuery{Limit: mostAudited})
	if store.KindOf(err) == store.NotFound { // none are kept
		return fault(http.StatusNotImplemented, "rest_method_not_implemented")
	}
	if err != nil {
		return err
	}
	numbers, paths := map[string]int64{}, map[string]string{}
	for _, f := range all.Files {
		numbers[f.ID], paths[f.ID] = f.Number, f.Attrs[attrPath]
	}
	for _, h := range all.Shares {
		numbers[h.ID] = h.Number
	}
	out, names := []auditEntry{}, auditNames()
	for _, e := range page.Items {
		if names[e.Type] != "" {
			entry := a.audited(s, e, names[e.Type], numbers)
			if e.File != "" {
				entry.Target = auditTarget{Type: "File", ID: entry.Target.ID, Path: cmp.Or(paths[e.File], e.Name), Name: e.Name, Size: &e.Size}
			}
			out = append(out, entry)
		}
	}
	return reply.JSON(w, out)
}

// audited makes a line of an event; numbers has those of files and recipients.
func (a *api) audited(s *store.Session, e *store.Event, name string, numbers map[string]int64) auditEntry {
	text := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	out := auditEntry{Date: date{e.Time.Unix(), e.Time.UTC().Format("02 Jan 2006 15:04:05")}, Event: name,
		Author: auditParty{Type: "User", ID: e.Owner, Identity: e.Owner, Email: a.addressOf(e.Owner)}, Target: auditTarget{Type: "Transfer", ID: text(s.Number)}}
	out.Taken.Formatted = "0s"
	switch {
	case e.Type == store.FileDownloaded && e.Share != "":
		out.Author = auditParty{Type: "Recipient", ID: text(numbers[e.Share]), Identity: e.Email, Email: e.Email}
	case e.Type == store.TransferSent:
		out.Target = auditTarget{Type: "Recipient", ID: text(numbers[e.Share]), Email: e.Email}
	case e.Type == store.TransferExpired:
		out.Author = auditParty{} // nobody
	case s.Attrs[attrGuest] != "" && e.Type != store.FileDeleted && e.Type != store.TransferClosed:
		out.Author = auditParty{Type: "Guest", Identity: s.Attrs[attrGuest], Email: s.Attrs[attrGuest]}
	}
	if e.File != "" {
		out.Target.ID = text(numbers[e.File])
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
