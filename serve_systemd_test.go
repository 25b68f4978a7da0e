package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestSocketActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd())) // listen takes it over
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"LISTEN_PID": strconv.Itoa(os.Getpid()), "LISTEN_FDS": "1"}
	from := activation{func(k string) string { return env[k] }, os.Getpid(), fd}
	passed, err := listen(t.Context(), "unix:/nonexistent/s", from)
	if err != nil {
		t.Fatal(err)
	}
	defer passed[0].Close()
	if len(passed) != 1 || passed[0].Addr().String() != l.Addr().String() {
		t.Errorf("got %v, want the passed %v", passed[0].Addr(), l.Addr())
	}

	for env["LISTEN_FDS"] = range map[string]bool{"": true, "x": true, "0": true, "-1": true, "100000": true} {
		if _, err := listen(t.Context(), "127.0.0.1:0", from); err == nil {
			t.Errorf("LISTEN_FDS=%q is accepted", env["LISTEN_FDS"])
		}
	}
	env["LISTEN_PID"] = "1" // meant for somebody else
	own, err := listen(t.Context(), "127.0.0.1:0", from)
	if err != nil {
		t.Fatal(err)
	}
	own[0].Close()
}

// TestHandOver: whoever connects while one server stops and the next one starts
// on the same socket, which systemd keeps open, is answered by either.
func TestHandOver(t *testing.T) {
	kept, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	socket, err := kept.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := mustLoad(t, "")
	log := newLog(c, t.Output(), c.logLevel())
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
			for {
				select {
				case <-over:
					return
				default:
				}
				answer, err := client.Get("http://" + kept.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				answer.Body.Close()
			}
		})
	}
	for range 300 {
		passed, err := net.FileListener(socket)
		if err != nil {
			t.Fatal(err)
		}
		w, err := newWeb(c, hello, []net.Listener{passed}, log)
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		time.Sleep(time.Millisecond) // for some to be in the middle
		w.stop(patience, nil, log)
		w.close()
		if t.Failed() {
			break
		}
	}
	close(over)
	passed, err := net.FileListener(socket)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWeb(c, hello, []net.Listener{passed}, log) // for those who wait
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	clients.Wait()
	w.close()
}

// TestNotifySystemd: the daemon says that it is ready when it is, and how long
// it may take to stop.
func TestNotifySystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		t.Helper()
		state := make([]byte, 256)
		n, err := socket.Read(state)
		if err != nil {
			t.Fatal(err)
		}
		return string(state[:n])
	}
	t.Setenv("NOTIFY_SOCKET", path)
	d := startDaemon(t, t.TempDir(), "127.0.0.1:0", "server: {shutdown_grace: 2m}")
	if got := said(); got != "READY=1" {
		t.Errorf("it says %q, want READY=1", got)
	}
	if status, body := upload(t, "http://"+d.addr, "admin", d.wait(t, `--user admin:(\w+)`), nil); status != http.StatusCreated {
		t.Errorf("upload: %d %s", status, body)
	}
	d.stop(t)
	if got, want := said(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=150000000"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestNotifySystemdFails(t *testing.T) {
	nowhere := func(string) string { return filepath.Join(t.TempDir(), "none") }
	if err := notifySystemd(nowhere, "READY=1"); err == nil {
		t.Error("a socket that is not there is no error")
	}
	if err := notifySystemd(noActivation, "READY=1"); err != nil {
		t.Errorf("without a socket: %v", err)
	}
}
