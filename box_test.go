package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// box is a copy of this Debian with a systemd of its own, for what needs to be
// installed. It needs root. See testdata/debian/box.sh.
type box struct {
	t     *testing.T
	first string // pid of its first process
	share string // its /mnt
}

// startBox starts one, and waits until systemd is up.
func startBox(t *testing.T) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a system of its own needs root")
	}
	dir := t.TempDir()
	name := fmt.Sprintf("fileshare-test-%d", os.Getpid())
	cmd := exec.Command("sh", "testdata/debian/box.sh", name, dir)
	log := e2eLog{grew: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = &log, &log
	done := make(chan struct{})
	if err := e2eTie(cmd, func() { close(done) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it takes its first process along, and that all others
		<-done
		e2eUntil(t, "the end of the box", func() bool { return removeCgroups(name) == nil })
	})
	b := &box{t: t, share: filepath.Join(dir, "share")}
	children := fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid)
	err := retry(t.Context(), func() (bool, string) {
		select {
		case <-done:
			t.Fatalf("the box does not start:\n%s", log.String())
		default:
		}
		pid, err := os.ReadFile(children)
		b.first = strings.TrimSpace(string(pid))
		if err != nil || b.first == "" {
			return false, "no systemd yet"
		}
		state, _ := b.run("systemctl is-system-running")
		return state == "running" || state == "degraded", state // something of this machine may fail in there
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// removeCgroups removes what box.sh made, and what systemd made below.
func removeCgroups(name string) error {
	for _, tree := range []string{"", "systemd", "unified"} {
		dir := filepath.Join("/sys/fs/cgroup", tree, name)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run(); err != nil {
			return err
		}
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is in use", dir)
		}
	}
	return nil
}

// run runs a script in the box and returns what it prints.
func (b *box) run(script string) (string, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", b.first, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "sh", "-euc", script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	cmd.WaitDelay = time.Second // what it has started may live on
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// sh is run for scripts that must succeed.
func (b *box) sh(script string) string {
	b.t.Helper()
	out, err := b.run(script)
	if err != nil {
		b.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

// until runs a script again and again until it prints what is wanted.
func (b *box) until(script, want string) {
	b.t.Helper()
	e2eUntil(b.t, script+": "+want, func() bool {
		got, _ := b.run(script)
		return got == want
	})
}

// want runs a script that must print just this.
func (b *box) want(script, want string) {
	b.t.Helper()
	if got := b.sh(script); got != want {
		b.t.Errorf("%s\nprints %q, want %q", script, got, want)
	}
}
