package server

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// postOffice is a house whose outbox is read.
type postOffice struct {
	*house
	t *testing.T
}

func newPostOffice(t *testing.T) postOffice {
	return postOffice{newHouse(t, store.Options{EventKeep: time.Hour, Audit: time.Hour, Notices: Notices(NoticesOptions{Base: "https://share.example/", Channel: "mail", Accounts: namesOnly{}})},
		Options{FileSender: &FileSender{ChunkSize: 100, Extensions: 1, Day: 2 * time.Second}, Addresses: true}), t}
}

// posted takes the letters that wait.
func (p postOffice) posted() []*store.Message {
	p.t.Helper()
	all, err := p.store.Claim(p.t.Context(), 1000, time.Minute)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, m := range all {
		if err := p.store.Done(p.t.Context(), m); err != nil {
			p.t.Fatal(err)
		}
	}
	return all
}

// want checks which letters wait: "kind address".
func (p postOffice) want(what string, want ...string) []*store.Message {
	p.t.Helper()
	all, got := p.posted(), []string{}
	for _, m := range all {
		got = append(got, m.Letter.Kind+" "+m.To.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Errorf("%s: %q\nwant %q", what, got, want)
	}
	return all
}

// wait waits until so many letters wait, and takes them.
func (p postOffice) wait(what string, want ...string) {
	p.t.Helper()
	p.each(what, func(*store.Message) {}, want...)
}

// each is wait, and looks at each letter.
func (p postOffice) each(what string, look func(*store.Message), want ...string) {
	p.t.Helper()
	all, got := []*store.Message{}, []string{}
	eventually(p.t, what, func() bool { all = append(all, p.posted()...); return len(all) >= len(want) })
	for _, m := range all {
		look(m)
		got = append(got, m.Letter.Kind+" "+m.To.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Errorf("%s: %q\nwant %q", what, got, want)
	}
}

const owner, bobs, carols = "alice@example.com", "bob@example.net", "carol@example.net"

// Each mail of the contract's table at its event, to whom it says, with the link
// of whom it is for.
func TestTransferMails(t *testing.T) {
	p := newPostOffice(t)
	put := func(path string, body any, status int) {
		p.fs(signNew, "PUT", path, "alice", nil, body).want(t, status)
	}
	tr := p.fsSent("alice", 2, map[string]any{"subject": "Data", "message": "Hello", "options": map[string]any{"email_upload_complete": true, "email_me_copies": true}})
	at := "/rest.php/transfer/" + fsID(tr.ID)
	for _, m := range p.want("available", "transfer_available "+bobs, "transfer_available "+carols, "upload_complete "+owner, "transfer_available_copy "+owner) {
		l := m.Letter
		if l.Subject != "Data" || l.Message != "Hello" || len(l.Files) != 2 || l.Expires.IsZero() {
			t.Errorf("%+v", l)
		}
		for _, r := range tr.Recipients {
			if *r.Email == m.To.Name && (l.Link != "https://share.example/?s=download&token="+r.Token || l.Sender != owner || l.Readers != nil) {
				t.Errorf("%+v", l)
			}
		}
		if m.To.Name == owner && (l.Link != "" || len(l.Readers) != 2 || l.Readers[0].Email != *tr.Recipients[0].Email || l.Encrypted) {
			t.Errorf("%+v", l)
		}
	}
	put(at, map[string]any{"complete": true}, 200) // said again
	p.want("complete again")

	get := func(i int, more string) {
		t.Helper()
		p.do("GET", fmt.Sprintf("/download.php?token=%s&files_ids=%d%s", tr.Recipients[i].Token, tr.Files[0].ID, more), "", nil).want(t, 200)
	}
	get(0, "")
	p.wait("download", "files_downloaded "+owner)
	get(0, "&notify_upon_completion=1")
	p.wait("download again, within the hour", "download_complete "+*tr.Recipients[0].Email)
	p.do("GET", fmt.Sprintf("/download.php?token=%s&files_ids=%d,%d", tr.Recipients[1].Token, tr.Files[0].ID, tr.Files[1].ID), "", nil).want(t, 200)
	p.wait("an archive by another", "files_downloaded "+owner)

	put(at, map[string]any{"remind": true}, 200)
	p.want("remind", "transfer_reminder "+bobs, "transfer_reminder "+carols, "transfer_autoreminder_receipt "+owner)
	put("/rest.php/recipient/"+fsID(tr.Recipients[0].ID), map[string]any{"remind": true}, 200)
	p.want("remind one", "transfer_reminder "+*tr.Recipients[0].Email, "transfer_autoreminder_receipt "+owner)
	p.fs(signNew, "POST", at+"/recipient", "alice", nil, map[string]any{"recipient": "dave@example.net"}).want(t, 201)
	p.want("another recipient", "transfer_available dave@example.net")
	p.fs(signNew, "DELETE", "/rest.php/file/"+fsID(tr.Files[1].ID), "alice", nil, nil).want(t, 200)
	for _, m := range p.want("file deleted", "file_deleted "+bobs, "file_deleted "+carols, "file_deleted dave@example.net") {
		if len(m.Letter.Files) != 1 || m.Letter.Files[0].Name != tr.Files[1].Name {
			t.Errorf("%+v", m.Letter)
		}
	}
	p.fs(signNew, "DELETE", "/rest.php/recipient/"+fsID(tr.Recipients[0].ID), "alice", nil, nil).want(t, 200)
	p.want("recipient deleted", "recipient_deleted "+*tr.Recipients[0].Email)
	p.fs(signNew, "GET", at+"/auditlog/mail", "alice", nil, nil).want(t, 200)
	for _, m := range p.want("audit log", "transfer_report "+owner) {
		if len(m.Letter.Log) < 8 {
			t.Errorf("%+v", m.Letter.Log)
		}
	}
	last := p.fsSent("alice", 1, map[string]any{"recipients": []string{bobs}})
	p.posted()
	p.fs(signNew, "DELETE", "/rest.php/file/"+fsID(last.Files[0].ID), "alice", nil, nil).want(t, 200)
	for _, m := range p.want("last file deleted", "transfer_deleted "+bobs, "transfer_deleted_receipt "+owner, "transfer_report "+owner) {
		if log := m.Letter.Log; m.Letter.Kind == "transfer_report" && (len(log) < 2 || log[len(log)-2].Event != "file.deleted" || log[len(log)-1].Event != "transfer.closed") {
			t.Errorf("%+v", log)
		}
	}
	put(at, map[string]any{"closed": true}, 200)
	if _, err := p.store.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.want("closed", "transfer_deleted "+*tr.Recipients[1].Email, "transfer_deleted dave@example.net", "transfer_deleted_receipt "+owner, "transfer_report "+owner)
}

// Letters of an encrypted transfer say so, and name the files as who sent them
// knows them.
func TestEncryptedMails(t *testing.T) {
	p := newPostOffice(t)
	text := base64.StdEncoding.EncodeToString(noise(12))
	var tr fsTransfer
	p.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"recipients": []string{bobs}, "encryption": true, "encryption_key_version": "3",
		"files": []map[string]any{{"name": "dir/secret.bin", "size": 50, "iv": text, "aead": text}, {"name": "dir/other.bin", "size": 0, "iv": text, "aead": text}}}).want(t, 201).into(t, &tr)
	f := tr.Files[0]
	p.fs(signNew, "PUT", fmt.Sprintf("/rest.php/file/%d/chunk/0", f.ID), "alice", map[string]string{"key": f.UID}, noise(50+32)).want(t, 200)
	p.fs(signNew, "PUT", "/rest.php/file/"+fsID(f.ID), "alice", map[string]string{"key": f.UID}, map[string]any{"complete": true}).want(t, 200)
	p.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, map[string]any{"complete": true}).want(t, 200)
	check := func(what, want string) {
		t.Helper()
		p.each(what, func(m *store.Message) {
			if l := m.Letter; len(l.Files) == 0 || l.Files[0].Name != "dir/secret.bin" || l.Files[0].Size != 50 || !l.Encrypted {
				t.Errorf("%s: %+v", what, l)
			}
		}, want)
	}
	check("available", "transfer_available "+bobs)
	p.do("GET", fmt.Sprintf("/download.php?token=%s&files_ids=%d", tr.Recipients[0].Token, f.ID), "", nil).want(t, 200)
	check("downloaded", "files_downloaded "+owner)
	p.fs(signNew, "DELETE", "/rest.php/file/"+fsID(f.ID), "alice", nil, nil).want(t, 200)
	check("deleted", "file_deleted "+bobs)
	log, _ := p.auditLog(t, "alice", tr)
	for _, l := range log {
		if l.Event == "file_deleted" && (l.Target.Size == nil || *l.Target.Size != 50) {
			t.Errorf("%+v", l.Target)
		}
	}
	if last := log[len(log)-1]; last.Event != "file_deleted" {
		t.Errorf("%+v", last)
	}
}

// Options leave letters out, and a transfer that is not available has none.
func TestTransferMailOptions(t *testing.T) {
	p := newPostOffice(t)
	var tr fsTransfer
	p.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"files": []any{map[string]any{"name": "a", "size": 1}}, "recipients": []string{bobs}}).want(t, 201).into(t, &tr)
	at := "/rest.php/transfer/" + fsID(tr.ID)
	p.fs(signNew, "PUT", at, "alice", nil, map[string]any{"remind": true}).want(t, 400)
	p.fs(signNew, "DELETE", at, "alice", nil, nil).want(t, 200)
	if _, err := p.store.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.want("never available")

	tr = p.fsSent("alice", 1, map[string]any{"expires": time.Now().Unix() + 1, "options": map[string]any{"email_me_on_expire": false, "email_report_on_closing": false,
		"email_download_complete": false, "hide_sender_email": true, "email_recipient_when_transfer_expires": true}})
	for _, m := range p.want("available", "transfer_available "+bobs, "transfer_available "+carols) {
		if m.Letter.Sender != "" {
			t.Errorf("%+v", m.Letter)
		}
	}
	eventually(t, "it expires", func() bool {
		r, err := p.store.Purge(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r.Sessions > 0
	})
	p.want("expired", "transfer_expired "+bobs, "transfer_expired "+carols)

	tr = p.fsSent("alice", 1, map[string]any{"recipients": []string{}, "options": map[string]any{"get_a_link": true}})
	p.want("a link")
	p.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, map[string]any{"closed": true}).want(t, 200)
	p.want("a link, closed", "transfer_deleted_receipt "+owner, "transfer_report "+owner)
	p.fsSent("alice", 1, map[string]any{"recipients": []string{bobs}, "options": map[string]any{"add_me_to_recipients": true}})
	p.want("to me", "transfer_available "+bobs, "transfer_available "+owner)
}

// The owner who asked for it is told each day of the downloads of that day, until
// he has enough of it.
func TestDailySummary(t *testing.T) {
	p := newPostOffice(t)
	tr := p.fsSent("alice", 2, map[string]any{"options": map[string]any{"email_daily_statistics": true}})
	p.fsSent("alice", 1, nil) // who did not ask is not told
	p.posted()
	at := "/rest.php/transfer/" + fsID(tr.ID)
	p.do("GET", fmt.Sprintf("/download.php?token=%s&files_ids=%d,%d", tr.Recipients[0].Token, tr.Files[0].ID, tr.Files[1].ID), "", nil).want(t, 200)
	p.wait("download", "files_downloaded "+owner)
	daily := func() *store.Message {
		t.Helper()
		eventually(t, "a day is over", func() bool {
			r, err := p.store.Purge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return r.Summaries > 0
		})
		return p.want("a day is over", "daily_summary "+owner)[0]
	}
	l := daily().Letter
	names := []string{}
	for _, x := range l.Log {
		if names = append(names, x.Name); x.Person != *tr.Recipients[0].Email || x.Count != 1 {
			t.Errorf("%+v", x)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{tr.Files[0].Name, tr.Files[1].Name}) || l.Since.IsZero() || l.Readers != nil || l.Link != "" {
		t.Errorf("%+v", l)
	}
	if l := daily().Letter; l.Log != nil {
		t.Errorf("told again: %+v", l.Log)
	}
	var still struct{ Options map[string]bool }
	p.fs(signNew, "PUT", at, "alice", nil, map[string]any{"optionremove": true, "option": "email_daily_statistics"}).want(t, 200).into(t, &still)
	if on, said := still.Options["email_daily_statistics"]; on || !said {
		t.Errorf("%v", still.Options)
	}
	fsMessage(t, p.fs(signNew, "PUT", at, "alice", nil, map[string]any{"optionremove": true, "option": "email_me_copies"}), http.StatusBadRequest, "rest_missing_parameter")
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if r, err := p.store.Purge(t.Context()); err != nil || r.Summaries > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	p.want("enough")
}

func TestGuestMails(t *testing.T) {
	p := newPostOffice(t)
	g := p.invite(t, "", map[string]any{"recipient": carols, "subject": "Please", "message": "Hi", "options": map[string]any{"guest": map[string]any{"email_upload_page_access": true}, "transfer": map[string]any{}}})
	for _, m := range p.want("invited", "guest_created "+carols, "guest_created_receipt "+owner) {
		l := m.Letter
		if m.To.Name == carols && (l.Link != "https://share.example/?s=upload&vid="+g.Token || l.Sender != owner || l.Message != "Hi" || l.Subject != "Please") || m.To.Name == owner && (l.Link != "" || l.Person != carols) {
			t.Errorf("%+v", l)
		}
	}
	v := p.visit(t, "", g.Token)
	p.visit(t, "", g.Token)
	p.want("visited", "guest_access_upload_page "+owner)
	tr := v.begin(t, "abc", map[string]any{"recipients": []string{bobs}})
	p.want("begun", "guest_upload_start "+owner)
	v.send(t, &tr, "abc")
	v.complete(&tr)
	for _, m := range p.want("complete", "transfer_available "+bobs, "guest_upload_complete "+owner, "guest_upload_confirmation "+carols) {
		if m.To.Name == bobs && m.Letter.Sender != carols || m.To.Name == owner && m.Letter.Person != carols {
			t.Errorf("%+v", m.Letter)
		}
	}
	p.fs(signNew, "PUT", "/rest.php/guest/"+fsID(g.ID), "alice", nil, map[string]any{"remind": true}).want(t, 200)
	p.want("reminded", "guest_reminder "+carols)
	p.fs(signNew, "DELETE", "/rest.php/guest/"+fsID(g.ID), "alice", nil, nil).want(t, 200)
	p.want("cancelled", "guest_cancelled "+carols)

	g = p.invite(t, "", map[string]any{"recipient": carols, "expires": time.Now().Unix() + 1, "options": map[string]any{"guest": map[string]any{"can_only_send_to_me": true,
		"email_guest_created": false, "email_guest_created_receipt": false, "email_upload_started": false}}})
	p.want("silent")
	v = p.visit(t, "", g.Token)
	tr = v.begin(t, "abc", nil)
	v.send(t, &tr, "abc")
	v.complete(&tr)
	p.want("complete, to the inviter alone", "guest_upload_complete "+owner, "transfer_available "+owner)
	eventually(t, "it expires", func() bool {
		if _, err := p.store.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		in, err := p.store.InvitationByNumber(t.Context(), store.Caller{Name: "alice"}, "filesender.guest", g.ID)
		return err == nil && in.State == store.InviteExpired
	})
	if _, err := p.store.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, m := range p.posted() {
		got = append(got, m.Letter.Kind)
	}
	if !slices.Contains(got, "guest_expired") {
		t.Errorf("%q", got)
	}
}

// The log of a transfer is made of its events.
func TestAuditLog(t *testing.T) {
	p := newPostOffice(t)
	tr := p.fsSent("alice", 1, nil)
	at := "/rest.php/transfer/" + fsID(tr.ID)
	p.do("GET", fmt.Sprintf("/download.php?token=%s&files_ids=%d", tr.Recipients[0].Token, tr.Files[0].ID), "", nil).want(t, 200)
	var log []auditLine
	names := ""
	eventually(t, "the download is in the log", func() bool {
		log, names = p.auditLog(t, "alice", tr)
		return len(log) > 0 && log[len(log)-1].Event == "download_ended"
	})
	if want := "transfer_started upload_started file_uploaded upload_ended transfer_available transfer_sent transfer_sent download_started download_ended"; names != want {
		t.Errorf("%q, want %s", names, want)
	}
	for _, last := range log[len(log)-2:] {
		if last.Author.Type != "Recipient" || last.Author.ID != fsID(tr.Recipients[0].ID) || last.Author.Email != *tr.Recipients[0].Email || last.Target.Type != "File" || last.Target.ID != fsID(tr.Files[0].ID) || last.Target.Path != "a" {
			t.Errorf("%+v", last)
		}
	}
	if first := log[0]; first.Author.Type != "User" || first.Author.Email != owner || first.Target.ID != fsID(tr.ID) || first.Date.Raw == 0 {
		t.Errorf("%+v", first)
	}
	for _, l := range log {
		if l.Author.IP == nil || *l.Author.IP != "127.0.0.1" {
			t.Errorf("no address: %+v", l)
		}
		timed := l.Event == "file_uploaded" || l.Event == "upload_ended" || l.Event == "transfer_available"
		if timed != (l.Taken.Raw != nil) || l.Taken.Formatted == "" {
			t.Errorf("%+v", l)
		}
	}
	fsMessage(t, p.fs(signNew, "GET", at+"/auditlog", "bob", nil, nil), http.StatusForbidden, "rest_ownership_required")

	// An archive is told of as one, too; what is known of addresses is in no other list.
	tr = p.fsSent("alice", 2, nil)
	p.do("GET", fmt.Sprintf("/download.php?token=%s&files_ids=%d,%d", tr.Recipients[0].Token, tr.Files[0].ID, tr.Files[1].ID), "", nil, "X-Forwarded-For", "192.0.2.7").want(t, 200)
	eventually(t, "the archive is in the log", func() bool {
		log, names = p.auditLog(t, "alice", tr)
		return strings.Contains(names, "archive_download_ended")
	})
	for _, want := range []string{"archive_download_started", "archive_download_ended", "download_started", "download_ended"} {
		n, times := 0, 2
		for _, l := range log {
			if l.Event == want {
				n++
				if l.Author.Type != "Recipient" || l.Author.IP == nil || *l.Author.IP != "127.0.0.1" { // nobody is trusted to say another
					t.Errorf("%+v", l)
				}
			}
		}
		if strings.HasPrefix(want, "archive") {
			times = 1
		}
		if n != times {
			t.Errorf("%s: %d times in %s", want, n, names)
		}
	}
	if body := p.do("GET", "/events?limit=1000", "alice", nil).want(t, 200).body; strings.Contains(string(body), "127.0.0.1") {
		t.Errorf("%s", body)
	}

	quiet := fsHouse(t)
	tr = quiet.fsSent("alice", 1, nil)
	for _, path := range []string{"/auditlog", "/auditlog/mail"} {
		fsMessage(t, quiet.fs(signNew, "GET", "/rest.php/transfer/"+fsID(tr.ID)+path, "alice", nil, nil), http.StatusNotImplemented, "rest_method_not_implemented")
	}
}

// An invitation of the native API goes by mail, too; its owner is told only of
// what arrives.
func TestInvitationMails(t *testing.T) {
	p := newPostOffice(t)
	var in api.Invitation
	p.do("POST", "/invitations", "alice", strings.NewReader(`{"email":"carol@example.net","name":"Please","message":"Hi"}`), jsonBody()...).want(t, 201).into(t, &in)
	for _, m := range p.want("invited", "guest_created "+carols) {
		if l := m.Letter; l.Link != "https://share.example/invite/"+in.Token || l.Subject != "Please" || l.Message != "Hi" || l.Sender != owner {
			t.Errorf("%+v", l)
		}
	}
	p.do("GET", "/invite/"+in.Token, "", nil, "Accept", "text/html").want(t, 200)
	p.want("visited")
	if log := p.log.String(); strings.Contains(log, in.Token) {
		t.Error("the link is in the log")
	}
	p.do("DELETE", "/invitations/"+in.ID, "alice", nil)
	p.want("cancelled", "guest_cancelled "+carols)
}
