// Command bench starts the daemon and measures every row of the project's
// performance targets beside its references, in one run: nginx (WebDAV PUT and
// sendfile), a bare net/http file server, a handler that throws bodies away,
// SHA-256 on one core, and the disk's own rates. References and daemon take
// turns within each round; the table shows medians over the rounds.
//
// All servers are children of this program, listen on the loopback interface
// and are ended by their process id.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// bench is one run: its settings and what it has found.
type bench struct {
	bin    string
	dir    string // everything that is written lies below it
	rows   *regexp.Regexp
	rounds int
	full   bool
	sizes  sizes
	login  login
	client *client
	report report
	ends   []func() error // what the running group leaves to be ended
}

// sizes are the amounts that -quick makes small.
type sizes struct {
	large   int64         // bytes of a large file
	records int           // of a large database
	few     int           // records of a small database
	most    int           // records of the database that only -full fills
	tokens  int           // counted downloads per round
	measure time.Duration // of one measurement of small operations
	warm    time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && isRole(os.Args[1]) {
		err = runRole(ctx, os.Args[1], os.Args[2:])
	} else {
		err = runBench(ctx, os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func runBench(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	bin := flags.String("bin", "", "the daemon's binary")
	dir := flags.String("dir", "", "where to write; default: a temporary directory on this file system")
	rows := flags.String("rows", "", "regular expression: only rows whose name matches")
	rounds := flags.Int("rounds", 3, "rounds per row; the table shows medians")
	quick := flags.Bool("quick", false, "small sizes: a smoke test, no result")
	full := flags.Bool("full", false, "also fill a database of 10 M records (tens of minutes)")
	jsonFile := flags.String("json", "", "also write the results to this file, as JSON")
	markdown := flags.Bool("md", false, "print a Markdown table")
	list := flags.Bool("list", false, "print the names of the rows and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{rounds: max(*rounds, 1), full: *full, sizes: fullSizes()}
	if *list {
		for _, g := range b.groups() {
			for _, row := range g.rows {
				fmt.Println(row)
			}
		}
		return nil
	}
	if b.rows, err = regexp.Compile(*rows); err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if *quick {
		b.sizes = quickSizes()
	}
	if b.bin, err = filepath.Abs(*bin); err != nil {
		return err
	}
	if st, err := os.Stat(b.bin); *bin == "" || err != nil || st.IsDir() {
		return fmt.Errorf("-bin: %q is not the daemon's binary", *bin)
	}
	if b.dir, err = workDir(*dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	spread(b.dir)
	if b.login, err = newLogin(); err != nil {
		return err
	}
	b.client = newClient()

	begun := time.Now()
	b.report.Machine = machine(b.dir)
	b.report.Quick = *quick
	b.report.Rounds = b.rounds
	for _, g := range b.groups() {
		b.runGroup(ctx, g)
		if ctx.Err() != nil {
			break
		}
	}
	b.report.Seconds = time.Since(begun).Seconds()

	if *markdown {
		b.report.writeMarkdown(os.Stdout)
	} else {
		b.report.writeText(os.Stdout)
	}
	if *jsonFile != "" {
		data, err := json.MarshalIndent(&b.report, "", "\t")
		if err != nil {
			return fmt.Errorf("encoding the results: %w", err)
		}
		if err := os.WriteFile(*jsonFile, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func fullSizes() sizes {
	return sizes{
		large: 1 << 30, records: 1_000_000, few: 10_000, most: 10_000_000, tokens: 20_000,
		measure: 3 * time.Second, warm: time.Second,
	}
}

func quickSizes() sizes {
	return sizes{
		large: 64 << 20, records: 50_000, few: 2_000, most: 100_000, tokens: 2_000,
		measure: 500 * time.Millisecond, warm: 200 * time.Millisecond,
	}
}

var errNoResult = errors.New("no result")

// group is a set of rows that share their servers.
type group struct {
	name string
	rows []string
	run  func(context.Context) error
}

func (b *bench) groups() []group {
	all := []group{
		{"the machine", []string{rowFsync, rowWrite, rowDiscard}, b.machineRows},
		{"small uploads", smallUploadNames(), b.smallUploads},
		{"large uploads", largeUploadNames(), b.largeUploads},
		{"small downloads", []string{rowGet, rowToken}, b.smallDownloads},
		{"large downloads", []string{rowGetLarge, rowGetLarge4, rowRanges}, b.largeDownloads},
		{"resumable", []string{rowGetResumed, rowMemResumable, rowMemPut, rowMemResumedDown, rowMemGet}, b.resumable},
		{"chunks", []string{rowChunks}, b.chunks},
		{"scale-out", scaleOutNames(), b.scaleOut},
		{"many records in PostgreSQL", scaleRecordsNames(), b.scaleRecords},
		{"whole cycle", []string{rowCycle}, b.cycle},
		{"memory", []string{rowMemUp, rowMemDown, rowMemSmall}, b.memory},
		{"many records", []string{rowStartClean, rowStartKilled, rowScaleGet, rowScaleToken, rowScaleUpload}, b.manyRecords},
		{"purge", []string{rowPurge, rowPurgeP99, rowPurgeBusy}, b.purge},
	}
	if b.full {
		all = append(all, group{"very many records", []string{rowStartMostClean, rowStartMostKilled}, b.mostRecords})
	}
	return all
}

// runGroup runs a group and makes sure that each of its rows has a line.
func (b *bench) runGroup(ctx context.Context, g group) {
	if !b.wantAny(g.rows) {
		return
	}
	begun := time.Now()
	fmt.Fprintf(os.Stderr, "bench: %s ...", g.name)
	err := g.run(ctx)
	for _, end := range slices.Backward(b.ends) {
		err = errors.Join(err, end())
	}
	b.ends = nil
	fmt.Fprintf(os.Stderr, " %.0f s\n", time.Since(begun).Seconds())
	told := false
	for _, row := range g.rows {
		if b.want(row) && !b.report.has(row) {
			b.report.add(Result{Row: row, Verdict: "failed: " + oneLine(fmt.Sprint(cmp.Or(err, errNoResult)))})
			told = true
		}
	}
	if err != nil && !told {
		b.report.add(Result{Row: g.name, Verdict: "failed: " + oneLine(err.Error())})
	}
}

// atEnd leaves something to be done when the running group is over.
func (b *bench) atEnd(end func() error) { b.ends = append(b.ends, end) }

func (b *bench) want(row string) bool { return b.rows.MatchString(row) }

func (b *bench) wantAny(rows []string) bool {
	for _, row := range rows {
		if b.want(row) {
			return true
		}
	}
	return false
}
