package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
	"fileshare/store/postgres"
)

// lateWrites is for how long a write of a node that died may still arrive in
// contents that several nodes share.
const lateWrites = 10 * time.Minute

// backends are what the engine stands on.
type backends struct {
	records  store.Records
	where    string                      // the records are, for people
	compact  func(context.Context) error // nil: nothing to compact
	blobs    store.Blobs
	contents string                // where they are, for people
	free     func() (int64, error) // bytes for contents; nil: no bound
	closers  []func() error
}

// shared tells whether other daemons may use the same records.
func (c *Config) shared() bool { return c.Store.Records != "bolt" }

// remoteBlobs tells whether the contents are in a bucket.
func (c *Config) remoteBlobs() bool { return c.Store.Blobs != "dir" }

// openBackends opens what the configuration names. The records come first:
// where they are bolt's, their lock keeps a second daemon off the directory
// before anything else in it is touched.
func openBackends(ctx context.Context, c *Config, log *slog.Logger) (*backends, error) {
	b := new(backends)
	if err := b.openRecords(ctx, c, log); err != nil {
		return nil, err
	}
	if err := b.openBlobs(ctx, c); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *backends) openRecords(ctx context.Context, c *Config, log *slog.Logger) error {
	if c.shared() {
		db, err := postgres.Open(ctx, c.Store.Records, postgres.Options{
			Connections: int(c.Store.Postgres.Connections), Timeout: time.Duration(c.Store.Postgres.Timeout), Log: log,
		})
		if err != nil {
			return fmt.Errorf("opening the records in PostgreSQL: %w", err)
		}
		b.records, b.where, b.closers = db, db.Name(), append(b.closers, db.Close)
		return nil
	}
	if err := makeDir(c.Store.Dir); err != nil {
		return err
	}
	db, err := bolt.Open(c.Store.Dir, bolt.Options{})
	if errors.Is(err, bolt.ErrInUse) {
		return fmt.Errorf("the data directory %s is in use by another daemon", c.Store.Dir)
	} else if err != nil {
		return fmt.Errorf("opening the records in %s: %w", c.Store.Dir, err)
	}
	b.records, b.where, b.closers = db, db.Path(), append(b.closers, db.Close)
	b.compact = func(ctx context.Context) error { _, err := db.Compact(ctx); return err }
	return nil
}

func (b *backends) openBlobs(ctx context.Context, c *Config) error {
	if c.remoteBlobs() {
		bucket, err := openS3(ctx, c)
		if err != nil {
			return err
		}
		b.blobs, b.contents, b.closers = bucket, c.Store.Blobs, append(b.closers, bucket.Close)
		return nil
	}
	if err := makeDir(c.Store.Dir); err != nil {
		return err
	}
	b.contents = filepath.Join(c.Store.Dir, "blobs")
	blobs, err := dir.Open(b.contents)
	if err != nil {
		return fmt.Errorf("opening the blobs in %s: %w", c.Store.Dir, err)
	}
	b.blobs, b.free, b.closers = blobs, blobs.Free, append(b.closers, blobs.Close)
	return nil
}

// explain says of records and contents that do not belong together where they are,
// and what to do.
func (b *backends) explain(err error) error {
	places := fmt.Sprintf("the records are in %s, the contents in %s", b.where, b.contents)
	switch {
	case errors.Is(err, store.ErrOrphaned):
		return fmt.Errorf("%w; %s: if these are right the records were lost, and have to be put back; else an empty place is needed for the contents", err, places)
	case errors.Is(err, store.ErrForeign):
		return fmt.Errorf("%w; %s: if these are right, \"fileshare fsck --adopt\" makes them belong together; \"fileshare fsck --repair --force\" besides ends and deletes all that is strange", err, places)
	}
	return err
}

// close gives back what was opened, last first.
func (b *backends) close() (err error) {
	for i := len(b.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, b.closers[i]())
	}
	return err
}
