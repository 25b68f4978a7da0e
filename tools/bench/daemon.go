package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is a running daemon and how to talk to it.
type daemon struct {
	*child
	b    *bench
	addr string
	url  string
	dir  string // its data directory
	disk string // where contents are
}

// settings are the keys of its configuration that rows differ in.
type settings struct {
	noDigest bool
	reaper   string // schedule; empty = so rarely that it never runs
	records  string // store.records and store.blobs; empty = the default
	blobs    string
	disk     string // where contents end up; empty = in its data directory
}

// daemon starts a daemon over the data directory name below the bench's own.
func (b *bench) daemon(ctx context.Context, name string, s settings) (*daemon, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, name)
	digest, schedule := "sha256", s.reaper
	if s.noDigest {
		digest = "none"
	}
	if schedule == "" {
		schedule = "@every 240h"
	}
	config := fmt.Sprintf(`server:
  listen: %q
store:
  dir: %q
  digest: %s
  records: %q
  blobs: %q
auth:
  users:
    - name: %q
      password: %q
      api_key: %q
reaper:
  schedule: %q
`, addr, dir, digest, cmp.Or(s.records, "bolt"), cmp.Or(s.blobs, "dir"), b.login.name, b.login.hash, b.login.key, schedule)
	file := dir + ".yaml"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log := dir + ".log"
	c, err := startChild(ctx, "the daemon", log, says(log, "msg=listening", `msg="listening"`), b.bin, "serve", "--config", file)
	if err != nil {
		return nil, err
	}
	return &daemon{child: c, b: b, addr: addr, url: "http://" + addr, dir: dir, disk: cmp.Or(s.disk, dir)}, nil
}

// kill ends the daemon as a crash would.
func (d *daemon) kill() error { return d.end(syscall.SIGKILL) }

// remove stops the daemon and removes what it wrote.
func (d *daemon) remove() error { return errors.Join(d.stop(), os.RemoveAll(d.dir)) }

// auth returns a header with our account and, unless it is empty, a type.
func (d *daemon) auth(contentType string) http.Header {
	h := http.Header{"Authorization": {d.b.login.header}}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	return h
}

// uploadCall is a multipart upload of content.
func (d *daemon) uploadCall(content []byte) (call, error) {
	body, contentType, err := form(content)
	return call{method: "POST", url: d.url + "/uploads", header: d.auth(contentType), body: body, want: http.StatusCreated, length: -1}, err
}

// getCall is a download by link.
func (d *daemon) getCall(path string, size int) call {
	return call{method: "GET", url: d.url + path, want: http.StatusOK, length: int64(size)}
}

// metrics reads the daemon's own figures, by name and labels as they stand in
// the text.
func (d *daemon) metrics(ctx context.Context) (map[string]float64, error) {
	text, err := d.b.client.fetch(ctx, call{method: "GET", url: d.url + "/metrics", want: http.StatusOK})
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		x, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", line[:i], err)
		}
		all[line[:i]] = x
	}
	return all, nil
}

// cpu is the processor time that the process has used.
func (c *child) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// proc_pid_stat(5): the name in parentheses may hold blanks; utime and
	// stime are fields 14 and 15, in units of 1/100 s on every Linux port.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/pid/stat is too short")
	}
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond, nil
}

// footprint is the memory of a process at one moment, in bytes.
type footprint struct {
	anon   int64 // RssAnon
	beyond int64 // VmRSS without the pages of records.db
	peak   int64 // VmHWM
}

var (
	statusLine = regexp.MustCompile(`(?m)^(VmRSS|VmHWM|RssAnon):\s+(\d+) kB`)
	mapping    = regexp.MustCompile(`^[0-9a-f]+-[0-9a-f]+ `)
)

// status is the memory of a process as the kernel sums it up.
func status(pid int) (f footprint, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return f, err
	}
	for _, m := range statusLine.FindAllSubmatch(text, -1) {
		kib, err := strconv.ParseInt(string(m[2]), 10, 64)
		if err != nil {
			return f, err
		}
		switch string(m[1]) {
		case "VmRSS":
			f.beyond = kib << 10
		case "VmHWM":
			f.peak = kib << 10
		case "RssAnon":
			f.anon = kib << 10
		}
	}
	return f, nil
}

func (c *child) footprint() (footprint, error) {
	f, err := status(c.cmd.Process.Pid)
	if err != nil {
		return f, err
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/smaps", c.cmd.Process.Pid))
	if err != nil {
		return f, err
	}
	defer maps.Close()
	ours := false
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if mapping.MatchString(line) {
			ours = strings.HasSuffix(line, "/records.db")
		} else if rest, ok := strings.CutPrefix(line, "Rss:"); ok && ours {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return f, err
			}
			f.beyond -= kib << 10
		}
	}
	return f, nil
}

// watch samples the memory until stop is called, which returns the largest
// values seen.
func (c *child) watch() (stop func() (footprint, error)) {
	done := make(chan struct{})
	type result struct {
		footprint
		err error
	}
	out := make(chan result, 1)
	go func() {
		var top footprint
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			f, err := c.footprint()
			if err != nil {
				out <- result{top, err}
				return
			}
			top = footprint{max(top.anon, f.anon), max(top.beyond, f.beyond), f.peak}
			select {
			case <-done:
				out <- result{top, nil}
				return
			case <-tick.C:
			}
		}
	}()
	return func() (footprint, error) {
		close(done)
		r := <-out
		return r.footprint, r.err
	}
}
