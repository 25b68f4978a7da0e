// Command scale measures what deploy/architecture.md says of many daemons, many
// records and many buckets: the real engine over a real PostgreSQL where a
// machine can carry it, a simulation where it cannot.
//
//	go run -C tools/bench ./scale                 # all rows, some ten minutes
//	go run -C tools/bench ./scale -rows reapers   # those that match
//
// PostgreSQL is that of the system's packages, started over a temporary
// directory, with fsync on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"fileshare/store/postgres/pgtest"
)

// scale is one run.
type scale struct {
	out   io.Writer
	dir   string // everything but PostgreSQL's lies below it
	db    *pgtest.Server
	sizes sizes
}

// sizes are the amounts that -quick makes small.
type sizes struct {
	rounds  int           // of which the median counts
	measure time.Duration // of one rate
	expire  int           // files that the reapers remove
	files   int           // that are looked at one by one
	records []int         // in the table, one after the other
	days    int           // partitions
	perDay  int           // rows of each
	keys    int           // that are spread over buckets
}

var nodes = [...]int{1, 2, 4, 8}

func fullSizes() sizes {
	return sizes{
		rounds: 5, measure: 3 * time.Second, expire: 20_000, files: 20_000, records: []int{100_000, 1_000_000, 10_000_000},
		days: 30, perDay: 100_000, keys: 10_000_000,
	}
}

func quickSizes() sizes {
	return sizes{
		rounds: 1, measure: 50 * time.Millisecond, expire: 200, files: 100, records: []int{1000, 2000}, days: 3, perDay: 100, keys: 10_000,
	}
}

// row is one thing that is measured.
type row struct {
	name, about string
	measure     func(context.Context, *scale) error
}

func rows() []row {
	return []row{
		{"nodes", "uploads of 1 KiB per second by daemons over one PostgreSQL, 8 clients each", measureNodes},
		{"reapers", "expired files removed per second by daemons that reap at once", measureReapers},
		{"records", "one table that grows", measureRecords},
		{"footprint", "what a file takes in the records, and how fast a sweep is", measureFootprint},
		{"partitions", "a day's expired rows: deleted, or dropped as a partition", measurePartitions},
		{"ids", "new files over 64 equal ranges of keys and of ids", measureIDs},
		{"buckets", "contents over buckets, by the hash of their key (simulation)", measureBuckets},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	quick := flag.Bool("quick", false, "small sizes: a smoke test, no result")
	match := flag.String("rows", "", "regular expression: only rows whose name matches")
	flag.Parse()
	s := fullSizes()
	if *quick {
		s = quickSizes()
	}
	if err := run(ctx, os.Stdout, s, *match); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, sizes sizes, match string) (err error) {
	wanted, err := regexp.Compile(match)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	s := &scale{out: out, sizes: sizes}
	if s.dir, err = os.MkdirTemp("", "fileshare-scale-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	s.db, err = pgtest.Start("fsync=on", "full_page_writes=on", "shared_buffers=512MB", "max_wal_size=8GB")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.db.Stop()) }()
	for _, r := range rows() {
		if !wanted.MatchString(r.name) {
			continue
		}
		fmt.Fprintf(out, "%s: %s\n", r.name, r.about)
		if err := r.measure(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// say prints one line of a row.
func (s *scale) say(format string, args ...any) { fmt.Fprintf(s.out, "  "+format+"\n", args...) }
