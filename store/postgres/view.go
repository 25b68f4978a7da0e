package postgres

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"fileshare/store"
)

// View implements [store.Records]. The transaction begins together with the
// first read; until that has been answered it is tried again, for fn has seen
// nothing.
func (db *DB) View(ctx context.Context, fn func(store.Tx) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := db.begin(); err != nil {
		return err
	}
	defer db.views.Done()
	t := &viewTx{db: db, ctx: ctx}
	defer t.end()
	return fn(t)
}

// viewTx is the Tx of one View.
type viewTx struct {
	db   *DB
	ctx  context.Context
	conn *pgxpool.Conn // nil before the first read
	err  error         // it cannot go on
}

var _ store.Tx = (*viewTx)(nil)

// end gives the connection back. That takes a round trip nobody waits for.
func (t *viewTx) end() {
	conn := t.conn
	if conn == nil {
		return
	}
	t.conn = nil
	t.db.finished.Go(func() {
		defer conn.Release()
		ctx, cancel := context.WithTimeout(context.Background(), t.db.o.Timeout)
		defer cancel()
		if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
			_ = conn.Conn().Close(ctx)
		}
	})
}

// ask sends one statement and passes its rows to read.
func (t *viewTx) ask(read func(pgx.Rows) error, sql string, args ...any) error {
	if t.err != nil {
		return t.err
	}
	if t.conn == nil {
		return t.keep(t.db.retry(t.ctx, func(ctx context.Context) error {
			conn, err := t.db.readers.Acquire(ctx)
			if err != nil {
				return err
			}
			var b pgx.Batch
			b.Queue(beginView)
			b.Queue(sql, args...)
			answers := conn.SendBatch(ctx, &b)
			_, err = answers.Exec()
			if err == nil {
				err = t.rows(answers.Query, read)
			}
			if e := answers.Close(); err == nil {
				err = e
			}
			if err != nil {
				_ = conn.Conn().Close(ctx)
				conn.Release()
				return err
			}
			t.conn = conn
			return nil
		}))
	}
	return t.keep(infrastructure(t.ctx, t.db.once(t.ctx, func(ctx context.Context) error {
		return t.rows(func() (pgx.Rows, error) { return t.conn.Query(ctx, sql, args...) }, read)
	})))
}

func (t *viewTx) keep(err error) error {
	t.err = err
	return err
}

func (t *viewTx) rows(query func() (pgx.Rows, error), read func(pgx.Rows) error) error {
	rows, err := query()
	if err != nil {
		return err
	}
	return read(rows)
}

// Get implements [store.Tx].
func (t *viewTx) Get(in store.Collection, id []byte) (doc []byte, err error) {
	if err := t.db.check(in, id); err != nil {
		return nil, err
	}
	err = t.ask(func(rows pgx.Rows) error {
		doc = nil
		found, err := items(rows, false)
		if len(found) > 0 {
			doc = found[0].Doc
		}
		return err
	}, selectDocs, string(in), [][]byte{id})
	return doc, err
}

// Scan implements [store.Tx].
func (t *viewTx) Scan(in store.Collection, prefix, from []byte) iter.Seq2[store.Item, error] {
	return pages(t.db, spanOf(in, prefix, from), func(s span, limit int) (page []store.Item, err error) {
		err = t.ask(func(rows pgx.Rows) (err error) {
			page, err = items(rows, true)
			return err
		}, selectPage, string(s.in), []byte(s.prefix), []byte(s.end), limit)
		return page, err
	})
}

// pages makes the sequence of a Scan of its pages.
func pages(db *DB, s span, page func(s span, limit int) ([]store.Item, error)) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := db.check(s.in, []byte{0}); err != nil {
			yield(store.Item{}, err)
			return
		}
		for limit := firstPage; s.end > s.prefix; limit = nextPage {
			found, err := page(s, limit)
			if err != nil {
				yield(store.Item{}, err)
				return
			}
			for _, it := range found {
				if !yield(it, nil) {
					return
				}
			}
			if len(found) < limit {
				return
			}
			s.end = string(found[len(found)-1].ID)
		}
	}
}

// Due implements [store.Tx].
func (t *viewTx) Due(in store.Collection, now time.Time, limit int) (all []store.Item, err error) {
	if err := t.db.check(in, []byte{0}); err != nil || limit <= 0 {
		return nil, err
	}
	err = t.ask(func(rows pgx.Rows) (err error) {
		all, err = items(rows, true)
		return err
	}, selectDue, string(in), now.UnixMilli(), limit)
	byDue(all)
	return all, err
}

// Put implements [store.Tx].
func (t *viewTx) Put(store.Collection, []byte, []byte, time.Time) error { return errReadOnly }

// Delete implements [store.Tx].
func (t *viewTx) Delete(store.Collection, []byte) error { return errReadOnly }
