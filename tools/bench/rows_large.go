package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	rowPut       = "upload 1 GiB PUT"
	rowForm      = "upload 1 GiB multipart"
	rowDigest    = "upload 1 GiB multipart, digests"
	rowDigestSHA = "upload 1 GiB multipart, digests, beside hashing"
	rowCPUPut    = "CPU per GB up: PUT"
	rowCPUForm   = "CPU per GB up: multipart"
	rowCPUDigest = "CPU per GB up: multipart, digests"

	rowGetLarge  = "download 1 GiB x1"
	rowGetLarge4 = "download 1 GiB x4"
	rowRanges    = "64 KiB ranges of 1 GiB c=16"

	rowMemUp    = "memory: 4 x 1 GiB up"
	rowMemDown  = "memory: 4 x 1 GiB down"
	rowMemSmall = "memory: 256 small uploads at once"
)

func largeUploadNames() []string {
	return []string{rowPut, rowForm, rowDigest, rowDigestSHA, rowCPUPut, rowCPUForm, rowCPUDigest}
}

// largeUploads: one durable 1 GiB upload at a time, with and without
// digests, beside nginx's undurable PUT and SHA-256 alone.
func (b *bench) largeUploads(ctx context.Context) (err error) {
	var theirs turn
	if nginx, err := b.nginx(ctx, "uploads"); err != nil {
		theirs = broken(err)
	} else {
		b.atEnd(nginx.remove)
		theirs = b.nginxLarge(nginx)
	}
	// Removed files are reaped every second: b.largeTurn waits for it.
	plain, err := b.daemon(ctx, "large-plain", settings{noDigest: true, reaper: "@every 1s"})
	if err != nil {
		return err
	}
	b.atEnd(plain.remove)
	digests, err := b.daemon(ctx, "large-digests", settings{reaper: "@every 1s"})
	if err != nil {
		return err
	}
	b.atEnd(digests.remove)

	var put, multipart, digested series
	s := b.compete(ctx, theirs,
		b.largeTurn(plain, plain.put(b.sizes.large), &put),
		b.largeTurn(plain, plain.multipart(b.sizes.large), &multipart),
		b.largeTurn(digests, digests.multipart(b.sizes.large), &digested),
		only(b.hashRate))
	rows := []struct {
		name   string
		ours   series
		beside string
		ref    series
		bound  float64
		remark string
	}{
		{rowPut, s[1], "nginx PUT", s[0], 0.9, "store.digest: none"},
		{rowForm, s[2], "nginx PUT", s[0], 0.9, "store.digest: none"},
		{rowDigest, s[3], "nginx PUT", s[0], 0.5, ""},
		{rowDigestSHA, s[3], "SHA-256", s[4], 0.85, "one core"},
	}
	for _, r := range rows {
		if b.want(r.name) {
			b.report.compare(r.name, "MB/s", r.ours, r.beside, r.ref, leastRatio(r.bound), r.remark)
		}
	}
	for _, r := range []struct {
		name  string
		rate  series
		ours  series
		bound float64
	}{{rowCPUPut, s[1], put, 0.7}, {rowCPUForm, s[2], multipart, 0.8}, {rowCPUDigest, s[3], digested, 1.8}} {
		if b.want(r.name) {
			r.ours.err = r.rate.err
			b.report.judge(r.name, "s/GB", r.ours, most(r.bound), "user and system time of the daemon")
		}
	}
	return nil
}

func (d *daemon) put(size int64) transfer {
	return transfer{
		addr: d.addr, method: "PUT", path: "/uploads/bench.bin", size: size, want: http.StatusCreated,
		header: []string{"Authorization: " + d.b.login.header},
	}
}

func (d *daemon) multipart(size int64) transfer {
	t := d.put(size)
	t.method, t.path = "POST", "/uploads"
	return t.formAround()
}

// upload sends the transfer and returns the id of the upload it made.
func (d *daemon) upload(ctx context.Context, t transfer, piece []byte) (string, time.Duration, error) {
	answer, took, err := t.send(ctx, piece)
	if err != nil {
		return "", 0, err
	}
	var made struct {
		ID   string `json:"id"`
		Size int64  `json:"size"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return "", 0, fmt.Errorf("the answer: %w", err)
	}
	if made.Size != t.size {
		return "", 0, fmt.Errorf("the daemon stored %d bytes of %d", made.Size, t.size)
	}
	return made.ID, took, nil
}

// discard deletes an upload and waits until its bytes have left the disk.
func (d *daemon) discard(ctx context.Context, id string, size int64) error {
	if err := d.b.client.do(ctx, call{method: "DELETE", url: d.url + "/uploads/" + id, header: d.auth(""), want: http.StatusNoContent, length: 0}); err != nil {
		return err
	}
	return d.emptied(ctx, size)
}

// emptied waits until the bytes of what was deleted have left the disk.
func (d *daemon) emptied(ctx context.Context, size int64) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		n, err := usage(d.disk)
		if err != nil {
			return err
		}
		if n < size/2 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d bytes are still there 30 s after their deletion", n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// usage sums the sizes of the files below dir but the database.
func usage(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // reaped meanwhile
		}
		if err != nil || e.IsDir() || e.Name() == "records.db" {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// largeTurn uploads once per round and collects the CPU seconds per GB.
func (b *bench) largeTurn(d *daemon, t transfer, cpu *series) turn {
	piece := noise(1 << 20)
	once := func(ctx context.Context, t transfer) (rate, seconds float64, err error) {
		if err := touchMemory(t.size); err != nil {
			return 0, 0, err
		}
		before, err := d.cpu()
		if err != nil {
			return 0, 0, err
		}
		id, took, err := d.upload(ctx, t, piece)
		if err != nil {
			return 0, 0, err
		}
		after, err := d.cpu()
		if err != nil {
			return 0, 0, err
		}
		return megabytes(t.size, took), (after - before).Seconds() / (float64(t.size) / 1e9), d.discard(ctx, id, t.size)
	}
	return turn{
		warm: func(ctx context.Context) error {
			first := t
			first.size = min(t.size, 64<<20)
			_, _, err := once(ctx, first)
			return err
		},
		measure: func(ctx context.Context) (float64, error) {
			rate, seconds, err := once(ctx, t)
			if err == nil {
				cpu.values = append(cpu.values, seconds)
			}
			return rate, err
		},
	}
}

func (b *bench) nginxLarge(nginx *reference) turn {
	piece := noise(1 << 20)
	once := func(ctx context.Context, size int64) (float64, error) {
		if err := touchMemory(size); err != nil {
			return 0, err
		}
		_, took, err := transfer{addr: nginx.addr, method: "PUT", path: "/large.bin", size: size, want: http.StatusCreated}.send(ctx, piece)
		if err != nil {
			return 0, err
		}
		return megabytes(size, took), os.Remove(filepath.Join(nginx.root, "root", "large.bin"))
	}
	return turn{
		warm: func(ctx context.Context) error {
			_, err := once(ctx, min(b.sizes.large, 64<<20))
			return err
		},
		measure: func(ctx context.Context) (float64, error) { return once(ctx, b.sizes.large) },
	}
}

// largeDownloads: one stored 1 GiB file, beside nginx's sendfile and a bare
// net/http file server over a file of the same size.
func (b *bench) largeDownloads(ctx context.Context) error {
	d, err := b.daemon(ctx, "large-downloads", settings{})
	if err != nil {
		return err
	}
	b.atEnd(d.remove)
	id, _, err := d.upload(ctx, d.put(b.sizes.large), noise(1<<20))
	if err != nil {
		return err
	}
	path := "/uploads/" + id
	if b.want(rowGetLarge) || b.want(rowGetLarge4) {
		nginx, nginxErr := b.nginx(ctx, "downloads")
		if nginxErr == nil {
			b.atEnd(nginx.remove)
			nginxErr = b.largeFile(filepath.Join(nginx.root, "root"))
		}
		for _, r := range []struct {
			name    string
			streams int
			bound   float64
		}{{rowGetLarge, 1, 0.9}, {rowGetLarge4, 4, 1.2}} {
			if !b.want(r.name) {
				continue
			}
			theirs := broken(nginxErr)
			if nginxErr == nil {
				theirs = b.streams(nginx.addr, "/large.bin", r.streams)
			}
			s := b.compete(ctx, theirs, b.streams(d.addr, path, r.streams))
			b.report.compare(r.name, "MB/s", s[1], "nginx sendfile", s[0], leastRatio(r.bound), "")
		}
	}
	if b.want(rowRanges) {
		root := filepath.Join(b.dir, "bare-large")
		if err := errors.Join(os.MkdirAll(root, 0o755), b.largeFile(root)); err != nil {
			return err
		}
		server, err := b.self(ctx, roleFiles, root)
		if err != nil {
			return err
		}
		b.atEnd(server.remove)
		s := b.compete(ctx, b.ranges(server.url+"/large.bin"), b.ranges(d.url+path))
		b.report.compare(rowRanges, "/s", s[1], "file server", s[0], leastRatio(1), "random offsets")
	}
	return nil
}

// largeFile writes large.bin below dir.
func (b *bench) largeFile(dir string) error {
	f, err := os.Create(filepath.Join(dir, "large.bin"))
	if err != nil {
		return err
	}
	defer f.Close()
	piece := noise(1 << 20)
	for range b.sizes.large >> 20 {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	return f.Sync()
}

// streams downloads over n connections at once, twice each.
func (b *bench) streams(addr, path string, n int) turn {
	buffers := make([][]byte, n)
	for i := range buffers {
		buffers[i] = make([]byte, 1<<20)
	}
	once := func(ctx context.Context, each int) (float64, error) {
		errs := make([]error, n)
		begun := time.Now()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for range each {
					if errs[i] == nil {
						errs[i] = receive(ctx, addr, path, b.sizes.large, buffers[i])
					}
				}
			})
		}
		wg.Wait()
		return megabytes(b.sizes.large*int64(n*each), time.Since(begun)), errors.Join(errs...)
	}
	return turn{
		warm: func(ctx context.Context) error {
			_, err := once(ctx, 1)
			return err
		},
		measure: func(ctx context.Context) (float64, error) { return once(ctx, 2) },
	}
}

// ranges asks for 64 KiB at random offsets.
func (b *bench) ranges(url string) turn {
	const size = 64 << 10
	return b.small(16, func(ctx context.Context, _ int) error {
		from := rand.Int64N(b.sizes.large - size)
		return b.client.do(ctx, call{
			method: "GET", url: url, header: http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, from+size-1)}},
			want: http.StatusPartialContent, length: size,
		})
	})
}

// memory watches the daemon during the three loads that ask for most.
func (b *bench) memory(ctx context.Context) error {
	d, err := b.daemon(ctx, "memory", settings{reaper: "@every 1s"})
	if err != nil {
		return err
	}
	b.atEnd(d.remove)
	const streams = 4
	var (
		ids   [streams]string
		piece = noise(1 << 20)
	)
	up := func(ctx context.Context) error {
		var errs [streams]error
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() { ids[i], _, errs[i] = d.upload(ctx, d.multipart(b.sizes.large), piece) })
		}
		wg.Wait()
		return errors.Join(errs[:]...)
	}
	down := func(ctx context.Context) error {
		var errs [streams]error
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() { errs[i] = receive(ctx, d.addr, "/uploads/"+ids[i], b.sizes.large, make([]byte, 1<<20)) })
		}
		wg.Wait()
		return errors.Join(errs[:]...)
	}
	small := func(ctx context.Context) error {
		q, err := d.uploadCall(noise(1 << 10))
		if err != nil {
			return err
		}
		_, err = load{workers: mostWorkers, during: b.sizes.measure}.run(ctx, func(ctx context.Context, _ int) error { return b.client.do(ctx, q) })
		return err
	}
	for _, phase := range []struct {
		name string
		work func(context.Context) error
	}{{rowMemUp, up}, {rowMemDown, down}, {rowMemSmall, small}} {
		stop := d.watch()
		err := phase.work(ctx)
		top, watchErr := stop()
		if err := errors.Join(err, watchErr); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
		if b.want(phase.name) {
			const mb = 1e6
			remark := fmt.Sprintf("RssAnon; VmRSS without records.db %s MB, VmHWM so far %s MB", number(float64(top.beyond)/mb), number(float64(top.peak)/mb))
			b.report.judge(phase.name, "MB", series{values: []float64{float64(top.anon) / mb}}, most(60), remark)
		}
	}
	return nil
}
