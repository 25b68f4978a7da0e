package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fileshare/store"
	"fileshare/store/dir"
	"fileshare/store/postgres"
)

// node is a daemon as far as records and contents go: an engine with its own
// connections.
type node struct {
	*store.Store
	records *postgres.DB
	blobs   *dir.Dir
}

// open starts n nodes over one schema and one directory.
func (s *scale) open(ctx context.Context, url string, n int, o store.Options) (all []*node, end func() error, err error) {
	contents, err := os.MkdirTemp(s.dir, "contents-")
	if err != nil {
		return nil, nil, err
	}
	end = func() (err error) {
		for _, n := range all {
			err = errors.Join(err, n.Close(), n.records.Close(), n.blobs.Close())
		}
		return errors.Join(err, os.RemoveAll(contents))
	}
	for range n {
		db, err := postgres.Open(ctx, url, postgres.Options{Connections: 16, Timeout: 30 * time.Second})
		if err != nil {
			return nil, nil, errors.Join(err, end())
		}
		blobs, err := dir.Open(filepath.Join(contents, "blobs"))
		if err != nil {
			return nil, nil, errors.Join(err, db.Close(), end())
		}
		engine, err := store.New(ctx, db, blobs, o)
		if err != nil {
			return nil, nil, errors.Join(err, db.Close(), blobs.Close(), end())
		}
		all = append(all, &node{engine, db, blobs})
	}
	return all, end, nil
}

// clients of one node, which upload at the same time.
const clients = 8

// upload stores files of 1 KiB at every node until more says no, which is asked
// before each. Every client has an account of its own, or all have one.
func upload(ctx context.Context, all []*node, ttl time.Duration, oneAccount bool, more func() bool) (stored int, err error) {
	var count atomic.Int64
	var work sync.WaitGroup
	failed := make(chan error, len(all)*clients)
	for i, n := range all {
		for j := range clients {
			caller := store.Caller{Name: "one"}
			if !oneAccount {
				caller.Name = fmt.Sprintf("account-%d-%d", i, j)
			}
			work.Go(func() {
				for more() {
					if err := n.put(ctx, caller, ttl); err != nil {
						failed <- err
						return
					}
					count.Add(1)
				}
			})
		}
	}
	work.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return int(count.Load()), err
}

func (n *node) put(ctx context.Context, caller store.Caller, ttl time.Duration) error {
	c, err := n.Receive(ctx, caller, bytes.NewReader(make([]byte, 1<<10)), store.Incoming{Size: 1 << 10})
	if err != nil {
		return err
	}
	_, err = n.CreateUpload(ctx, caller, store.FileSpec{Name: new("file.bin"), Type: new("application/octet-stream"), TTL: &ttl}, c)
	return err
}

// during asks for more until a time has passed.
func during(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().Before(end) }
}

// times asks for n.
func times(n int) func() bool {
	var left atomic.Int64
	left.Store(int64(n))
	return func() bool { return left.Add(-1) >= 0 }
}

func measureNodes(ctx context.Context, s *scale) error {
	rates := map[string][]float64{}
	for range s.sizes.rounds { // one after the other, so that all see what else the machine does
		for _, n := range nodes {
			for _, one := range []bool{false, true} {
				rate, err := s.uploads(ctx, n, one)
				if err != nil {
					return err
				}
				key := fmt.Sprint(n, one)
				rates[key] = append(rates[key], rate)
			}
		}
	}
	for _, n := range nodes {
		s.say("%d nodes: %5.0f/s, an account per client; %5.0f/s, one account", n, middle(rates[fmt.Sprint(n, false)]), middle(rates[fmt.Sprint(n, true)]))
	}
	return nil
}

// uploads is how many are stored per second by n nodes over an empty schema.
func (s *scale) uploads(ctx context.Context, n int, oneAccount bool) (float64, error) {
	url, err := s.db.NewSchema()
	if err != nil {
		return 0, err
	}
	all, end, err := s.open(ctx, url, n, store.Options{})
	if err != nil {
		return 0, err
	}
	stored, err := upload(ctx, all, time.Hour, oneAccount, during(s.sizes.measure))
	return float64(stored) / s.sizes.measure.Seconds(), errors.Join(err, end())
}

func measureReapers(ctx context.Context, s *scale) error {
	rates := map[int][]float64{}
	for range s.sizes.rounds {
		for _, n := range nodes {
			rate, err := s.reaped(ctx, n)
			if err != nil {
				return err
			}
			rates[n] = append(rates[n], rate)
		}
	}
	for _, n := range nodes {
		s.say("%d nodes: %5.0f/s, each file once", n, middle(rates[n]))
	}
	return nil
}

// reaped is how many expired files n nodes remove per second.
func (s *scale) reaped(ctx context.Context, n int) (float64, error) {
	url, err := s.db.NewSchema()
	if err != nil {
		return 0, err
	}
	all, end, err := s.open(ctx, url, n, store.Options{})
	if err != nil {
		return 0, err
	}
	if _, err := upload(ctx, all, time.Second, false, times(s.sizes.expire)); err != nil {
		return 0, errors.Join(err, end())
	}
	time.Sleep(time.Second) // until the last one has expired
	begin := time.Now()
	removed, err := reap(ctx, all)
	took := time.Since(begin)
	if err = errors.Join(err, end()); err == nil && removed != s.sizes.expire {
		err = fmt.Errorf("%d nodes removed %d files of %d", n, removed, s.sizes.expire)
	}
	return float64(removed) / took.Seconds(), err
}

// middle is the median.
func middle(rates []float64) float64 {
	slices.Sort(rates)
	return rates[len(rates)/2]
}

// reap lets all nodes purge at once until nothing is left.
func reap(ctx context.Context, all []*node) (removed int, err error) {
	var total atomic.Int64
	var work sync.WaitGroup
	failed := make(chan error, len(all))
	for _, n := range all {
		work.Go(func() {
			r, err := n.Purge(ctx)
			total.Add(int64(r.Files))
			failed <- err
		})
	}
	work.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return int(total.Load()), err
}
