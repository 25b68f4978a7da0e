package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fileshare/store"
)

// auditLine is an entry of a transfer's log.
type auditLine struct {
	Date   struct{ Raw int64 }
	Event  string
	Author struct {
		Type, ID, Identity, Email string
		IP                        *string
	}
	Target struct {
		Type, ID, Path, Email string
		Size                  *int64
	}
	Taken struct {
		Raw       *int64
		Formatted string
	} `json:"time_taken"`
}

// auditLog reads the log of a transfer.
func (h *house) auditLog(t *testing.T, user string, tr fsTransfer) (log []auditLine, names string) {
	t.Helper()
	h.fs(signNew, "GET", "/rest.php/transfer/"+fsID(tr.ID)+"/auditlog", user, nil, nil).want(t, 200).into(t, &log)
	all := []string{}
	for _, l := range log {
		all = append(all, l.Event)
	}
	return log, strings.Join(all, " ")
}

const sentLog = "transfer_started upload_started file_uploaded file_uploaded upload_ended transfer_available transfer_sent transfer_sent"

// A closed transfer and its log are its owner's to look at, not to change, and
// nobody else's.
func TestClosedTransfer(t *testing.T) {
	p := newPostOffice(t)
	gone, over := p.fsSent("alice", 2, nil), p.fsSent("alice", 2, nil)
	at := func(tr fsTransfer) string { return "/rest.php/transfer/" + fsID(tr.ID) }
	var said fsTransfer
	p.fs(signNew, "PUT", at(gone), "alice", nil, map[string]any{"closed": true}).want(t, 200).into(t, &said)
	if said.Status != "closed" {
		t.Errorf("%+v", said)
	}
	alice := store.Caller{Name: "alice"}
	s, err := p.store.SessionByNumber(t.Context(), alice, "filesender.transfer", over.ID)
	if err == nil {
		_, err = p.store.PatchSession(t.Context(), alice, s.ID, store.SessionSpec{TTL: new(time.Second)})
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func() bool {
		return p.do("GET", "/?s=download&token="+over.Recipients[0].Token, "", nil).StatusCode == http.StatusGone
	})
	p.posted()
	look := func(tr fsTransfer, end string) {
		t.Helper()
		var got fsTransfer
		p.fs(signNew, "GET", at(tr), "alice", nil, nil).want(t, 200).into(t, &got)
		if got.Status != "closed" || got.ID != tr.ID || len(got.Files) != 2 || got.Files[0].ID != tr.Files[0].ID || got.Files[1].Name != "b" || got.Files[1].Size != 1 ||
			len(got.Recipients) != 2 || got.Recipients[0].ID != tr.Recipients[0].ID || got.Expires.Raw > time.Now().Unix() {
			t.Errorf("%+v", got)
		}
		p.fs(signNew, "GET", at(tr)+"/options", "alice", nil, nil).want(t, 200)
		p.fs(signNew, "GET", "/rest.php/recipient/"+fsID(tr.Recipients[1].ID), "alice", nil, nil).want(t, 200)
		if _, names := p.auditLog(t, "alice", tr); names != sentLog+end {
			t.Errorf("%s, want %s", names, sentLog+end)
		}
		for _, change := range []struct {
			method, path string
			body         any
		}{
			{"PUT", at(tr), map[string]any{"complete": true}}, {"PUT", at(tr), map[string]any{"remind": true}}, {"PUT", at(tr), map[string]any{"extend_expiry_date": true}},
			{"DELETE", at(tr), nil}, {"POST", at(tr) + "/recipient", map[string]any{"recipient": "dave@example.net"}},
			{"PUT", "/rest.php/recipient/" + fsID(tr.Recipients[0].ID), map[string]any{"remind": true}}, {"DELETE", "/rest.php/recipient/" + fsID(tr.Recipients[0].ID), nil},
		} {
			fsMessage(t, p.fs(signNew, change.method, change.path, "alice", nil, change.body), http.StatusForbidden, "cannot_alter_closed_transfer")
		}
		p.fs(signNew, "PUT", at(tr), "alice", nil, map[string]any{"closed": true}).want(t, 200) // it is
		for _, path := range []string{at(tr), at(tr) + "/auditlog", at(tr) + "/auditlog/mail"} {
			fsMessage(t, p.fs(signNew, "GET", path, "bob", nil, nil), http.StatusNotFound, "transfer_not_found")
		}
		fsMessage(t, p.fs(signNew, "PUT", at(tr), "bob", nil, map[string]any{"closed": true}), http.StatusNotFound, "transfer_not_found")
		for _, path := range []string{"/?s=download&token=" + tr.Recipients[0].Token, fmt.Sprintf("/download.php?token=%s&files_ids=%d", tr.Recipients[0].Token, tr.Files[0].ID)} {
			if got := p.do("GET", path, "", nil).StatusCode; got != http.StatusGone && got != http.StatusNotFound {
				t.Errorf("%s: %d", path, got)
			}
		}
		p.fs(signNew, "GET", at(tr)+"/auditlog/mail", "alice", nil, nil).want(t, 200)
		for _, m := range p.want("log", "transfer_report "+owner) {
			if l := m.Letter; len(l.Files) != 2 || l.Files[0].Name != "a" || len(l.Readers) != 2 || len(l.Log) < 6+len(strings.Fields(end)) {
				t.Errorf("%+v", l)
			}
		}
	}
	look(gone, " transfer_closed")
	look(over, "")
	if _, err := p.store.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.posted()
	look(gone, " transfer_closed")
	look(over, " transfer_expired")
	if log, _ := p.auditLog(t, "alice", over); log[len(log)-1].Author.Type != "" || log[0].Author.Type != "User" {
		t.Errorf("%+v", log)
	}
	var all []fsTransfer
	if p.fs(signNew, "GET", "/rest.php/transfer", "alice", nil, nil).want(t, 200).into(t, &all); len(all) != 0 {
		t.Errorf("listed: %+v", all)
	}

	// One that was never available is gone.
	var begun fsTransfer
	p.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"files": []map[string]any{{"name": "x", "size": 1}}, "recipients": []string{"bob@example.net"}}).want(t, 201).into(t, &begun)
	p.fs(signNew, "DELETE", at(begun), "alice", nil, nil).want(t, 200)
	fsMessage(t, p.fs(signNew, "GET", at(begun), "alice", nil, nil), http.StatusNotFound, "transfer_not_found")
}

// Where nothing is kept, a closed transfer is gone.
func TestClosedTransferNotKept(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{FileSender: &FileSender{ChunkSize: 100}})
	tr := h.fsSent("alice", 1, nil)
	at := "/rest.php/transfer/" + fsID(tr.ID)
	h.fs(signNew, "PUT", at, "alice", nil, map[string]any{"closed": true}).want(t, 200)
	for _, path := range []string{at, at + "/auditlog"} {
		fsMessage(t, h.fs(signNew, "GET", path, "alice", nil, nil), http.StatusNotFound, "transfer_not_found")
	}
	fsMessage(t, h.fs(signNew, "PUT", at, "alice", nil, map[string]any{"closed": true}), http.StatusNotFound, "transfer_not_found")
}

// The log has the addresses of clients as trusted proxies tell them, or none.
func TestAuditLogAddresses(t *testing.T) {
	for _, kept := range []bool{true, false} {
		h := newHouse(t, store.Options{Audit: time.Hour}, Options{FileSender: &FileSender{ChunkSize: 100}, Addresses: kept,
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		tr := h.fsSent("alice", 1, nil)
		h.do("GET", fmt.Sprintf("/download.php?token=%s&files_ids=%d", tr.Recipients[0].Token, tr.Files[0].ID), "", nil, "X-Forwarded-For", "192.0.2.7").want(t, 200)
		var log []auditLine
		eventually(t, "the download is in the log", func() bool {
			log, _ = h.auditLog(t, "alice", tr)
			return log[len(log)-1].Event == "download_ended"
		})
		if ip := log[len(log)-1].Author.IP; kept != (ip != nil) || kept && *ip != "192.0.2.7" {
			t.Errorf("%v: %+v", kept, log)
		}
	}
}
