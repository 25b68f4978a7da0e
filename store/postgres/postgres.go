// Package postgres keeps records in PostgreSQL, or in a database that speaks
// its protocol, so that any number of daemons share them. All documents are in
// one table by collection and id, with an index over what is due.
//
// # Updates
//
// Updates that wait at the same time share one transaction (SERIALIZABLE). Their
// functions run side by side; what they read at a time is asked for in one
// round trip. Then they are put in an order: one that has read what an earlier
// one writes runs again, over what the earlier one writes, which takes no round
// trip, for the snapshot has not changed. So a record that all of them change
// costs as much as one that each has for itself. All writes and the commit go
// out in one last round trip.
//
// A transaction that other nodes stood in the way of, or that lost its
// connection, begins anew; it asks for all that it had read in its first round
// trip, so that it is short and hard to hit again.
//
// # A commit whose answer was lost
//
// A transaction puts a row with a random id into fileshare_commits. When its
// outcome is not known, the same id is put in again: if that succeeds the
// transaction has not committed and never will; if the transaction's row is there already, it
// has. So an Update takes place once.
//
// # Due
//
// Due within an Update skips what other nodes have locked and locks what it
// returns, so that every node reaps and none waits.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"fileshare/store"
)

// Options configures a [DB]. The zero value works.
type Options struct {
	// Connections is how many connections are open at most. Default 16, at
	// least 5; pool_max_conns of the URL comes first.
	Connections int
	// Timeout bounds a statement, the wait for a turn, and the time for which
	// a call is tried again: it fails at last after some three times as long.
	// Default 5 s.
	Timeout time.Duration
	Log     *slog.Logger // default: discards
}

const (
	writers    = 3   // connections: the group, what is due, a commit in doubt
	groupSize  = 64  // most Updates in one transaction
	firstPage  = 64  // documents of the first page of a Scan
	nextPage   = 256 // of the others
	maxID      = 1024
	maxDoc     = 64 << 20
	groupBytes = 8 << 20 // a group that writes more takes no further Update
)

// DB implements [store.Records].
type DB struct {
	o        Options
	readers  *pgxpool.Pool // of Views
	writers  *pgxpool.Pool // of Updates
	colls    map[store.Collection]bool
	queue    queue
	lane     sync.WaitGroup
	markers  markers
	mu       sync.RWMutex
	closed   bool           // guarded by mu
	views    sync.WaitGroup // running ones; added to under mu
	finished sync.WaitGroup // transactions of Views that are being ended
}

var _ store.Records = (*DB)(nil)

// Open connects, brings the tables up to date, and waits for a database that
// does not answer yet. url is a URL (postgres://…) or a DSN as libpq takes it.
// Errors do not repeat it.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	o.Connections = cmp.Or(max(o.Connections, 0), 16)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	db := &DB{o: o, colls: map[store.Collection]bool{}, queue: queue{wake: make(chan struct{}, 1)}}
	for _, c := range store.Collections() {
		db.colls[c] = true
	}
	var err error
	if db.writers, err = db.pool(ctx, url, false); err != nil {
		return nil, err
	}
	if db.readers, err = db.pool(ctx, url, true); err != nil {
		db.writers.Close()
		return nil, err
	}
	if err := db.prepare(ctx); err != nil {
		db.readers.Close()
		db.writers.Close()
		return nil, err
	}
	db.lane.Go(db.work)
	return db, nil
}

// Check tells whether Open can read the URL. The error does not repeat it.
func Check(url string) error {
	if _, err := pgxpool.ParseConfig(url); err != nil {
		return errors.New("a URL like postgres://user:password@host/database?sslmode=verify-full is expected")
	}
	return nil
}

// pool makes one of the two pools. What the URL says comes before our defaults.
func (db *DB) pool(ctx context.Context, url string, reads bool) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, Check(url)
	}
	all := db.o.Connections
	if plain, err := pgx.ParseConfig(url); err == nil {
		if n, err := strconv.Atoi(plain.RuntimeParams["pool_max_conns"]); err == nil {
			all = n
		}
	}
	c.MaxConns = writers
	if reads {
		c.MaxConns = int32(max(all-writers, 2))
	}
	c.MaxConnLifetime, c.MaxConnLifetimeJitter = 30*time.Minute, 5*time.Minute
	c.HealthCheckPeriod = 30 * time.Second
	if c.ConnConfig.ConnectTimeout == 0 || c.ConnConfig.ConnectTimeout > db.o.Timeout {
		c.ConnConfig.ConnectTimeout = db.o.Timeout
	}
	p := c.ConnConfig.RuntimeParams
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	for name, value := range map[string]string{
		"application_name": "fileshare", "statement_timeout": ms(db.o.Timeout), "lock_timeout": ms(db.o.Timeout / 2),
		"idle_in_transaction_session_timeout": ms(6 * db.o.Timeout),
	} {
		p[name] = cmp.Or(p[name], value)
	}
	c.AfterConnect = plans
	return pgxpool.NewWithConfig(ctx, c)
}

// plans keeps PostgreSQL's planner to the indexes: without statistics, or with
// old ones, it reads the whole table, which locks all of it for serializable
// transactions. Another database does not know these settings and needs none.
func plans(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET plan_cache_mode = force_generic_plan`,
		pgx.QueryExecModeSimpleProtocol)
	if code := codeOf(err); code != "" && code != queryCanceled {
		return nil
	}
	return err
}

// prepare applies migrations and forgets commits that nobody asks for.
func (db *DB) prepare(ctx context.Context) error {
	steps, err := history()
	if err != nil {
		return err
	}
	return db.retry(ctx, func(ctx context.Context) error {
		c, err := db.writers.Acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Release()
		applied, err := migrate(ctx, c.Conn(), steps)
		if err != nil {
			return err
		}
		if applied {
			if _, err := c.Exec(ctx, tuning, pgx.QueryExecModeSimpleProtocol); err != nil {
				db.o.Log.Warn("the tables are not tuned", "error", err)
			}
		}
		_, err = c.Exec(ctx, "DELETE FROM fileshare_commits WHERE at < now() - interval '1 day'")
		return err
	})
}

// retry repeats what failed for a reason that may pass, for Timeout. do gets a
// context that bounds one try.
func (db *DB) retry(ctx context.Context, do func(context.Context) error) error {
	var wait backoff
	end := time.Now().Add(db.o.Timeout)
	for {
		err := db.once(ctx, do)
		if err == nil || !retryable(err) || ctx.Err() != nil || time.Now().After(end) {
			return infrastructure(ctx, err)
		}
		wait.pause(ctx)
	}
}

func (db *DB) once(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.o.Timeout)
	defer cancel()
	return do(ctx)
}

// Close implements [store.Records].
func (db *DB) Close() error {
	db.mu.Lock()
	was := db.closed
	db.closed = true
	db.mu.Unlock()
	if was {
		return nil
	}
	db.queue.close()
	db.lane.Wait()
	db.views.Wait()
	db.finished.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), db.o.Timeout)
	defer cancel()
	db.forget(ctx, 0)
	db.readers.Close()
	db.writers.Close()
	return nil
}

// Name says which database it is, for people.
func (db *DB) Name() string {
	c := db.writers.Config().ConnConfig
	name := fmt.Sprintf("database %s at %s", c.Database, c.Host)
	if path := c.RuntimeParams["search_path"]; path != "" {
		name += ", schema " + path
	}
	return name
}

// begin counts a View in.
func (db *DB) begin() error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return ErrClosed
	}
	db.views.Add(1)
	return nil
}

func (db *DB) check(in store.Collection, id []byte) error {
	switch {
	case !db.colls[in]:
		return fmt.Errorf("unknown collection %q", in)
	case len(id) == 0 || len(id) > maxID:
		return fmt.Errorf("id of %d bytes, 1 to %d are expected", len(id), maxID)
	}
	return nil
}
