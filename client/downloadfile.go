package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// FileOptions says how a link becomes a file.
type FileOptions struct {
	// Path is where the file goes; a directory, or nothing for the current one,
	// takes it under its own name.
	Path  string
	Force bool // replace a file that is there
	// Parallel is over how many connections a large content comes at once, at
	// most 16; 0 is 1.
	Parallel int
	// Start is told the size, and how much is there from an attempt before.
	Start func(size, there int64)
	// Progress is told, from several goroutines, how many more bytes came.
	Progress func(more int64)
}

// Downloaded is a file that has come.
type Downloaded struct {
	Path     string
	Size     int64
	SHA256   []byte
	Verified bool // it is what the server said; of archives it says nothing
}

// DownloadFile makes a file of a link. Until it is complete and its digest was
// checked its bytes are in a file of the same name with .part at the end, from
// which the next call goes on, in another process, too; then it is renamed. An
// existing file is an error that satisfies errors.Is(err, fs.ErrExist), told
// before anything is downloaded.
func (c *Client) DownloadFile(ctx context.Context, link string, o FileOptions) (*Downloaded, error) {
	head, err := c.Head(ctx, link)
	if err != nil {
		return nil, err
	}
	if head.Size < 0 {
		return nil, errors.New("the server does not tell how long the content is")
	}
	path := o.Path
	if info, err := os.Stat(path); path == "" || err == nil && info.IsDir() {
		name := head.Name
		if name == "" {
			name = "download"
		}
		path = filepath.Join(path, name)
	}
	if _, err := os.Lstat(path); err == nil && !o.Force {
		return nil, &fs.PathError{Op: "download", Path: path, Err: fs.ErrExist}
	}
	p, err := openPartial(path, head, o.Parallel)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if o.Start != nil {
		o.Start(head.Size, p.there())
	}
	if err := c.fill(ctx, link, head, p, o.Progress); err != nil {
		return nil, err
	}
	sum, err := p.digest(ctx)
	if err != nil {
		return nil, err
	}
	d := &Downloaded{Path: path, Size: head.Size, SHA256: sum, Verified: head.SHA256 != nil}
	if d.Verified && string(sum) != string(head.SHA256) {
		return nil, errors.Join(ErrMismatch, p.remove())
	}
	return d, p.rename(path, o.Force)
}

// fill fetches what is missing.
func (c *Client) fill(ctx context.Context, link string, head *Content, p *partial, progress func(int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range p.state.Spans {
		s := &p.state.Spans[i]
		if s.Done == s.To && head.Size > 0 {
			continue
		}
		wg.Go(func() {
			same := *head
			whole := span64{s.Done, s.To}
			if len(p.state.Spans) == 1 {
				whole.to = -1
			}
			if _, err := c.fetch(ctx, link, whole, &same, &spanWriter{p: p, s: s}, progress); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return errors.Join(err, p.save())
	}
	return nil
}

// partial is a download on its way to a file.
type partial struct {
	file *os.File
	path string // of the file; the state is beside it

	mu    sync.Mutex
	state partialState // guarded by mu while it is filled, but for each span's bounds
	saved time.Time    // guarded by mu

	hash   interface{ Sum([]byte) []byte } // of a single span
	hashTo io.Writer
	hashed int64 // guarded by mu
}

// partialState is what is kept of a partial download.
type partialState struct {
	ETag  string     `json:"etag"`
	Size  int64      `json:"size"`
	Spans []doneSpan `json:"spans"`
}

// doneSpan is a span of the content of which the beginning is there.
type doneSpan struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
	Done int64 `json:"done"` // from From to here
}

const stateEvery = 2 * time.Second

// openPartial opens the partial download of a file, if there is one of the same
// content, or begins one.
func openPartial(path string, head *Content, parallel int) (*partial, error) {
	p := &partial{path: path + ".part"}
	var err error
	if p.file, err = openLocked(p.path); err != nil {
		return nil, err
	}
	if err := p.begin(head, parallel); err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// openLocked opens a file for this process alone.
func openLocked(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err != nil {
			f.Close()
			return nil, fmt.Errorf("%s is being downloaded already: %w", path, err)
		}
		// Who had the lock may have renamed the file meanwhile.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close()
	}
}

// begin reads what is there, or makes a new state.
func (p *partial) begin(head *Content, parallel int) error {
	if raw, err := os.ReadFile(p.statePath()); err == nil {
		_ = json.Unmarshal(raw, &p.state) // what is no state has no ETag
	}
	if p.state.ETag == "" || p.state.ETag != head.ETag || !p.state.valid(head.Size) {
		p.state = partialState{ETag: head.ETag, Size: head.Size}
		n := min(max(parallel, 1), int(min(max(head.Size/leastPart, 1), maxParallel)))
		for i := range n {
			from, to := span(head.Size, n, i)
			p.state.Spans = append(p.state.Spans, doneSpan{from, to, from})
		}
		if err := p.file.Truncate(0); err != nil {
			return err
		}
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	for i := range p.state.Spans { // the state may be younger than the file
		s := &p.state.Spans[i]
		s.Done = max(s.From, min(s.Done, info.Size()))
	}
	if len(p.state.Spans) == 1 {
		h := sha256.New()
		p.hash, p.hashTo = h, h
		n, err := io.Copy(h, io.NewSectionReader(p.file, 0, p.state.Spans[0].Done))
		if p.hashed = n; err != nil {
			return err
		}
	}
	return p.save()
}

func (s *partialState) valid(size int64) bool {
	at := int64(0)
	for _, sp := range s.Spans {
		if sp.From != at || sp.To < sp.From || sp.Done < sp.From || sp.Done > sp.To {
			return false
		}
		at = sp.To
	}
	return s.Size == size && at == size && len(s.Spans) >= 1 && len(s.Spans) <= maxParallel
}

func (p *partial) statePath() string { return p.path + ".json" }

func (p *partial) there() (n int64) {
	for _, s := range p.state.Spans {
		n += s.Done - s.From
	}
	return n
}

// save writes the state down.
func (p *partial) save() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved = time.Now()
	raw, err := json.Marshal(p.state)
	if err != nil {
		return err
	}
	return writeFile(p.statePath(), raw)
}

// writeFile replaces a file in one step.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// spanWriter writes to where a span has got to.
type spanWriter struct {
	p *partial
	s *doneSpan
}

func (w *spanWriter) Write(b []byte) (int, error) {
	p := w.p
	n, err := p.file.WriteAt(b, w.s.Done)
	p.mu.Lock()
	w.s.Done += int64(n)
	if p.hashTo != nil {
		_, _ = p.hashTo.Write(b[:n])
		p.hashed += int64(n)
	}
	due := time.Since(p.saved) > stateEvery
	p.mu.Unlock()
	if err == nil && due {
		err = p.save()
	}
	return n, err
}

// digest is the SHA-256 of the complete file.
func (p *partial) digest(ctx context.Context) ([]byte, error) {
	if p.hash != nil && p.hashed == p.state.Size {
		return p.hash.Sum(nil), nil
	}
	h := sha256.New()
	n, err := io.Copy(h, &interruptible{ctx, io.NewSectionReader(p.file, 0, p.state.Size)})
	if err == nil && n < p.state.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("reading what has come: %w", err)
	}
	return h.Sum(nil), nil
}

// rename gives the file its name, once it is on the disk: the link may be used
// up now.
func (p *partial) rename(path string, force bool) error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if force {
		if err := os.Rename(p.path, path); err != nil {
			return err
		}
		return os.Remove(p.statePath())
	}
	// A link, unlike a new name, never replaces anything.
	err := os.Link(p.path, path)
	switch {
	case err == nil:
		err = os.Remove(p.path)
	case !errors.Is(err, fs.ErrExist): // a file system without links
		var f *os.File
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666); err == nil {
			f.Close()
			err = os.Rename(p.path, path)
		}
	}
	return errors.Join(err, os.Remove(p.statePath()))
}

func (p *partial) remove() error {
	return errors.Join(os.Remove(p.path), os.Remove(p.statePath()))
}

func (p *partial) close() { p.file.Close() }

// HexDigest is the SHA-256 as people compare it.
func (d *Downloaded) HexDigest() string { return hex.EncodeToString(d.SHA256) }
