package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fileshare/api"
	"fileshare/client"
)

func inviteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Invite somebody without an account to upload",
		Args:  cobra.NoArgs,
		RunE:  subcommand,
	}
	cmd.AddCommand(inviteNewCommand(), inviteListCommand(), inviteRemoveCommand())
	return cmd
}

func inviteNewCommand() *cobra.Command {
	var spec client.InvitationSpec
	var life ttl
	cmd := &cobra.Command{
		Use:   "new [ADDRESS]",
		Short: "Make an invitation and print the link of its page to upload",
		Long: "New makes an invitation and prints the link of its page to upload. Where the server\nhas mail it goes to the address, too. " +
			"What comes by it is yours: \"fileshare session ls\"\nlists it.",
		Example: "  fileshare invite new carol@example.net --name Slides --uses 1 --ttl 7d",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := connect(cmd, "")
			if err != nil {
				return err
			}
			defer c.Close()
			spec.TTL, spec.Email = time.Duration(life), strings.Join(args, "")
			in, err := c.Invite(cmd.Context(), spec)
			if err != nil {
				return err
			}
			return printResult(cmd, in, in.UploadURL)
		},
	}
	cmd.Flags().StringVar(&spec.Name, "name", "", "what it is about")
	cmd.Flags().StringVar(&spec.Message, "message", "", "what who is invited is told")
	cmd.Flags().Int64Var(&spec.MaxUses, "uses", 0, "how often something may be sent (default: no limit)")
	cmd.Flags().Int64Var(&spec.MaxFiles, "files", 0, "how many files at once (default: no limit)")
	cmd.Flags().Int64Var(&spec.MaxSize, "size", 0, "how many bytes at once (default: no limit)")
	ttlFlag(cmd, &life, "how long it is good")
	asJSON(cmd)
	server(cmd)
	return cmd
}

func inviteListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List your invitations, newest first",
		Example: "  fileshare invite ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := connect(cmd, "")
			if err != nil {
				return err
			}
			defer c.Close()
			t := newTable(cmd, "STATE", "LEFT", "USES", "ADDRESS", "NAME", "LINK")
			return tabulate(t, c.Invitations(cmd.Context(), client.Query{}), func(in *api.Invitation) []string {
				return []string{strings.ToLower(in.State), left(in.ExpiresAt.Time, time.Now()), downloads(in.Uses, in.MaxUses), in.Email, in.Name, in.UploadURL}
			})
		},
	}
	asJSON(cmd)
	server(cmd)
	return cmd
}

func inviteRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm LINK…",
		Short:   "Withdraw invitations; what was uploaded stays",
		Example: "  fileshare invite rm https://files.example.com/invite/5d1c…",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := connect(cmd, "")
			if err != nil {
				return err
			}
			defer c.Close()
			for _, arg := range args {
				in, err := findInvitation(cmd, c, arg)
				if err == nil {
					err = c.CloseInvitation(cmd.Context(), in.ID)
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

// findInvitation finds one of the account's by its link or the id.
func findInvitation(cmd *cobra.Command, c *client.Client, what string) (*api.Invitation, error) {
	for in, err := range c.Invitations(cmd.Context(), client.Query{Page: 1000}) {
		if err != nil {
			return nil, err
		}
		if what == in.UploadURL || what == in.ID {
			return in, nil
		}
	}
	return nil, fmt.Errorf("you have no invitation %s", what)
}
