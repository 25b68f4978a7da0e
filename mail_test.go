package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"fileshare/api"
	"fileshare/notify/mailtest"
)

// sendTo makes a session with a file and sends it to so many.
func sendTo(d *e2eDaemon, from, n int) {
	d.t.Helper()
	var s api.Session
	a := d.do("POST", "/sessions", strings.NewReader(`{"name":"mailed"}`), "Content-Type", "application/json")
	if err := json.Unmarshal(a.body, &s); err != nil {
		d.t.Fatal(a, err)
	}
	for i := range n {
		body := fmt.Sprintf(`{"email":"r%d@example.net"}`, from+i)
		if a := d.do("POST", "/sessions/"+s.ID+"/recipients", strings.NewReader(body), "Content-Type", "application/json"); a.status != 201 {
			d.t.Fatal(a)
		}
	}
}

// received counts the mails for each address.
func received(srv *mailtest.Server) map[string]int {
	got := map[string]int{}
	for _, m := range srv.Mails() {
		got[m.To]++
	}
	return got
}

// Mail that waits while the mail server is away and the daemon is killed is sent
// when both are there again, and what was on its way when the daemon was killed is
// sent by nobody twice.
func TestMailAfterKill(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // nobody listens there now
	dir, env := t.TempDir(), []string{"MAIL_SERVER=" + addr, "MAIL_TLS=none", "MAIL_FROM=Files <files@example.org>", "SERVER_PUBLIC_URL=https://files.example"}
	d := e2eStart(t, dir, env...)
	sendTo(d, 0, 5)
	e2eUntil(t, "an attempt failed", func() bool {
		return strings.Contains(string(d.do("GET", "/metrics", nil).body), `fileshare_notifications_total{channel="mail",outcome="failed"}`)
	})
	d.kill()

	reached, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var srv *mailtest.Server
	srv, err = mailtest.Start(mailtest.Options{Addr: addr, Answer: func(step, to string, _ int) error {
		if step == "data" && to == "r7@example.net" {
			once.Do(func() {
				e2eUntil(t, "all others are there", func() bool { return len(received(srv)) == 10 })
				close(reached)
			})
			<-leave // it is taken, but the daemon does not live to hear it
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	d = e2eStart(t, dir, env...)
	e2eUntil(t, "what waited is sent", func() bool { return len(received(srv)) == 5 })
	for _, m := range srv.Mails() {
		if m.From != "files@example.org" || m.Subject != "mailed" || !strings.Contains(m.Text, "https://files.example/shares/") {
			t.Errorf("%+v", m)
		}
	}
	sendTo(d, 5, 6)
	<-reached
	d.kill()
	close(leave)
	d = e2eStart(t, dir, env...)
	e2eUntil(t, "it was taken", func() bool { return len(received(srv)) == 11 })
	sendTo(d, 11, 1)
	e2eUntil(t, "one more", func() bool { return received(srv)["r11@example.net"] == 1 })
	for to, n := range received(srv) {
		if n != 1 {
			t.Errorf("%s got %d mails", to, n)
		}
	}
	d.stop()
}
