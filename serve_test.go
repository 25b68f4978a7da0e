package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is serve in this process.
type daemon struct {
	addr    string
	signals chan os.Signal
	done    chan error // one element: what serve returned

	mu     sync.Mutex
	stderr bytes.Buffer // guarded by mu
	grew   chan struct{}
}

func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case d.grew <- struct{}{}:
	default:
	}
	return d.stderr.Write(p)
}

func (d *daemon) output() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stderr.String()
}

// wait returns the first submatch of a pattern in what the daemon says.
func (d *daemon) wait(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for {
		if m := re.FindStringSubmatch(d.output()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-d.grew:
		case err := <-d.done:
			t.Fatalf("serve ended (%v) without saying %s:\n%s", err, pattern, d.output())
		case <-t.Context().Done():
			t.Fatalf("no %s in:\n%s", pattern, d.output())
		}
	}
}

func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.signals <- syscall.SIGTERM
	if err := <-d.done; err != nil {
		t.Errorf("serve: %v\n%s", err, d.output())
	}
}

// startDaemon runs serve over dir; yaml must not say store or server.listen.
func startDaemon(t *testing.T, dir, listen, yaml string) *daemon {
	t.Helper()
	c := mustLoad(t, yaml, "FILESHARE_STORE_DIR="+dir, "FILESHARE_SERVER_LISTEN="+listen)
	d := &daemon{signals: make(chan os.Signal, 2), done: make(chan error, 1), grew: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() { d.done <- serve(ctx, c, d, d.signals) }()
	d.addr = d.wait(t, `msg=listening addr=(\S+)`)
	return d
}

// do sends a request over a connection of its own.
func do(t *testing.T, req *http.Request, transport *http.Transport) (int, string) {
	t.Helper()
	if transport == nil {
		transport = new(http.Transport)
	}
	transport.DisableKeepAlives = true
	answer, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func upload(t *testing.T, base, user, password string, transport *http.Transport) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", base+"/uploads/a.txt", strings.NewReader("some bytes"))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	return do(t, req, transport)
}

func TestFirstAccount(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	d := startDaemon(t, dir, "127.0.0.1:0", "log: {level: error}") // the line must come whatever the level
	m := regexp.MustCompile(`curl --user admin:(\w+) --form file=@/etc/hosts (http://127\.0\.0\.1:\d+)/uploads\n`).FindStringSubmatch(d.output())
	if m == nil || strings.Count(d.output(), m[1]) != 2 || !strings.HasSuffix(m[2], d.addr) {
		t.Fatalf("no account and curl line for %s in:\n%s", d.addr, d.output())
	}
	password := m[1]
	if status, body := upload(t, m[2], "admin", password, nil); status != http.StatusCreated {
		t.Errorf("upload with the printed password: %d %s", status, body)
	}
	d.stop(t)

	for name, mode := range map[string]os.FileMode{"": 0o700 | os.ModeDir, "admin.htpasswd": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%q: %v, %v; want mode %v", name, info.Mode(), err, mode)
		}
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "admin.htpasswd")); err != nil || !strings.HasPrefix(string(kept), "admin:$argon2id$") {
		t.Errorf("kept: %q, %v; want a hash", kept, err)
	}

	d = startDaemon(t, dir, "127.0.0.1:0", "")
	if strings.Contains(d.output(), "curl") || !strings.Contains(d.output(), "admin can log in") {
		t.Errorf("a later start says:\n%s", d.output())
	}
	if status, body := upload(t, "http://"+d.addr, "admin", password, nil); status != http.StatusCreated {
		t.Errorf("upload after the restart: %d %s", status, body)
	}
	if strings.Contains(d.output(), password) {
		t.Error("the password is in the log")
	}
	d.stop(t)

	d = startDaemon(t, dir, "127.0.0.1:0", "auth: {users: [{name: me, password: secret}]}")
	if status, _ := upload(t, "http://"+d.addr, "admin", password, nil); status != http.StatusUnauthorized {
		t.Errorf("admin, when others are configured: %d, want 401", status)
	}
	if status, _ := upload(t, "http://"+d.addr, "me", "secret", nil); status != http.StatusCreated {
		t.Errorf("the configured account: %d, want 201", status)
	}
	d.stop(t)
}

func TestNoAccountWhenNobodyNeedsOne(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir, "127.0.0.1:0", "auth: {anonymous_uploads: true}")
	if strings.Contains(d.output(), "admin") {
		t.Errorf("an account was made:\n%s", d.output())
	}
	d.stop(t)
	if _, err := os.Stat(filepath.Join(dir, "admin.htpasswd")); !os.IsNotExist(err) {
		t.Errorf("admin.htpasswd: %v, want none", err)
	}
}

func TestBrokenFirstAccount(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "admin.htpasswd"), []byte("admin:plain\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, "", "FILESHARE_STORE_DIR="+dir, "FILESHARE_SERVER_LISTEN=127.0.0.1:0")
	err := serve(t.Context(), c, io.Discard, nil)
	if err == nil || !strings.Contains(err.Error(), "remove the file") || strings.Contains(err.Error(), "plain") {
		t.Errorf("serve: %v, want what to do, without the content", err)
	}
}

func TestSecondDaemon(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir, "127.0.0.1:0", "")
	c := mustLoad(t, "", "FILESHARE_STORE_DIR="+dir, "FILESHARE_SERVER_LISTEN=127.0.0.1:0")
	if err := serve(t.Context(), c, io.Discard, nil); err == nil || !strings.Contains(err.Error(), "in use by another daemon") || isConfigError(err) {
		t.Errorf("a second daemon: %v", err)
	}
	// A port that is taken must not cost the first password of another directory.
	other := filepath.Join(t.TempDir(), "other")
	c = mustLoad(t, "", "FILESHARE_STORE_DIR="+other, "FILESHARE_SERVER_LISTEN="+d.addr)
	var said bytes.Buffer
	if err := serve(t.Context(), c, &said, nil); err == nil || !strings.Contains(err.Error(), "server.listen") {
		t.Errorf("a taken port: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other, "admin.htpasswd")); !os.IsNotExist(err) || said.Len() > 0 {
		t.Errorf("an account was made although it was never announced: %v, %q", err, said.String())
	}
	d.stop(t)
}

func TestSignalLetsTransfersFinish(t *testing.T) {
	d := startDaemon(t, t.TempDir(), "127.0.0.1:0", "auth: {anonymous_uploads: true}\nserver: {shutdown_grace: 1h}\n")
	conn := beginUpload(t, d.addr)
	d.signals <- syscall.SIGTERM
	d.wait(t, "msg=(stopping)")
	for { // until it accepts no more
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			break
		}
		c.Close()
	}
	if _, err := io.WriteString(conn, "rest"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("the running upload: %+v, %v", answer, err)
	}
	answer.Body.Close()
	if err := <-d.done; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	d := startDaemon(t, t.TempDir(), "127.0.0.1:0", "auth: {anonymous_uploads: true}\nserver: {shutdown_grace: 1h}\n")
	conn := beginUpload(t, d.addr)
	d.signals <- syscall.SIGTERM
	d.wait(t, "msg=(stopping)")
	d.signals <- syscall.SIGINT
	if err := <-d.done; err != nil {
		t.Errorf("serve: %v", err)
	}
	if b, err := io.ReadAll(conn); bytes.Contains(b, []byte(" 201 ")) {
		t.Errorf("the upload that was cut off got %q, %v", b, err)
	}
}

func TestGraceEnds(t *testing.T) {
	d := startDaemon(t, t.TempDir(), "127.0.0.1:0", "auth: {anonymous_uploads: true}\nserver: {shutdown_grace: 0}\n")
	beginUpload(t, d.addr)
	d.stop(t)
}

// beginUpload sends a request up to the middle of its body, and waits until the
// daemon reads it.
func beginUpload(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "PUT /uploads/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The daemon asks for the body when its handler begins to read.
	line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, line); err != nil || !bytes.Contains(line, []byte(" 100 ")) {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := io.WriteString(conn, "half"); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("bad.yaml", []byte("server: {lisen: x}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args, in  string
		code      int
		out, errs string
	}{
		{"version", "", exitDone, `^fileshare \S+ \(go`, `^$`},
		{"config", "", exitDone, `(?m)^    listen: 127\.0\.0\.1:8080$`, `^$`},
		{"config --config bad.yaml", "", exitUsage, `^$`, `^fileshare: server\.lisen: unknown key`},
		{"serve --config bad.yaml", "", exitUsage, `^$`, `server\.lisen: unknown key`},
		{"serve --config none.yaml", "", exitUsage, `^$`, `none\.yaml`},
		{"hash", "secret\n", exitDone, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$\S+\$\S+\n$`, `^$`},
		{"hash", "secret", exitDone, `^\$argon2id`, `^$`},
		{"hash", "", exitFailed, `^$`, `^fileshare: the password is empty\n$`},
		{"", "", exitUsage, `^$`, `a command is expected`},
		{"nonsense", "", exitUsage, `^$`, `unknown command`},
		{"serve --nonsense", "", exitUsage, `^$`, `unknown flag.*"fileshare serve --help"`},
		{"get", "", exitUsage, `^$`, `"fileshare get --help" tells how it is used\n$`},
		{"version extra", "", exitUsage, `^$`, `extra`},
		{"--help", "", exitDone, `serve +Run the daemon`, `^$`},
	} {
		var out, errs bytes.Buffer
		code := run(strings.Fields(test.args), strings.NewReader(test.in), &out, &errs)
		if code != test.code || !regexp.MustCompile(test.out).MatchString(out.String()) || !regexp.MustCompile(test.errs).MatchString(errs.String()) {
			t.Errorf("fileshare %s: code %d, want %d\nout, want %s:\n%s\nerr, want %s:\n%s", test.args, code, test.code, test.out, out.String(), test.errs, errs.String())
		}
	}
}

func TestIdleConnectionsDoNotDelayTheEnd(t *testing.T) {
	d := startDaemon(t, t.TempDir(), "127.0.0.1:0", "auth: {anonymous_uploads: true}\nserver: {shutdown_grace: 1h}\n")
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("http://" + d.addr + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close() // the connection is kept
	d.stop(t)
}
