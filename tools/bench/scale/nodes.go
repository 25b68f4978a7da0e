package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	s.say("%6s %22s %15s", "nodes", "an account per client", "one account")
	for _, n := range nodes {
		var rates [2]float64
		for i, one := range []bool{false, true} {
			url, err := s.db.NewSchema()
			if err != nil {
				return err
			}
			all, end, err := s.open(ctx, url, n, store.Options{})
			if err != nil {
				return err
			}
			stored, err := upload(ctx, all, time.Hour, one, during(s.sizes.measure))
			if err = errors.Join(err, end()); err != nil {
				return err
			}
			rates[i] = float64(stored) / s.sizes.measure.Seconds()
		}
		s.say("%6d %20.0f/s %13.0f/s", n, rates[0], rates[1])
	}
	return nil
}

func measureReapers(ctx context.Context, s *scale) error {
	for _, n := range nodes {
		url, err := s.db.NewSchema()
		if err != nil {
			return err
		}
		all, end, err := s.open(ctx, url, n, store.Options{})
		if err != nil {
			return err
		}
		if _, err := upload(ctx, all, time.Second, false, times(s.sizes.expire)); err != nil {
			return errors.Join(err, end())
		}
		time.Sleep(time.Second) // until the last one has expired
		begin := time.Now()
		removed, err := reap(ctx, all)
		took := time.Since(begin)
		if err = errors.Join(err, end()); err != nil {
			return err
		}
		if removed != s.sizes.expire {
			return fmt.Errorf("%d nodes removed %d files of %d", n, removed, s.sizes.expire)
		}
		s.say("%d nodes: %6.0f/s, each file once", n, float64(removed)/took.Seconds())
	}
	return nil
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
