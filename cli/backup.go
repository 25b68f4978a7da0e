package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// BackupCommand makes the verb that backs a server up: a running one asks for its
// backup by HTTP; direct is called to make one of the backends that a
// configuration file names, whose daemon does not run or shares them.
func BackupCommand(version string, direct func(ctx context.Context, config string, w, stderr io.Writer) error) *cobra.Command {
	var config, output string
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up all records and contents",
		Long: `Backup writes a tar archive of all records, as they are at one moment, and their
contents, for "fileshare restore".

Without --config a running daemon is asked for it, which goes on with its work; the
account must be an administrator's. With --config the backends are read directly:
those of a daemon that does not run, or PostgreSQL and contents that are shared.
The records wait in $TMPDIR (of the daemon) until the contents are written, about
1 KB for each file.

The archive holds secrets and links. Keep it like what it is a copy of.`,
		Example: `  fileshare backup --output backup.tar
  fileshare backup | zstd | ssh vault 'cat >fileshare.tar.zst'
  fileshare backup --config /etc/fileshare/config.yaml --output backup.tar`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == "" && isTerminal(cmd.OutOrStdout()) {
				return usage("an archive is nothing for a terminal: --output, or a pipe, is expected")
			}
			write := func(w io.Writer) error {
				if config != "" {
					return direct(cmd.Context(), config, w, cmd.ErrOrStderr())
				}
				c, _, err := connect(cmd, "")
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.Backup(cmd.Context(), w)
				return err
			}
			if output == "" {
				return write(cmd.OutOrStdout())
			}
			size, err := whole(output, write)
			if err == nil {
				say(cmd, "%s has %s", output, Size(size))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "read the backends of this configuration file directly")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this file (default: to stdout)")
	server(cmd)
	prepare(cmd, version)
	return cmd
}

// whole makes a file that is there when it is complete and on the disk, and not
// before; only the user may read it.
func whole(path string, write func(io.Writer) error) (size int64, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s is there already", path)
		}
		return 0, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), path)
}
