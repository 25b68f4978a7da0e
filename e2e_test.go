package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fileshare/api"
)

// The tests whose files are named crash, disk, hostile and memory talk to the
// real program, a process of its own, over real sockets.

// e2eBinary builds the program once and returns a path of it that needs no
// cleaning up: the file is unlinked and lives as long as this process.
var e2eBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fileshare-e2e-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "fileshare")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), err
})

const (
	e2eUser     = "e2e"
	e2ePassword = "correct horse"
	// e2ePatience bounds every wait for something that must happen.
	e2ePatience = 30 * time.Second
)

// e2eDaemon is a running program.
type e2eDaemon struct {
	t      testing.TB
	dir    string // store.dir
	addr   string // host:port
	client *http.Client

	process *os.Process
	done    chan struct{} // closed when the process has ended
	state   *os.ProcessState
	log     e2eLog
}

// e2eLog is what a daemon says on stderr, its beginning and its end.
type e2eLog struct {
	mu   sync.Mutex
	text []byte // guarded by mu
	grew chan struct{}
}

func (l *e2eLog) Write(p []byte) (int, error) {
	const most = 1 << 20
	l.mu.Lock()
	if l.text = append(l.text, p...); len(l.text) > most {
		l.text = append(l.text[:most/4], l.text[len(l.text)-most/2:]...)
	}
	l.mu.Unlock()
	select {
	case l.grew <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *e2eLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// e2eLaunch starts the program over a directory and does not wait for it. env
// are further variables, without FILESHARE_.
func e2eLaunch(t testing.TB, dir string, env ...string) *e2eDaemon {
	t.Helper()
	binary, err := e2eBinary()
	if err != nil {
		t.Fatal(err)
	}
	d := &e2eDaemon{t: t, dir: dir, done: make(chan struct{}), log: e2eLog{grew: make(chan struct{}, 1)}}
	d.client = &http.Client{
		Timeout:   2 * e2ePatience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	cmd := exec.Command(binary, "serve")
	cmd.Dir = os.TempDir() // there is a config.yaml in ours
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir(),
		"FILESHARE_SERVER_LISTEN=127.0.0.1:0", "FILESHARE_STORE_DIR=" + dir, "FILESHARE_LOG_LEVEL=warn",
		"FILESHARE_LIMITS_FREE_SPACE=0",
		`FILESHARE_AUTH_USERS=[{"name":"` + e2eUser + `","password":"` + e2ePassword + `","admin":true}]`}
	for _, e := range env {
		cmd.Env = append(cmd.Env, "FILESHARE_"+e)
	}
	cmd.Stderr = &d.log
	err = e2eTie(cmd, func() {
		d.state = cmd.ProcessState
		close(d.done)
	})
	if err != nil {
		t.Fatal(err)
	}
	d.process = cmd.Process
	t.Cleanup(func() {
		d.kill()
		if log := d.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "\ngoroutine ") {
			t.Errorf("the daemon panicked:\n%s", log)
		}
	})
	return d
}

// e2eTie starts a command that is killed when this process ends, and calls
// ended when it has.
func e2eTie(cmd *exec.Cmd, ended func()) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel means the thread that forked, so it must last.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its state tells
			ended()
		}
	}()
	return <-started
}

// e2eStart starts the program and waits until it listens.
func e2eStart(t testing.TB, dir string, env ...string) *e2eDaemon {
	t.Helper()
	d := e2eLaunch(t, dir, env...)
	if !d.listening() {
		t.Fatalf("the daemon ended with %d:\n%s", d.state.ExitCode(), d.log.String())
	}
	return d
}

// listening waits until the daemon listens, or has ended.
func (d *e2eDaemon) listening() bool {
	line := regexp.MustCompile(`msg=listening addr=(\S+)\n`)
	timeout := time.NewTimer(e2ePatience)
	defer timeout.Stop()
	for {
		if m := line.FindStringSubmatch(d.log.String()); m != nil {
			d.addr = m[1]
			return true
		}
		select {
		case <-d.log.grew:
		case <-d.done:
			return false
		case <-timeout.C:
			d.t.Fatalf("the daemon does not come up:\n%s", d.log.String())
		}
	}
}

// kill ends the process at once, as a power cut would.
func (d *e2eDaemon) kill() {
	_ = d.process.Kill() // it may have ended
	<-d.done
	d.client.CloseIdleConnections()
}

// stop ends the process in order.
func (d *e2eDaemon) stop() {
	d.t.Helper()
	d.client.CloseIdleConnections()
	_ = d.process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(e2ePatience):
		d.t.Fatalf("the daemon does not stop:\n%s", d.log.String())
	}
	if code := d.state.ExitCode(); code != 0 {
		d.t.Errorf("the daemon stopped with %d:\n%s", code, d.log.String())
	}
}

// e2eAnswer is an answer with its whole body.
type e2eAnswer struct {
	status int
	header http.Header
	body   []byte
}

// message is the error's, empty if the body is none.
func (a *e2eAnswer) message() string {
	var e api.Error
	if json.Unmarshal(a.body, &e) != nil {
		return ""
	}
	return e.Message
}

func (a *e2eAnswer) String() string {
	return fmt.Sprintf("%d %.300s", a.status, a.body)
}

// try sends a request as the user. It returns the answer together with an error
// if the connection broke after the header.
func (d *e2eDaemon) try(ctx context.Context, method, path string, body io.Reader, header ...string) (*e2eAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+d.addr+path, body)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(e2eUser, e2ePassword)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	a := &e2eAnswer{status: res.StatusCode, header: res.Header}
	a.body, err = io.ReadAll(res.Body)
	return a, err
}

// do is try for requests that must be answered.
func (d *e2eDaemon) do(method, path string, body io.Reader, header ...string) *e2eAnswer {
	d.t.Helper()
	a, err := d.try(context.Background(), method, path, body, header...)
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s", method, path, err, d.log.String())
	}
	return a
}

// put uploads content, which must succeed, and returns the path to it.
func (d *e2eDaemon) put(name string, content []byte) string {
	d.t.Helper()
	a := d.do("PUT", "/uploads/"+name, bytes.NewReader(content))
	if a.status != http.StatusCreated {
		d.t.Fatalf("PUT %s: %v", name, a)
	}
	return e2eID(a)
}

// e2eID is the path that Location names.
func e2eID(a *e2eAnswer) string {
	_, path, _ := strings.Cut(strings.TrimPrefix(a.header.Get("Location"), "http://"), "/")
	return "/" + path
}

// want checks that a download gives exactly content.
func (d *e2eDaemon) want(path string, content []byte) {
	d.t.Helper()
	if a := d.do("GET", path, nil); a.status != http.StatusOK || !bytes.Equal(a.body, content) {
		d.t.Errorf("GET %s: %d and %d bytes, want 200 and the %d that were uploaded: %.100q", path, a.status, len(a.body), len(content), a.body)
	}
}

// list returns every file there is.
func (d *e2eDaemon) list() []api.File {
	d.t.Helper()
	var all []api.File
	for next := ""; ; {
		a := d.do("GET", "/uploads?limit=1000&cursor="+next, nil)
		var page api.List[api.File]
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
			d.t.Fatalf("GET /uploads: %v", a)
		}
		if all = append(all, page.Items...); page.Next == nil {
			return all
		}
		next = *page.Next
	}
}

// metric reads one number of /metrics.
func (d *e2eDaemon) metric(name string) int64 {
	d.t.Helper()
	a := d.do("GET", "/metrics", nil)
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(a.body)
	if m == nil {
		d.t.Fatalf("no %s in /metrics (%d)", name, a.status)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return int64(v)
}

// proc reads one number of /proc/PID/status: kilobytes, or a count.
func (d *e2eDaemon) proc(name string) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(d.process.Pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name+":")
	value, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	n, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// e2eUntil waits until cond holds.
func e2eUntil(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(e2ePatience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("this does not come: %s", what)
		}
	}
}

// labelFile is the file that says whose the contents of a directory are.
const labelFile = "store.id"

// e2eBlobs sums the files of blobs, but for the label: how many, how many bytes.
func e2eBlobs(t testing.TB, dir string) (n int, size int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == labelFile {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil // just deleted
		}
		if err == nil {
			n, size = n+1, size+info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return n, size
}

// e2eForm makes a form with one file, and its content type.
func e2eForm(name string, content []byte) (*bytes.Reader, string) {
	const boundary = "e2e-boundary"
	head := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + name + "\"\r\n\r\n"
	body := slices.Concat([]byte(head), content, []byte("\r\n--"+boundary+"--\r\n"))
	return bytes.NewReader(body), "multipart/form-data; boundary=" + boundary
}
