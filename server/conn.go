package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fileshare/store"
)

// Listener wraps a listener of plain TCP; TLS goes on top of it. Its
// connections
//   - end a write that moves no byte for idle (≤ 0: never), and only such a
//     one, however long the transfer takes;
//   - notice when the client resets the connection right after a counted
//     download, so that bytes which died in a buffer are not taken for
//     delivered;
//   - keep sendfile.
//
// Connections of other kinds (unix sockets) pass through as they are.
func Listener(l net.Listener, idle time.Duration) net.Listener { return listener{l, idle} }

type listener struct {
	net.Listener
	idle time.Duration
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		return &conn{TCPConn: tcp, idle: l.idle}, nil
	}
	return c, nil
}

type connKey struct{}

// ConnContext is for http.Server: it lets handlers find their connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		c = t.NetConn()
	}
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// conn is a server's end of a TCP connection.
type conn struct {
	*net.TCPConn
	idle    time.Duration
	armed   atomic.Int64 // when our write deadline was set, Unix nanoseconds; 0 = not
	foreign atomic.Bool  // a write deadline that is not ours is in force

	mu    sync.Mutex
	reset bool   // guarded by mu: the client has reset the connection
	last  *watch // guarded by mu: the last thing that happened here, if it was a counted download
}

// watch is a settled download whose last bytes may still be in flight.
type watch struct {
	ctx  context.Context
	d    reopener
	tail []store.Span
	at   time.Time
}

type reopener interface {
	Reopen(ctx context.Context, doubtful []store.Span) error
}

const (
	watchFor      = time.Minute      // a reset later than this has nothing to do with the download
	reopenTimeout = 10 * time.Second // of the Update that takes the certainty back
	idleSlices    = 8                // a stalled write is noticed this part of idle late at most
)

// watch is told of a counted download that has just been settled as delivered.
func (c *conn) watch(ctx context.Context, d reopener, tail []store.Span) {
	w := &watch{ctx: context.WithoutCancel(ctx), d: d, tail: tail, at: time.Now()}
	c.mu.Lock()
	reset := c.reset
	if !reset {
		c.last = w
	}
	c.mu.Unlock()
	if reset {
		w.reopen()
	}
}

func (w *watch) reopen() {
	if time.Since(w.at) > watchFor {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, reopenTimeout)
	defer cancel()
	// A refusal means that there is nothing to take back any more (expired,
	// deleted); after an infrastructure error the use stays spent.
	_ = w.d.Reopen(ctx, w.tail)
}

// Read clears the watch when a newer request arrives, and acts on it when the
// client breaks the connection.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 || err != nil {
		c.happened(n, err)
	}
	return n, err
}

func (c *conn) happened(n int, err error) {
	c.mu.Lock()
	w := c.last
	broken := false
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		c.reset, broken = true, true
	case err == io.EOF && w != nil:
		// The client has closed; who had received everything before has
		// acknowledged it.
		broken = unacked(c.TCPConn) > 0
	}
	if n > 0 || broken {
		c.last = nil
	}
	c.mu.Unlock()
	if broken && w != nil {
		w.reopen()
	}
}

// Write goes on after a deadline as long as bytes move.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.push(func(done int64) (int64, error) {
		n, err := c.TCPConn.Write(p[done:])
		return int64(n), err
	})
	return int(n), err
}

// ReadFrom is Write for sendfile, which leaves file and limit where it stopped.
func (c *conn) ReadFrom(src io.Reader) (int64, error) {
	lr, ok := src.(*io.LimitedReader)
	if ok {
		_, ok = lr.R.(syscall.Conn)
	}
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	return c.push(func(int64) (int64, error) {
		before := lr.N
		n, err := c.TCPConn.ReadFrom(lr)
		if err != nil && before-lr.N != n {
			// Not sendfile but a copy, which has read more than it could write.
			err = fmt.Errorf("copying a file to the connection: %v", err) // not a deadline: must not go on
		}
		return n, err
	})
}

// push calls write until it ends otherwise than by one of our deadlines, or
// until nothing has moved for idle.
func (c *conn) push(write func(done int64) (int64, error)) (int64, error) {
	var done int64
	for moved := time.Now(); ; {
		ours := c.arm(time.Now())
		n, err := write(done)
		done += n
		if err == nil || !ours || !errors.Is(err, os.ErrDeadlineExceeded) {
			return done, err
		}
		now := time.Now()
		if n > 0 {
			moved = now
		}
		if now.Sub(moved) >= c.idle {
			return done, err
		}
		c.armed.Store(0)
	}
}

// arm sets a deadline one slice ahead, unless that was done a moment ago, and
// tells whether the deadline in force is ours.
func (c *conn) arm(now time.Time) bool {
	if c.idle <= 0 || c.foreign.Load() {
		return false
	}
	slice := c.idle / idleSlices
	if t := now.UnixNano(); t-c.armed.Load() > int64(slice/2) {
		c.armed.Store(t)
		_ = c.TCPConn.SetWriteDeadline(now.Add(slice))
	}
	return true
}

// SetWriteDeadline overrides ours until it is called with the zero time.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.armed.Store(0)
	return c.TCPConn.SetWriteDeadline(t)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *conn) SetDeadline(t time.Time) error {
	c.foreign.Store(!t.IsZero())
	c.armed.Store(0)
	return c.TCPConn.SetDeadline(t)
}
