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
	sum := sha256.Sum256(append(text('o', realm), value...))
	first := false
	err := s.update(ctx, func(tx Tx) error {
		now := s.now()
		doc, err := tx.Get(OnceRecords, sum[:])
		if err != nil {
			return err
		}
		var until time.Time
		for x, err := range fields(doc) {
			if err != nil {
				return err
			}
			if x.n == 1 {
				until = x.time()
			}
		}
		if first = !now.Before(until); !first {
			return nil
		}
		var e encoder
		e.time(1, now.Add(ttl))
		return tx.Put(OnceRecords, sum[:], e, now.Add(ttl))
	})
	return first, err
}
