package server

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacked is the number of bytes written to c that the peer has not
// acknowledged; 0 if that cannot be told.
func unacked(c *net.TCPConn) int64 {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); cerr != nil || err != nil {
		return 0
	}
	return int64(n)
}
