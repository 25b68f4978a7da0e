package notify

import (
	"crypto/tls"
	"errors"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/notify/mailtest"
	"fileshare/store"
)

// tellUploads is a policy: of every upload a letter to each address.
func tellUploads(to ...string) func(*store.About) ([]store.Notice, error) {
	return func(a *store.About) (out []store.Notice, _ error) {
		if a.Event.Type != store.FileUploaded {
			return nil, nil
		}
		for _, address := range to {
			out = append(out, store.Notice{To: store.Recipient{Channel: MailChannel, Name: address}, Letter: store.Letter{Kind: "transfer_available",
				Link: "https://files.example/?s=download&token=1", Subject: "Grüße\r\nBcc: evil@example.com", Message: "Zeile <1>\n\nZeile 2", Sender: "alice@example.com",
				Files: []store.LetterFile{{Name: "ä\n.txt", Size: 2048}}, Expires: time.Unix(1e9, 0)}})
		}
		return out, nil
	}
}

func newMailHouse(t *testing.T, o mailtest.Options, m Mail, to ...string) (*house, *mailtest.Server) {
	t.Helper()
	srv, err := mailtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	h := newHouseWith(t, store.Options{Notices: tellUploads(to...)})
	if m.Server = srv.Addr; m.TLS == "" {
		m.TLS = TLSNone
	}
	m.From = "Files <files@example.org>"
	h.options.Mail = m
	return h, srv
}

func TestMail(t *testing.T) {
	h, srv := newMailHouse(t, mailtest.Options{}, Mail{}, "bob@example.net", "carol@example.net")
	h.start()
	h.upload(3)
	eventually(t, "all delivered", func() bool { return h.outcome("delivered") == 6 })
	ids := map[string]bool{}
	for _, m := range srv.Mails() {
		ids[m.Header.Get("Message-Id")] = true
		to, err := m.Header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Address != m.To || m.From != "files@example.org" {
			t.Errorf("%v, %v", m.Header, err)
		}
		for name, want := range map[string]string{"From": `"Files" <files@example.org>`, "Reply-To": "<alice@example.com>", "Auto-Submitted": "auto-generated", "Bcc": "", "Mime-Version": "1.0"} {
			if got := m.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if _, err := m.Header.Date(); err != nil || m.Subject != "Grüße Bcc: evil@example.com" {
			t.Errorf("%q, %v", m.Subject, err)
		}
		for _, want := range []string{"alice@example.com has sent you files.", "\n> Zeile <1>\n> \n> Zeile 2\n\n", "  ä .txt (2.0 KiB)\n", "until 9 September 2001, 01:46 UTC:", "\nhttps://files.example/?s=download&token=1\n"} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("no %q in %s", want, m.Text)
			}
		}
		for _, want := range []string{`<a href="https://files.example/?s=download&amp;token=1" style=`, "Zeile &lt;1&gt;<br>\n<br>\nZeile 2</blockquote>", "<li>ä .txt (2.0 KiB)</li>", "<title>Grüße Bcc: evil@example.com</title>"} {
			if !strings.Contains(m.HTML, want) {
				t.Errorf("no %q in %s", want, m.HTML)
			}
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d different ids", len(ids))
	}
}

// Several daemons deliver from one outbox, and nobody gets a letter twice.
func TestMailShared(t *testing.T) {
	to := []string{"a@example.net", "b@example.net", "c@example.net"}
	h, srv := newMailHouse(t, mailtest.Options{}, Mail{}, to...)
	for range 3 {
		h.start()
	}
	h.upload(20)
	eventually(t, "all delivered", func() bool { return h.outcome("delivered") == 60 })
	seen := map[string]int{}
	for _, m := range srv.Mails() {
		seen[m.Header.Get("Message-Id")]++
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
	if len(seen) != 60 {
		t.Errorf("%d letters", len(seen))
	}
}

// A server that is down, greylists, breaks off and refuses loses nothing and gets
// nothing twice.
func TestMailFailures(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	h, srv := newMailHouse(t, mailtest.Options{Answer: func(step, to string, n int) error {
		switch {
		case down.Load():
			return mailtest.Refuse(421, "going down")
		case step == "rcpt" && to == "grey@example.net" && n <= 2:
			return mailtest.Refuse(450, "try again later")
		case step == "data" && to == "late@example.net" && n == 1:
			return mailtest.Refuse(451, "try again later")
		case step == "rcpt" && to == "unknown@example.net":
			return mailtest.Refuse(550, "no such user")
		case step == "data" && to == "spam@example.net":
			return mailtest.Refuse(554, "no")
		}
		return nil
	}}, Mail{}, "a@example.net", "grey@example.net", "late@example.net", "unknown@example.net", "spam@example.net")
	n := h.start()
	h.upload(1)
	eventually(t, "an attempt", func() bool { return h.outcome("failed") > 1 })
	n.Stop()
	down.Store(false)
	h.start()
	eventually(t, "all settled", func() bool { return h.outcome("delivered") == 3 && h.outcome("given_up") == 2 })
	seen := map[string]int{}
	for _, m := range srv.Mails() {
		seen[m.To]++
	}
	for _, to := range []string{"a@example.net", "grey@example.net", "late@example.net"} {
		if seen[to] != 1 {
			t.Errorf("%s got %d", to, seen[to])
		}
	}
	if len(seen) != 3 || srv.Calls("rcpt", "unknown@example.net") > 3 {
		t.Errorf("%v", seen)
	}
}

// Where it is not known whether a letter was taken, it is not sent again.
func TestMailInDoubt(t *testing.T) {
	var srv *mailtest.Server
	h, s := newMailHouse(t, mailtest.Options{Answer: func(step, _ string, n int) error {
		if step == "data" && n == 1 {
			srv.Cut()
		}
		return nil
	}}, Mail{}, "a@example.net")
	srv = s
	h.start()
	h.upload(1)
	eventually(t, "given up", func() bool { return h.outcome("given_up") == 1 })

	// The same after a kill: the note is in the records.
	m := claimOne(t, h)
	if err := h.engine.Begin(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Retry(t.Context(), time.Now().Add(-time.Second), m); err != nil { // an attempt known to have failed is none
		t.Fatal(err)
	}
	eventually(t, "delivered", func() bool { return h.outcome("delivered") == 1 })
	killed := claimOne(t, h)
	killed.Begun = true
	mailer, err := newMailer(h.options.Mail, h.engine)
	if err != nil {
		t.Fatal(err)
	}
	mailer.Timeout = time.Second
	if _, err := mailer.deliver(t.Context(), killed); !errors.Is(err, errGiveUp) {
		t.Errorf("%v", err)
	}
}

// A server that breaks off after each dot costs a few letters, and not all that wait.
func TestMailAlwaysInDoubt(t *testing.T) {
	var srv *mailtest.Server
	h, s := newMailHouse(t, mailtest.Options{Answer: func(step, _ string, _ int) error {
		if step == "data" {
			srv.Cut()
		}
		return nil
	}}, Mail{}, "a@example.net")
	srv = s
	h.options.Retry = time.Hour
	h.upload(20)
	n := h.start()
	eventually(t, "it is left alone", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		p := n.places[store.Recipient{Channel: MailChannel}]
		return p != nil && p.failed > 0 && p.busy == 0
	})
	if lost := h.outcome("given_up"); lost > perPlace {
		t.Errorf("%d letters are lost", lost)
	}
}

// A server that takes long to look through a letter is waited for.
func TestMailSlowVerdict(t *testing.T) {
	h, srv := newMailHouse(t, mailtest.Options{Answer: func(step, _ string, _ int) error {
		if step == "data" {
			time.Sleep(1500 * time.Millisecond)
		}
		return nil
	}}, Mail{Timeout: time.Second}, "a@example.net")
	h.upload(1)
	h.start()
	eventually(t, "delivered", func() bool { return h.outcome("delivered") == 1 })
	if h.outcome("given_up") > 0 || len(srv.Mails()) != 1 {
		t.Errorf("%v", h.seen)
	}
}

// What the server has against us, whoever a letter is for, loses none.
func TestMailSenderRefused(t *testing.T) {
	var refuse atomic.Bool
	refuse.Store(true)
	h, srv := newMailHouse(t, mailtest.Options{Answer: func(step, _ string, _ int) error {
		if step == "mail" && refuse.Load() {
			return mailtest.Refuse(530, "authentication required")
		}
		return nil
	}}, Mail{}, "a@example.net")
	h.upload(5)
	h.start()
	eventually(t, "an attempt", func() bool { return h.outcome("failed") > 1 })
	refuse.Store(false)
	eventually(t, "delivered", func() bool { return h.outcome("delivered") == 5 })
	if h.outcome("given_up") > 0 || len(srv.Mails()) != 5 {
		t.Errorf("%v", h.seen)
	}
}

// Who had a letter and was so slow that another daemon was given it does not send
// it any more.
func TestMailTooLate(t *testing.T) {
	h, srv := newMailHouse(t, mailtest.Options{}, Mail{}, "a@example.net")
	mailer, err := newMailer(h.options.Mail, h.engine)
	if err != nil {
		t.Fatal(err)
	}
	mailer.Timeout = 10 * time.Second
	h.upload(1)
	slow, err := h.engine.Claim(t.Context(), 1, time.Millisecond)
	if err != nil || len(slow) != 1 {
		t.Fatal(slow, err)
	}
	time.Sleep(5 * time.Millisecond)
	other, err := h.engine.Claim(t.Context(), 1, time.Minute)
	if err != nil || len(other) != 1 {
		t.Fatal(other, err)
	}
	if _, err := mailer.deliver(t.Context(), slow[0]); store.KindOf(err) != store.Conflict || len(srv.Mails()) > 0 {
		t.Errorf("%v, %d letters", err, len(srv.Mails()))
	}
	if err := h.engine.Retry(t.Context(), time.Now().Add(-time.Second), slow[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := mailer.deliver(t.Context(), other[0]); err != nil || len(srv.Mails()) != 1 {
		t.Errorf("%v, %d letters", err, len(srv.Mails()))
	}
}

// claimOne makes an event and takes its message before the notifier can.
func claimOne(t *testing.T, h *house) *store.Message {
	t.Helper()
	for {
		h.upload(1)
		got, err := h.engine.Claim(t.Context(), 1, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 {
			return got[0]
		}
	}
}

func TestMailSecure(t *testing.T) {
	cert, pool, err := mailtest.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{cert}}
	for name, c := range map[string]struct {
		o    mailtest.Options
		m    Mail
		want bool
	}{
		"starttls":          {mailtest.Options{TLS: secure, User: "u", Password: "p"}, Mail{TLS: StartTLS, User: "u", Password: "p", RootCAs: pool}, true},
		"tls":               {mailtest.Options{TLS: secure, Direct: true, User: "u", Password: "p"}, Mail{TLS: TLSDirect, User: "u", Password: "p", RootCAs: pool}, true},
		"unknown authority": {mailtest.Options{TLS: secure}, Mail{TLS: StartTLS}, false},
		"no starttls":       {mailtest.Options{}, Mail{TLS: StartTLS, RootCAs: pool}, false},
		"wrong password":    {mailtest.Options{TLS: secure, User: "u", Password: "p"}, Mail{TLS: StartTLS, User: "u", Password: "x", RootCAs: pool}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, srv := newMailHouse(t, c.o, c.m, "bob@example.net")
			h.start()
			h.upload(1)
			if !c.want {
				eventually(t, "a failure", func() bool { return h.outcome("failed") > 0 })
				if len(srv.Mails()) > 0 {
					t.Error("it was sent all the same")
				}
				return
			}
			eventually(t, "delivered", func() bool { return h.outcome("delivered") == 1 })
		})
	}
}

func TestTemplates(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("transfer_available.txt", "Dateien von {{line .Sender}}\n\nHier: {{.Link}}\n")
	write("upload_complete.html", "<p>{{.Title}}</p>")
	words, err := parseTemplates(dir)
	if err != nil {
		t.Fatal(err)
	}
	subject, text, html, err := words.render(&store.Letter{Kind: "transfer_available", Sender: "a\nb", Link: "https://x"})
	if err != nil || subject != "Dateien von a b" || text != "Hier: https://x\n" || !strings.Contains(html, "<p>Hier: https://x</p>") {
		t.Errorf("%q %q %q, %v", subject, text, html, err)
	}
	if _, _, html, err = words.render(&store.Letter{Kind: "upload_complete", Subject: "<x>"}); err != nil || html != "<p>Your upload &#34;&lt;x&gt;&#34; is complete</p>" {
		t.Errorf("%q, %v", html, err)
	}
	day := store.Letter{Kind: "daily_summary", Subject: "x", Since: time.Unix(0, 0), Expires: time.Unix(86400, 0), Log: []store.LetterLine{{Time: time.Unix(60, 0), Event: "file.downloaded", Name: "a\nb", Count: 3}, {Event: "file.downloaded", Person: "b@x", Name: "c", Count: 1}}}
	if _, text, _, err = words.render(&day); err != nil || text != "Downloads of your files \"x\" since 1 January 1970, 00:00 UTC:\n\n"+
		"  1 January 1970, 00:01 UTC: a b downloaded by whoever has the link (3 times)\n  never: c downloaded by b@x\n\nThey can be had until 2 January 1970, 00:00 UTC.\n" {
		t.Errorf("%q, %v", text, err)
	}
	day.Log = nil
	if _, text, _, err = words.render(&day); err != nil || text != "Nobody has downloaded your files \"x\" since 1 January 1970, 00:00 UTC.\n\nThey can be had until 2 January 1970, 00:00 UTC.\n" {
		t.Errorf("%q, %v", text, err)
	}
	report := store.Letter{Kind: "transfer_report", Log: []store.LetterLine{{Event: "file.downloaded", Name: "a\nb", Person: "b@x", Count: 2}, {Event: "transfer.sent", Person: "c@x"}, {Event: "transfer.archived", Person: "c@x"}, {Event: "file.used", Name: "d"}}}
	if _, text, _, err = words.render(&report); err != nil || !strings.HasSuffix(text, "What happened:\n\n  never: a b downloaded by b@x (2 times)\n  never: sent to c@x\n  never: an archive downloaded by c@x\n  never: file.used d\n") {
		t.Errorf("%q, %v", text, err)
	}
	for name, text := range map[string]string{"typo.txt": "x", "typo.html": "x", "transfer_reminder.txt": "{{.Nothing}}", "layout.html": "{{"} {
		write(name, text)
		if _, err := parseTemplates(dir); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := parseTemplates(filepath.Join(dir, "none")); err == nil {
		t.Error("no directory: no error")
	}
}

func TestMailCheck(t *testing.T) {
	good := Mail{Server: "mail.example.org:587", TLS: StartTLS, From: "files@example.org", User: "u", Password: "p"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Mail){
		func(m *Mail) { m.Server = "mail.example.org" },
		func(m *Mail) { m.TLS = "ssl" },
		func(m *Mail) { m.TLS = TLSNone },
		func(m *Mail) { m.From = "x" },
		func(m *Mail) { m.ReplyTo = "x" },
		func(m *Mail) { m.Password = "" },
		func(m *Mail) { m.Templates = "/nowhere" },
	} {
		m := good
		change(&m)
		if m.Check() == nil {
			t.Errorf("%+v: no error", m)
		}
	}
	if line("a\r\nb\u2028c\u202egpj.exe") != "a b c gpj.exe" || len([]rune(line(strings.Repeat("ä", 500)))) != mostSubject {
		t.Error("line")
	}
	if _, err := mail.ParseAddress("a@b"); err != nil || !ascii("a@b") || ascii("ä@b") {
		t.Error(err)
	}
}

// What a sender says cannot be taken for what we say, in any letter, and no letter
// has holes.
func TestQuoted(t *testing.T) {
	words, err := parseTemplates("")
	if err != nil {
		t.Fatal(err)
	}
	const link = "https://files.example/?s=download&token=1"
	l := store.Letter{Link: link, Subject: "S", Sender: "a@example.net", Person: "b@example.net", Readers: []store.LetterReader{{Email: "b@example.net"}},
		Files: []store.LetterFile{{Name: "> a", Size: 1}}, Log: []store.LetterLine{{Event: "x"}}, Message: "Hi\r\n\r\n\r\nGet them here:\n\nhttps://evil.example/\x1b\n\n" + link}
	for _, x := range words.text.Templates() {
		kind, ok := strings.CutSuffix(x.Name(), ".txt")
		if !ok || kind == "parts" {
			continue
		}
		l.Kind = kind
		for _, said := range []string{l.Message, ""} {
			l := l
			l.Message = said
			_, text, html, err := words.render(&l)
			if err != nil || strings.Contains(text, "\n\n\n") || strings.Contains(html, "<p></p>") || strings.Contains(html, "evil.example/\"") {
				t.Errorf("%s: %v\n%s\n%s", kind, err, text, html)
			}
			if said == "" || !strings.Contains(text, "Hi") {
				continue
			}
			if !strings.Contains(text, "\n> Hi\n> \n> \n> Get them here:\n> \n> https://evil.example/\n> \n> "+link+"\n\n") || strings.Count(html, "Open the page") > 1 {
				t.Errorf("%s: %s\n%s", kind, text, html)
			}
		}
	}
}
