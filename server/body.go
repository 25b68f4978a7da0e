package server

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"fileshare/server/reply"
)

// body is the body of a request: it counts, marks errors as the client's, and
// ends a transfer that moves no byte for the idle time.
type body struct {
	r     io.ReadCloser
	over  atomic.Bool // interrupted
	rc    *http.ResponseController
	idle  time.Duration // ≤ 0: no deadline
	armed time.Time     // when the deadline was last set
	n     int64         // bytes read
	ended bool          // EOF or error seen
}

// How often the deadline is moved while bytes arrive, and how long the rest of
// a refused body is awaited: net/http drains up to 256 KiB of it, else closes.
const (
	rearm       = time.Second
	drainAtMost = 500 * time.Millisecond
)

func newBody(r io.ReadCloser, w http.ResponseWriter, idle time.Duration) *body {
	return &body{r: r, rc: http.NewResponseController(w), idle: idle}
}

func (b *body) Read(p []byte) (int, error) {
	if b.over.Load() {
		return 0, errInterrupted
	}
	if b.idle > 0 {
		if now := time.Now(); now.Sub(b.armed) > min(rearm, b.idle/4) {
			b.armed = now
			// A writer without deadlines (tests, HTTP/2 of old) goes without.
			_ = b.rc.SetReadDeadline(now.Add(b.idle))
			if b.over.Load() { // it may have come before the deadline was moved
				return 0, errInterrupted
			}
		}
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err != nil && b.over.Load() {
		b.ended = true
		return n, errInterrupted
	}
	switch {
	case err == nil:
	case err == io.EOF:
		b.ended = true
		if b.idle > 0 {
			// net/http already waits for the next request: with the deadline
			// left it would cancel this one.
			_ = b.rc.SetReadDeadline(time.Time{})
		}
	case errors.Is(err, http.ErrBodyReadAfterClose):
		return n, err
	default:
		b.ended = true
		err = reply.BodyError(err)
	}
	return n, err
}

var errInterrupted = reply.Refuse(reply.Incomplete, "another request goes on with this upload", nil)

// interrupt ends a Read that waits, and every one after it. It may be called
// from another goroutine.
func (b *body) interrupt() {
	b.over.Store(true)
	_ = b.rc.SetReadDeadline(time.Unix(1, 0))
}

func (b *body) Close() error { return b.r.Close() }

// hurry bounds the wait for the rest of a body that nobody wants.
func (b *body) hurry() { _ = b.rc.SetReadDeadline(time.Now().Add(drainAtMost)) }

// linger shows the whole answer of an HTTP/2 request to a client that is still
// sending, before the handler's return resets the stream (RFC 9113 §8.1: with
// NO_ERROR). Clients stop sending when they see a refusal, yet some drop an
// answer whose end and whose reset they read at once. What they send meanwhile
// is thrown away, at most lingerBytes of it, until hurry's deadline.
func (b *body) linger(w http.ResponseWriter) {
	if http.NewResponseController(w).Flush() == nil {
		_, _ = io.CopyN(io.Discard, b, lingerBytes)
	}
}

// lingerBytes is more than the windows of a stream let a client send ahead.
const lingerBytes = 16 << 20
