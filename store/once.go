package store

import (
	"context"
	"crypto/sha256"
	"time"
)

// Once tells whether a value is new: it is true the first time that it is
// asked about, false until ttl has passed since then, on every node and also
// after a restart. It refuses replays (nonces of signed requests). realm keeps
// the values of one user apart from those of another.
func (s *Store) Once(ctx context.Context, realm, value string, ttl time.Duration) (bool, error) {
	first := false
	err := s.update(ctx, func(tx Tx) (err error) {
		first, err = once(tx, s.now(), realm, value, ttl)
		return err
	})
	return first, err
}

// once is Once within an Update.
func once(tx Tx, now time.Time, realm, value string, ttl time.Duration) (first bool, err error) {
	sum := sha256.Sum256(append(text('o', realm), value...))
	doc, err := tx.Get(OnceRecords, sum[:])
	if err != nil {
		return false, err
	}
	var until time.Time
	for x, err := range fields(doc) {
		if err != nil {
			return false, err
		}
		if x.n == 1 {
			until = x.time()
		}
	}
	if now.Before(until) {
		return false, nil
	}
	var e encoder
	e.time(1, now.Add(ttl))
	return true, tx.Put(OnceRecords, sum[:], e, now.Add(ttl))
}
