package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"fileshare/api"
)

const (
	// oneShot is up to which size a content is sent in one request that is
	// repeated as a whole; larger ones are resumable.
	oneShot = 8 << 20
	// streamPiece is what is kept of a stream until the server has it.
	streamPiece = 8 << 20
	maxParallel = 16
	// leastPart is the least size of what is sent in parallel.
	leastPart = 4 << 20
)

// UploadSpec says what an upload shall be. Zero values are the server's
// defaults.
type UploadSpec struct {
	Name         string
	Type         string        // media type; empty: the server looks at name and content
	TTL          time.Duration // whole seconds
	MaxDownloads int64         // 0 = unlimited
	Tags         []string
	Session      string // the session that it becomes a file of

	// Parallel is over how many connections the parts of a large content are
	// sent at once, at most 16; 0 is 1. Files of sessions come in one part.
	Parallel int
	// Resume goes on with an upload that Begun has told of, of the same content.
	// If the server has given it up, the upload begins again.
	Resume *Unfinished
	// Begun is told where a resumable upload is, before its first byte is sent: what is
	// kept of it makes the upload resumable by another process.
	Begun func(Unfinished)
	// Progress is told, from several goroutines, how many more bytes have been
	// sent; less than 0 when some must be sent again.
	Progress func(more int64)
}

// Unfinished is a resumable upload that has begun. It marshals to JSON.
type Unfinished struct {
	// IDs of one upload, or of the parts that are its content one after the
	// other, equally long but for rounding.
	IDs  []string `json:"ids"`
	Size int64    `json:"size"`
}

func (u *Unfinished) valid(size int64) bool {
	return u != nil && u.Size == size && len(u.IDs) >= 1 && len(u.IDs) <= maxParallel
}

// UploadFile uploads a file. Without a name in spec it keeps its own.
func (c *Client) UploadFile(ctx context.Context, path string, spec UploadSpec) (*api.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if spec.Name == "" {
		spec.Name = filepath.Base(path)
	}
	if !info.Mode().IsRegular() {
		if info.IsDir() {
			return nil, fmt.Errorf("%s is a directory", path)
		}
		return c.UploadStream(ctx, f, spec)
	}
	return c.Upload(ctx, f, info.Size(), spec)
}

// Upload uploads a content of so many bytes that can be read again. Large ones
// go on after failures at the byte that the server has.
func (c *Client) Upload(ctx context.Context, content io.ReaderAt, size int64, spec UploadSpec) (*api.File, error) {
	if size <= oneShot && spec.Resume == nil {
		return c.uploadWhole(ctx, content, size, spec)
	}
	return c.uploadParts(ctx, content, size, spec)
}

// UploadStream uploads what can be read only once. At most 8 MiB of it are kept
// in memory, so that it, too, goes on after failures.
func (c *Client) UploadStream(ctx context.Context, content io.Reader, spec UploadSpec) (*api.File, error) {
	s := &stream{r: bufio.NewReaderSize(content, 64<<10), piece: make([]byte, streamPiece)}
	switch err := s.next(); {
	case err != nil:
		return nil, err
	case s.over:
		return c.uploadWhole(ctx, bytes.NewReader(s.piece), int64(len(s.piece)), spec)
	}
	return c.uploadStream(ctx, s, spec)
}

// uploadWhole sends a content in one request, with its digest.
func (c *Client) uploadWhole(ctx context.Context, content io.ReaderAt, size int64, spec UploadSpec) (*api.File, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(content, 0, size)); err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	sum := h.Sum(nil)
	a := call{method: http.MethodPut, path: "/uploads/", query: spec.query(), header: http.Header{
		"Repr-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"},
	}}
	if spec.Type != "" {
		a.header.Set("Content-Type", spec.Type)
	}
	if size > 64<<10 {
		a.header.Set("Expect", "100-continue") // a refusal shall not cost the transfer
	}
	var made *api.File
	if spec.Session != "" {
		var err error
		if made, err = c.createFile(ctx, size, spec); err != nil {
			return nil, err
		}
		a.path, a.query = Ref{Session: spec.Session, File: made.ID}.path(), nil
	}
	f := new(api.File)
	err := c.persist(ctx, true, func(ctx context.Context) error {
		up := c.sending(ctx, io.NewSectionReader(content, 0, size), spec.Progress)
		a.body, a.size = up, size
		answer, err := c.do(up, a)
		if err == nil {
			defer drain(answer)
			err = decode(answer, f)
		}
		if err = up.end(err); err != nil {
			up.undo()
			if made != nil && KindOf(err) == api.CodeConflict {
				// An attempt before may have succeeded without our knowing.
				if now, ierr := c.Info(ctx, Ref{Session: spec.Session, File: made.ID}); ierr == nil && now.State == "UPLOADED" {
					f = now
					return nil
				}
			}
		}
		return err
	})
	if err != nil {
		if made != nil { // an entry without content is of no use
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if req, rerr := c.do(ctx, call{method: http.MethodDelete, path: Ref{Session: spec.Session, File: made.ID}.path()}); rerr == nil {
				drain(req)
			}
		}
		return nil, err
	}
	return c.verified(ctx, f, sum)
}

// createFile makes an entry of a session, into which a content goes.
func (c *Client) createFile(ctx context.Context, size int64, spec UploadSpec) (*api.File, error) {
	send := map[string]any{"name": spec.Name, "size": size}
	if spec.Type != "" {
		send["mime_type"] = spec.Type
	}
	if spec.TTL != 0 {
		send["ttl"] = whole(spec.TTL)
	}
	if spec.MaxDownloads != 0 {
		send["max_downloads"] = spec.MaxDownloads
	}
	if spec.Tags != nil {
		send["tags"] = spec.Tags
	}
	f := new(api.File)
	_, err := c.json(ctx, call{method: http.MethodPost, path: Ref{Session: spec.Session}.path() + "/files", send: send}, f)
	return f, err
}

// query is what the native API reads in the query of a raw upload.
func (s UploadSpec) query() url.Values {
	v := url.Values{}
	if s.Name != "" {
		v.Set("name", s.Name)
	}
	if s.TTL != 0 {
		v.Set("ttl", strconv.FormatInt(whole(s.TTL), 10))
	}
	if s.MaxDownloads != 0 {
		v.Set("max_downloads", strconv.FormatInt(s.MaxDownloads, 10))
	}
	if s.Tags != nil {
		v["tags"] = s.Tags
	}
	return v
}

// verified compares the digest of what was sent with the server's, where it has
// one, and removes what it has stored instead.
func (c *Client) verified(ctx context.Context, f *api.File, sum []byte) (*api.File, error) {
	if f.SHA256 == nil || *f.SHA256 == hex.EncodeToString(sum) {
		return f, nil
	}
	r := Ref{File: f.ID}
	if f.SessionID != nil {
		r.Session = *f.SessionID
	}
	return nil, errors.Join(ErrMismatch, c.Delete(ctx, r))
}

// sending is the body of a request: it tells the progress, and keeps the
// request alive as long as it moves. net/http may read it longer than the
// request lasts; after end it may not.
type sending struct {
	*idle
	progress func(int64)

	mu     sync.Mutex
	ended  bool      // guarded by mu
	r      io.Reader // guarded by mu
	told   int64     // guarded by mu until ended
	failed error     // guarded by mu until ended: of reading the content
}

func (c *Client) sending(ctx context.Context, r io.Reader, progress func(int64)) *sending {
	return &sending{idle: c.idle(ctx), r: r, progress: progress}
}

func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.Err() != nil {
		return 0, io.ErrClosedPipe
	}
	n, err := s.r.Read(p)
	s.moved()
	if n > 0 {
		s.told += int64(n)
		if s.progress != nil {
			s.progress(int64(n))
		}
	}
	switch {
	case err == io.EOF:
		s.rest()
	case err != nil:
		s.failed = err
	}
	return n, err
}

// Close is called by net/http.
func (s *sending) Close() error { return nil }

// end ends the request, and returns err or its true cause. Of the content
// nothing is read any more.
func (s *sending) end(err error) error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	err = s.why(err)
	s.stop()
	if err != nil && s.failed != nil {
		return &fatal{fmt.Errorf("reading: %w", s.failed)}
	}
	return err
}

// undo takes back what was told of a request that failed.
func (s *sending) undo() {
	if s.progress != nil && s.told > 0 {
		s.progress(-s.told)
	}
}
