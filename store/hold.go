package store

import (
	"context"
	"time"
)

// A content that is being written is in no record, and to another node what is in
// none for an hour is an orphan. So a node holds what it has been writing for long:
// that is a record, renewed with its heartbeat, which a sweep takes for one of a
// file. A hold that has lapsed does not come back, and what is not held in time
// gets no record any more: somebody may have swept it.

const (
	holdFrom = 15 * time.Minute // how old a run is when it is held, and then the time between renewals
	holdLast = 45 * time.Minute // how old one is that nobody holds without being an orphan
	holdFor  = time.Hour        // after the last renewal
	holdMost = 1000             // in one Update
)

// hold holds, or goes on to hold, what has been being written for long.
func (s *Store) hold(ctx context.Context) error {
	now := s.now()
	var keys []Key
	s.mu.Lock()
	for key, held := range s.pending {
		if key.before(now.Add(-holdFrom)) && now.Sub(held) >= holdFrom && len(keys) < holdMost {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	err := s.records.Update(ctx, func(tx Tx) error {
		for _, key := range keys {
			held, err := isHeld(tx, key)
			if err == nil && (held || !key.before(now.Add(-holdLast))) {
				err = tx.Put(HoldRecords, key[:], nil, now.Add(holdFor))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if _, still := s.pending[key]; still {
			s.pending[key] = now
		}
	}
	return nil
}

func isHeld(tx Tx, run Key) (bool, error) {
	doc, err := tx.Get(HoldRecords, run[:])
	return doc != nil, err
}

// refer notes whose content a run is that this node has written.
func (s *Store) refer(tx Tx, run, file Key) error {
	if !s.o.Exclusive && run.before(s.now().Add(-holdLast)) {
		held, err := isHeld(tx, run)
		if err != nil {
			return err
		}
		if !held {
			return Refuse(Unavailable, "the records could not be reached for too long while the content came")
		}
		if err := tx.Delete(HoldRecords, run[:]); err != nil {
			return err
		}
	}
	return tx.Put(IndexRecords, runID(run), file[:], time.Time{})
}

// referred tells whether a run belongs to a file, or will.
func referred(tx Tx, run Key) (bool, error) {
	doc, err := tx.Get(IndexRecords, runID(run))
	if err != nil || doc != nil {
		return doc != nil, err
	}
	return isHeld(tx, run)
}
