package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fileshare/api"
	"fileshare/client"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make and list further links to a file that work a number of times",
		Args:  cobra.NoArgs,
		RunE:  subcommand,
	}
	cmd.AddCommand(tokenNewCommand(), tokenListCommand(), tokenRemoveCommand())
	return cmd
}

// subcommand is what a command does that is only there for those below it.
func subcommand(cmd *cobra.Command, _ []string) error {
	return usage(`a command is expected; "%s --help" lists them`, cmd.CommandPath())
}

// aFile refuses links to something else: only files have tokens.
func aFile(r client.Ref) error {
	if r.File == "" || r.Token != "" {
		return usage("the link of a file is expected")
	}
	return nil
}

func tokenNewCommand() *cobra.Command {
	var spec client.TokenSpec
	var life ttl
	cmd := &cobra.Command{
		Use:     "new LINK",
		Short:   "Make a link that works once, or --downloads times",
		Example: "  fileshare token new https://files.example.com/uploads/88e5…\n  fileshare token new --downloads 3 --ttl 2h $FILE",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, ref, err := connectTo(cmd, args[0])
			if err == nil {
				err = aFile(ref)
			}
			if err != nil {
				return err
			}
			defer c.Close()
			spec.TTL = time.Duration(life)
			t, err := c.CreateToken(cmd.Context(), ref, spec)
			if err != nil {
				return err
			}
			return printResult(cmd, t, t.URL)
		},
	}
	cmd.Flags().Int64Var(&spec.MaxDownloads, "downloads", 0, "how often it works (default: the server's, once)")
	cmd.Flags().StringVar(&spec.Access, "access", "", "download; read: not counted; full: may change and remove the file, too (default download)")
	ttlFlag(cmd, &life, "how long it works")
	asJSON(cmd)
	server(cmd)
	return cmd
}

func tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls LINK",
		Short:   "List the tokens of a file",
		Example: "  fileshare token ls https://files.example.com/uploads/88e5…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, ref, err := connectTo(cmd, args[0])
			if err == nil {
				err = aFile(ref)
			}
			if err != nil {
				return err
			}
			defer c.Close()
			t := newTable(cmd, "STATE", "ACCESS", "LEFT", "DOWNLOADS", "LINK")
			return tabulate(t, c.Tokens(cmd.Context(), ref, client.Query{}), func(token *api.Token) []string {
				return []string{strings.ToLower(token.State), token.Access, left(token.ExpiresAt.Time, time.Now()), downloads(token.Downloads, token.MaxDownloads), token.URL}
			})
		},
	}
	asJSON(cmd)
	server(cmd)
	return cmd
}

func tokenRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm TOKEN-LINK…",
		Short:   "Take links back",
		Example: "  fileshare token rm https://files.example.com/uploads/88e5…/tokens/5d1c…",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return remove(cmd, args, func(r client.Ref) error {
				if r.Token == "" {
					return usage(`that is no token: "fileshare rm" removes files`)
				}
				return nil
			})
		},
	}
	server(cmd)
	return cmd
}
