package store

import (
	"context"
	"errors"
	"time"
)

// A running daemon is a record with an end; reservations name it. When its
// record is gone or over, what it had in flight is doubtful and its uses are
// free to be continued.

const (
	nodeLease = 30 * time.Second // how long a node without heartbeat counts as alive
	nodeBeat  = 10 * time.Second
)

// enter writes this node's record. Where the records are ours alone every
// other node is a dead one.
func (s *Store) enter(ctx context.Context) error {
	return s.records.Update(ctx, func(tx Tx) error {
		if err := mayServe(tx); err != nil {
			return err
		}
		if s.o.Exclusive {
			for item, err := range tx.Scan(NodeRecords, nil, nil) {
				if err != nil {
					return err
				}
				if err := tx.Delete(NodeRecords, item.ID); err != nil {
					return err
				}
			}
		}
		return s.beat(tx)
	})
}

// beat renews this node's record. A node that is alone needs no end.
func (s *Store) beat(tx Tx) error {
	var e encoder
	var until time.Time
	if !s.o.Exclusive {
		until = time.Now().Add(nodeLease)
	}
	e.time(1, until)
	return tx.Put(NodeRecords, s.node[:], e, until)
}

func (s *Store) leave(ctx context.Context) error {
	return s.records.Update(ctx, func(tx Tx) error { return tx.Delete(NodeRecords, s.node[:]) })
}

// heartbeat renews the node's record, and what it holds, until ctx ends.
func (s *Store) heartbeat(ctx context.Context) {
	tick := time.NewTicker(nodeBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err := errors.Join(s.records.Update(ctx, s.beat), s.hold(ctx))
			if err != nil && ctx.Err() == nil {
				s.o.Log.Error("heartbeat", "error", err)
			}
		}
	}
}

// alive returns a function that tells whether a node lives, for use in tx.
func (s *Store) alive(tx Tx, now time.Time) func(Key) bool {
	return func(node Key) bool {
		if node == s.node {
			return true
		}
		doc, err := tx.Get(NodeRecords, node[:])
		if err != nil || doc == nil {
			return false
		}
		lives, err := nodeLives(doc, now)
		return lives || err != nil
	}
}

// nodeLives tells whether a node's record says that it is at work.
func nodeLives(doc []byte, now time.Time) (bool, error) {
	for f, err := range fields(doc) {
		if err != nil {
			return false, err
		}
		if f.n == 1 {
			return f.time().After(now), nil
		}
	}
	return true, nil // without an end
}
