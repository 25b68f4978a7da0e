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
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"fileshare/api"
)

// Resumable uploads speak tus 1.0.0 (https://tus.io/protocols/resumable-upload):
// POST creates an upload, PATCH adds bytes, HEAD tells how many are there; parts
// that were sent in parallel are put together by another POST. Sections below are
// those of that text. That the last answer names the file in Upload-File is ours.

const tusVersion = "1.0.0"

// uploadParts sends a content as a resumable upload, or several.
func (c *Client) uploadParts(ctx context.Context, content io.ReaderAt, size int64, spec UploadSpec) (*api.File, error) {
	u := spec.Resume
	if u != nil && !u.valid(size) {
		u = nil
	}
	for {
		fresh := u == nil
		if fresh {
			var err error
			if u, err = c.begin(ctx, size, spec); err != nil {
				return nil, err
			}
			if spec.Begun != nil {
				spec.Begun(*u)
			}
		}
		f, sum, err := c.sendParts(ctx, content, u, fresh, spec)
		if e, ok := errors.AsType[*Error](err); ok && !fresh && (e.Status == http.StatusNotFound || e.Status == http.StatusGone) {
			u = nil // given up by the server
			continue
		}
		if err != nil {
			return nil, err
		}
		return c.verified(ctx, f, sum)
	}
}

// begin creates the upload, or its parts.
func (c *Client) begin(ctx context.Context, size int64, spec UploadSpec) (*Unfinished, error) {
	n := min(max(spec.Parallel, 1), int(min(max(size/leastPart, 1), maxParallel)))
	if spec.Session != "" {
		n = 1
	}
	u := &Unfinished{Size: size}
	for i := range n {
		h := http.Header{}
		if n > 1 {
			h.Set("Upload-Concat", "partial")
		}
		from, to := span(size, n, i)
		h.Set("Upload-Length", strconv.FormatInt(to-from, 10))
		p, err := c.create(ctx, h, spec)
		if err != nil {
			return nil, err
		}
		u.IDs = append(u.IDs, p.id)
	}
	return u, nil
}

// span is where the i-th of n parts of a content lies.
func span(size int64, n, i int) (from, to int64) {
	each := size / int64(n)
	from, to = each*int64(i), each*int64(i+1)
	if i == n-1 {
		to = size
	}
	return from, to
}

// sendParts sends what is missing of all parts, and puts them together. The
// digest is that of what was read.
func (c *Client) sendParts(ctx context.Context, content io.ReaderAt, u *Unfinished, fresh bool, spec UploadSpec) (f *api.File, sum []byte, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := len(u.IDs)
	links := make([]string, n)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, id := range u.IDs {
		wg.Go(func() {
			from, to := span(u.Size, n, i)
			s := &stretch{c: c, id: id, r: io.NewSectionReader(content, from, to-from), size: to - from, fresh: fresh, progress: spec.Progress}
			if n == 1 {
				s.hash = sha256.New()
			}
			var err error
			if links[i], err = s.send(ctx); err != nil {
				cancel(err)
				return
			}
			if n == 1 {
				sum = s.hash.Sum(nil)
			}
		})
	}
	if n > 1 {
		// Parts come in any order, a digest does not.
		wg.Go(func() {
			h := sha256.New()
			if _, err := io.Copy(h, &interruptible{ctx, io.NewSectionReader(content, 0, u.Size)}); err != nil {
				cancel(fmt.Errorf("reading: %w", err))
				return
			}
			sum = h.Sum(nil)
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, nil, err
	}
	link := links[0]
	if n > 1 {
		h := http.Header{}
		targets := make([]string, n)
		for i, id := range u.IDs {
			targets[i] = c.base.Path + "/tus/" + id
		}
		h.Set("Upload-Concat", "final;"+strings.Join(targets, " "))
		p, err := c.create(ctx, h, spec)
		if err != nil {
			return nil, nil, err
		}
		link = p.link
	}
	f, err = c.finished(ctx, link, u.Size, spec, sum)
	return f, sum, err
}

// interruptible is a reader that ends with a context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := context.Cause(i.ctx); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// stretch is the content of one resumable upload on its way.
type stretch struct {
	c        *Client
	id       string
	r        *io.SectionReader
	size     int64
	fresh    bool // nothing is there yet
	progress func(int64)
	hash     hash.Hash // nil = none
	hashed   int64     // bytes that hash has seen
}

// send sends what the server does not have, and returns the link of the file
// where there is one.
func (s *stretch) send(ctx context.Context) (link string, err error) {
	p := s.c.patience()
	told, reached := int64(0), int64(0) // of the progress; by the server
	for {
		var at place
		if !s.fresh {
			at, err = s.c.offset(ctx, s.id)
		}
		s.fresh = false
		if err == nil {
			if at.offset > reached {
				p.reset()
			}
			reached = at.offset
			s.tell(at.offset - told)
			told = at.offset
			if at.offset > s.size {
				return "", fmt.Errorf("the server has %d bytes of %d", at.offset, s.size)
			}
			if at.offset == s.size {
				return at.link, s.digest(s.size)
			}
			if err = s.digest(at.offset); err != nil {
				return "", err
			}
			var sent int64
			if sent, link, err = s.patch(ctx, at.offset); err == nil {
				return link, nil
			}
			told += sent
		}
		if e, ok := errors.AsType[*Error](err); ok && e.Kind == api.CodeConflict {
			// Another offset is expected: it is asked for, though not for ever.
			err = fmt.Errorf("%w", errOffset)
		}
		if err := p.wait(ctx, err); err != nil {
			return "", err
		}
	}
}

var errOffset = errors.New("the server has another part of the upload than expected")

func (s *stretch) tell(more int64) {
	if s.progress != nil && more != 0 {
		s.progress(more)
	}
}

// patch sends all from an offset. sent are the bytes that the progress was told of.
func (s *stretch) patch(ctx context.Context, offset int64) (sent int64, link string, err error) {
	var body io.Reader = io.NewSectionReader(s.r, offset, s.size-offset)
	if s.hash != nil {
		body = &hashing{s: s, r: body, at: offset}
	}
	up := s.c.sending(ctx, body, s.progress)
	h := http.Header{}
	h.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	p, err := s.c.tus(up, call{method: http.MethodPatch, path: "/tus/" + s.id, header: h, body: up, size: s.size - offset})
	if err == nil && p.offset != s.size {
		err = errOffset
	}
	err = up.end(err)
	return up.told, p.link, err
}

// hashing hashes what is read in order, each byte once however often it is sent.
type hashing struct {
	s  *stretch
	r  io.Reader
	at int64
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if skip := h.s.hashed - h.at; skip < int64(n) {
		h.s.hash.Write(p[skip:n])
		h.s.hashed = h.at + int64(n)
	}
	h.at += int64(n)
	return n, err
}

// digest reads what the hash has not seen up to an offset: what another process
// has sent.
func (s *stretch) digest(to int64) error {
	if s.hash == nil || s.hashed >= to {
		return nil
	}
	n, err := io.Copy(s.hash, io.NewSectionReader(s.r, s.hashed, to-s.hashed))
	if s.hashed += n; err == nil && s.hashed < to {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}

// stream is what is uploaded without being kept.
type stream struct {
	r     *bufio.Reader
	piece []byte
	over  bool // piece is the last one
}

// next reads the next piece: a full one, unless it is the last.
func (s *stream) next() error {
	n, err := io.ReadFull(s.r, s.piece[:cap(s.piece)])
	s.piece = s.piece[:n]
	if err == nil {
		// Whether it is the last one tells only what comes after it.
		_, err = s.r.Peek(1)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		s.over, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}

// uploadStream sends a stream, of which the first piece has been read.
func (c *Client) uploadStream(ctx context.Context, s *stream, spec UploadSpec) (*api.File, error) {
	h := http.Header{}
	h.Set("Upload-Defer-Length", "1") // Upload Defer Length
	at, err := c.create(ctx, h, spec)
	if err != nil {
		return nil, err
	}
	sum, id := sha256.New(), at.id
	for offset := int64(0); ; {
		sum.Write(s.piece)
		if at, err = c.sendPiece(ctx, id, s.piece, offset, s.over, spec.Progress); err != nil {
			break
		}
		if offset += int64(len(s.piece)); s.over {
			f, err := c.finished(ctx, at.link, offset, spec, sum.Sum(nil))
			if err != nil {
				return nil, err
			}
			return c.verified(ctx, f, sum.Sum(nil))
		}
		if err = s.next(); err != nil {
			break
		}
	}
	return nil, errors.Join(err, c.cancel(ctx, id)) // nobody can go on with it
}

// sendPiece sends a piece of a stream until the server has all of it.
func (c *Client) sendPiece(ctx context.Context, id string, piece []byte, from int64, over bool, progress func(int64)) (at place, err error) {
	end := from + int64(len(piece))
	p := c.patience()
	for offset := from; ; {
		h := http.Header{}
		h.Set("Upload-Offset", strconv.FormatInt(offset, 10))
		if over {
			h.Set("Upload-Length", strconv.FormatInt(end, 10))
		}
		up := c.sending(ctx, bytes.NewReader(piece[offset-from:]), progress)
		at, err = c.tus(up, call{method: http.MethodPatch, path: "/tus/" + id, header: h, body: up, size: end - offset})
		if err = up.end(err); err == nil {
			return at, nil
		}
		if KindOf(err) == api.CodeConflict {
			err = errOffset
		}
		up.undo()
		if err := p.wait(ctx, err); err != nil {
			return at, err
		}
		now, err := c.offset(ctx, id)
		switch {
		case err != nil:
			return at, err
		case now.offset < from || now.offset > end:
			return at, errOffset
		case now.offset == end && (!over || now.length == end):
			return now, nil
		case now.offset > offset:
			p.reset()
		}
		if progress != nil {
			progress(now.offset - offset)
		}
		offset = now.offset
	}
}

// cancel gives up an upload that nobody can go on with (Termination).
func (c *Client) cancel(ctx context.Context, id string) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	_, err := c.tus(ctx, call{method: http.MethodDelete, path: "/tus/" + id})
	if KindOf(err) == api.CodeNotFound {
		return nil
	}
	return err
}

// Abandon gives up an upload that was not finished: the server forgets it.
func (c *Client) Abandon(ctx context.Context, u Unfinished) error {
	var all error
	for _, id := range u.IDs {
		all = errors.Join(all, c.cancel(ctx, id))
	}
	return all
}

// place is what the headers of an answer tell.
type place struct {
	id     string // of what was created
	offset int64
	length int64  // -1 = not known
	link   string // of the file, when it is complete
}

// tus sends a request of the protocol once.
func (c *Client) tus(ctx context.Context, a call) (p place, err error) {
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set("Tus-Resumable", tusVersion)
	if a.method == http.MethodPatch {
		a.header.Set("Content-Type", "application/offset+octet-stream")
		if a.size > 64<<10 {
			a.header.Set("Expect", "100-continue")
		}
	}
	answer, err := c.do(ctx, a)
	if err != nil {
		return p, err
	}
	defer drain(answer)
	p = place{length: -1, link: answer.Header.Get("Upload-File")}
	for name, to := range map[string]*int64{"Upload-Offset": &p.offset, "Upload-Length": &p.length} {
		if v := answer.Header.Get(name); v != "" {
			if *to, err = strconv.ParseInt(v, 10, 64); err != nil || *to < 0 {
				return p, &fatal{fmt.Errorf("%s of the server is %q", name, v)}
			}
		}
	}
	if location := answer.Header.Get("Location"); location != "" {
		// Where it is below our base: the server may call itself by another name.
		_, p.id, _ = strings.Cut(location, "/tus/")
	}
	return p, nil
}

// offset asks how far an upload is (Core Protocol, HEAD).
func (c *Client) offset(ctx context.Context, id string) (place, error) {
	var p place
	err := c.persist(ctx, true, func(ctx context.Context) (err error) {
		ctx, stop := context.WithTimeout(ctx, answerTimeout)
		defer stop()
		p, err = c.tus(ctx, call{method: http.MethodHead, path: "/tus/" + id})
		return err
	})
	return p, err
}

// create makes an upload, of which headers tell the kind (Creation).
func (c *Client) create(ctx context.Context, h http.Header, spec UploadSpec) (place, error) {
	query := url.Values{}
	if h.Get("Upload-Concat") != "partial" {
		var meta []string
		say := func(key, value string) {
			if value != "" {
				meta = append(meta, key+" "+base64.StdEncoding.EncodeToString([]byte(value)))
			}
		}
		said := spec.query()
		say("filename", spec.Name)
		say("filetype", spec.Type)
		say("ttl", said.Get("ttl"))
		say("max_downloads", said.Get("max_downloads"))
		say("session", spec.Session)
		h.Set("Upload-Metadata", strings.Join(meta, ","))
		if spec.Tags != nil {
			query["tags"] = spec.Tags // they may have commas
		}
	}
	var p place
	// What was created without our knowing is given up by the server in time; parts
	// that are put together again give the same file.
	err := c.persist(ctx, true, func(ctx context.Context) (err error) {
		ctx, stop := context.WithTimeout(ctx, answerTimeout)
		defer stop()
		p, err = c.tus(ctx, call{method: http.MethodPost, path: "/tus/", query: query, header: h})
		if err == nil && p.id == "" {
			err = &fatal{fmt.Errorf("%s does not answer as fileshare does: no Location", c.base.Host)}
		}
		return err
	})
	return p, err
}

// finished returns the file that an upload has become. Strangers, who may upload
// and not ask, are told what is known without asking.
func (c *Client) finished(ctx context.Context, link string, size int64, spec UploadSpec, sum []byte) (*api.File, error) {
	_, r, err := ParseLink(link)
	if err != nil {
		return nil, fmt.Errorf("%s does not tell where the file is: %w", c.base.Host, err)
	}
	f, err := c.Info(ctx, r)
	if k := KindOf(err); k == api.CodeUnauthenticated || k == api.CodeDenied {
		f = &api.File{ID: r.File, Name: spec.Name, OriginalName: spec.Name, MimeType: spec.Type, Size: size, State: "UPLOADED", Tags: spec.Tags, MaxDownloads: spec.MaxDownloads, URL: link}
		var head *Content
		if head, err = c.Head(ctx, link); err == nil {
			f.Name, f.MimeType, f.ExpiresAt = head.Name, head.Type, api.Time{Time: head.Expires}
			if head.SHA256 != nil {
				said := hex.EncodeToString(head.SHA256)
				f.SHA256 = &said
			}
		}
	}
	return f, err
}
