package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	rowGetResumed = "download 1 GiB of a resumed upload"

	rowMemResumable   = "memory: 8 x 1 GiB resumable up"
	rowMemResumedDown = "memory: 8 x 1 GiB down"
	rowMemPut         = "memory of a client: 8 x 1 GiB up"
	rowMemGet         = "memory of a client: 8 x 1 GiB down"
)

// resumedPiece is what one request adds to a resumable upload: a line that is
// cut after every 16 MiB.
const resumedPiece = 16 << 20

// resumable: what came in many requests is downloaded beside what came in one,
// and the program's own client moves eight large files at once.
func (b *bench) resumable(ctx context.Context) error {
	d, err := b.daemon(ctx, "resumable", settings{reaper: "@every 1s"})
	if err != nil {
		return err
	}
	b.atEnd(d.remove)
	if b.want(rowGetResumed) {
		once, _, err := d.upload(ctx, d.put(b.sizes.large), noise(1<<20))
		if err != nil {
			return err
		}
		resumed, err := d.uploadPieces(ctx, b.sizes.large, noise(1<<20))
		if err != nil {
			return err
		}
		s := b.compete(ctx, b.streams(d.addr, "/uploads/"+once, 1), b.streams(d.addr, "/uploads/"+resumed, 1))
		b.report.compare(rowGetResumed, "MB/s", s[1], "uploaded at once", s[0], leastRatio(0.9), fmt.Sprintf("in %d requests", (b.sizes.large+resumedPiece-1)/resumedPiece))
		// discard waits until little is left at all, so it comes last.
		first := d.b.client.do(ctx, call{method: "DELETE", url: d.url + "/uploads/" + once, header: d.auth(""), want: http.StatusNoContent})
		if err := errors.Join(first, d.discard(ctx, resumed, b.sizes.large)); err != nil {
			return err
		}
	}
	if !b.wantAny([]string{rowMemResumable, rowMemResumedDown, rowMemPut, rowMemGet}) {
		return nil
	}
	return b.manyClients(ctx, d)
}

// uploadPieces uploads by the tus protocol and returns the id of the upload.
func (d *daemon) uploadPieces(ctx context.Context, size int64, piece []byte) (string, error) {
	h := d.auth("")
	h.Set("Tus-Resumable", "1.0.0")
	h.Set("Upload-Length", strconv.FormatInt(size, 10))
	made, err := d.b.client.send(ctx, call{method: "POST", url: d.url + "/tus/", header: h, want: http.StatusCreated})
	if err != nil {
		return "", err
	}
	if err := made.Body.Close(); err != nil {
		return "", err
	}
	at, err := url.Parse(made.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	for offset := int64(0); offset < size; offset += resumedPiece {
		t := transfer{
			addr: d.addr, method: "PATCH", path: at.Path, size: min(resumedPiece, size-offset), want: http.StatusNoContent,
			header: []string{
				"Authorization: " + d.b.login.header, "Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream",
				fmt.Sprintf("Upload-Offset: %d", offset),
			},
		}
		if _, _, err := t.send(ctx, piece); err != nil {
			return "", err
		}
	}
	return at.Path[strings.LastIndexByte(at.Path, '/')+1:], nil
}

// manyClients moves a large file by eight processes at once, up and down.
func (b *bench) manyClients(ctx context.Context, d *daemon) error {
	const clients = 8
	dir := filepath.Join(b.dir, "clients")
	if err := errors.Join(os.MkdirAll(dir, 0o755), b.largeFile(dir)); err != nil {
		return err
	}
	b.atEnd(func() error { return os.RemoveAll(dir) })
	var links [clients]string
	run := func(ctx context.Context, server, client string, args func(i int) []string) error {
		var peaks [clients]float64
		var errs [clients]error
		stop := d.watch()
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				links[i], peaks[i], errs[i] = b.clientRun(ctx, d, filepath.Join(dir, strconv.Itoa(i)), args(i))
			})
		}
		wg.Wait()
		top, err := stop()
		if err := errors.Join(append(errs[:], err)...); err != nil {
			return err
		}
		const mb = 1e6
		if b.want(server) {
			b.report.judge(server, "MB", series{values: []float64{float64(top.anon) / mb}}, most(100), "RssAnon")
		}
		if b.want(client) {
			b.report.judge(client, "MB", series{values: []float64{slices.Max(peaks[:]) / mb}}, most(60), "peak RSS, program included, of the largest of 8 processes")
		}
		return nil
	}
	err := run(ctx, rowMemResumable, rowMemPut, func(int) []string { return []string{"put", filepath.Join(dir, "large.bin")} })
	if err != nil {
		return fmt.Errorf("%s: %w", rowMemPut, err)
	}
	sent := links
	if err := run(ctx, rowMemResumedDown, rowMemGet, func(i int) []string { return []string{"get", sent[i], "-o", "-"} }); err != nil {
		return fmt.Errorf("%s: %w", rowMemGet, err)
	}
	return nil
}

// clientRun runs the program as a client, with a configuration of its own, and
// returns the first line of what it prints when it uploads, and its peak memory
// in bytes.
func (b *bench) clientRun(ctx context.Context, d *daemon, home string, args []string) (line string, peak float64, err error) {
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", 0, err
	}
	cmd := exec.CommandContext(ctx, b.bin, args...)
	cmd.Env = append(cleanEnv(), "HOME="+home, "XDG_CONFIG_HOME="+home, "FILESHARE_URL="+d.url, "FILESHARE_USER="+b.login.name, "FILESHARE_PASSWORD="+b.login.password)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if args[0] == "get" {
		cmd.Stdout = nil // the null device
	}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	done, top := make(chan struct{}), make(chan int64)
	go func() { top <- peakUntil(done, cmd.Process.Pid) }()
	err = cmd.Wait()
	close(done)
	if peak = float64(<-top); err != nil {
		return "", 0, fmt.Errorf("fileshare %s: %w: %.300s", args[0], err, errs.String())
	}
	line, _, _ = strings.Cut(out.String(), "\n")
	return strings.TrimSpace(line), peak, nil
}

// peakUntil reads the peak memory (VmHWM) of a process until it is done. What
// the system tells at its end (ru_maxrss) counts the memory of who started it.
func peakUntil(done <-chan struct{}, pid int) (peak int64) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if f, err := status(pid); err == nil { // else it has just ended
			peak = max(peak, f.peak)
		}
		select {
		case <-done:
			return peak
		case <-tick.C:
		}
	}
}
