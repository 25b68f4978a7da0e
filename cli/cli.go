// Package cli are the verbs of the command line that use a server: put, get, ls
// and so on. The result of a verb, a link or JSON, goes to stdout; everything else
// goes to stderr.
package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fileshare/client"
)

// Group is the id of the group of commands; whoever adds them to a root adds it.
const Group = "client"

// Commands returns the verbs. Errors of their RunE for which [IsUsage] is true
// mean that they were used wrongly.
func Commands(version string) []*cobra.Command {
	all := []*cobra.Command{
		putCommand(), getCommand(), listCommand(), infoCommand(), removeCommand(),
		tokenCommand(), sessionCommand(), inviteCommand(), loginCommand(), logoutCommand(),
	}
	for _, cmd := range all {
		cmd.GroupID = Group
		prepare(cmd, version)
	}
	return all
}

// prepare lets a command, and those below it, be interrupted and tell its version.
func prepare(cmd *cobra.Command, version string) {
	each(cmd, func(cmd *cobra.Command) {
		if run := cmd.RunE; run != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				ctx, stop := Interruptible(cmd.Context())
				defer stop()
				cmd.SetContext(context.WithValue(ctx, versionKey{}, version))
				return run(cmd, args)
			}
		}
	})
}

type versionKey struct{}

func each(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		each(sub, f)
	}
}

// usageError is an error of who typed the command.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// IsUsage tells whether an error is one of using a command wrongly.
func IsUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// errInterrupted is why a context ends that Ctrl-C ended.
var errInterrupted = errors.New("interrupted")

// Interruptible is a context that the first SIGINT or SIGTERM ends. The second
// one ends the process.
func Interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
		signal.Stop(signals)
	}()
	return ctx, func() { cancel(nil) }
}

// server adds the flag that says which server is meant.
func server(cmd *cobra.Command) {
	cmd.Flags().String("server", "", "address of the server (default $FILESHARE_URL, else that of the last login)")
}

// asJSON adds the flag for programs.
func asJSON(cmd *cobra.Command) {
	cmd.Flags().Bool("json", false, "print what the server answers as JSON, an object a line")
}

// connect makes the client for a command, and for the server of a link if one is
// given.
func connect(cmd *cobra.Command, link string) (*client.Client, *progress, error) {
	a, err := loadAccounts()
	if err != nil {
		return nil, nil, err
	}
	chosen, _ := cmd.Flags().GetString("server")
	base, user, password, err := a.choose(chosen, link)
	if err != nil {
		return nil, nil, err
	}
	bar := newProgress(cmd.ErrOrStderr())
	version, _ := cmd.Context().Value(versionKey{}).(string)
	c, err := client.New(client.Options{URL: base, User: user, Password: password, UserAgent: "fileshare/" + version, OnRetry: bar.retry})
	if err != nil {
		return nil, nil, usageError{err}
	}
	return c, bar, nil
}

// connectTo makes the client for the server of a link, or of the id of an upload,
// and returns what that names.
func connectTo(cmd *cobra.Command, link string) (*client.Client, client.Ref, error) {
	base, ref, err := client.ParseLink(link)
	if err != nil {
		return nil, ref, usageError{err}
	}
	c, _, err := connect(cmd, base)
	return c, ref, err
}

// print writes a result: as JSON if that was asked for.
func printResult(cmd *cobra.Command, v any, text string) error {
	if wanted, _ := cmd.Flags().GetBool("json"); wanted {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		text = string(b)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

// say tells people something.
func say(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "fileshare: "+format+"\n", args...)
}

// isTerminal tells whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ReadPassword asks for a password on a terminal, without echo and, with again,
// twice; from anything else it takes the first line.
func ReadPassword(in io.Reader, prompt io.Writer, again bool) (string, error) {
	if !isTerminal(in) {
		line, err := bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
	}
	ask := func(question string) (string, error) {
		fmt.Fprint(prompt, question)
		b, err := term.ReadPassword(int(in.(*os.File).Fd()))
		fmt.Fprintln(prompt)
		return string(b), err
	}
	first, err := ask("Password: ")
	if err != nil || !again {
		return first, err
	}
	second, err := ask("Again: ")
	if err == nil && first != second {
		err = errors.New("the two are not the same")
	}
	return first, err
}

// left is how long something lives still, in the two largest units.
func left(end, now time.Time) string {
	d := end.Sub(now)
	switch {
	case d <= 0:
		return "over"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Size is a number of bytes as people read it.
func Size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}
