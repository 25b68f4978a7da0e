package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// What systemd and the daemon tell each other: sockets at the start
// (sd_listen_fds(3)), states from then on (sd_notify(3)).

// activation is how systemd passes sockets (sd_listen_fds(3)): as many as
// LISTEN_FDS says from the descriptor first on, if LISTEN_PID is ours.
type activation struct {
	getenv func(string) string
	pid    int
	first  int // 3, but for tests
}

func (a activation) listeners() ([]net.Listener, error) {
	if a.getenv("LISTEN_PID") != strconv.Itoa(a.pid) {
		return nil, nil
	}
	n, err := strconv.Atoi(a.getenv("LISTEN_FDS"))
	if err != nil || n < 1 || n > 64 {
		return nil, fmt.Errorf("LISTEN_FDS: %s: the number of sockets passed is expected", show(a.getenv("LISTEN_FDS")))
	}
	var all []net.Listener
	for fd := a.first; fd < a.first+n; fd++ {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		l, err := net.FileListener(f) // a copy of the descriptor
		f.Close()
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, fmt.Errorf("socket %d passed by systemd: %w", fd, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// notifySystemd sends a state, lines of KEY=VALUE, to the socket that
// NOTIFY_SOCKET names; without one nobody wants to know.
func notifySystemd(getenv func(string) string, state string) (err error) {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("telling systemd: %w", err)
		}
	}()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}

// systemdStops is the state of a daemon that lets transfers finish for grace.
// systemd waits so much longer than the unit says, and for what comes after.
func systemdStops(grace time.Duration) string {
	const after = 30 * time.Second
	return "STOPPING=1\nEXTEND_TIMEOUT_USEC=" + strconv.FormatInt((grace+after).Microseconds(), 10)
}
