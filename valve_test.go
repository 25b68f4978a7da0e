package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// valve is a TCP proxy that lets so many bytes of its clients through and holds
// the rest, until it is opened: what is in the middle stays there.
type valve struct {
	l  net.Listener
	to string // a restarted daemon has the same address

	mu    sync.Mutex
	moves *sync.Cond
	left  int64 // guarded by mu: bytes that it still lets through; -1 = all
	conns map[net.Conn]struct{}
}

func cmdValve(ts *testscript.TestScript, args []string) error {
	most, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	v := &valve{l: l, to: named(ts, args[0]).addr, left: most, conns: map[net.Conn]struct{}{}}
	v.moves = sync.NewCond(&v.mu)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { v.serve(conn) })
		}
	})
	ts.Defer(func() {
		l.Close()
		v.open()
		v.mu.Lock()
		for conn := range v.conns {
			conn.Close()
		}
		v.conns = nil
		v.mu.Unlock()
		work.Wait()
	})
	state(ts).valve = v
	ts.Setenv("VALVE", "http://"+l.Addr().String())
	return nil
}

// know remembers a connection, to close it in the end.
func (v *valve) know(conn net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conns == nil {
		return false
	}
	v.conns[conn] = struct{}{}
	return true
}

func (v *valve) serve(down net.Conn) {
	defer down.Close()
	up, err := net.Dial("tcp", v.to)
	if err != nil {
		return
	}
	defer up.Close()
	if !v.know(down) || !v.know(up) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(down, up)
		down.Close()
	})
	_, _ = io.Copy(&valveWriter{v, up}, down)
	up.Close()
	back.Wait()
}

type valveWriter struct {
	v *valve
	w io.Writer
}

func (w *valveWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		k := w.v.take(len(b) - n)
		m, err := w.w.Write(b[n : n+k])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// take waits until some of n bytes may pass, and tells how many.
func (v *valve) take(n int) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.left == 0 {
		v.moves.Wait()
	}
	if v.left > 0 {
		n = int(min(int64(n), v.left))
		v.left -= int64(n)
		v.moves.Broadcast()
	}
	return n
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left = -1
	v.moves.Broadcast()
}

func cmdUntilValve(ts *testscript.TestScript, _ []string) error {
	v := state(ts).valve
	if v == nil {
		return errors.New("there is no valve")
	}
	return retry(context.Background(), func() (bool, string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.left == 0, fmt.Sprintf("%d bytes to come", v.left)
	})
}

func cmdOpenValve(ts *testscript.TestScript, _ []string) error {
	v := state(ts).valve
	if v == nil {
		return errors.New("there is no valve")
	}
	v.open()
	return nil
}
