package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"fileshare/cli"
	"fileshare/store"
)

// backupDirectly backs up the backends that a configuration file names.
func backupDirectly(ctx context.Context, config string, w, stderr io.Writer) (err error) {
	c, err := LoadConfig(config, os.Environ())
	if err != nil {
		return err
	}
	b, all, err := openAll(ctx, c, stderr, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	said := newSaying(stderr)
	out := bufio.NewWriterSize(w, 1<<20)
	end, err := store.Backup(ctx, all, out, store.BackupOptions{Progress: func(e store.BackupEnd) { said.now(backedUp(e)) }})
	if err = errors.Join(b.explain(err), out.Flush()); err != nil {
		return err
	}
	said.last(backedUp(end))
	return nil
}

func backedUp(e store.BackupEnd) string {
	text := fmt.Sprintf("backed up %d records and %d contents, %s", e.Records, e.Blobs, cli.Size(e.Bytes))
	if e.Left > 0 {
		text += fmt.Sprintf("; %d files without their contents, which are gone", e.Left)
	}
	return text
}

func restoreCommand() *cobra.Command {
	var path, counted string
	cmd := &cobra.Command{
		Use:   "restore ARCHIVE",
		Short: "Put a backup into empty backends",
		Long: `Restore puts what "fileshare backup" wrote (- is stdin) into the backends of the
configuration, which must be empty; no daemon begins there before it is complete.
After an error the same archive can be restored there once more.

What had expired or was used up stays so, and what expired since the backup does,
too. What was used since is not known. So nothing comes back that counts its uses:
files and tokens with a limit, and invitations that are good for so many, answer
410; logins, and messages that waited for their delivery, are left out; numbers go
on a million further. With --counted=keep all that is as it was: only if nothing
was served after the backup.

What was deleted or changed by hand after the backup is as it was before, for as
long as it lives.`,
		Example: "  fileshare restore backup.tar --config /etc/fileshare/config.yaml\n  zstd -dc fileshare.tar.zst | fileshare restore -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if counted != "close" && counted != "keep" {
				return errors.New("--counted: close or keep is expected")
			}
			ctx, stop := cli.Interruptible(cmd.Context())
			defer stop()
			c, err := loadConfig(cmd, path)
			if err == nil {
				err = restoreFrom(ctx, c, args[0], counted == "keep", cmd.InOrStdin(), cmd.ErrOrStderr())
			}
			if err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&counted, "counted", "close", "what becomes of what counts its uses: close or keep")
	return cmd
}

func restoreFrom(ctx context.Context, c *Config, archive string, keep bool, stdin io.Reader, stderr io.Writer) (err error) {
	in := stdin
	if archive != "-" {
		f, err := os.Open(archive)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	b, all, err := openAll(ctx, c, stderr, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	said := newSaying(stderr)
	done, err := store.Restore(ctx, all, bufio.NewReaderSize(in, 1<<20), store.RestoreOptions{
		Keep: keep, Tombstones: time.Duration(c.Reaper.Tombstones), Progress: func(r store.Restored) { said.now(restoredSoFar(r)) },
	})
	if err != nil {
		return err
	}
	said.last(fmt.Sprintf("%s, of %s; %d counted ones are closed, %d files have expired, %d are over without their contents",
		restoredSoFar(done), done.Taken.Format(time.RFC3339), done.Closed, done.Expired, done.Lost))
	if done.Damaged > 0 {
		return fmt.Errorf("%d contents were damaged in the archive, and are left out", done.Damaged)
	}
	return nil
}

func restoredSoFar(r store.Restored) string {
	return fmt.Sprintf("restored %d records and %d contents, %s", r.Records, r.Blobs, cli.Size(r.Bytes))
}
