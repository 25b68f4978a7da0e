package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"fileshare/store"
)

// connect is a plain connection to a schema.
func connect(ctx context.Context, url string, do func(*pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close(ctx))
}

// fill puts records of files into a table: keys and documents as long as the
// engine's, due within the week after next, in any order.
const fill = `INSERT INTO fileshare_records (kind, id, doc, due)
	SELECT 'file', int8send($1::bigint + n) || substr(sha256(int8send(n)), 1, 8), sha256(int8send(n)) || sha256(int8send(-n)) || sha256(int8send(n + 1)),
		(extract(epoch FROM now()) * 1000)::bigint + 604800000 + abs(hashint8(n)) % 604800000
	FROM generate_series($2::bigint, $3::bigint - 1) AS n`

// measureRecords: what the table's size does to the question for what is due,
// and to uploads.
func measureRecords(ctx context.Context, s *scale) (err error) {
	url, err := s.db.NewSchema()
	if err != nil {
		return err
	}
	all, end, err := s.open(ctx, url, 1, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	from := 0
	for _, n := range s.sizes.records {
		var size int64
		err := connect(ctx, url, func(c *pgx.Conn) error {
			for from < n {
				to := min(from+500_000, n)
				if _, err := c.Exec(ctx, fill, 0x0190<<48, from, to); err != nil {
					return err
				}
				from = to
			}
			if _, err := c.Exec(ctx, "VACUUM ANALYZE fileshare_records"); err != nil {
				return err
			}
			if _, err := c.Exec(ctx, "CHECKPOINT"); err != nil {
				return err
			}
			return c.QueryRow(ctx, "SELECT pg_total_relation_size('fileshare_records')").Scan(&size)
		})
		if err != nil {
			return err
		}
		asked, err := median(100, func() error {
			return all[0].records.Update(ctx, func(tx store.Tx) error {
				found, err := tx.Due(store.FileRecords, time.Now(), 256)
				if err == nil && len(found) > 0 {
					err = errors.New("something is due")
				}
				return err
			})
		})
		if err != nil {
			return err
		}
		stored, err := upload(ctx, all, time.Hour, false, during(s.sizes.measure))
		if err != nil {
			return err
		}
		s.say("%8d records, %4d MB: nothing due is known after %v, %.0f uploads/s", n, size>>20, asked.Round(10*time.Microsecond),
			float64(stored)/s.sizes.measure.Seconds())
	}
	return nil
}

// median is that of the times that n calls take.
func median(n int, call func() error) (time.Duration, error) {
	var took []time.Duration
	for range n {
		begin := time.Now()
		if err := call(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[n/2], nil
}

// measureFootprint: files whose contents lie among the blobs.
func measureFootprint(ctx context.Context, s *scale) (err error) {
	url, err := s.db.NewSchema()
	if err != nil {
		return err
	}
	all, end, err := s.open(ctx, url, 1, store.Options{Inline: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	size := func() (bytes, count int64, err error) {
		err = connect(ctx, url, func(c *pgx.Conn) error {
			if _, err := c.Exec(ctx, "VACUUM FULL fileshare_records"); err != nil {
				return err
			}
			return c.QueryRow(ctx, "SELECT pg_total_relation_size('fileshare_records'), (SELECT count(*) FROM fileshare_records)").Scan(&bytes, &count)
		})
		return bytes, count, err
	}
	before, none, err := size()
	if err != nil {
		return err
	}
	if _, err := upload(ctx, all, time.Second, false, times(s.sizes.files)); err != nil {
		return err
	}
	after, count, err := size() // nobody reaps, so what has expired counts
	if err != nil {
		return err
	}
	files := float64(s.sizes.files)
	s.say("a file is %.1f records and %.0f bytes of table and indexes", float64(count-none)/files, float64(after-before)/files)
	begin := time.Now()
	r, err := all[0].Sweep(ctx, 0)
	if err != nil {
		return err
	}
	if r.Seen != s.sizes.files || r.Removed != 0 {
		return fmt.Errorf("the sweep has seen %d contents of %d, and removed %d", r.Seen, s.sizes.files, r.Removed)
	}
	s.say("a sweep looks at %.0f contents per second", files/time.Since(begin).Seconds())
	time.Sleep(time.Second) // until the last one has expired
	removed, err := reap(ctx, all)
	if err != nil {
		return err
	}
	if removed != s.sizes.files {
		return fmt.Errorf("%d files of %d have expired", removed, s.sizes.files)
	}
	after, count, err = size()
	if err != nil {
		return err
	}
	s.say("a tombstone is %.1f records and %.0f bytes", float64(count-none)/files, float64(after-before)/files)
	return nil
}

// measurePartitions: the plan's schema, a table whose partitions are days.
func measurePartitions(ctx context.Context, s *scale) error {
	url, err := s.db.NewSchema()
	if err != nil {
		return err
	}
	return connect(ctx, url, func(c *pgx.Conn) error {
		exec := func(sql string) (time.Duration, error) {
			begin := time.Now()
			_, err := c.Exec(ctx, sql)
			return time.Since(begin), err
		}
		setup := []string{"CREATE TABLE days (id bytea, doc bytea, day int, due bigint, PRIMARY KEY (day, id)) PARTITION BY RANGE (day)"}
		for d := range s.sizes.days {
			setup = append(setup, fmt.Sprintf("CREATE TABLE day%d PARTITION OF days FOR VALUES FROM (%d) TO (%d)", d, d, d+1))
		}
		setup = append(setup, "CREATE INDEX ON days (day, due)", "CREATE TABLE whole (LIKE days INCLUDING ALL)",
			fmt.Sprintf(`INSERT INTO days SELECT sha256(int8send(n)), sha256(int8send(-n)) || sha256(int8send(n + 1)), n %% %d, n
				FROM generate_series(1, %d) AS n`, s.sizes.days, s.sizes.days*s.sizes.perDay),
			"INSERT INTO whole SELECT * FROM days", "ANALYZE days", "ANALYZE whole", "CHECKPOINT")
		for _, sql := range setup {
			if _, err := exec(sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		deleted, err := exec("DELETE FROM whole WHERE day = 0")
		if err != nil {
			return err
		}
		vacuumed, err := exec("VACUUM whole")
		if err != nil {
			return err
		}
		detached, err := exec("ALTER TABLE days DETACH PARTITION day0")
		if err != nil {
			return err
		}
		dropped, err := exec("DROP TABLE day0")
		if err != nil {
			return err
		}
		const round = 100 * time.Microsecond
		s.say("%d rows of %d: deleted in %v and vacuumed in %v, or detached in %v and dropped in %v", s.sizes.perDay, s.sizes.days*s.sizes.perDay,
			deleted.Round(round), vacuumed.Round(round), detached.Round(round), dropped.Round(round))
		return nil
	})
}
