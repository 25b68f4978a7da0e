package server

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// A session is sent to recipients, each with a link of its own, by mail where
// there is any.
func TestRecipients(t *testing.T) {
	p := newPostOffice(t)
	var sess api.Session
	p.do("POST", "/sessions", "alice", strings.NewReader(`{"name":"Scans <1/2>"}`), jsonBody()...).want(t, 201).into(t, &sess)
	at := "/sessions/" + sess.ID
	files := map[string]api.File{}
	for _, name := range []string{"a.txt", "b.txt"} {
		var f api.File
		p.do("POST", at+"/files", "alice", strings.NewReader(`{"name":"`+name+`"}`), jsonBody()...).want(t, 201).into(t, &f)
		p.do("PUT", at+"/files/"+f.ID, "alice", strings.NewReader("content of "+name)).want(t, 200)
		files[name] = f
		time.Sleep(2 * time.Millisecond) // those of one millisecond have no order
	}
	send := func(body string) (r api.Recipient) {
		t.Helper()
		a := p.do("POST", at+"/recipients", "alice", strings.NewReader(body), jsonBody()...).want(t, 201)
		a.into(t, &r)
		if r.URL != p.url+"/shares/"+r.ID || a.Header.Get("Location") != r.URL || r.SentAt == nil || r.UsedAt != nil || r.SessionID != sess.ID {
			t.Errorf("%+v", r)
		}
		return r
	}
	bob := send(`{"email":"bob@example.net","message":"As promised"}`)
	for _, m := range p.want("sent", "transfer_available "+bobs) {
		l := m.Letter
		if l.Link != "https://share.example/shares/"+bob.ID || l.Message != "As promised" || l.Subject != "Scans <1/2>" || len(l.Files) != 2 || l.Sender != owner {
			t.Errorf("%+v", l)
		}
	}
	if again := send(`{"email":"BOB@example.net"}`); again.ID != bob.ID {
		t.Errorf("%+v", again)
	}
	link := send(`{}`)
	p.want("nobody else is told")
	p.do("POST", at+"/recipients", "alice", strings.NewReader(`{"email":"nobody"}`), jsonBody()...).want(t, 400)
	p.do("POST", at+"/recipients", "bob", nil).want(t, 403)

	var shown api.Shared
	p.do("GET", "/shares/"+bob.ID, "", nil).want(t, 200).into(t, &shown)
	if shown.Name != "Scans <1/2>" || shown.From != "alice" || shown.Message != "As promised" || len(shown.Files) != 2 || shown.Files[0].Name != "a.txt" || shown.ArchiveURL != bob.URL+"/archive" {
		t.Fatalf("%+v", shown)
	}
	for _, f := range shown.Files {
		if got := p.do("GET", strings.TrimPrefix(f.URL, p.url), "", nil).want(t, 200); string(got.body) != "content of "+f.Name || !strings.Contains(got.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %q", f.Name, got.body)
		}
	}
	page := p.do("GET", "/shares/"+bob.ID, "", nil, "Accept", "text/html").want(t, 200)
	for _, want := range []string{"Scans &lt;1/2&gt;", "Files from <bdi>alice</bdi>", "As promised", bob.URL + "/files/" + files["a.txt"].ID, bob.URL + "/archive"} {
		if !strings.Contains(string(page.body), want) {
			t.Errorf("no %s in %s", want, page.body)
		}
	}
	archive := p.do("GET", "/shares/"+link.ID+"/archive", "", nil).want(t, 200)
	if got := archive.Header.Get("Content-Disposition"); got != `attachment; filename="Scans <1_2>.zip"` {
		t.Error(got)
	}
	packed := archive.body
	if z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed))); err != nil || len(z.File) != 2 {
		t.Errorf("%v", err)
	}
	var all api.List[api.Recipient]
	p.do("GET", at+"/recipients", "alice", nil).want(t, 200).into(t, &all)
	if len(all.Items) != 2 || all.Next != nil {
		t.Fatalf("%+v", all)
	}
	var first api.List[api.Recipient]
	p.do("GET", at+"/recipients?limit=1", "alice", nil).want(t, 200).into(t, &first)
	if len(first.Items) != 1 || first.Items[0].ID != all.Items[0].ID || first.Next == nil {
		t.Fatalf("%+v", first)
	}
	p.do("GET", at+"/recipients?limit=1&cursor="+*first.Next, "alice", nil).want(t, 200).into(t, &first)
	if len(first.Items) != 1 || first.Items[0].ID != all.Items[1].ID || first.Next != nil {
		t.Errorf("%+v", first)
	}
	p.do("GET", at+"/recipients?limit=0", "alice", nil).want(t, 400)
	for _, r := range all.Items {
		if (r.UsedAt != nil) != (r.ID == bob.ID) {
			t.Errorf("%+v", r)
		}
	}
	p.do("DELETE", at+"/recipients/"+bob.ID, "alice", nil).want(t, 204)
	p.want("taken back", "recipient_deleted "+bobs)
	p.do("GET", "/shares/"+bob.ID, "", nil).want(t, 404)
	if gone := p.do("GET", "/shares/"+bob.ID, "", nil, "Accept", "text/html").want(t, 404); !strings.HasPrefix(gone.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%v", gone.Header)
	}
	if log := p.log.String(); strings.Contains(log, bob.ID) || strings.Contains(log, link.ID) {
		t.Error("a link is in the log")
	}
	p.do("DELETE", at, "alice", nil).want(t, 204)
	p.want("closed") // the other has no address, and the owner asked for nothing
	p.do("GET", "/shares/"+link.ID, "", nil).want(t, 404)
}

// A transfer of FileSender is sent by the native API, too, and keeps its first.
func TestRecipientsOfTransfers(t *testing.T) {
	p := newPostOffice(t)
	var tr fsTransfer
	p.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"files": []any{map[string]any{"name": "a", "size": 1}}, "recipients": []string{bobs}}).want(t, 201).into(t, &tr)
	sess, err := p.store.SessionByNumber(t.Context(), store.Caller{Name: "alice"}, "filesender.transfer", tr.ID)
	if err != nil {
		t.Fatal(err)
	}
	var made api.Recipient
	p.do("POST", "/sessions/"+sess.ID+"/recipients", "alice", strings.NewReader(`{"email":"carol@example.net"}`), jsonBody()...).want(t, 201).into(t, &made)
	p.want("not complete")
	p.do("GET", "/shares/"+made.ID, "", nil).want(t, 404)
	file := "/rest.php/file/" + fsID(tr.Files[0].ID)
	p.fs(signNew, "PUT", file+"/chunk/0", "alice", nil, []byte("x")).want(t, 200)
	p.fs(signNew, "PUT", file, "alice", nil, map[string]any{"complete": true}).want(t, 200)
	p.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, map[string]any{"complete": true}).want(t, 200).into(t, &tr)
	p.want("complete", "transfer_available "+bobs, "transfer_available "+carols)
	if len(tr.Recipients) != 2 || made.SentAt != nil || made.URL != p.url+"/?s=download&token="+made.ID {
		t.Errorf("%+v %+v", tr.Recipients, made)
	}
	for _, r := range tr.Recipients {
		if r.ID == 0 {
			t.Errorf("%+v", r)
		}
	}
	p.do("GET", "/shares/"+made.ID, "", nil).want(t, 404)
	p.do("GET", fmt.Sprintf("/?s=download&token=%s", made.ID), "", nil).want(t, 200)
}
