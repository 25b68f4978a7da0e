package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fileshare/api"
	"fileshare/client"
)

// put is the command with its flags.
type put struct {
	cmd       *cobra.Command
	client    *client.Client
	bar       *progress
	name      string
	session   string
	tags      []string
	life      ttl
	downloads int64
	once      bool
	recursive bool
	resume    bool
	qr        bool
	parallel  int
}

func putCommand() *cobra.Command {
	p := &put{}
	cmd := &cobra.Command{
		Use:   "put FILE…",
		Short: "Upload files and print their links",
		Long: `Put uploads files and prints a link for each. - is the standard input.

An upload survives broken lines and restarts of the server. One of more than
8 MiB that was interrupted goes on with "fileshare put --resume FILE", or all
of them with "fileshare put --resume".

A directory becomes, with -r, one zip archive that is packed on the way; with
--session each of its files becomes one of the session, whose original name is
its path. Symbolic links are left out.

In a session --once and --downloads make a token and print its link: the link
of the file itself needs the account.`,
		Example: `  fileshare put film.mp4 --ttl 7d
  fileshare put secret.txt --once --qr
  pg_dump shop | gzip | fileshare put - --name shop.sql.gz
  fileshare put -r photos --tag holidays
  fileshare put --session $S record.wav --once
  fileshare put --resume`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p.cmd = cmd
			return p.run(args)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			if p.resume {
				return savedPaths(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&p.recursive, "recursive", "r", false, "upload directories")
	ttlFlag(cmd, &p.life, "how long the link works")
	f.BoolVar(&p.once, "once", false, "the link works once: the same as --downloads 1")
	f.Int64Var(&p.downloads, "downloads", 0, "how often the link works (default: always)")
	f.StringVar(&p.name, "name", "", "name of the file (default: its own)")
	f.StringArrayVar(&p.tags, "tag", nil, "a word to find it by; may be repeated")
	f.StringVar(&p.session, "session", "", "id or link of the session that it belongs to")
	f.BoolVar(&p.resume, "resume", false, "go on with uploads that were interrupted")
	f.IntVarP(&p.parallel, "parallel", "j", 1, "connections over which a large file goes at once, 1 to 16")
	f.BoolVar(&p.qr, "qr", false, "show the link as a QR code, too")
	asJSON(cmd)
	server(cmd)
	return cmd
}

// check finds what makes no sense before anything is sent.
func (p *put) check(args []string) error {
	changed := func(names ...string) string {
		for _, n := range names {
			if p.cmd.Flags().Changed(n) {
				return n
			}
		}
		return ""
	}
	switch {
	case len(args) == 0 && !p.resume:
		return usage("a file is expected, or - for the standard input")
	case p.name != "" && len(args) > 1:
		return usage("--name: that is for one file")
	case p.once && changed("downloads") != "" && p.downloads != 1:
		return usage("--once and --downloads do not go together")
	case p.downloads < 0:
		return usage("--downloads: a positive number is expected")
	case p.parallel < 1 || p.parallel > 16:
		return usage("--parallel: 1 to 16 are possible")
	}
	if n := changed("name", "ttl", "once", "downloads", "tag", "session", "recursive"); p.resume && n != "" {
		return usage("--resume goes on with what was asked for then: it does not go together with --%s", n)
	}
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case arg == "-" && p.resume:
			return usage("what came from the standard input cannot be resumed")
		case arg == "-":
		case err == nil && info.IsDir() && p.resume:
			return usage("%s: archives of directories cannot be resumed", arg)
		case err == nil && info.IsDir() && !p.recursive:
			return usage("%s is a directory: -r uploads it", arg)
		}
	}
	if p.once {
		p.downloads = 1
	}
	return nil
}

func (p *put) run(args []string) (err error) {
	if err := p.check(args); err != nil {
		return err
	}
	if p.resume {
		return p.resumeAll(args)
	}
	link := ""
	if p.session != "" {
		base, ref, err := client.ParseLink(p.session)
		if err != nil || base != "" && (ref.Session == "" || ref.File != "") {
			return usage("--session: the id or the link of a session is expected")
		}
		if link, p.session = base, ref.Session; base == "" {
			p.session = ref.File // an id alone says not of what
		}
	}
	if p.client, p.bar, err = connect(p.cmd, link); err != nil {
		return err
	}
	defer p.client.Close()
	return p.all(args, p.one)
}

// all does something with each of the files, and goes on after an error with one
// of them.
func (p *put) all(args []string, one func(string) error) error {
	failed := 0
	for _, arg := range args {
		err := one(arg)
		p.bar.end()
		if err != nil && len(args) == 1 {
			return err
		}
		if err != nil {
			say(p.cmd, "%s: %v", arg, err)
			failed++
		}
		if p.cmd.Context().Err() != nil {
			break
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d files were not uploaded", failed, len(args))
	}
	return context.Cause(p.cmd.Context())
}

func (p *put) spec(name string) client.UploadSpec {
	s := client.UploadSpec{
		Name: name, TTL: time.Duration(p.life), Tags: p.tags, Session: p.session, MaxDownloads: p.downloads,
		Parallel: p.parallel, Progress: p.bar.add,
	}
	if p.name != "" {
		s.Name = p.name
	}
	if p.session != "" {
		s.MaxDownloads = 0 // a token has the limit
	}
	return s
}

// one uploads what an argument names.
func (p *put) one(arg string) error {
	if arg == "-" {
		return p.stream(p.cmd.InOrStdin(), p.spec("stdin"))
	}
	info, err := os.Stat(arg)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return p.directory(arg)
	}
	return p.file(arg, p.spec(filepath.Base(arg)), nil)
}

func (p *put) stream(r io.Reader, spec client.UploadSpec) error {
	p.bar.start(spec.Name, -1, 0)
	f, err := p.client.UploadStream(p.cmd.Context(), r, spec)
	if err != nil {
		return err
	}
	return p.done(f)
}

// file uploads a file; a saved upload is gone on with.
func (p *put) file(path string, spec client.UploadSpec, saved *savedUpload) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return p.stream(f, spec)
	}
	if saved == nil {
		if saved, err = newSaved(p.client.URL(), path, info, spec); err != nil {
			return err
		}
	} else {
		spec.Resume = &saved.Unfinished
	}
	kept := spec.Resume != nil
	spec.Begun = func(u client.Unfinished) {
		saved.Unfinished, saved.Downloads = u, p.downloads
		if err := saved.save(); err != nil {
			say(p.cmd, "this upload cannot be resumed later: %v", err)
			return
		}
		kept = true
	}
	p.bar.start(spec.Name, info.Size(), 0)
	made, err := p.client.Upload(p.cmd.Context(), f, info.Size(), spec)
	p.bar.end()
	switch {
	case err == nil:
		if err := saved.remove(); err != nil {
			say(p.cmd, "%v", err)
		}
		return p.done(made)
	case kept && !refused(err):
		return fmt.Errorf("%w; \"fileshare put --resume %s\" goes on where it stopped", err, quoted(path))
	case kept:
		return errors.Join(err, saved.remove())
	}
	return err
}

// refused tells whether a server wants nothing more of an upload.
func refused(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return errors.Is(err, client.ErrMismatch) ||
		ok && e.Status < 500 && e.Kind != api.CodeUnauthenticated && e.Kind != api.CodeRateLimited && e.Kind != api.CodeIncomplete && e.Kind != ""
}

// quoted is a path as a shell reads it.
func quoted(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+,:@%") == "" && path != "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// done prints the link of an upload.
func (p *put) done(f *api.File) error {
	p.bar.end()
	if f.SessionID != nil && p.downloads > 0 {
		t, err := p.client.CreateToken(p.cmd.Context(), client.Ref{Session: *f.SessionID, File: f.ID}, client.TokenSpec{MaxDownloads: p.downloads, TTL: time.Duration(p.life)})
		if err != nil {
			return fmt.Errorf("it is uploaded, but has no token: %w", err)
		}
		f.URL = t.URL
	}
	if err := printResult(p.cmd, f, f.URL); err != nil {
		return err
	}
	if p.qr {
		return writeQR(p.cmd.ErrOrStderr(), f.URL, p.bar.terminal)
	}
	return nil
}

// resumeAll goes on with saved uploads: those of the files that are named, or all.
func (p *put) resumeAll(paths []string) error {
	all, err := savedUploads()
	if err != nil {
		return err
	}
	todo := map[string]*savedUpload{}
	var order []string
	for _, s := range all {
		info, err := os.Stat(s.Path)
		if len(paths) == 0 && (err != nil || !s.fits(info)) {
			say(p.cmd, "%s is not what it was: its upload is given up", s.Path)
			if err := s.remove(); err != nil {
				return err
			}
			continue
		}
		if err == nil && s.fits(info) && todo[s.Path] == nil {
			todo[s.Path] = s
			order = append(order, s.Path)
		}
	}
	if len(paths) > 0 {
		order = nil
		for _, path := range paths {
			abs, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			if todo[abs] == nil {
				return fmt.Errorf("%s: there is no interrupted upload of it, or it has changed since", path)
			}
			order = append(order, abs)
		}
	}
	if len(order) == 0 {
		return errors.New("there is nothing to resume")
	}
	p.bar = newProgress(p.cmd.ErrOrStderr())
	return p.all(order, func(path string) error {
		s := todo[path]
		c, bar, err := connect(p.cmd, s.Server)
		if err != nil {
			return err
		}
		defer c.Close()
		p.client, p.bar, p.downloads, p.life, p.session = c, bar, s.Downloads, ttl(s.Spec.TTL), s.Spec.Session
		spec := s.Spec.upload()
		spec.Progress, spec.Parallel = bar.add, p.parallel
		return p.file(path, spec, s)
	})
}
