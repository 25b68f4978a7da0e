package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"fileshare/store/postgres/pgtest"
	"fileshare/store/s3/s3test"
)

const (
	rowOutSmall    = "postgres+s3: upload 1 KiB c=64"
	rowOutPut      = "postgres+s3: upload 1 GiB PUT"
	rowOutForm     = "postgres+s3: upload 1 GiB multipart"
	rowOutGetSmall = "postgres+s3: download 1 KiB c=64"
	rowOutGet      = "postgres+s3: download 1 GiB x1"
	rowOutCycle    = "postgres+s3: session, file, token, download c=64"
	rowOutMemUp    = "postgres+s3: memory, 4 x 1 GiB up"
	rowOutMemDown  = "postgres+s3: memory, 4 x 1 GiB down"
	rowOutPurge    = "postgres: purge of expired records"

	rowOutScaleGet    = "postgres: download 1 KiB c=64 at 1 M records"
	rowOutScaleToken  = "postgres: counted token download c=64 at 1 M records"
	rowOutScaleUpload = "postgres: upload 1 KiB c=64 at 1 M records"
)

func scaleOutNames() []string {
	return []string{rowOutSmall, rowOutPut, rowOutForm, rowOutGetSmall, rowOutGet, rowOutCycle, rowOutMemUp, rowOutMemDown}
}

func scaleRecordsNames() []string {
	return []string{rowOutPurge, rowOutScaleGet, rowOutScaleToken, rowOutScaleUpload}
}

// servers are a PostgreSQL and an S3 server on this machine.
type servers struct {
	db *pgtest.Server
	s3 *s3test.Server
}

// startServers starts both; PostgreSQL syncs, as it does in earnest.
func (b *bench) startServers() (*servers, error) {
	db, err := pgtest.Start("fsync=on", "full_page_writes=on", "shared_buffers=512MB", "max_wal_size=4GB")
	if err != nil {
		return nil, err
	}
	b.atEnd(db.Stop)
	bucket, err := s3test.Start()
	if err != nil {
		return nil, err
	}
	b.atEnd(bucket.Stop)
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": s3test.AccessKey, "AWS_SECRET_ACCESS_KEY": s3test.SecretKey} {
		if err := os.Setenv(name, value); err != nil { // for the daemons
			return nil, err
		}
	}
	return &servers{db, bucket}, nil
}

// settings are those of a daemon over empty backends.
func (s *servers) settings(reaper string) (settings, error) {
	records, err := s.db.NewSchema()
	if err != nil {
		return settings{}, err
	}
	blobs, err := s.s3.NewURL("contents")
	return settings{reaper: reaper, records: records, blobs: blobs, disk: s.s3.Dir()}, err
}

// scaleOut: the pair that several daemons share, beside the pair that needs
// nothing, with one daemon and everything on one machine.
func (b *bench) scaleOut(ctx context.Context) error {
	backends, err := b.startServers()
	if err != nil {
		return err
	}
	shared, err := backends.settings("@every 1s")
	if err != nil {
		return err
	}
	out, err := b.daemon(ctx, "scaleout", shared)
	if err != nil {
		return err
	}
	b.atEnd(out.remove)
	own, err := b.daemon(ctx, "scaleout-own", settings{reaper: "@every 1s"})
	if err != nil {
		return err
	}
	b.atEnd(own.remove)

	pair := func(name, unit string, of func(d *daemon) turn) {
		if b.want(name) {
			s := b.compete(ctx, of(own), of(out))
			b.report.showBeside(name, unit, s[1], "bolt+dir", s[0])
		}
	}
	var cpu series
	// First, since they wait until the disk is empty again, and small uploads stay in
	// the log for a while.
	pair(rowOutPut, "MB/s", func(d *daemon) turn { return b.largeTurn(d, d.put(b.sizes.large), &cpu) })
	pair(rowOutForm, "MB/s", func(d *daemon) turn { return b.largeTurn(d, d.multipart(b.sizes.large), &cpu) })
	pair(rowOutSmall, "/s", func(d *daemon) turn {
		q, err := d.uploadCall(noise(1 << 10))
		if err != nil {
			return broken(err)
		}
		return b.small(64, func(ctx context.Context, _ int) error { return b.client.do(ctx, q) })
	})
	pair(rowOutGetSmall, "/s", func(d *daemon) turn {
		paths, err := d.fillByUploads(ctx, 1000, 1<<10)
		if err != nil {
			return broken(err)
		}
		return b.gets(d, paths, 1<<10)
	})
	pair(rowOutGet, "MB/s", func(d *daemon) turn {
		id, _, err := d.upload(ctx, d.put(b.sizes.large), noise(1<<20))
		if err != nil {
			return broken(err)
		}
		return b.streams(d.addr, "/uploads/"+id, 1)
	})
	pair(rowOutCycle, "/s", func(d *daemon) turn { return b.cycles(d) })
	return b.scaleOutMemory(ctx, out)
}

// scaleOutMemory watches the daemon while it moves large files, whose length it
// does not know beforehand.
func (b *bench) scaleOutMemory(ctx context.Context, d *daemon) error {
	const streams, mb = 4, 1e6
	var ids [streams]string
	all := func(one func(i int) error) error {
		var errs [streams]error
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() { errs[i] = one(i) })
		}
		wg.Wait()
		return errors.Join(errs[:]...)
	}
	piece := noise(1 << 20)
	for _, phase := range []struct {
		row string
		one func(i int) error
	}{
		{rowOutMemUp, func(i int) (err error) {
			ids[i], _, err = d.upload(ctx, d.multipart(b.sizes.large), piece)
			return err
		}},
		{rowOutMemDown, func(i int) error {
			return receive(ctx, d.addr, "/uploads/"+ids[i], b.sizes.large, make([]byte, 1<<20))
		}},
	} {
		if !b.wantAny([]string{rowOutMemUp, rowOutMemDown}) {
			return nil
		}
		stop := d.watch()
		err := all(phase.one)
		top, watchErr := stop()
		if err := errors.Join(err, watchErr); err != nil {
			return fmt.Errorf("%s: %w", phase.row, err)
		}
		if b.want(phase.row) {
			b.report.show(phase.row, "MB", series{values: []float64{float64(top.anon) / mb}}, "RssAnon; store.s3.memory is 128 MiB")
		}
	}
	return nil
}

// scaleRecords: many records in PostgreSQL beside few.
func (b *bench) scaleRecords(ctx context.Context) error {
	const size = 1 << 10
	backends, err := b.startServers()
	if err != nil {
		return err
	}
	database := func(name string, n int, ttl time.Duration, reaper string) (*daemon, []string, error) {
		s, err := backends.settings(reaper)
		if err != nil {
			return nil, nil, err
		}
		s.blobs = "" // all contents are records
		paths, err := b.fillOver(ctx, name, s.records, n, size, ttl)
		if err != nil {
			return nil, nil, err
		}
		d, err := b.daemon(ctx, name, s)
		return d, paths, err
	}
	if b.want(rowOutPurge) {
		n := b.sizes.records / 5
		d, _, err := database("pg-expired", n, time.Second, "@every 2s")
		if err != nil {
			return err
		}
		p, err := d.watchPurge(ctx, n)
		if err := errors.Join(err, d.remove()); err != nil {
			return err
		}
		b.report.show(rowOutPurge, "/s", series{values: []float64{p.rate(n)}}, fmt.Sprintf("%d records of 1 KiB, nothing else running; once", n))
	}
	if !b.wantAny([]string{rowOutScaleGet, rowOutScaleToken, rowOutScaleUpload}) {
		return nil
	}
	large, many, err := database("pg-many", b.sizes.records, 24*time.Hour, "")
	if err != nil {
		return err
	}
	b.atEnd(large.remove)
	small, few, err := database("pg-few", b.sizes.few, 24*time.Hour, "")
	if err != nil {
		return err
	}
	b.atEnd(small.remove)
	row := func(name string, of func(d *daemon, paths []string) turn) {
		if b.want(name) {
			s := b.compete(ctx, of(small, few), of(large, many))
			b.report.compare(name, "/s", s[1], fmt.Sprintf("at %d k", b.sizes.few/1000), s[0], leastRatio(0.8), fmt.Sprintf("%d records", b.sizes.records))
		}
	}
	row(rowOutScaleGet, func(d *daemon, paths []string) turn { return b.gets(d, paths, size) })
	row(rowOutScaleToken, func(d *daemon, _ []string) turn { return b.tokenGets(d) })
	row(rowOutScaleUpload, func(d *daemon, _ []string) turn { return b.briefUploads(d, size) })
	return nil
}

// briefUploads is a turn of uploads that is so short that it makes a small
// database hardly larger.
func (b *bench) briefUploads(d *daemon, size int) turn {
	q, err := d.uploadCall(noise(size))
	if err != nil {
		return broken(err)
	}
	upload := func(ctx context.Context, _ int) error { return b.client.do(ctx, q) }
	return turn{
		warm: func(ctx context.Context) error { return upload(ctx, 0) }, // it is the one that verifies the password
		measure: func(ctx context.Context) (float64, error) {
			s, err := load{workers: 64, during: min(b.sizes.measure, time.Second)}.run(ctx, upload)
			return s.rate(), err
		},
	}
}

// cycles is what a telephone call's file transfer does, from its session to its
// one download, over and over.
func (b *bench) cycles(d *daemon) turn {
	const size = 1 << 10
	content := noise(size)
	return b.small(64, func(ctx context.Context, _ int) error {
		session, err := d.create(ctx, d.postCall("/sessions"))
		if err != nil {
			return err
		}
		path, err := d.sessionFile(ctx, session, content)
		if err != nil {
			return err
		}
		token, err := d.create(ctx, d.postCall(path+"/tokens"))
		if err != nil {
			return err
		}
		return b.client.do(ctx, call{method: "GET", url: d.url + path + "/tokens/" + token, want: http.StatusOK, length: size})
	})
}
