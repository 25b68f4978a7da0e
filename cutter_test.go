package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// cutter is a bad line: a TCP proxy that breaks a connection when so many bytes
// went over it in one direction, uploads and downloads alike. What is on the
// line then is lost, as it is when a real one breaks.
type cutter struct {
	addr  string // host:port
	to    string
	after int64

	sent atomic.Int64 // bytes that clients sent, on all connections
	got  atomic.Int64 // bytes that they got
	cuts atomic.Int64

	l     net.Listener
	work  sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil = closed
}

// newCutter makes a bad line to an address, until the end of the test.
func newCutter(t testing.TB, to string, after int64) *cutter {
	t.Helper()
	c, err := startCutter(to, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func startCutter(to string, after int64) (*cutter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cutter{addr: l.Addr().String(), to: to, after: after, l: l, conns: map[net.Conn]struct{}{}}
	c.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.work.Go(func() { c.serve(conn) })
		}
	})
	return c, nil
}

// close ends the line with all connections and waits for them.
func (c *cutter) close() {
	c.l.Close()
	c.mu.Lock()
	for conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
	c.mu.Unlock()
	c.work.Wait()
}

// know remembers a connection for close, unless that was before.
func (c *cutter) know(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		return false
	}
	c.conns[conn] = struct{}{}
	return true
}

func (c *cutter) forget(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	for _, conn := range []net.Conn{client, server} {
		if !c.know(conn) {
			return
		}
		defer c.forget(conn)
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		c.carry(client, server, &c.got)
	}()
	c.carry(server, client, &c.sent)
	<-back
}

// carry takes bytes along in one direction until that is closed, or there are
// too many.
func (c *cutter) carry(to, from net.Conn, count *atomic.Int64) {
	n, err := io.CopyN(to, from, c.after)
	count.Add(n)
	switch {
	case errors.Is(err, io.EOF):
		_ = to.(*net.TCPConn).CloseWrite()
		return // the other direction goes on
	case err == nil:
		c.cuts.Add(1)
	}
	for _, conn := range []net.Conn{to, from} {
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset: nothing more is delivered
		conn.Close()
	}
}

func cmdCutter(ts *testscript.TestScript, args []string) error {
	after, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	c, err := startCutter(named(ts, args[0]).addr, after)
	if err != nil {
		return err
	}
	ts.Defer(c.close)
	state(ts).line = c
	ts.Setenv("CUTTER", "http://"+c.addr)
	return nil
}

func cmdCuts(ts *testscript.TestScript, args []string) error {
	least, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	if n := state(ts).line.cuts.Load(); n < least {
		return fmt.Errorf("the line was cut %d times", n)
	}
	return nil
}
