package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
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

// settling bounds the look at what a failed Put has left: whoever uploads waits
// for it, and the sweep finds what is overlooked.
const settling = 3 * time.Second

// Put implements [store.Blobs]. A body whose length is known is sent as it
// comes, and once a byte of it is taken a failure of the server is final: nobody
// has kept it. A short one, and one whose length is not known, waits in memory
// first, at most Options.Segment bytes; its upload is tried again, and the server
// checks its CRC-32C. The memory of the latter is what [Bucket.Reserve] has
// promised.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader, size int64) (n int64, err error) {
	name, err := b.object(key)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("storing a blob: %w", err)
	}
	switch {
	case size < 0:
		n, err = b.putBuffered(ctx, name, r, size)
	case size < block && b.memory.promise(min(size, 1)*block, b.o.Memory):
		n, err = b.putBuffered(ctx, name, r, size)
		b.memory.giveBack(min(size, 1) * block)
	default:
		n, err = b.put(ctx, name, &object{size: size, body: func() io.Reader { return r }})
	}
	if err != nil {
		return n, fmt.Errorf("storing a blob: %w", err)
	}
	return n, nil
}

// putBuffered stores a short body, or one of unknown length.
func (b *Bucket) putBuffered(ctx context.Context, name string, r io.Reader, size int64) (int64, error) {
	most := b.o.Segment
	if size >= 0 {
		most = size
	}
	kept, err := b.memory.fill(ctx, r, most)
	if err != nil {
		return 0, err
	}
	defer kept.release()
	if size >= 0 && kept.size != size {
		return 0, fmt.Errorf("%d bytes, %d were announced", kept.size, size)
	}
	return b.put(ctx, name, &object{size: kept.size, body: kept.reader, kept: true, crc: kept.sum(crc32.New(crc32.MakeTable(crc32.Castagnoli)))})
}

// object is what put is to make.
type object struct {
	size int64
	body func() io.Reader
	kept bool   // body gives it from its beginning each time
	crc  []byte // CRC-32C; nil: not known yet
}

// put sends an object, and returns how much of its body was read. After an error
// nothing of it is left, as far as the server can still be asked.
func (b *Bucket) put(ctx context.Context, name string, o *object) (int64, error) {
	writer := crand.Text()
	options := minio.PutObjectOptions{
		ContentType:          "application/octet-stream",
		ServerSideEncryption: b.sse,
		UserMetadata:         map[string]string{writerMeta: writer},
		DisableContentSha256: true, // TLS covers the bytes, or the network is trusted; signed pieces are stored as they are by some servers
	}
	if o.crc != nil {
		options.UserMetadata["x-amz-checksum-crc32c"] = base64.StdEncoding.EncodeToString(o.crc)
	}
	if !b.o.Unconditional {
		options.SetMatchETagExcept("*")
	}
	sending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatch(b.o.Timeout, func() { cancel(errStalled) })
	defer watch.stop()
	for try := 1; ; try++ {
		body := &incoming{r: o.body(), size: o.size, watch: watch}
		_, err := b.core.PutObject(sending, b.t.Bucket, name, body, o.size, "", "", options)
		n, broken := body.stop()
		if err == nil && broken == nil {
			return n, nil
		}
		if cause := context.Cause(sending); cause != nil {
			err = cause
		}
		if broken == nil && (o.kept || n == 0) && errors.Is(explain(err), store.ErrUnavailable) && try < tries && pause(sending, try) {
			continue
		}
		whole := b.settle(ctx, name, writer, o.size, broken == nil && exists(err))
		switch {
		case broken != nil: // the client's own error explains all others
			return n, fmt.Errorf("reading the body: %w", broken)
		case whole: // an earlier try has come through, and its answer was lost
			return n, nil
		case try > 1 && exists(err): // likewise, but nobody says of it that it is whole
			return n, fmt.Errorf("%w: %w", store.ErrUnavailable, explain(err))
		}
		return n, explain(err)
	}
}

// pause waits before the next try, and tells whether there may be one.
func pause(ctx context.Context, try int) bool {
	timer := time.NewTimer(time.Duration(try) * (100*time.Millisecond + rand.N(200*time.Millisecond)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// settle looks at what a Put that failed has left. Where the object is there,
// whole, because a try came through whose answer was lost, it stays and settle
// returns true; else what this Put may have left is removed.
func (b *Bucket) settle(ctx context.Context, name, writer string, size int64, exists bool) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(settling, b.o.Timeout))
	defer cancel()
	info, err := b.core.StatObject(ctx, b.t.Bucket, name, minio.StatObjectOptions{})
	if err != nil || info.UserMetadata[metaKey] != writer {
		return false // not there, not ours, or nobody answers: the sweep finds it
	}
	if exists && info.Size == size {
		return true
	}
	_ = b.core.RemoveObject(ctx, b.t.Bucket, name, minio.RemoveObjectOptions{})
	return false
}

// metaKey is writerMeta as the client library gives it back.
const metaKey = "Fileshare-Put"

// incoming is the body of one try. The HTTP transport may read on in its own
// goroutine after a request has failed: stop waits for it, so that the engine has
// its reader, or the pool its memory, for itself again.
type incoming struct {
	mu    sync.Mutex
	r     io.Reader
	size  int64 // that was announced
	watch *watch
	n     int64 // guarded by mu, as the others
	err   error // of r, not its end
	end   bool  // nothing is read any more
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
	i.watch.halt()
	n, err := i.next(p)
	i.n += int64(n)
	i.watch.resume(i.n)
	if err != nil && err != io.EOF {
		i.err = err
		return 0, err
	}
	return n, err
}

// next reads. The last bytes come when it is known that nothing follows them: an
// object of which the server has everything may be made whatever becomes of the
// request.
func (i *incoming) next(p []byte) (int, error) {
	n, err := i.r.Read(p)
	at := i.n + int64(n)
	if at >= i.size && err == nil {
		var more [1]byte
		var m int
		m, err = readBlock(i.r, more[:])
		at += int64(m)
	}
	switch {
	case at > i.size && (err == nil || err == io.EOF):
		err = errTooLong
	case at < i.size && err == io.EOF:
		err = fmt.Errorf("%w: %d bytes, %d were announced", io.ErrUnexpectedEOF, at, i.size)
	}
	return n, err
}

// stop ends the reading and returns how much was read, and the reader's own
// error.
func (i *incoming) stop() (int64, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end = true
	return i.n, i.err
}

// watch ends an upload for which the server does nothing for too long. Time in
// which the body is waited for does not count, and what a second try sends again
// is nothing new.
type watch struct {
	timeout time.Duration
	mu      sync.Mutex
	timer   *time.Timer // guarded by mu, as the others; nil: over
	until   time.Time   // when it is too long
	halted  time.Time
	far     int64 // bytes that were taken
}

func newWatch(timeout time.Duration, stalled func()) *watch {
	return &watch{timeout: timeout, timer: time.AfterFunc(timeout, stalled), until: time.Now().Add(timeout)}
}

// halt stops the time.
func (w *watch) halt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.halted = time.Now(); w.timer != nil {
		w.timer.Stop()
	}
}

// resume lets it go on; the server has taken at bytes.
func (w *watch) resume(at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = w.until.Add(time.Since(w.halted))
	if at > w.far {
		w.far, w.until = at, time.Now().Add(w.timeout)
	}
	if w.timer != nil {
		w.timer.Reset(time.Until(w.until))
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.timer = nil
}
