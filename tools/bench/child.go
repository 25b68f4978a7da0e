package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// startTimeout bounds how long a server may take until it answers; the
// daemon over ten million records after a crash is the slowest.
const startTimeout = 2 * time.Minute

// child is a server process of ours.
type child struct {
	cmd    *exec.Cmd
	name   string
	log    string        // its standard error
	exited chan struct{} // closed when it has ended; err is then set
	err    error
	took   time.Duration // from exec until it was ready
}

// startChild runs a program with its standard error in the file log, and
// waits until ready says so.
func startChild(ctx context.Context, name, log string, ready func() bool, program string, args ...string) (*child, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c := &child{cmd: exec.Command(program, args...), name: name, log: log, exited: make(chan struct{})}
	c.cmd.Stderr = out
	c.cmd.Env = cleanEnv()
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C is for us, we end our children
	begun := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for {
		if ready() {
			c.took = time.Since(begun)
			return c, nil
		}
		select {
		case <-c.exited:
			return nil, fmt.Errorf("%s ended at once (%v): %s", name, c.err, c.lastLine())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), c.end(syscall.SIGKILL))
		case <-tick.C:
		}
		if time.Since(begun) > startTimeout {
			return nil, errors.Join(fmt.Errorf("%s is not ready after %v: %s", name, startTimeout, c.lastLine()), c.end(syscall.SIGKILL))
		}
	}
}

// end sends the signal and waits for the end, by force if it takes too long.
func (c *child) end(sig os.Signal) error {
	select {
	case <-c.exited:
		return fmt.Errorf("%s had ended by itself (%v): %s", c.name, c.err, c.lastLine())
	default:
	}
	if err := c.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("ending %s: %w", c.name, err)
	}
	select {
	case <-c.exited:
		return nil
	case <-time.After(time.Minute):
	}
	err := c.cmd.Process.Kill()
	<-c.exited
	return errors.Join(fmt.Errorf("%s did not end on %v within a minute", c.name, sig), err)
}

// stop ends the server in its own way.
func (c *child) stop() error { return c.end(syscall.SIGTERM) }

func (c *child) lastLine() string {
	data, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}

// cleanEnv is our environment without what would configure the daemon.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "FILESHARE_") {
			env = append(env, e)
		}
	}
	return env
}

// freeAddr returns a loopback address on which nobody listens at the moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers tells whether somebody accepts connections at addr.
func answers(addr string) func() bool {
	return func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
}

// says tells whether the file contains one of the texts; it reads what is new
// only.
func says(file string, texts ...string) func() bool {
	var seen []byte
	return func() bool {
		f, err := os.Open(file)
		if err != nil {
			return false
		}
		defer f.Close()
		buf := make([]byte, 64<<10)
		n, _ := f.ReadAt(buf, int64(len(seen)))
		seen = append(seen, buf[:n]...)
		return slices.ContainsFunc(texts, func(text string) bool { return bytes.Contains(seen, []byte(text)) })
	}
}
