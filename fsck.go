package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"fileshare/cli"
	"fileshare/store"
)

// orphanAge is how old a content without a record must be where other daemons may
// be at work: as old as the reaper waits.
const orphanAge = time.Hour

func fsckCommand() *cobra.Command {
	var path string
	var o store.CheckOptions
	var asJSON, adopts bool
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Compare records and contents, and repair them",
		Long: `Fsck compares records and contents with each other: contents that are not there,
contents that nothing refers to, wrong sizes and with --deep wrong digests; lists,
counters of accounts, and ends that are not due. A problem is a line of stdout.

With --repair a file whose content is lost ends, as if its time were over (its
link answers 410); what belongs to nothing, or cannot be read, is removed; lists,
counters and ends are written as the files have them. What is whole is never touched.
Where most contents have no record, or most files no content, the directory or bucket
is probably the wrong one: nothing is repaired then without --force.

Contents have a label that says to which records they belong. No daemon begins where
it is that of others, and nothing is repaired. --adopt writes it anew, and looks at
nothing else: for records and contents that do belong together. Other records, if
there are some, do not fit these contents any more then.

The data directory of a daemon that is alone must not be in use. Beside daemons
that share PostgreSQL it can run at any time; the counters are not looked at then.

Exit code 0: nothing is wrong, or nothing any more; 1: something is.`,
		Example: "  fileshare fsck --deep\n  fileshare fsck --config /etc/fileshare/config.yaml --repair\n  fileshare fsck --json | jq -r .problem | sort | uniq -c",
		Args:    cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command) error {
			c, err := loadConfig(cmd, path)
			if err != nil {
				return err
			}
			ctx, stop := cli.Interruptible(cmd.Context())
			defer stop()
			if adopts {
				return adopt(ctx, c, cmd.ErrOrStderr())
			}
			return fsck(ctx, c, o, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&o.Deep, "deep", false, "read all contents and compare their digests")
	cmd.Flags().BoolVar(&o.Repair, "repair", false, "mend what can be mended")
	cmd.Flags().BoolVar(&o.Force, "force", false, "with --repair: also where most contents or files would be deleted")
	cmd.Flags().BoolVar(&adopts, "adopt", false, "only label the contents as those of these records")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print problems, and at last what was looked at, as JSON, an object a line")
	for _, other := range []string{"deep", "repair", "force", "json"} {
		cmd.MarkFlagsMutuallyExclusive("adopt", other)
	}
	return cmd
}

// adopt makes the contents those of the records.
func adopt(ctx context.Context, c *Config, stderr io.Writer) (err error) {
	b, all, err := openAll(ctx, c, stderr, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	id, err := store.Adopt(ctx, all)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "fileshare: the contents in %s belong to the records in %s, store %s\n", b.contents, b.where, id)
	return err
}

func fsck(ctx context.Context, c *Config, o store.CheckOptions, asJSON bool, stdout, stderr io.Writer) (err error) {
	b, all, err := openAll(ctx, c, stderr, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if o.Tombstones = time.Duration(c.Reaper.Tombstones); c.shared() {
		o.MinAge = orphanAge
	}
	out := bufio.NewWriter(stdout)
	var lost error // of what is printed
	say := func(v any, text string) {
		if asJSON {
			lost = errors.Join(lost, json.NewEncoder(out).Encode(v))
		} else if text != "" {
			_, e := fmt.Fprintln(out, text)
			lost = errors.Join(lost, e)
		}
	}
	said := newSaying(stderr)
	o.Found = func(p store.Problem) { say(p, problemLine(p)) }
	o.Progress = func(sum store.Checked) { said.now(checkedSoFar(sum)) }
	sum, err := store.Check(ctx, all, o)
	if err == nil {
		say(sum, "")
	}
	if err := errors.Join(b.explain(err), lost, out.Flush()); err != nil {
		return err
	}
	said.last(checkedSoFar(sum))
	if left := sum.Problems - sum.Repaired; left > 0 {
		return fmt.Errorf("%d problems are left", left)
	}
	return nil
}

func problemLine(p store.Problem) string {
	what := string(p.Collection) + " " + p.ID
	if p.Blob != "" {
		what = "blob " + p.Blob
	}
	done := "repair: "
	if p.Repaired {
		done = "repaired: "
	}
	return fmt.Sprintf("%s: %s: %s; %s%s", p.Kind, what, p.Detail, done, p.Mending)
}

func checkedSoFar(c store.Checked) string {
	return fmt.Sprintf("looked at %d records and %d blobs, %s; %d problems, %d repaired", c.Records, c.Blobs, cli.Size(c.Bytes), c.Problems, c.Repaired)
}
