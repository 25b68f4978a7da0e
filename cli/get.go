package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"fileshare/client"
)

type getFlags struct {
	output   string
	force    bool
	parallel int
}

func (g *getFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&g.output, "output", "o", "", "file or directory to write to; - is stdout (default: the name that the server tells)")
	f.BoolVarP(&g.force, "force", "f", false, "replace a file that is there")
	f.IntVarP(&g.parallel, "parallel", "j", 1, "connections over which a large file comes at once, 1 to 16")
}

func getCommand() *cobra.Command {
	var g getFlags
	cmd := &cobra.Command{
		Use:   "get LINK…",
		Short: "Download what a link stands for",
		Long: `Get downloads a file by its link; an account is needed only where the server asks
for one. What has come is kept in NAME.part until all is there and its digest was
checked: called again, after whatever went wrong, get goes on with it. A file
that is there is not replaced without --force.

Of a session, and of the link by which one was sent, it gets all files as a zip
archive; where only one was sent, that.

It prints the name of the file.`,
		Example: `  fileshare get https://files.example.com/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569
  fileshare get -o film.mp4 -j 4 $LINK
  fileshare get -o - $LINK | tar -x`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, link := range args {
				if err := g.get(cmd, link); err != nil {
					return err
				}
			}
			return nil
		},
	}
	g.add(cmd)
	server(cmd)
	return cmd
}

// get finds out what a link stands for, and downloads that.
func (g *getFlags) get(cmd *cobra.Command, link string) error {
	base, sent := client.ParseShare(link)
	var ref client.Ref
	if !sent {
		var err error
		if base, ref, err = client.ParseLink(link); err != nil {
			return usageError{err}
		}
	}
	c, bar, err := connect(cmd, base)
	if err != nil {
		return err
	}
	defer c.Close()
	target := c.Link(ref)
	switch {
	case sent:
		all, err := c.Shared(cmd.Context(), link)
		if err != nil {
			return err
		}
		if target = all.ArchiveURL; len(all.Files) == 1 {
			target = all.Files[0].URL
		}
	case ref.File == "":
		target = c.ArchiveLink(ref.Session, "zip")
	}
	return g.download(cmd, c, bar, target)
}

// download makes a file of a link, or writes it to stdout.
func (g *getFlags) download(cmd *cobra.Command, c *client.Client, bar *progress, link string) error {
	defer c.Close()
	defer bar.end()
	if g.parallel < 1 || g.parallel > 16 {
		return usage("--parallel: 1 to 16 are possible")
	}
	if g.output == "-" {
		bar.start("stdout", -1, 0)
		_, err := c.Download(cmd.Context(), link, cmd.OutOrStdout(), bar.add)
		return err
	}
	name := "download"
	if g.output != "" {
		name = filepath.Base(g.output)
	}
	d, err := c.DownloadFile(cmd.Context(), link, client.FileOptions{
		Path: g.output, Force: g.force, Parallel: g.parallel,
		Start:    func(size, there int64) { bar.start(name, size, there) },
		Progress: bar.add,
	})
	bar.end()
	var exists *fs.PathError
	switch {
	case errors.As(err, &exists) && errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already; --force replaces it", exists.Path)
	case errors.Is(err, errInterrupted):
		return fmt.Errorf("%w; the same command goes on where it stopped", err)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), d.Path)
	return err
}
