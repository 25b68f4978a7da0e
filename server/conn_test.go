package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"fileshare/store"
)

// stalling is a write that moves the given numbers of bytes, each within one
// deadline.
func stalling(slice time.Duration, moves ...int64) func(int64) (int64, error) {
	return func(int64) (int64, error) {
		time.Sleep(slice)
		if len(moves) == 0 {
			return 0, os.ErrDeadlineExceeded
		}
		n := moves[0]
		moves = moves[1:]
		if n < 0 {
			return 1, nil
		}
		return n, os.ErrDeadlineExceeded
	}
}

func TestPushEndsOnlyWhatDoesNotMove(t *testing.T) {
	const idle = 8 * time.Second
	synctest.Test(t, func(t *testing.T) {
		c := &conn{TCPConn: &net.TCPConn{}, idle: idle}
		begin := time.Now()
		n, err := c.push(stalling(idle/idleSlices, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 7, -1))
		if n != 13 || err != nil || time.Since(begin) != 15*time.Second {
			t.Errorf("slow: %d bytes, %v after %v", n, err, time.Since(begin))
		}
		begin = time.Now()
		n, err = c.push(stalling(idle/idleSlices, 3))
		if n != 3 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != idle+time.Second {
			t.Errorf("stalled: %d bytes, %v after %v", n, err, time.Since(begin))
		}
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err == nil {
			t.Error("a deadline on no connection")
		}
		if n, err = c.push(stalling(time.Second, 0, 5)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline of others: %d bytes, %v", n, err)
		}
	})
}

type reopens struct{ spans []store.Span }

func (r *reopens) Reopen(_ context.Context, spans []store.Span) error {
	r.spans = append(r.spans, spans...)
	return nil
}

func TestWatch(t *testing.T) {
	tail := []store.Span{{From: 5, To: 9}}
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for name, tc := range map[string]struct {
		do   func(c *conn, d *reopens)
		want int
	}{
		"reset":         {func(c *conn, d *reopens) { c.watch(t.Context(), d, tail); c.happened(0, reset) }, 1},
		"reset twice":   {func(c *conn, d *reopens) { c.watch(t.Context(), d, tail); c.happened(0, reset); c.happened(0, reset) }, 1},
		"reset before":  {func(c *conn, d *reopens) { c.happened(0, reset); c.watch(t.Context(), d, tail) }, 1},
		"end":           {func(c *conn, d *reopens) { c.watch(t.Context(), d, tail); c.happened(0, io.EOF) }, 0},
		"newer request": {func(c *conn, d *reopens) { c.watch(t.Context(), d, tail); c.happened(1, nil); c.happened(0, reset) }, 0},
		"long ago": {func(c *conn, d *reopens) {
			c.watch(t.Context(), d, tail)
			time.Sleep(watchFor + time.Second)
			c.happened(0, reset)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &reopens{}
				tc.do(&conn{TCPConn: &net.TCPConn{}}, d)
				if len(d.spans) != tc.want {
					t.Errorf("reopened %v", d.spans)
				}
			})
		})
	}
}

func TestStalledDownloadIsEnded(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{IdleTimeout: 200 * time.Millisecond})
	p := h.tokenFor(strings.Repeat("x", 30<<20))
	c := h.raw(p)
	defer c.Close()
	eventually(t, "the stalled download is ended", func() bool { return strings.Contains(h.log.String(), "client went away") })
	h.do("GET", p, "", nil).want(t, 200)
}

func TestStalledUploadIsEnded(t *testing.T) {
	h := newHouse(t, store.Options{AnonymousUploads: true}, Options{IdleTimeout: 200 * time.Millisecond})
	c, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PUT /uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBrokenUploadLeavesNothing(t *testing.T) {
	h := newHouse(t, store.Options{AnonymousUploads: true}, Options{})
	for _, request := range []string{
		"PUT /uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
		"PUT /uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 500_000),
		"PUT /uploads/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		c, err := net.Dial("tcp", h.srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, request)
		c.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(c)
		c.Close()
		if len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
			t.Errorf("%.100q: %q", request, got)
		}
	}
	h.srv.Close()
	if files, _, err := h.store.Usage(t.Context()); files != 0 || err != nil {
		t.Errorf("%d files, %v", files, err)
	}
	if r, err := h.store.Sweep(t.Context(), 0); err != nil || r.Removed != 0 {
		t.Errorf("orphans: %+v, %v", r, err)
	}
	if log := h.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the client's fault is logged as ours: %s", log)
	}
}
