package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// standIn speaks as much of the daemon's API as the bench does, so that the
// bench can be tested without the daemon. It keeps small contents in memory
// and syncs nothing.
type standIn struct {
	dir    string
	broken bool // answers uploads with 500

	mu     sync.Mutex
	small  map[string][]byte // by path of the link
	tokens map[string]string // path of the link → path of the file
}

const (
	standInEnv = "BENCH_STANDIN" // "broken" makes it so
	smallMost  = 1 << 20
)

// serveStandIn is `serve --config FILE`.
func serveStandIn(config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	value := func(key string) string {
		m := regexp.MustCompile(`(?m)^ +` + key + `: "(.*)"$`).FindSubmatch(text)
		if m == nil {
			return ""
		}
		return string(m[1])
	}
	s := &standIn{dir: value("dir"), broken: os.Getenv(standInEnv) == "broken", small: map[string][]byte{}, tokens: map[string]string{}}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /uploads", s.upload)
	mux.HandleFunc("PUT /uploads/{name}", s.upload)
	mux.HandleFunc("DELETE /uploads/{id}", s.remove)
	mux.HandleFunc("GET /uploads/{id}", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, r.URL.Path) })
	mux.HandleFunc("POST /sessions", s.create)
	mux.HandleFunc("POST /sessions/{sid}/files", s.create)
	mux.HandleFunc("PUT /sessions/{sid}/files/{fid}", s.upload)
	mux.HandleFunc("POST /sessions/{sid}/files/{fid}/tokens", s.create)
	mux.HandleFunc("GET /sessions/{sid}/files/{fid}/tokens/{tid}", s.useToken)
	l, err := net.Listen("tcp", value("listen"))
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "level=INFO msg=listening addr=%s\n", l.Addr())
	return http.Serve(l, mux)
}

func (s *standIn) create(w http.ResponseWriter, r *http.Request) {
	id := rand.Text()
	if strings.HasSuffix(r.URL.Path, "/tokens") {
		s.mu.Lock()
		s.tokens[r.URL.Path+"/"+id] = strings.TrimSuffix(r.URL.Path, "/tokens")
		s.mu.Unlock()
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id":%q}`, id)
}

func (s *standIn) upload(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := r.BasicAuth(); !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.broken {
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	}
	var body io.Reader = r.Body
	if forms, err := r.MultipartReader(); err == nil {
		part, err := forms.NextPart()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = part
	}
	id, path, status := rand.Text(), r.URL.Path, http.StatusOK
	if strings.HasPrefix(path, "/uploads") {
		path, status = "/uploads/"+id, http.StatusCreated
	}
	size, err := s.keep(path, id, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"id":%q,"size":%d}`, id, size)
}

func (s *standIn) keep(path, id string, body io.Reader) (int64, error) {
	head, err := io.ReadAll(io.LimitReader(body, smallMost))
	if err != nil {
		return 0, err
	}
	if len(head) < smallMost {
		s.mu.Lock()
		s.small[path] = head
		s.mu.Unlock()
		return int64(len(head)), nil
	}
	f, err := os.Create(filepath.Join(s.dir, id))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.Write(head); err != nil {
		return 0, err
	}
	n, err := io.Copy(f, body)
	return n + smallMost, err
}

func (s *standIn) serve(w http.ResponseWriter, r *http.Request, path string) {
	s.mu.Lock()
	content, ok := s.small[path]
	s.mu.Unlock()
	if ok {
		_, _ = w.Write(content)
		return
	}
	http.ServeFile(w, r, filepath.Join(s.dir, filepath.Base(path)))
}

func (s *standIn) useToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	path, ok := s.tokens[r.URL.Path]
	delete(s.tokens, r.URL.Path)
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusGone)
		return
	}
	s.serve(w, r, path)
}

func (s *standIn) remove(w http.ResponseWriter, r *http.Request) {
	if err := os.Remove(filepath.Join(s.dir, r.PathValue("id"))); err != nil && !errors.Is(err, os.ErrNotExist) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
