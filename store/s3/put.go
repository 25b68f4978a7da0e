package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	crand "crypto/rand"

	"github.com/minio/minio-go/v7"

	"fileshare/store"
)

var _ store.Segmented = (*Bucket)(nil)

// writerMeta is where an object says which Put made it: one that fails removes
// what it may have left, and nothing that another made.
const writerMeta = "fileshare-put"

// removal bounds the removal of what a failed Put may have left.
const removal = 10 * time.Second

// Put implements [store.Blobs]. A body whose length is known is sent as it
// comes, and a failure of the server is final: nobody has kept the bytes. A
// short one, and one whose length is not known, waits in memory first, at most
// Options.Segment bytes; its upload is tried again, and the server checks its
// CRC-32C.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader, size int64) (n int64, err error) {
	name, err := b.object(key)
	if err != nil {
		return 0, fmt.Errorf("storing a blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("storing a blob: %w", err)
	}
	if size < block { // or not known
		return b.putBuffered(ctx, name, r, size)
	}
	body := &incoming{r: r}
	err = b.put(ctx, name, body, size, nil)
	if rerr := body.stop(); rerr != nil { // first: the client's own error explains all others
		err = fmt.Errorf("reading the body: %w", rerr)
	}
	if err != nil {
		return body.n, fmt.Errorf("storing a blob: %w", err)
	}
	return body.n, nil
}

// putBuffered stores a short body, or one of unknown length.
func (b *Bucket) putBuffered(ctx context.Context, name string, r io.Reader, size int64) (int64, error) {
	most := b.o.Segment
	if size >= 0 {
		most = size
	}
	body, err := b.memory.fill(ctx, r, most)
	if err != nil {
		return 0, fmt.Errorf("storing a blob: %w", err)
	}
	defer body.release()
	if size >= 0 && body.size != size {
		return 0, fmt.Errorf("storing a blob: %d bytes, %d were announced", body.size, size)
	}
	if err := b.put(ctx, name, body, body.size, body.sum(crc32.New(crc32.MakeTable(crc32.Castagnoli)))); err != nil {
		return 0, fmt.Errorf("storing a blob: %w", err)
	}
	return body.size, nil
}

// put sends an object. After an error nothing of it is left, as far as the
// server can still be asked.
func (b *Bucket) put(ctx context.Context, name string, body io.Reader, size int64, crc []byte) error {
	writer := crand.Text()
	o := minio.PutObjectOptions{
		ContentType:          "application/octet-stream",
		ServerSideEncryption: b.sse,
		UserMetadata:         map[string]string{writerMeta: writer},
		DisableContentSha256: true, // TLS covers the bytes, or the network is trusted; signed pieces are stored as they are by some servers
	}
	if crc != nil {
		o.UserMetadata["x-amz-checksum-crc32c"] = base64.StdEncoding.EncodeToString(crc)
	}
	if !b.o.Unconditional {
		o.SetMatchETagExcept("*")
	}
	sending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := watch(body, b.o.Timeout, func() { cancel(errStalled) })
	_, err := b.core.PutObject(sending, b.t.Bucket, name, watched.reader(), size, "", "", o)
	watched.stop()
	if err == nil {
		return nil
	}
	if cause := context.Cause(sending); cause != nil {
		err = cause
	}
	if b.settle(ctx, name, writer, exists(err)) {
		return nil // an earlier try has come through, and its answer was lost
	}
	return explain(err)
}

// settle looks at what a Put that failed has left. Where the object is there,
// whole, because a try came through whose answer was lost, it stays and settle
// returns true; else what this Put may have left is removed.
func (b *Bucket) settle(ctx context.Context, name, writer string, exists bool) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer cancel()
	info, err := b.core.StatObject(ctx, b.t.Bucket, name, minio.StatObjectOptions{})
	if err != nil || info.UserMetadata[metaKey] != writer {
		return false // not there, not ours, or nobody answers: the sweep finds it
	}
	if exists {
		return true
	}
	_ = b.core.RemoveObject(ctx, b.t.Bucket, name, minio.RemoveObjectOptions{})
	return false
}

// metaKey is writerMeta as the client library gives it back.
const metaKey = "Fileshare-Put"

// incoming is a body of known length that is sent as it comes. The HTTP
// transport may read on in its own goroutine after a request has failed: stop
// waits for it, so that the engine has its reader for itself again.
type incoming struct {
	mu  sync.Mutex
	r   io.Reader
	n   int64 // guarded by mu, as the others
	err error // of r, not its end
	end bool  // nothing is read any more
}

var errStopped = errors.New("the request is over")

func (i *incoming) Read(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.end {
		return 0, errStopped
	}
	if i.err != nil {
		return 0, i.err
	}
	n, err := i.r.Read(p)
	i.n += int64(n)
	if err != nil && err != io.EOF {
		i.err = err
	}
	return n, err
}

// stop ends the reading and returns the reader's own error.
func (i *incoming) stop() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end = true
	return i.err
}

// watched is a body whose upload is given up when the server takes nothing for
// too long. Time in which the body itself is waited for does not count.
type watched struct {
	r       io.Reader
	timeout time.Duration
	mu      sync.Mutex
	timer   *time.Timer // guarded by mu; nil: stopped
}

func watch(r io.Reader, timeout time.Duration, stalled func()) *watched {
	return &watched{r: r, timeout: timeout, timer: time.AfterFunc(timeout, stalled)}
}

// reader is what the client library reads; it can be read again where the body
// can.
func (w *watched) reader() io.Reader {
	if s, ok := w.r.(io.Seeker); ok {
		return struct {
			io.Reader
			io.Seeker
		}{w, s}
	}
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	w.set(false)
	defer w.set(true)
	return w.r.Read(p)
}

// set starts the time for the server, or halts it.
func (w *watched) set(run bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.timer == nil:
	case run:
		w.timer.Reset(w.timeout)
	default:
		w.timer.Stop()
	}
}

func (w *watched) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.timer = nil
}
