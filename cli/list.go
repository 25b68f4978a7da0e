package cli

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"fileshare/api"
	"fileshare/client"
)

func listCommand() *cobra.Command {
	var q client.Query
	var session string
	var most int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List your uploads, newest first",
		Example: `  fileshare ls
  fileshare ls --tag red -n 10
  fileshare ls --session 0b0e8f0c-6d0e-4cb5-8a4e-1d3c5c5a9a10
  fileshare ls --json | jq -r 'select(.downloads == 0) | .url'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := connect(cmd, "")
			if err != nil {
				return err
			}
			defer c.Close()
			if most > 0 {
				q.Page = min(most, 1000)
			}
			files := c.Uploads(cmd.Context(), q)
			if session != "" {
				files = c.Files(cmd.Context(), session, q)
			}
			t := newTable(cmd, "SIZE", "LEFT", "DOWNLOADS", "NAME", "LINK")
			n := 0
			for f, err := range files {
				if err == nil {
					err = t.row(f, Size(f.Size), left(f.ExpiresAt.Time, time.Now()), downloads(f.Downloads, f.MaxDownloads), nameOf(f), f.URL)
				}
				if err != nil {
					return errors.Join(err, t.end())
				}
				if n++; n == most {
					break
				}
			}
			return t.end()
		},
	}
	cmd.Flags().StringVar(&q.Tag, "tag", "", "only files with this tag")
	cmd.Flags().StringVar(&session, "session", "", "the files of the session with this id")
	cmd.Flags().IntVarP(&most, "number", "n", 0, "so many at most (default: all)")
	asJSON(cmd)
	server(cmd)
	return cmd
}

// nameOf is the name of a file, and what is to be known if it has no content.
func nameOf(f *api.File) string {
	if f.State != "UPLOADED" {
		return f.Name + " (" + strings.ToLower(f.State) + ")"
	}
	return f.Name
}

// downloads are those of what may be limited.
func downloads(n, most int64) string {
	if most == 0 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%d of %d", n, most)
}

// table prints rows for people, or objects for programs.
type table struct {
	cmd  *cobra.Command
	json bool
	w    *tabwriter.Writer
	head []string
}

func newTable(cmd *cobra.Command, head ...string) *table {
	t := &table{cmd: cmd, head: head, w: tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)}
	t.json, _ = cmd.Flags().GetBool("json")
	return t
}

func (t *table) row(v any, cells ...string) error {
	if t.json {
		return printResult(t.cmd, v, "")
	}
	if t.head != nil {
		_, _ = fmt.Fprintln(t.w, strings.Join(t.head, "\t"))
		t.head = nil
	}
	_, err := fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	return err
}

func (t *table) end() error { return t.w.Flush() }

// tabulate prints a row for each of all. What came before an error is printed, too.
func tabulate[T any](t *table, all iter.Seq2[T, error], cells func(T) []string) error {
	for v, err := range all {
		if err == nil {
			err = t.row(v, cells(v)...)
		}
		if err != nil {
			return errors.Join(err, t.end())
		}
	}
	return t.end()
}

func infoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "info LINK",
		Short:   "Tell what the server knows of a file",
		Example: "  fileshare info https://files.example.com/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569\n  fileshare info --json $LINK | jq .downloads",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, ref, err := connectTo(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			if ref.File == "" {
				s, err := c.Session(cmd.Context(), ref.Session)
				if err != nil {
					return err
				}
				return printResult(cmd, s, facts("name", s.Name, "owner", s.Owner, "created", moment(s.CreatedAt), "expires", expires(s.ExpiresAt), "link", s.URL))
			}
			f, err := c.Info(cmd.Context(), ref)
			if err != nil {
				return err
			}
			sum := "-"
			if f.SHA256 != nil {
				sum = *f.SHA256
			}
			return printResult(cmd, f, facts("name", f.Name, "type", f.MimeType, "size", fmt.Sprintf("%s (%d)", Size(f.Size), f.Size), "sha256", sum,
				"state", strings.ToLower(f.State), "downloads", downloads(f.Downloads, f.MaxDownloads), "tags", strings.Join(f.Tags, ", "),
				"owner", f.Owner, "created", moment(f.CreatedAt), "expires", expires(f.ExpiresAt), "link", f.URL))
		},
	}
	asJSON(cmd)
	server(cmd)
	return cmd
}

// facts are names and values, a line each.
func facts(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%-10s %s\n", pairs[i], pairs[i+1])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func moment(t api.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func expires(t api.Time) string { return moment(t) + " (" + left(t.Time, time.Now()) + ")" }

func removeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm LINK…",
		Short:   "Remove files",
		Example: "  fileshare rm https://files.example.com/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569\n  fileshare ls --tag old --json | jq -r .url | xargs fileshare rm",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return remove(cmd, args, func(r client.Ref) error {
				if r.File == "" {
					return usage(`that is a session: "fileshare session rm" removes it and all its files`)
				}
				return nil
			})
		},
	}
	server(cmd)
	return cmd
}

// remove removes what links name, if check has nothing against it.
func remove(cmd *cobra.Command, links []string, check func(client.Ref) error) error {
	for _, link := range links {
		c, ref, err := connectTo(cmd, link)
		if err == nil {
			err = check(ref)
		}
		if err == nil {
			err = c.Delete(cmd.Context(), ref)
			c.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
