// Package s3test starts a real S3 server for tests: versitygw over a directory,
// built from tools/go.mod. It listens on loopback and dies with the test.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The credentials of the server.
const (
	AccessKey = "test"
	SecretKey = "testsecret"
)

// patience bounds every wait but the build, which takes minutes once.
const (
	patience = time.Minute
	building = 20 * time.Minute
)

// Server is a running S3 server.
type Server struct {
	dir, bin string
	addr     string
	cmd      *exec.Cmd // nil while it is stopped
	log      *bytes.Buffer
	made     atomic.Int64
}

// Start builds the server, if that has not been done, and starts it over an
// empty directory. Stop ends it.
func Start() (_ *Server, err error) {
	s := new(Server)
	if s.bin, err = build(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "s3"); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	s.addr = l.Addr().String()
	if err := errors.Join(l.Close(), s.Resume()); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// build returns the path of the server, in the cache of the go command.
func build() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), building)
	defer cancel()
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	tools := "" // it is found from any module of the tree
	for dir := filepath.Dir(strings.TrimSpace(string(mod))); ; dir = filepath.Dir(dir) {
		tools = filepath.Join(dir, "tools", "go.mod")
		if _, err := os.Stat(tools); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("there is no tools/go.mod above the module")
		}
	}
	c := exec.CommandContext(ctx, "go", "tool", "-modfile="+tools, "-n", "versitygw")
	var log bytes.Buffer
	c.Dir, c.Stderr = filepath.Dir(filepath.Dir(tools)), &log
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("building versitygw: %w: %s", err, &log)
	}
	return strings.TrimSpace(string(out)), nil
}

// Resume starts the server after Halt, and waits until it answers.
func (s *Server) Resume() error {
	s.log = new(bytes.Buffer)
	s.cmd = exec.Command(s.bin, "--port", s.addr, "--quiet", "posix", s.dir)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			return errors.Join(err, answer.Body.Close())
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("versitygw does not answer: %w: %s", err, s.log), s.Halt())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Halt kills the server; what it has acknowledged stays.
func (s *Server) Halt() error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // its exit code tells that it was killed
	s.cmd = nil
	return err
}

// Freeze stops the server's clock: it takes connections and does not answer.
// Thaw ends that.
func (s *Server) Freeze() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// Stop ends the server and removes what it has.
func (s *Server) Stop() error { return errors.Join(s.Halt(), os.RemoveAll(s.dir)) }

// Dir is where the objects are.
func (s *Server) Dir() string { return s.dir }

// Addr is the server's host and port.
func (s *Server) Addr() string { return s.addr }

// NewBucket makes an empty bucket.
func (s *Server) NewBucket() (string, error) {
	name := fmt.Sprintf("bucket%d", s.made.Add(1))
	return name, os.Mkdir(filepath.Join(s.dir, name), 0o755)
}

// NewURL makes an empty bucket and returns what store.blobs is to be for it.
// Path and query may be empty.
func (s *Server) NewURL(prefix string) (string, error) { return s.newURL(prefix, s.addr) }

func (s *Server) newURL(prefix, addr string) (string, error) {
	bucket, err := s.NewBucket()
	return "s3://" + bucket + "/" + prefix + "?endpoint=http://" + addr + "&region=us-east-1&style=path", err
}

// Objects counts the objects in the bucket of a URL that NewURL made, but for the
// label that says whose they are.
func (s *Server) Objects(of string) (n int, err error) {
	u, err := url.Parse(of)
	if err != nil {
		return 0, err
	}
	err = filepath.WalkDir(filepath.Join(s.dir, u.Host, u.Path), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // just deleted, or the first object is yet to come
		}
		if err == nil && !e.IsDir() && !strings.HasSuffix(path, "/store/id") {
			n++
		}
		return err
	})
	return n, err
}

// Credentials writes a file with the credentials, as the AWS tools have it, and
// returns its path.
func Credentials(dir string) (path string, err error) {
	path = filepath.Join(dir, "credentials")
	return path, os.WriteFile(path, []byte("[default]\naws_access_key_id = "+AccessKey+"\naws_secret_access_key = "+SecretKey+"\n"), 0o600)
}

// Env is the environment in which the credentials are found.
func (s *Server) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey}
}
