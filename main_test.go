package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for an event, so that a test that hangs says for
// what. It is no expectation of how long anything takes.
const patience = 90 * time.Second

// TestProgram runs the program as people do: built, started, and used with
// curl and other clients from outside.
func TestProgram(t *testing.T) {
	for _, program := range []string{"curl", "nginx", "chromium", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: make test installs what the tests need", err)
		}
	}
	bin := buildProgram(t)
	t.Run("script", func(t *testing.T) { testScripts(t, bin) })
	t.Run("put", func(t *testing.T) { testPutCut(t, bin) })
	t.Run("README", func(t *testing.T) { testREADME(t, bin) })
	t.Run("extrahorizon", func(t *testing.T) { testExtraHorizon(t, bin) })
	t.Run("tus", func(t *testing.T) { testTus(t, bin) })
	t.Run("browser", func(t *testing.T) { testBrowsers(t, bin) })
}

// buildProgram builds the program, with the race detector if the test has it,
// and returns the directory it is in.
func buildProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return dir
}

// process is a daemon in the background that writes to a file.
type process struct {
	cmd    *exec.Cmd
	log    string // path of the file
	exited chan struct{}
	err    error // of Wait; set before exited is closed

	mu   sync.Mutex
	said bytes.Buffer // guarded by mu
	grew chan struct{}
	file *os.File
}

// startProcess starts a program whose stdout and stderr are appended to a file.
func startProcess(cmd *exec.Cmd, log string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, exited: make(chan struct{}), grew: make(chan struct{}, 1), file: file}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		file.Close()
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		file.Close()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(b)
	select {
	case p.grew <- struct{}{}:
	default:
	}
	return p.file.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// wait returns the last submatch of a pattern in what the process says.
func (p *process) wait(re *regexp.Regexp) (string, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		if m := re.FindStringSubmatch(p.output()); m != nil {
			return m[len(m)-1], nil
		}
		select {
		case <-p.grew:
		case <-p.exited:
			return "", fmt.Errorf("%s ended (%v) and said:\n%s", p.cmd.Path, p.err, p.output())
		case <-timeout.C:
			return "", fmt.Errorf("%s said no %s, but:\n%s", p.cmd.Path, re, p.output())
		}
	}
}

// end sends a signal, by the process's id, and waits for the end.
func (p *process) end(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not end on %v:\n%s", p.cmd.Path, s, p.output())
	}
	// Faults of ours are errors of the log, as are a full disk and a service that
	// does not answer, which some tests play.
	for line := range strings.Lines(p.output()) {
		if strings.Contains(line, "DATA RACE") || strings.Contains(line, "panic") || strings.Contains(line, "level=ERROR") && !strings.Contains(line, "status=507") && !strings.Contains(line, "message=authentication is not available") {
			return fmt.Errorf("%s is broken: %s\n%s", p.cmd.Path, line, p.output())
		}
	}
	if s == syscall.SIGTERM && p.err != nil {
		return fmt.Errorf("%s ended with %w:\n%s", p.cmd.Path, p.err, p.output())
	}
	return nil
}

// startServe starts fileshare serve in a directory and returns its address.
// The data is below that directory unless env says otherwise; of equal names in
// env the last one counts.
func startServe(bin, dir, name string, env, args []string) (*process, string, error) {
	cmd := exec.Command(filepath.Join(bin, "fileshare"), append([]string{"serve"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GORACE=halt_on_error=1",
		"FILESHARE_SERVER_LISTEN=127.0.0.1:0", "FILESHARE_STORE_DIR=" + filepath.Join(dir, name+".data"),
		"FILESHARE_LIMITS_FREE_SPACE=1MiB", // the disk of the tests may be small
	}, env...)
	p, err := startProcess(cmd, filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, "", err
	}
	addr, err := p.wait(regexp.MustCompile(`(?m)msg"?[=:]"?listening"?[ ,]"?addr"?[=:]"?([^"\s]+)`))
	if err != nil {
		_ = p.end(syscall.SIGKILL)
		return nil, "", err
	}
	return p, addr, nil
}

// nginxConfig is what is around the servers of a configuration, with gzip on as
// Debian has it: everything that is written goes below dir.
func nginxConfig(dir, servers string) string {
	var user string
	if os.Geteuid() == 0 {
		user = "user root;\n" // its workers may read nothing below dir otherwise
	}
	return user + `daemon off;
pid ` + dir + `/nginx.pid;
error_log stderr notice;
events {}
http {
access_log off;
gzip on;
client_body_temp_path ` + dir + `/nginx-body;
proxy_temp_path ` + dir + `/nginx-proxy;
fastcgi_temp_path ` + dir + `/nginx-fastcgi;
uwsgi_temp_path ` + dir + `/nginx-uwsgi;
scgi_temp_path ` + dir + `/nginx-scgi;
` + servers + "}\n"
}

// nginxListens is set to an address by the tests; so is nginxUpstream.
const (
	nginxListens  = "listen 80;"
	nginxUpstream = "127.0.0.1:8080"
)

// startNginx starts nginx with a server in front of upstream and returns its
// address. nginx cannot be asked for a free port, so one is guessed.
func startNginx(dir, server, upstream string) (*process, string, error) {
	if !strings.Contains(server, nginxListens) || !strings.Contains(server, nginxUpstream) {
		return nil, "", fmt.Errorf("a configuration with %q and %q is expected", nginxListens, nginxUpstream)
	}
	var last error
	for range 10 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", err
		}
		addr := l.Addr().String()
		l.Close()
		text := strings.NewReplacer(nginxListens, "listen "+addr+";", nginxUpstream, upstream).Replace(server)
		path := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(path, []byte(nginxConfig(dir, text)), 0o644); err != nil {
			return nil, "", err
		}
		p, err := startProcess(exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", path), filepath.Join(dir, "nginx.log"))
		if err != nil {
			return nil, "", err
		}
		if _, last = p.wait(regexp.MustCompile(`start worker process \d`)); last == nil {
			return p, addr, nil
		}
		_ = p.end(syscall.SIGKILL)
		if !strings.Contains(p.output(), "Address already in use") {
			break
		}
	}
	return nil, "", last
}

// retry calls try until it is done. It is for what happens outside and cannot
// be waited for otherwise; try tells what is so far, for the report.
func retry(ctx context.Context, try func() (done bool, sofar string)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, sofar := try()
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v; last:\n%s", patience, sofar)
		}
	}
}
