package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
	"fileshare/store/postgres"
)

// fill is the role that makes uploads through the engine itself, without
// HTTP, in a process of its own. It writes their ids to a file, one a line.
func fill(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet(roleFill, flag.ContinueOnError)
	data := flags.String("dir", "", "data directory")
	url := flags.String("records", "", "PostgreSQL instead of the data directory")
	count := flags.Int("n", 0, "uploads")
	size := flags.Int("size", 1<<10, "bytes of each")
	ttl := flags.Duration("ttl", time.Hour, "of each")
	owner := flags.String("owner", "", "account")
	ids := flags.String("ids", "", "file for their ids")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(*data, 0o700); err != nil {
		return err
	}
	records, err := openRecords(ctx, *data, *url)
	if err != nil {
		return fmt.Errorf("opening the records: %w", err)
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	blobs, err := dir.Open(filepath.Join(*data, "blobs"))
	if err != nil {
		return fmt.Errorf("opening the blobs: %w", err)
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	s, err := store.New(ctx, records, blobs, store.Options{Exclusive: *url == ""})
	if err != nil {
		return fmt.Errorf("opening the engine: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	out, err := os.Create(*ids)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	lines := bufio.NewWriterSize(out, 1<<20)
	var mu sync.Mutex // of lines
	content := noise(*size)
	caller := store.Caller{Name: *owner}
	spec := store.FileSpec{Name: new("bench.bin"), Type: new("application/octet-stream"), TTL: ttl}
	_, err = load{workers: mostWorkers, count: *count}.run(ctx, func(ctx context.Context, _ int) error {
		body, err := s.Receive(ctx, caller, bytes.NewReader(content), store.Incoming{Size: int64(len(content))})
		if err != nil {
			return err
		}
		defer body.Discard()
		file, err := s.CreateUpload(ctx, caller, spec, body)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		_, err = lines.WriteString(file.ID + "\n")
		return err
	})
	return errors.Join(err, lines.Flush())
}

func openRecords(ctx context.Context, dir, url string) (store.Records, error) {
	if url != "" {
		return postgres.Open(ctx, url, postgres.Options{})
	}
	return bolt.Open(dir, bolt.Options{})
}

// fill fills the data directory name and returns the paths of the uploads.
func (b *bench) fill(ctx context.Context, name string, count, size int, ttl time.Duration) ([]string, error) {
	return b.fillOver(ctx, name, "", count, size, ttl)
}

// fillOver is fill with the records in PostgreSQL, unless url is empty.
func (b *bench) fillOver(ctx context.Context, name, url string, count, size int, ttl time.Duration) ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ids := filepath.Join(b.dir, name+".ids")
	cmd := exec.CommandContext(ctx, program, roleFill, "-dir", filepath.Join(b.dir, name), "-records", url, "-n", strconv.Itoa(count),
		"-size", strconv.Itoa(size), "-ttl", ttl.String(), "-owner", b.login.name, "-ids", ids)
	cmd.Env = cleanEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("filling %s with %d records: %w: %s", name, count, err, out)
	}
	data, err := os.ReadFile(ids)
	if err != nil {
		return nil, err
	}
	paths := make([]string, 0, count)
	for line := range strings.Lines(string(data)) {
		paths = append(paths, "/uploads/"+strings.TrimSuffix(line, "\n"))
	}
	if len(paths) != count {
		return nil, fmt.Errorf("filling %s: %d records of %d", name, len(paths), count)
	}
	return paths, nil
}

// clone makes the data directory to a copy of from.
func (b *bench) clone(from, to string) error {
	to = filepath.Join(b.dir, to)
	return errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(filepath.Join(b.dir, from))))
}
