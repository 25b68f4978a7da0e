package postgres

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"fileshare/store"
)

const (
	beginView   = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	beginUpdate = "BEGIN ISOLATION LEVEL SERIALIZABLE"
	selectDocs  = "SELECT id, doc FROM fileshare_records WHERE kind = $1 AND id = ANY($2)"
	selectPage  = "SELECT id, doc, due FROM fileshare_records WHERE kind = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4"
	selectDue   = "SELECT id, doc, due FROM fileshare_records WHERE kind = $1 AND due <= $2 ORDER BY due LIMIT $3"
	// What is due and in nobody's hands, asked outside of the transaction: within
	// it the range that was searched would be guarded against others.
	selectFree = "SELECT id FROM fileshare_records WHERE kind = $1 AND due <= $2 ORDER BY due LIMIT $3 FOR UPDATE SKIP LOCKED"
	claim      = "SELECT id, doc, due FROM fileshare_records WHERE kind = $1 AND id = ANY($2) AND due <= $3 FOR UPDATE SKIP LOCKED"
	upsert     = `INSERT INTO fileshare_records (kind, id, doc, due)
		SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bigint[])
		ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc, due = excluded.due`
	remove = "DELETE FROM fileshare_records WHERE kind = $1 AND id = ANY($2)"
	mark   = "INSERT INTO fileshare_commits (id) VALUES ($1)"
	// Whose row it is must be told again when an answer to this is lost: that of a
	// commit has its time, ours one to come.
	settle = `INSERT INTO fileshare_commits (id, at) VALUES ($1, now() + interval '2 days')
		ON CONFLICT (id) DO UPDATE SET at = fileshare_commits.at RETURNING at > now() + interval '1 day'`
	unmark = "DELETE FROM fileshare_commits WHERE id = ANY($1)"
)

// span is what a Scan reads, or a page of it: the ids from prefix up to below.
type span struct {
	in          store.Collection
	prefix, end string
}

// spanOf is the span of a Scan.
func spanOf(in store.Collection, prefix, from []byte) span {
	s := span{in, string(prefix), string(successor(prefix))}
	if len(from) > 0 && string(from) < s.end {
		s.end = string(from)
	}
	return s
}

// successor is the least string above all that begin with prefix, as far as
// ids go.
func successor(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return bytes.Repeat([]byte{0xff}, maxID+1)
	}
	end[len(end)-1]++
	return end
}

func (s span) has(in store.Collection, id string) bool {
	return in == s.in && id >= s.prefix && id < s.end
}

func (s span) queue(b *pgx.Batch, limit int) *pgx.QueuedQuery {
	return b.Queue(selectPage, string(s.in), []byte(s.prefix), []byte(s.end), limit)
}

// items reads documents, and due times where the statement has them.
func items(rows pgx.Rows, due bool) (all []store.Item, err error) {
	defer rows.Close()
	for rows.Next() {
		var it store.Item
		if due {
			var ms *int64
			if err = rows.Scan(&it.ID, &it.Doc, &ms); ms != nil {
				it.Due = time.UnixMilli(*ms).UTC()
			}
		} else {
			err = rows.Scan(&it.ID, &it.Doc)
		}
		if err != nil {
			return nil, err
		}
		if it.Doc == nil {
			it.Doc = []byte{}
		}
		all = append(all, it)
	}
	return all, rows.Err()
}

func byDue(all []store.Item) {
	slices.SortStableFunc(all, func(a, b store.Item) int { return a.Due.Compare(b.Due) })
}

// dueMillis rounds up to milliseconds since the epoch.
func dueMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}

// free asks for what is due and in nobody's hands.
func (db *DB) free(ctx context.Context, in store.Collection, now int64, limit int) (ids [][]byte, err error) {
	rows, err := db.writers.Query(ctx, selectFree, string(in), now, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[[]byte])
}
