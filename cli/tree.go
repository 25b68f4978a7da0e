package cli

import (
	"archive/zip"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// directory uploads a directory: as an archive, or file by file into a session.
func (p *put) directory(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	base := filepath.Base(abs)
	if p.session != "" {
		return p.walk(dir, func(name string, _ fs.FileInfo) error {
			err := p.file(filepath.Join(dir, filepath.FromSlash(name)), p.spec(path.Join(base, name)), nil)
			p.bar.end()
			return err
		})
	}
	r, w := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		w.CloseWithError(p.pack(w, dir, base))
	}()
	err = p.stream(r, p.spec(base+".zip"))
	r.CloseWithError(errors.New("the upload has ended"))
	<-packed
	return err
}

// walk calls f with every regular file below dir, by its path there, with
// slashes. It says what it leaves out.
func (p *put) walk(dir string, f func(name string, info fs.FileInfo) error) error {
	root := os.DirFS(dir)
	return fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(p.cmd.Context())
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			say(p.cmd, "%s is left out: it is no regular file", filepath.Join(dir, filepath.FromSlash(name)))
			return nil
		}
		return f(name, info)
	})
}

// pack writes a zip archive of a directory.
func (p *put) pack(w io.Writer, dir, base string) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	err := p.walk(dir, func(name string, info fs.FileInfo) error {
		head, err := zip.FileInfoHeader(info)
		if err != nil {
			return err
		}
		head.Name, head.Method = path.Join(base, name), zip.Deflate
		to, err := z.CreateHeader(head)
		if err != nil {
			return err
		}
		from, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		defer from.Close()
		if _, err := io.Copy(to, from); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return errors.Join(err, z.Close())
}
