package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// work runs group after group until the queue is closed and empty.
func (db *DB) work() {
	var next []*request
	for {
		members := db.queue.take(next)
		if len(members) == 0 {
			return
		}
		next = db.transact(members)
	}
}

// transact brings some Updates to an end, however often it has to begin anew,
// within Timeout. It returns those that belong to the next group.
func (db *DB) transact(members []*request) []*request {
	var wait backoff
	var known []key
	end := time.Now().Add(db.o.Timeout)
	for {
		g := &group{db: db, events: make(chan event), cache: map[key][]byte{}, writes: map[key]write{}}
		done, later, err := g.run(members, known)
		if err != nil && g.marker != nil {
			if err = db.resolve(g.marker, err); err == nil {
				db.markers.add(g.marker)
			}
		}
		members = slices.DeleteFunc(members, func(r *request) bool { return r == nil })
		switch {
		case err == nil:
			for _, d := range done {
				d.r.done <- d.err
			}
			db.clean()
			return later
		case len(members) == 0:
			return nil
		case retryable(err) && time.Now().Before(end):
			if lost(err) {
				db.writers.Reset() // the others are likely to be lost, too
			}
			known = g.known()
			wait.pause(context.Background())
		case !retryable(err) && !unknown(err) && len(members) > 1:
			// One of them cannot be done; the others shall not suffer.
			for _, r := range members {
				for rest := []*request{r}; len(rest) > 0; {
					rest = db.transact(rest)
				}
			}
			return nil
		default:
			for _, r := range members {
				r.done <- infrastructure(context.Background(), err)
			}
			return nil
		}
	}
}

// mostKnown bounds what a new try reads ahead.
const mostKnown = 10_000

// known returns the documents that this try has read.
func (g *group) known() []key {
	keys := make([]key, 0, min(len(g.cache), mostKnown))
	for k := range g.cache {
		if len(keys) == mostKnown {
			break
		}
		keys = append(keys, k)
	}
	return keys
}

// resolve finds out what became of a commit whose answer was lost: nil if it has
// taken place, a retryable error if it has not and never will.
func (db *DB) resolve(marker []byte, cause error) error {
	free := false
	err := db.retry(context.Background(), func(ctx context.Context) error {
		return db.writers.QueryRow(ctx, settle, marker).Scan(&free) // waits for a transaction that is still under way
	})
	switch {
	case err != nil:
		return &unknownError{fmt.Errorf("it is not known whether the commit took place: %w", cause)}
	case free:
		db.markers.add(marker)
		return &retryError{cause}
	}
	return nil
}

// markers are the rows of commits whose answers have arrived: nobody needs
// them any more.
type markers struct {
	mu   sync.Mutex
	list [][]byte // guarded by mu
	busy bool     // guarded by mu: some are being deleted
}

// mostMarkers is how many rows may pile up.
const mostMarkers = 256

func (m *markers) add(marker []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, marker)
}

func (m *markers) many() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.list) > mostMarkers && !m.busy
}

// take returns the markers if there are more than least.
func (m *markers) take(least int) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy || len(m.list) <= least {
		return nil
	}
	list := m.list
	m.list, m.busy = nil, true
	return list
}

func (m *markers) taken() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = false
}

// clean deletes markers once in a while, beside the next groups.
func (db *DB) clean() {
	if !db.markers.many() {
		return
	}
	db.finished.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), db.o.Timeout)
		defer cancel()
		db.forget(ctx, mostMarkers)
	})
}

// forget deletes markers if there are more than least. What fails is left to
// the next start.
func (db *DB) forget(ctx context.Context, least int) {
	list := db.markers.take(least)
	if list == nil {
		return
	}
	defer db.markers.taken()
	if _, err := db.writers.Exec(ctx, unmark, list); err != nil {
		db.o.Log.Debug("markers of commits are left", "error", err)
	}
}
