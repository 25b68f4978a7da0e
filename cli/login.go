package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fileshare/client"
)

func loginCommand() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "login URL",
		Short: "Keep a server and an account for the other commands",
		Long: `Login tries an account at a server and keeps both in the user's configuration
directory, in a file that only the user may read. The other commands go to the
server of the last login unless they are told otherwise.

The password is read from the terminal, without showing it, or else from the
first line of the input. Without a login FILESHARE_URL, FILESHARE_USER and
FILESHARE_PASSWORD say the same, and accounts are looked up in ~/.netrc.`,
		Example: `  fileshare login https://files.example.com --user ann
  pass show fileshare | fileshare login https://files.example.com/rtc/fileshare --user ann`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: savedServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if user == "" {
				if !isTerminal(cmd.InOrStdin()) {
					return usage("--user is missing")
				}
				fmt.Fprint(cmd.ErrOrStderr(), "User: ")
				line, err := bufio.NewReader(io.LimitReader(oneByte{cmd.InOrStdin()}, 1024)).ReadString('\n')
				if user = strings.TrimSpace(line); err != nil || user == "" {
					return errors.New("no user")
				}
			}
			password, err := ReadPassword(cmd.InOrStdin(), cmd.ErrOrStderr(), false)
			if err != nil {
				return fmt.Errorf("reading the password: %w", err)
			}
			c, err := client.New(client.Options{URL: args[0], User: user, Password: password})
			if err != nil {
				return usageError{err}
			}
			for _, err := range c.Uploads(cmd.Context(), client.Query{Page: 1}) {
				if err != nil {
					return err
				}
				break
			}
			a, err := loadAccounts()
			if err != nil {
				return err
			}
			a.Servers[c.URL()] = account{user, password}
			a.Default = c.URL()
			path, err := a.save()
			if err != nil {
				return err
			}
			say(cmd, "kept in %s", path)
			return nil
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "name of the account")
	return cmd
}

// oneByte reads no more than it must: what follows is for somebody else.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }

func logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout [URL]",
		Short: "Forget a server and its account",
		Example: `  fileshare logout
  fileshare logout https://files.example.com`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: savedServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := loadAccounts()
			if err != nil {
				return err
			}
			server := a.Default
			if len(args) > 0 {
				server = strings.TrimRight(args[0], "/")
			}
			if _, ok := a.Servers[server]; !ok {
				return errors.New("there is no such login")
			}
			delete(a.Servers, server)
			if a.Default == server {
				a.Default = ""
			}
			_, err = a.save()
			return err
		},
	}
}

// savedServers completes addresses of logins.
func savedServers(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	a, err := loadAccounts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.Sorted(maps.Keys(a.Servers)), cobra.ShellCompDirectiveNoFileComp
}
