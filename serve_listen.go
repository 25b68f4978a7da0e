package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// listen opens server.listen, or takes the sockets that systemd passes.
func listen(ctx context.Context, address string, from activation) ([]net.Listener, error) {
	passed, err := from.listeners()
	if err != nil || len(passed) > 0 {
		return passed, err
	}
	var all []net.Listener
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		var l net.Listener
		l, err = listenUnix(ctx, path)
		all = []net.Listener{l}
	} else {
		all, err = listenTCP(ctx, address, net.DefaultResolver.LookupHost)
	}
	if err != nil {
		return nil, fmt.Errorf("server.listen: %w", err)
	}
	return all, nil
}

// listenTCP listens on an address. Where its host is a name, as localhost is, it
// listens on all that the name stands for: of those a client takes the one it
// likes best, and many try no other.
func listenTCP(ctx context.Context, address string, lookup func(ctx context.Context, host string) ([]string, error)) (all []net.Listener, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	hosts := []string{host}
	if _, notIP := netip.ParseAddr(host); host != "" && notIP != nil {
		if hosts, err = lookup(ctx, host); err != nil {
			return nil, err
		}
		slices.Sort(hosts) // IPv4 first
		hosts = slices.Compact(hosts)
	}
	var lc net.ListenConfig
	// Go's default would be MPTCP, whose sockets cost more per byte.
	lc.SetMultipathTCP(false)
	var missing error
	for _, host := range hosts {
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
		switch {
		case err == nil:
			all = append(all, l)
			_, port, _ = net.SplitHostPort(l.Addr().String()) // the others take the port that 0 became
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			missing = err // the name is known, the address is not there, as ::1 without IPv6
		default:
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, missing
	}
	return all, nil
}

// listenUnix listens on a socket for our user and group. One that a dead daemon
// has left is removed; one that answers is in use.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there and is no socket", path)
	default:
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s is in use", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("a socket is there: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing an old socket: %w", err)
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// certificate is a key pair in two files that are looked at again, at most
// once a second, when somebody connects.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate // guarded by mu, as all below
	seen   [2]fs.FileInfo
	looked time.Time
}

func newCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log, looked: time.Now()}
	if err := c.loadLocked(); err != nil {
		return nil, fmt.Errorf("server.tls: %w", err)
	}
	return c, nil
}

// get is for tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= time.Second {
		c.looked = now
		if c.changedLocked() {
			if err := c.loadLocked(); err != nil {
				c.log.Error("certificate cannot be read, the old one stays", "err", err)
			} else {
				c.log.Info("certificate read", "path", c.cert)
			}
		}
	}
	return c.pair, nil
}

func (c *certificate) changedLocked() bool {
	for i, path := range []string{c.cert, c.key} {
		info, err := os.Stat(path)
		if err != nil { // being replaced; the next look will see
			return false
		}
		if old := c.seen[i]; !os.SameFile(old, info) || old.Size() != info.Size() || !old.ModTime().Equal(info.ModTime()) {
			return true
		}
	}
	return false
}

func (c *certificate) loadLocked() error {
	for i, path := range []string{c.cert, c.key} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		c.seen[i] = info
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", c.cert, c.key, err)
	}
	c.pair = &pair
	return nil
}
