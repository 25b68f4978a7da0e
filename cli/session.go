package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"fileshare/client"
)

func sessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Make and list sessions: files that end together",
		Args:  cobra.NoArgs,
		RunE:  subcommand,
	}
	cmd.AddCommand(sessionNewCommand(), sessionListCommand(), sessionRemoveCommand(), sessionArchiveCommand())
	return cmd
}

func sessionNewCommand() *cobra.Command {
	var spec client.SessionSpec
	var life ttl
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a session and print its id",
		Example: `  S=$(fileshare session new --name "call 17" --ttl 7d)
  fileshare put --session $S record.wav`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := connect(cmd, "")
			if err != nil {
				return err
			}
			defer c.Close()
			spec.TTL = time.Duration(life)
			s, err := c.CreateSession(cmd.Context(), spec)
			if err != nil {
				return err
			}
			return printResult(cmd, s, s.ID)
		},
	}
	cmd.Flags().StringVar(&spec.Name, "name", "", "its name")
	ttlFlag(cmd, &life, "how long it lives")
	asJSON(cmd)
	server(cmd)
	return cmd
}

func sessionListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List your sessions, newest first",
		Example: "  fileshare session ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := connect(cmd, "")
			if err != nil {
				return err
			}
			defer c.Close()
			t := newTable(cmd, "ID", "LEFT", "NAME")
			for s, err := range c.Sessions(cmd.Context(), client.Query{}) {
				if err == nil {
					err = t.row(s, s.ID, left(s.ExpiresAt.Time, time.Now()), s.Name)
				}
				if err != nil {
					return errors.Join(err, t.end())
				}
			}
			return t.end()
		},
	}
	asJSON(cmd)
	server(cmd)
	return cmd
}

// connectSession makes the client for a session, by its id or link.
func connectSession(cmd *cobra.Command, session string) (*client.Client, *progress, string, error) {
	base, ref, err := client.ParseLink(session)
	id := ref.Session
	switch {
	case err != nil:
		return nil, nil, "", usage("%q is neither the id nor the link of a session", session)
	case base == "":
		id = ref.File // an id alone says not of what
	case ref.File != "" || id == "":
		return nil, nil, "", usage("%q is not the link of a session", session)
	}
	c, bar, err := connect(cmd, base)
	return c, bar, id, err
}

func sessionRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm SESSION…",
		Short:   "Remove sessions with all their files",
		Example: "  fileshare session rm 0b0e8f0c-6d0e-4cb5-8a4e-1d3c5c5a9a10",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				c, _, id, err := connectSession(cmd, arg)
				if err == nil {
					err = c.DeleteSession(cmd.Context(), id)
					c.Close()
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	server(cmd)
	return cmd
}

func sessionArchiveCommand() *cobra.Command {
	var g getFlags
	var format string
	cmd := &cobra.Command{
		Use:     "archive SESSION",
		Short:   "Download all files of a session in one",
		Long:    "Archive downloads all files of a session in one, as get does: a broken download goes on\nwhen the command is called again.",
		Example: "  fileshare session archive 0b0e8f0c-6d0e-4cb5-8a4e-1d3c5c5a9a10\n  fileshare session archive --format tar -o - $S | tar -x",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "zip" && format != "tar" {
				return usage("--format: zip or tar is expected")
			}
			c, bar, id, err := connectSession(cmd, args[0])
			if err != nil {
				return err
			}
			return g.download(cmd, c, bar, c.ArchiveLink(id, format))
		},
	}
	g.add(cmd)
	cmd.Flags().StringVar(&format, "format", "zip", "zip or tar")
	server(cmd)
	return cmd
}
