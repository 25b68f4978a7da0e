package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Roles: this program is its own reference servers, in processes of their own.
const (
	roleDiscard = "serve-discard" // ADDR: throws every body away
	roleFiles   = "serve-files"   // ADDR DIR: a bare http.FileServer
	roleFill    = "fill"          // see fill.go
)

func isRole(s string) bool { return s == roleDiscard || s == roleFiles || s == roleFill }

func runRole(ctx context.Context, role string, args []string) error {
	switch {
	case role == roleFill:
		return fill(ctx, args)
	case role == roleDiscard && len(args) == 1:
		return serve(ctx, args[0], http.HandlerFunc(discard))
	case role == roleFiles && len(args) == 2:
		return serve(ctx, args[0], http.FileServer(http.Dir(args[1])))
	}
	return fmt.Errorf("%s: wrong arguments", role)
}

func serve(ctx context.Context, addr string, h http.Handler) error {
	s := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return s.Close()
	}
}

func discard(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// reference is a running reference server.
type reference struct {
	*child
	addr string
	url  string
	root string // of its files
}

func (r *reference) remove() error { return errors.Join(r.stop(), os.RemoveAll(r.root)) }

// self starts this program in a role; where the role serves files, root is
// what it serves.
func (b *bench) self(ctx context.Context, role, root string) (*reference, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{role, addr}
	if root != "" {
		args = append(args, root)
	}
	c, err := startChild(ctx, role, filepath.Join(b.dir, role+".log"), answers(addr), program, args...)
	if err != nil {
		return nil, err
	}
	return &reference{child: c, addr: addr, url: "http://" + addr, root: root}, nil
}

// nginx starts a private nginx with Debian's defaults, WebDAV PUT and an
// access log. Temporary files and root share a file system, so that a PUT
// ends with a rename.
//
// What it stored stays until the end of the run, and each nginx has a
// temporary directory of a new name: ext4 creates files ten times more slowly
// where many were deleted in the last minutes, because it steps over each inode
// that was freed lately (recently_deleted in fs/ext4/ialloc.c), and where the
// inodes of a spread directory lie depends on its name.
func (b *bench) nginx(ctx context.Context, name string) (*reference, error) {
	program, err := findNginx()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "nginx-"+name+"-")
	if err != nil {
		return nil, err
	}
	spread(dir)
	body, err := os.MkdirTemp(dir, "body-")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // else the workers become www-data, which may not write here
	}
	config := user + fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log warn;
events { worker_connections 4096; }
http {
	access_log %[1]s/access.log combined;
	default_type application/octet-stream;
	sendfile on;
	tcp_nopush on;
	keepalive_timeout 65;
	keepalive_requests 1000000000;
	client_max_body_size 0;
	client_body_temp_path %[3]s;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s backlog=1024;
		root %[1]s/root;
		dav_methods PUT DELETE;
		create_full_put_path on;
	}
}
`, dir, addr, body)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	c, err := startChild(ctx, "nginx", filepath.Join(dir, "stderr.log"), answers(addr),
		program, "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log"))
	if err != nil {
		return nil, err
	}
	return &reference{child: c, addr: addr, url: "http://" + addr, root: dir}, nil
}

// findNginx looks beyond PATH: Debian puts it where only root's PATH reaches.
func findNginx() (string, error) {
	if p, err := exec.LookPath("nginx"); err == nil {
		return p, nil
	}
	const debian = "/usr/sbin/nginx"
	if _, err := os.Stat(debian); err != nil {
		return "", errors.New("nginx is not installed")
	}
	return debian, nil
}

// putCall is the i-th small PUT to nginx; each makes a file of its own.
func (r *reference) putCall(prefix string, i int, content []byte) call {
	return call{method: "PUT", url: r.url + "/" + prefix + strconv.Itoa(i), body: content, want: http.StatusCreated, length: -1}
}
