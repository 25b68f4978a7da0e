package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"fileshare/cli"
	"fileshare/store"
)

// place is a pair of backends that a flag names: by a configuration file, or by
// the data directory of a daemon that is alone.
type place struct{ flag, path string }

// config is the configuration of a place. The environment does not count: it would
// say the same of both ends.
func (p place) config() (*Config, error) {
	info, err := os.Stat(p.path)
	made := p.flag == "to" && errors.Is(err, fs.ErrNotExist) && filepath.Ext(p.path) == "" // a directory is
	if err != nil && !made {
		return nil, &configError{[]error{fmt.Errorf("--%s: %w", p.flag, err)}}
	}
	if !made && !info.IsDir() {
		return LoadConfig(p.path, nil)
	}
	c, err := LoadConfig("", nil)
	if err == nil {
		c.Store.Dir = p.path
	}
	return c, err
}

// openAll opens the backends that a configuration names, for a command that looks
// at all that they have. create says that there may be nothing yet.
func openAll(ctx context.Context, c *Config, stderr io.Writer, create bool) (*backends, store.Backend, error) {
	if !create && !c.shared() {
		if _, err := os.Stat(filepath.Join(c.Store.Dir, "records.db")); err != nil {
			return nil, store.Backend{}, fmt.Errorf("there are no records: %w", err)
		}
	}
	b, err := openBackends(ctx, c, newLog(c, stderr, c.logLevel()))
	if err != nil {
		return nil, store.Backend{}, err
	}
	return b, store.Backend{Records: b.records, Blobs: b.blobs, Exclusive: !c.shared()}, nil
}

func migrateCommand() *cobra.Command {
	from, to := place{flag: "from"}, place{flag: "to"}
	var keep, release bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Move records and contents to other backends",
		Long: `Migrate copies all records and contents to empty backends: from a directory to
PostgreSQL and S3, or back. Each end is a configuration file, of which only
store.* counts, or the data directory of a daemon that is alone. FILESHARE_…
variables are not looked at.

No daemon may be at work at either end, and none begins while the copy is not
complete. Every content is compared with its size and digests. When migrate is
interrupted, or killed, the same command goes on where it was.

Afterwards no daemon begins at the source, where links that were used at the
target would be good again; --release undoes that.`,
		Example: `  fileshare migrate --from /var/lib/fileshare --to scaleout.yaml
  fileshare fsck --config scaleout.yaml --deep
  fileshare migrate --release --from /var/lib/fileshare`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from.path == "" || (to.path == "") != release {
				return errors.New("--from and --to are needed, or --from and --release")
			}
			ctx, stop := cli.Interruptible(cmd.Context())
			defer stop()
			do := migrate
			if release {
				do = func(ctx context.Context, stderr io.Writer, from, _ place, _ bool) error {
					return releaseRecords(ctx, stderr, from)
				}
			}
			if err := do(ctx, cmd.ErrOrStderr(), from, to, keep); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from.path, "from", "", "configuration file or data directory of the source")
	cmd.Flags().StringVar(&to.path, "to", "", "configuration file or data directory of the target")
	cmd.Flags().BoolVar(&keep, "keep", false, "the source stays usable: only for a copy to try something with")
	cmd.Flags().BoolVar(&release, "release", false, "make a source usable again")
	return cmd
}

func migrate(ctx context.Context, stderr io.Writer, from, to place, keep bool) (err error) {
	source, err := from.config()
	if err != nil {
		return err
	}
	target, err := to.config()
	if err != nil {
		return err
	}
	a, reading, err := openAll(ctx, source, stderr, false)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer func() { err = errors.Join(err, a.close()) }()
	b, writing, err := openAll(ctx, target, stderr, true)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer func() { err = errors.Join(err, b.close()) }()
	said := newSaying(stderr)
	copied, err := store.Move(ctx, reading, writing, store.MoveOptions{Keep: keep, Progress: func(c store.Copied) { said.now(copiedSoFar(c)) }})
	if err != nil {
		return fmt.Errorf("%w; %s so far", a.explain(err), copiedSoFar(copied))
	}
	said.last(copiedSoFar(copied))
	return nil
}

func releaseRecords(ctx context.Context, stderr io.Writer, from place) (err error) {
	c, err := from.config()
	if err != nil {
		return err
	}
	b, _, err := openAll(ctx, c, stderr, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return store.Release(ctx, b.records)
}

func copiedSoFar(c store.Copied) string {
	return fmt.Sprintf("copied %d records and %d blobs, %s", c.Records, c.Blobs, cli.Size(c.Bytes))
}

// saying tells people how far something is, every few seconds.
type saying struct {
	w    io.Writer
	mu   sync.Mutex
	next time.Time // guarded by mu
}

const sayEvery = 5 * time.Second

func newSaying(w io.Writer) *saying { return &saying{w: w, next: time.Now().Add(sayEvery)} }

// now tells it if it is time.
func (s *saying) now(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.next) {
		return
	}
	s.next = time.Now().Add(sayEvery)
	_, _ = fmt.Fprintln(s.w, "fileshare: "+text)
}

// last tells how it ended.
func (s *saying) last(text string) { _, _ = fmt.Fprintln(s.w, "fileshare: "+text) }
