package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

const (
	rowGet   = "download 1 KiB c=64"
	rowToken = "counted token download 1 KiB c=64"
	rowCycle = "session + file + PUT + token + download c=64"
)

// uploadRow is a row of small uploads.
type uploadRow struct {
	name    string
	size    int
	workers int
	ratio   float64 // of nginx's PUT, at least
	peer    string  // the part of the target that names transfer.sh, if any
}

func smallUploadRows() []uploadRow {
	const published = "not measured (transfer.sh cannot be had); published elsewhere: "
	return []uploadRow{
		{"upload 1 KiB c=64", 1 << 10, 64, 1.2, "≥ 4 x transfer.sh: " + published + "4,097/s"},
		{"upload 1 KiB c=16", 1 << 10, 16, 0.8, "≥ 4 x transfer.sh: " + published + "2,009/s"},
		{"upload 1 KiB c=1", 1 << 10, 1, 0.35, "≥ 1 x transfer.sh: " + published + "860–1,900/s"},
		{"upload 16 KiB c=64", 16 << 10, 64, 0.8, ""},
	}
}

func smallUploadNames() []string {
	var names []string
	for _, r := range smallUploadRows() {
		names = append(names, r.name)
	}
	return names
}

// smallUploads: durable multipart uploads with Basic auth through the whole
// daemon, beside nginx's undurable PUT.
func (b *bench) smallUploads(ctx context.Context) error {
	for i, row := range smallUploadRows() {
		if !b.want(row.name) {
			continue
		}
		if err := b.smallUploadRow(ctx, "small"+strconv.Itoa(i), row); err != nil {
			return err
		}
	}
	return nil
}

// smallUploadRow measures a row over servers of its own, so that rows do not
// search each other's records and directories.
func (b *bench) smallUploadRow(ctx context.Context, name string, row uploadRow) (err error) {
	var theirs turn
	if nginx, err := b.nginx(ctx, name); err != nil {
		theirs = broken(err)
	} else {
		b.atEnd(nginx.stop)
		theirs = b.nginxPuts(nginx, row)
	}
	d, err := b.daemon(ctx, name, settings{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	q, err := d.uploadCall(noise(row.size))
	if err != nil {
		return err
	}
	ours := b.small(row.workers, func(ctx context.Context, _ int) error { return b.client.do(ctx, q) })
	var perOp []float64
	ours.measure = func(ctx context.Context) (float64, error) {
		before, err := d.cpu()
		if err != nil {
			return 0, err
		}
		s, err := load{workers: row.workers, during: b.sizes.measure}.run(ctx, func(ctx context.Context, _ int) error { return b.client.do(ctx, q) })
		if err != nil {
			return 0, err
		}
		after, err := d.cpu()
		perOp = append(perOp, float64((after-before).Microseconds())/1e3/float64(s.ops))
		return s.rate(), err
	}
	s := b.compete(ctx, theirs, ours)
	remark := fmt.Sprintf("%s ms CPU per upload", number(median(perOp)))
	if row.peer != "" {
		remark += "; " + row.peer
	}
	b.report.compare(row.name, "/s", s[1], "nginx PUT", s[0], leastRatio(row.ratio), remark)
	return nil
}

// nginxPuts is nginx's side of a row. Each file has a name of its own, each
// measurement a directory of its own.
func (b *bench) nginxPuts(nginx *reference, row uploadRow) turn {
	content := noise(row.size)
	var files, measured atomic.Int64
	t := b.small(row.workers, func(ctx context.Context, _ int) error {
		dir := fmt.Sprintf("%d-%d-%d/", row.size, row.workers, measured.Load())
		return b.client.do(ctx, nginx.putCall(dir, int(files.Add(1)), content))
	})
	return turn{
		warm: t.warm,
		measure: func(ctx context.Context) (float64, error) {
			measured.Add(1)
			return t.measure(ctx)
		},
	}
}

// smallDownloads: by link beside a bare file server, and counted by token.
func (b *bench) smallDownloads(ctx context.Context) (err error) {
	const size, files = 1 << 10, 1000
	d, err := b.daemon(ctx, "downloads", settings{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	if b.want(rowGet) {
		paths, err := d.fillByUploads(ctx, files, size)
		if err != nil {
			return err
		}
		s := b.compete(ctx, b.fileServerGets(ctx, files, size), b.gets(d, paths, size))
		b.report.compare(rowGet, "/s", s[1], "file server", s[0], leastRatio(0.9), "by link")
	}
	if b.want(rowToken) {
		s := b.compete(ctx, b.tokenGets(d))
		b.report.judge(rowToken, "/s", s[0], least(5000), "durable: each download is reserved and settled; every token used once")
	}
	return nil
}

// gets downloads the paths in turn.
func (b *bench) gets(d *daemon, paths []string, size int) turn {
	return b.small(64, func(ctx context.Context, i int) error {
		// A stride that is prime to most counts: neighbours in time are not neighbours in the tree.
		return b.client.do(ctx, d.getCall(paths[i*7919%len(paths)], size))
	})
}

// fileServerGets is the same from a bare net/http file server, which ends with
// the group.
func (b *bench) fileServerGets(ctx context.Context, files, size int) turn {
	root := filepath.Join(b.dir, "bare-small")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return broken(err)
	}
	content := noise(size)
	for i := range files {
		if err := os.WriteFile(filepath.Join(root, strconv.Itoa(i)), content, 0o644); err != nil {
			return broken(err)
		}
	}
	server, err := b.self(ctx, roleFiles, root)
	if err != nil {
		return broken(err)
	}
	b.atEnd(server.remove)
	return b.small(64, func(ctx context.Context, i int) error {
		return b.client.do(ctx, call{method: "GET", url: server.url + "/" + strconv.Itoa(i%files), want: http.StatusOK, length: int64(size)})
	})
}

// tokenGets downloads by tokens that allow one download each; each round
// makes its tokens beforehand.
func (b *bench) tokenGets(d *daemon) turn {
	const size = 1 << 10
	return only(func(ctx context.Context) (float64, error) {
		paths, err := d.tokens(ctx, b.sizes.tokens, size)
		if err != nil {
			return 0, fmt.Errorf("preparing tokens: %w", err)
		}
		if err := b.settle(); err != nil {
			return 0, err
		}
		s, err := load{workers: 64, count: len(paths)}.run(ctx, func(ctx context.Context, i int) error {
			return b.client.do(ctx, d.getCall(paths[i], size))
		})
		return s.rate(), err
	})
}

// fillByUploads uploads n files and returns the paths of their links.
func (d *daemon) fillByUploads(ctx context.Context, n, size int) ([]string, error) {
	q, err := d.uploadCall(noise(size))
	if err != nil {
		return nil, err
	}
	paths := make([]string, n)
	_, err = load{workers: 64, count: n}.run(ctx, func(ctx context.Context, i int) error {
		id, err := d.create(ctx, q)
		paths[i] = "/uploads/" + id
		return err
	})
	return paths, err
}

// tokens makes n tokens for one download each, spread over files of one
// session, and returns the paths of their links.
func (d *daemon) tokens(ctx context.Context, n, size int) ([]string, error) {
	session, err := d.create(ctx, d.postCall("/sessions"))
	if err != nil {
		return nil, err
	}
	files := make([]string, 256)
	content := noise(size)
	if _, err := (load{workers: 64, count: len(files)}).run(ctx, func(ctx context.Context, i int) error {
		path, err := d.sessionFile(ctx, session, content)
		files[i] = path
		return err
	}); err != nil {
		return nil, err
	}
	paths := make([]string, n)
	_, err = load{workers: 64, count: n}.run(ctx, func(ctx context.Context, i int) error {
		path := files[i%len(files)] + "/tokens"
		id, err := d.create(ctx, d.postCall(path))
		paths[i] = path + "/" + id
		return err
	})
	return paths, err
}

// sessionFile makes a file of a session with its content and returns its path.
func (d *daemon) sessionFile(ctx context.Context, session string, content []byte) (string, error) {
	path := "/sessions/" + session + "/files"
	id, err := d.create(ctx, d.postCall(path))
	if err != nil {
		return "", err
	}
	path += "/" + id
	return path, d.b.client.do(ctx, call{
		method: "PUT", url: d.url + path, header: d.auth("application/octet-stream"),
		body: content, want: http.StatusOK, length: -1,
	})
}

// postCall makes something out of nothing: a session, a file, a token.
func (d *daemon) postCall(path string) call {
	return call{method: "POST", url: d.url + path, header: d.auth(""), want: http.StatusCreated}
}

// create sends the request and returns the id of what it made.
func (d *daemon) create(ctx context.Context, q call) (string, error) {
	answer, err := d.b.client.fetch(ctx, q)
	if err != nil {
		return "", err
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return "", fmt.Errorf("%s: the answer: %w", q.method, err)
	}
	if made.ID == "" {
		return "", fmt.Errorf("%s: the answer has no id", q.method)
	}
	return made.ID, nil
}

// cycle is what a telephone call's file transfer does, from its session to
// its one download.
func (b *bench) cycle(ctx context.Context) (err error) {
	d, err := b.daemon(ctx, "cycle", settings{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	s := b.compete(ctx, b.cycles(d))
	b.report.judge(rowCycle, "/s", s[0], least(1500), "five requests each, four of them durable writes, the download counted")
	return nil
}
