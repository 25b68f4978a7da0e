package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Ready reports whether records and blobs can be read and written, within ctx.
// A full disk is ready: what is there is still served. Writing is tried at most
// every few seconds, however often one asks.
func (s *Store) Ready(ctx context.Context) error {
	err := s.records.View(ctx, func(tx Tx) error {
		_, err := tx.Get(MetaRecords, secretID)
		return err
	})
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if s.o.Free != nil {
		if _, err := s.o.Free(); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
	}
	return s.probe.ask(ctx, s.tryWrite)
}

// tryWrite writes one record and one blob.
func (s *Store) tryWrite(ctx context.Context) error {
	if err := s.records.Update(ctx, s.beat); err != nil && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("records: %w", err)
	}
	key := newKey(time.Now())
	s.mu.Lock()
	s.pending[key] = time.Time{} // not for the sweep
	s.mu.Unlock()
	defer s.unpend(key)
	r := run{key: key, count: 1}
	if _, err := s.blobs.Put(ctx, r.blob(0), bytes.NewReader(nil), 0); err != nil && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("blobs: %w", err)
	}
	if err := s.deleteRun(ctx, r); err != nil {
		return fmt.Errorf("blobs: %w", err)
	}
	return nil
}

// probe remembers the outcome of a trial for a few seconds.
type probe struct {
	mu  sync.Mutex
	at  time.Time // guarded by mu, as err
	err error
}

const probeFor = 3 * time.Second

func (p *probe) ask(ctx context.Context, try func(context.Context) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) < probeFor {
		return p.err
	}
	err := try(ctx)
	if ctx.Err() != nil {
		return err // says little of the backends
	}
	p.at, p.err = time.Now(), err
	return err
}
