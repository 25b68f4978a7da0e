package postgres

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"fileshare/store"
)

// group is one transaction for some Updates.
type group struct {
	db     *DB
	conn   *pgxpool.Conn
	events chan event     // from the functions
	cache  map[key][]byte // documents as the transaction's snapshot has them, nil: none
	writes map[key]write  // of the functions that have been accepted
	begun  bool           // the transaction
	bytes  int            // of writes
	err    error          // of the database: the transaction cannot go on
	marker []byte         // of the commit, once it is under way
}

// event is what a running function tells its group: it needs something, or it
// has ended.
type event struct {
	need  *need
	ended *updateTx
}

// result is how an Update of a group ended.
type result struct {
	r   *request
	err error
}

// run makes one try. known is what an earlier try has read. Without an error
// it returns the results of those that are done, and the requests for the next
// group, in order.
func (g *group) run(members []*request, known []key) (done []result, later []*request, err error) {
	if g.conn, err = acquire(g.db); err != nil {
		return nil, nil, err
	}
	defer g.release()
	if len(known) > 0 {
		g.ask(nil, known)
	}
	if g.err != nil {
		return nil, nil, g.err
	}
	runs := make([]*updateTx, len(members))
	for i, r := range members {
		runs[i] = g.start(r)
	}
	g.pump(len(runs))
	for i, t := range runs {
		switch {
		case t.gone:
			members[i] = nil // its caller has left
			continue
		case g.err != nil:
			continue // see to it that all have ended, and whether they are there
		}
		if t.stale() {
			if !t.searched() && g.bytes < groupBytes {
				t = g.start(t.r)
				g.pump(1)
			} else {
				t.later = true
			}
		}
		switch {
		case t.gone:
			members[i] = nil
		case t.later || g.bytes >= groupBytes && len(t.writes) > 0:
			later = append(later, t.r)
		default:
			g.accept(t)
			done = append(done, result{t.r, t.err})
		}
	}
	if g.err != nil {
		return nil, nil, g.err
	}
	return done, later, g.commit()
}

// start has a function run.
func (g *group) start(r *request) *updateTx {
	t := &updateTx{g: g, r: r, writes: map[key]write{}, wake: make(chan struct{}, 1)}
	r.run <- t
	return t
}

// pump answers what n running functions need until all have ended. It waits
// until all have asked for something, so that one round trip serves them all.
func (g *group) pump(n int) {
	var needs []*need
	for n > 0 {
		e := <-g.events
		if e.ended != nil {
			n--
		} else {
			needs = append(needs, e.need)
		}
		if len(needs) < n || len(needs) == 0 {
			continue
		}
		g.ask(needs, nil)
		for _, need := range needs {
			need.t.wake <- struct{}{}
		}
		needs = needs[:0]
	}
}

// accept puts a function after those that were accepted before.
func (g *group) accept(t *updateTx) {
	if t.err != nil {
		return
	}
	for k, w := range t.writes {
		g.writes[k] = w
		g.bytes += len(k.id) + len(w.doc)
	}
}

// changes tells whether accepted functions write within a span.
func (g *group) changes(s span) bool {
	for k := range g.writes {
		if s.has(k.in, k.id) {
			return true
		}
	}
	return false
}

// ask answers needs, and reads what is known to be needed, in one round trip.
func (g *group) ask(needs []*need, known []key) {
	if g.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), g.db.o.Timeout)
		defer cancel()
		g.err = g.query(ctx, needs, known)
	}
	if g.err != nil {
		for _, n := range needs {
			n.err = infrastructure(context.Background(), g.err)
		}
	}
}

func (g *group) query(ctx context.Context, needs []*need, known []key) error {
	var b pgx.Batch
	if !g.begun {
		b.Queue(beginUpdate)
		g.begun = true
	}
	gets := map[store.Collection][][]byte{}
	for _, k := range known {
		g.cache[k] = nil
		gets[k.in] = append(gets[k.in], []byte(k.id))
	}
	for _, n := range needs {
		switch _, cached := g.cache[n.get]; {
		case n.scan != nil:
			n.scan.queue(&b, n.limit).Query(func(rows pgx.Rows) (err error) {
				n.items, err = items(rows, true)
				return err
			})
		case n.due != nil:
			free, err := g.db.free(ctx, n.due.in, n.due.now, n.limit)
			if err != nil {
				return err
			}
			if len(free) == 0 {
				continue
			}
			b.Queue(claim, string(n.due.in), free, n.due.now).Query(func(rows pgx.Rows) (err error) {
				n.items, err = items(rows, true)
				byDue(n.items)
				return err
			})
		case !cached:
			g.cache[n.get] = nil
			gets[n.get.in] = append(gets[n.get.in], []byte(n.get.id))
		}
	}
	for in, ids := range gets {
		b.Queue(selectDocs, string(in), ids).Query(func(rows pgx.Rows) error {
			found, err := items(rows, false)
			for _, it := range found {
				g.cache[key{in, string(it.ID)}] = it.Doc
			}
			return err
		})
	}
	if b.Len() > 0 {
		if err := g.conn.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
	}
	for _, n := range needs {
		if n.scan != nil || n.due != nil {
			continue
		}
		if doc := g.cache[n.get]; doc != nil {
			n.items = []store.Item{{Doc: doc}}
		}
	}
	return nil
}

// commit sends all writes and the end of the transaction, in one round trip.
// When its error leaves open whether the transaction has committed, marker is
// set.
func (g *group) commit() error {
	var b pgx.Batch
	switch {
	case g.begun:
	case len(g.writes) == 0:
		return nil
	default:
		b.Queue(beginUpdate)
		g.begun = true
	}
	marker := make([]byte, 16)
	rand.Read(marker) // never fails
	if len(g.writes) > 0 {
		g.queueWrites(&b)
		b.Queue(mark, marker)
	}
	b.Queue("COMMIT")
	ctx, cancel := context.WithTimeout(context.Background(), g.db.o.Timeout)
	defer cancel()
	err := g.conn.SendBatch(ctx, &b).Close()
	switch {
	case len(g.writes) == 0:
	case err == nil:
		g.db.markers.add(marker)
	case lost(err):
		g.marker = marker
	}
	g.begun, g.err = err != nil, err
	return err
}

// queueWrites queues the writes in the order of their keys, so that two nodes
// lock in the same order.
func (g *group) queueWrites(b *pgx.Batch) {
	var kinds []string
	var ids, docs [][]byte
	var dues []*int64
	deletes := map[store.Collection][][]byte{}
	keys := make([]key, 0, len(g.writes))
	for k := range g.writes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		if c := strings.Compare(string(a.in), string(b.in)); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	for _, k := range keys {
		w := g.writes[k]
		if w.deleted {
			deletes[k.in] = append(deletes[k.in], []byte(k.id))
			continue
		}
		kinds, ids = append(kinds, string(k.in)), append(ids, []byte(k.id))
		docs, dues = append(docs, w.doc), append(dues, w.due)
	}
	if len(ids) > 0 {
		b.Queue(upsert, kinds, ids, docs, dues)
	}
	for _, in := range store.Collections() {
		if len(deletes[in]) > 0 {
			b.Queue(remove, string(in), deletes[in])
		}
	}
}

func acquire(db *DB) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), db.o.Timeout)
	defer cancel()
	return db.writers.Acquire(ctx)
}

// release gives the connection back, without its transaction.
func (g *group) release() {
	if g.begun {
		ctx, cancel := context.WithTimeout(context.Background(), g.db.o.Timeout)
		defer cancel()
		if g.err != nil && lost(g.err) {
			_ = g.conn.Conn().Close(ctx)
		} else if _, err := g.conn.Exec(ctx, "ROLLBACK"); err != nil {
			_ = g.conn.Conn().Close(ctx)
		}
	}
	g.conn.Release()
}
