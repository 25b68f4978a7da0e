package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// e2eManyFiles lets this process have as many connections as the test needs.
func e2eManyFiles(t *testing.T, n uint64) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Cur >= n {
		return
	}
	l.Cur, l.Max = n, max(l.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatalf("%d open files are needed: %v", n, err)
	}
}

// brisk checks that somebody in no hurry of his own is served.
func (d *e2eDaemon) brisk() {
	d.t.Helper()
	for i := range 20 {
		small, large := e2eBytes()[i:1<<10+i], e2eBytes()[i:1<<20+i]
		d.want(d.put("small", small), small)
		d.want(d.put("large", large), large)
	}
}

// modest checks what the daemon costs while it has others waiting.
func (d *e2eDaemon) modest(what string, memory int64) {
	d.t.Helper()
	threads, own := d.proc("Threads"), d.proc("RssAnon")
	d.t.Logf("%s: %d threads, RssAnon %.1f MB", what, threads, float64(own)/1024)
	if threads == 0 || threads >= 50 {
		d.t.Errorf("%s: %d threads, want less than 50", what, threads)
	}
	if own > memory<<10 {
		d.t.Errorf("%s: RssAnon %d kB, want at most %d MB", what, own, memory)
	}
}

// TestHostileSlowWriters has 2,000 clients that send a byte now and then.
func TestHostileSlowWriters(t *testing.T) {
	e2eManyFiles(t, 6000)
	d := e2eStart(t, t.TempDir(), "SERVER_READ_HEADER_TIMEOUT=5m")
	const clients = 2000
	heads := []string{
		"POST /uploads HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"POST /uploads HTTP/1.1\r\nHost: x\r\n" + e2eAuthorization + "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n" +
			"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
		"PUT /uploads/a HTTP/1.1\r\nHost: x\r\n" + e2eAuthorization + "Content-Length: 1000\r\n\r\n",
		"PUT /uploads/a HTTP/1.1\r\nHost: x\r\n" + e2eAuthorization + "Content-Length: 10000000\r\n\r\n",
		"PUT /uploads/a HTTP/1.1\r\nHost: x\r\n" + e2eAuthorization + "Transfer-Encoding: chunked\r\n\r\n10000\r\n",
	}
	all := make([]net.Conn, clients)
	for i := range all {
		all[i] = d.dial()
		if _, err := io.WriteString(all[i], heads[i%len(heads)]); err != nil {
			t.Fatal(err)
		}
		if n := int64(i + 1); n%25 == 0 { // it is waiting that must cost no thread, not a stampede
			e2eUntil(t, "the bodies are being read", func() bool {
				return d.metric("fileshare_http_requests_in_flight") >= n*4/5
			})
		}
	}
	var sent atomic.Int64
	stop := make(chan struct{})
	var slow sync.WaitGroup
	slow.Go(func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for {
			for _, c := range all {
				if _, err := c.Write([]byte("x")); err != nil {
					t.Errorf("a slow client was thrown out: %v", err)
					return
				}
				sent.Add(1)
			}
			select {
			case <-stop:
				return
			case <-second.C:
			}
		}
	})
	peak := d.peak()
	d.brisk()
	e2eUntil(t, "three rounds of bytes", func() bool { return sent.Load() >= 3*clients || t.Failed() })
	d.brisk()
	d.modest("2,000 slow writers", 150)
	t.Logf("RssAnon %.1f MB at most", float64(peak())/1024)
	close(stop)
	slow.Wait()
	for _, c := range all {
		c.Close()
	}
	e2eUntil(t, "the slow clients are gone", func() bool { return d.metric("fileshare_http_requests_in_flight") <= 1 })
	if n := len(d.list()); n != 2*2*20 {
		t.Errorf("%d files, want those that were uploaded whole", n)
	}
}

// TestHostileSlowReaders has 500 clients that fetch a large file by a few
// kilobytes at a time.
func TestHostileSlowReaders(t *testing.T) {
	e2eManyFiles(t, 6000)
	d := e2eStart(t, t.TempDir())
	const clients, piece = 500, 4 << 10
	path, err := d.send("PUT", "large", 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var e error
		err := c.Control(func(fd uintptr) { e = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		return errors.Join(e, err)
	}}
	all := make([]net.Conn, clients)
	for i := range all {
		if all[i], err = dialer.Dial("tcp", d.addr); err != nil {
			t.Fatal(err)
		}
		defer all[i].Close()
		fmt.Fprintf(all[i], "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		// One after the other: it is waiting that must cost no thread.
		if _, err := all[i].Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	e2eUntil(t, "all downloads have begun", func() bool {
		return d.metric("fileshare_http_requests_in_flight") >= clients
	})
	var got atomic.Int64
	stop := make(chan struct{})
	var slow sync.WaitGroup
	slow.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		buf := make([]byte, piece)
		for {
			for _, c := range all {
				n, err := c.Read(buf)
				if err != nil {
					t.Errorf("a slow reader was thrown out: %v", err)
					return
				}
				got.Add(int64(n))
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	peak := d.peak()
	d.brisk()
	e2eUntil(t, "five rounds of reading", func() bool { return got.Load() >= 5*clients*piece/2 || t.Failed() })
	d.brisk()
	d.modest("500 slow readers", 150)
	t.Logf("RssAnon %.1f MB at most", float64(peak())/1024)
	close(stop)
	slow.Wait()
}
