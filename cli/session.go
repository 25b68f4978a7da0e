package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fileshare/api"
	"fileshare/client"
)

func sessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Make and list sessions: files that end together",
		Args:  cobra.NoArgs,
		RunE:  subcommand,
	}
	cmd.AddCommand(sessionNewCommand(), sessionListCommand(), sessionRemoveCommand(), sessionArchiveCommand(), sessionSendCommand(), sessionRecipientsCommand(), sessionWithdrawCommand())
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
			return tabulate(t, c.Sessions(cmd.Context(), client.Query{}), func(s *api.Session) []string {
				return []string{s.ID, left(s.ExpiresAt.Time, time.Now()), s.Name}
			})
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

func sessionSendCommand() *cobra.Command {
	var spec client.RecipientSpec
	cmd := &cobra.Command{
		Use:   "send SESSION [ADDRESS…]",
		Short: "Make a link to all files of a session for each recipient",
		Long: "Send makes a link to all files of a session for each recipient, and prints them in\n" +
			"their order. Where the server has mail it goes there, too. Without an address it is a\nlink that nobody is told of.",
		Example: "  fileshare session send $S ann@example.com bob@example.com --message 'As promised'\n  fileshare session send $S",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, id, err := connectSession(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			to := args[1:]
			if len(to) == 0 {
				to = []string{""}
			}
			for _, spec.Email = range to {
				h, err := c.Send(cmd.Context(), id, spec)
				if err == nil {
					err = printResult(cmd, h, h.URL)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&spec.Message, "message", "", "what they are told")
	asJSON(cmd)
	server(cmd)
	return cmd
}

func sessionRecipientsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "recipients SESSION",
		Short:   "List those to whom a session was sent, newest first",
		Example: "  fileshare session recipients $S",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, id, err := connectSession(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			t := newTable(cmd, "USED", "ADDRESS", "LINK")
			return tabulate(t, c.Recipients(cmd.Context(), id, client.Query{}), func(h *api.Recipient) []string {
				used := "never"
				if h.UsedAt != nil {
					used = moment(*h.UsedAt)
				}
				return []string{used, h.Email, h.URL}
			})
		},
	}
	asJSON(cmd)
	server(cmd)
	return cmd
}

func sessionWithdrawCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "withdraw SESSION RECIPIENT…",
		Short:   "Take the links of recipients back, by address or link",
		Example: "  fileshare session withdraw $S ann@example.com",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, id, err := connectSession(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			for _, who := range args[1:] {
				h, err := findRecipient(cmd, c, id, who)
				if err == nil {
					err = c.Withdraw(cmd.Context(), id, h.ID)
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

// findRecipient finds one of a session's by the address, the link or the id.
func findRecipient(cmd *cobra.Command, c *client.Client, session, who string) (*api.Recipient, error) {
	for h, err := range c.Recipients(cmd.Context(), session, client.Query{Page: 1000}) {
		if err != nil {
			return nil, err
		}
		if who == h.URL || who == h.ID || who != "" && strings.EqualFold(who, h.Email) {
			return h, nil
		}
	}
	return nil, fmt.Errorf("the session was not sent to %s", who)
}
