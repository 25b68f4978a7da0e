// Fileshare is an ephemeral file-share daemon, and its client.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"fileshare/cli"
)

// version is set by the linker (see Makefile).
var version = ""

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitDone
	}
	failed, ok := errors.AsType[*failure](err)
	hint := ""
	if !ok && !cli.IsUsage(err) { // cobra's words say little
		hint = fmt.Sprintf("; %q tells how it is used", cmd.CommandPath()+" --help")
	}
	// In one write, so that it is not torn apart by lines of the log.
	_, _ = io.WriteString(stderr, "fileshare: "+err.Error()+hint+"\n")
	if ok && !isConfigError(failed) {
		return exitFailed
	}
	return exitUsage
}

// failure is an error of a command that was used rightly. All others come from
// cobra, and are wrong usage.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

func isConfigError(err error) bool {
	_, ok := errors.AsType[*configError](err)
	return ok
}

// doing makes a command of a function whose errors are failures.
func doing(do func(cmd *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		if err := do(cmd); err != nil {
			return &failure{err}
		}
		return nil
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "fileshare",
		Short: "Share files for a while",
		Long: `Fileshare keeps files for a limited time and hands them out by link.

  fileshare login https://files.example.com --user ann
  fileshare put film.mp4 --ttl 7d          # prints the link
  fileshare get LINK                       # needs no account

"fileshare COMMAND --help" tells more, with examples.`,
		// Without a command there is nothing to do: usage, and exit code 2.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("a command is expected; \"fileshare help\" lists them")
		},
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddGroup(&cobra.Group{ID: cli.Group, Title: "Use a server:"}, &cobra.Group{ID: daemonGroup, Title: "Run one:"})
	for _, cmd := range cli.Commands(buildVersion()) {
		failing(cmd)
		root.AddCommand(cmd)
	}
	backup := cli.BackupCommand(buildVersion(), backupDirectly)
	failing(backup)
	for _, cmd := range []*cobra.Command{serveCommand(), configCommand(), hashCommand(), migrateCommand(), fsckCommand(), s3Command(), backup, restoreCommand()} {
		cmd.GroupID = daemonGroup
		root.AddCommand(cmd)
	}
	root.AddCommand(versionCommand(), manCommand(root))
	return root
}

const daemonGroup = "daemon"

// failing makes failures of the errors of a command and those below it, but for
// those of wrong usage.
func failing(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if err != nil && !cli.IsUsage(err) {
				return &failure{err}
			}
			return err
		}
	}
	for _, sub := range cmd.Commands() {
		failing(sub)
	}
}

func manCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Short:  "Print the manual page",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command) error {
			return cli.WriteMan(cmd.OutOrStdout(), root, buildVersion())
		}),
	}
}

func serveCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Args:  cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command) error {
			c, err := loadConfig(cmd, path)
			if err != nil {
				return err
			}
			// Room for two: a second signal must not be lost while the first
			// one is being handled.
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
			// The htpasswd file and certificates are read again by themselves.
			signal.Ignore(syscall.SIGHUP)
			defer signal.Stop(signals)
			return serve(cmd.Context(), c, cmd.ErrOrStderr(), signals)
		}),
	}
	configFlag(cmd, &path)
	return cmd
}

func configCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, or what is wrong with it",
		Args:  cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command) error {
			c, err := loadConfig(cmd, path)
			if err != nil {
				return err
			}
			return c.Write(cmd.OutOrStdout())
		}),
	}
	configFlag(cmd, &path)
	return cmd
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "", "configuration file (default ./config.yaml, else /etc/fileshare/config.yaml, else built in)")
}

func loadConfig(cmd *cobra.Command, path string) (*Config, error) {
	if !cmd.Flags().Changed("config") {
		var err error
		if path, err = findConfig(); err != nil {
			return nil, err
		}
	} else if path == "" {
		return nil, &configError{[]error{errors.New("--config: a file is expected")}}
	}
	return LoadConfig(path, os.Environ())
}

func hashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash",
		Short: "Read a password and print its hash for the configuration",
		Long:  "Hash reads a password, from the terminal without showing it or else the first line of its input, and prints its argon2id hash for auth.users or an htpasswd file.",
		Args:  cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command) error {
			return hashPassword(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: doing(func(cmd *cobra.Command) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "fileshare %s (%s, %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}),
	}
}

// buildVersion is what the linker was told, else what Go knows of the module.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
