// Package pgtest starts a PostgreSQL of the system's packages for tests. It
// listens on a socket in a directory of its own and dies with the test.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience bounds every wait.
const patience = time.Minute

// Server is a running PostgreSQL.
type Server struct {
	dir, bin string
	addr     string // of one with TLS
	attr     *syscall.SysProcAttr
	options  []string
	log      *bytes.Buffer
	cmd      *exec.Cmd // nil while it is stopped
	made     atomic.Int64
}

// programs finds the newest server that is installed.
func programs() (string, error) {
	if dir := os.Getenv("PG_BINDIR"); dir != "" {
		return dir, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", errors.New("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

// account is who the server runs as: it refuses to be root. It is killed when
// the test's process ends.
func account() (attr *syscall.SysProcAttr, uid, gid int, err error) {
	attr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return attr, os.Getuid(), os.Getgid(), nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, 0, 0, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, uid, gid, errors.Join(err1, err2)
}

// Start makes a cluster and starts it; options are settings like
// "fsync=on". Stop ends it.
func Start(options ...string) (*Server, error) {
	return start(&Server{options: options}, func(*Server, int, int) error { return nil })
}

// start makes and starts a cluster; prepare may add to what is in its directory
// and to its options, for the account that it runs as.
func start(s *Server, prepare func(s *Server, uid, gid int) error) (_ *Server, err error) {
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	attr, uid, gid, err := account()
	if err != nil {
		return nil, err
	}
	s.attr = attr
	if s.dir, err = os.MkdirTemp("", "pg"); err != nil { // short: a socket's path has 107 bytes
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if err := errors.Join(os.Chown(s.dir, uid, gid), prepare(s, uid, gid)); err != nil {
		return nil, err
	}
	c := exec.Command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C.UTF-8", "--no-sync", "--no-instructions")
	c.SysProcAttr, c.Dir = s.attr, s.dir
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.Resume()
}

// Resume starts the server after Halt or Kill, and waits until it answers.
func (s *Server) Resume() error {
	s.log = new(bytes.Buffer)
	args := []string{"-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "full_page_writes=off", "-c", "shared_buffers=64MB", "-c", "max_connections=300"}
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), args...)
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stderr = s.attr, s.dir, s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.URL("public"))
		if err == nil {
			return c.Close(ctx)
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("postgres does not answer: %w: %s", err, s.log), s.end(syscall.SIGQUIT))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Halt stops the server as an administrator does who does not wait ("fast").
func (s *Server) Halt() error { return s.end(syscall.SIGINT) }

// Kill stops the server as if the machine had failed, but for what the
// kernel keeps ("immediate").
func (s *Server) Kill() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Signal(sig)
	_ = s.cmd.Wait() // its exit code tells how it was ended
	s.cmd = nil
	return err
}

// Freeze stops every process of the server until Thaw, so that it
// keeps its connections and answers nothing.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw is the end of Freeze.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	pid := strconv.Itoa(s.cmd.Process.Pid)
	children, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range append(strings.Fields(string(children)), pid) {
		n, err := strconv.Atoi(p)
		if err != nil {
			return err
		}
		if err := syscall.Kill(n, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// Stop ends the server and removes all of it.
func (s *Server) Stop() error { return errors.Join(s.Halt(), os.RemoveAll(s.dir)) }

// Dir is where its socket is.
func (s *Server) Dir() string { return s.dir }

// URL is how one reaches a schema of the server's only database; "public" is
// always there.
func (s *Server) URL(schema string) string {
	q := url.Values{"host": {s.dir}, "sslmode": {"disable"}, "search_path": {schema}}
	if _, port, err := net.SplitHostPort(s.addr); err == nil {
		q.Set("port", port) // it is in the name of the socket
	}
	return "postgres://postgres@/postgres?" + q.Encode()
}

// NewSchema makes an empty schema, which is as good as a database and made in
// no time, and returns its URL. It goes with the server.
func (s *Server) NewSchema() (string, error) {
	name := fmt.Sprintf("t%d", s.made.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL("public"))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, "CREATE SCHEMA "+name)
	return s.URL(name), err
}

// Schema is NewSchema for a test.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	url, err := s.NewSchema()
	if err != nil {
		t.Fatal(err)
	}
	return url
}
