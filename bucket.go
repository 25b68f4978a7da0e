package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"fileshare/store/s3"
)

// openS3 opens the bucket that the configuration names.
func openS3(ctx context.Context, c *Config) (*s3.Bucket, error) {
	to, err := s3.ParseURL(c.Store.Blobs)
	if err != nil {
		return nil, err // not: it was checked
	}
	o := c.Store.S3
	bucket, err := s3.Open(ctx, to, s3.Options{
		CredentialsFile: o.Credentials, Encryption: o.Encryption, KMSKey: o.KMSKey, Segment: int64(o.Segment), Memory: int64(o.Memory),
		Timeout: time.Duration(o.Timeout), Unconditional: !o.Conditional,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the blobs in S3: %w", err)
	}
	return bucket, nil
}

func s3Command() *cobra.Command {
	cmd := &cobra.Command{Use: "s3", Short: "Look after the bucket in which contents are kept", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return errors.New("a command is expected: lifecycle")
	}}
	cmd.AddCommand(lifecycleCommand())
	return cmd
}

func lifecycleCommand() *cobra.Command {
	var path string
	var days int
	var remove bool
	cmd := &cobra.Command{
		Use:   "lifecycle",
		Short: "Print, set or remove the rule by which the S3 server itself removes old contents",
		Long: `Lifecycle prints after how many days the S3 server itself removes contents below
the prefix of store.blobs. With --days it sets that, with --remove it ends it.
Rules of others stay.

The daemon removes what has expired, and sweeps up what failures left. The rule is
a second net, for what nobody knows any more. It goes by the age of an object
alone: where a ttl is changed again and again, files live longer than any limit, so
take many days.`,
		Example: `  fileshare s3 lifecycle --config scaleout.yaml
  fileshare s3 lifecycle --config scaleout.yaml --days 90`,
		Args: cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command) error {
			c, err := loadConfig(cmd, path)
			if err != nil {
				return err
			}
			set := -1 // nothing
			if remove {
				set = 0
			} else if cmd.Flags().Changed("days") {
				if set = days; days < c.longestLife() || days > mostDays {
					return &configError{[]error{fmt.Errorf(
						"--days: %d: %d (the longest ttl, the time an unfinished upload waits, and two days) to %d are possible", days, c.longestLife(), mostDays)}}
				}
			}
			return lifecycle(cmd.Context(), c, cmd.OutOrStdout(), set)
		}),
	}
	configFlag(cmd, &path)
	cmd.Flags().IntVar(&days, "days", 0, "remove contents when they are so old")
	cmd.Flags().BoolVar(&remove, "remove", false, "let them stay")
	cmd.MarkFlagsMutuallyExclusive("days", "remove")
	return cmd
}

// mostDays is how many days a rule may have.
const mostDays = 36500

// lifecycle sets the rule (0 days: none; less: as it is), and prints it.
func lifecycle(ctx context.Context, c *Config, stdout io.Writer, set int) (err error) {
	if !c.remoteBlobs() {
		return &configError{[]error{errors.New("store.blobs: contents are in a directory, which has no rules")}}
	}
	b, err := openS3(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if set >= 0 {
		if err := b.SetLifecycle(ctx, set); err != nil {
			return err
		}
	}
	days, err := b.Lifecycle(ctx)
	if err != nil {
		return err
	}
	text := "contents are removed by the daemon alone"
	if days > 0 {
		text = fmt.Sprintf("contents are removed by the S3 server when they are %d days old", days)
	}
	_, err = fmt.Fprintln(stdout, text)
	return err
}

// longestLife is how many days a content may live, if nobody changes its ttl, and
// two.
func (c *Config) longestLife() int {
	most := max(time.Duration(c.Models.Upload.MaxTTL), time.Duration(c.Models.Session.MaxTTL)) + time.Duration(c.Models.Unfinished.TTL)
	const day = 24 * time.Hour
	return int((most+day-1)/day) + 2
}
