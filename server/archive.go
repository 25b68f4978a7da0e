package server

import (
	"archive/tar"
	"archive/zip"
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"fileshare/server/reply"
	"fileshare/store"
)

// archiver writes one kind of archive as a stream.
type archiver interface {
	// add begins a file; its bytes are then written to the result.
	add(name string, f *store.File) (io.Writer, error)
	Close() error
}

type zipArchive struct{ *zip.Writer }

func (a zipArchive) add(name string, f *store.File) (io.Writer, error) {
	return a.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: contentTime(f)})
}

type tarArchive struct{ *tar.Writer }

func (a tarArchive) add(name string, f *store.File) (io.Writer, error) {
	err := a.WriteHeader(&tar.Header{Name: name, Size: f.Size, Mode: 0o644, ModTime: contentTime(f).Truncate(time.Second), Typeflag: tar.TypeReg})
	return a.Writer, err
}

// archive streams all files of a session that have content, oldest last. An
// error in the middle breaks the connection, so that nobody takes the part for
// the whole.
func (s *server) archive(w http.ResponseWriter, r *http.Request) error {
	x := state(r)
	sess, err := s.store.Session(r.Context(), x.caller, x.vars["sid"])
	if err != nil {
		return err
	}
	format := r.URL.Query().Get("format")
	types := map[string]string{"": "application/zip", "zip": "application/zip", "tar": "application/x-tar"}
	mt, ok := types[format]
	if !ok {
		return invalid("format must be zip or tar")
	}
	if format == "" {
		format = "zip"
	}
	base := sess.Name
	if base == "" {
		base = "session-" + sess.ID
	}
	h := w.Header()
	h.Set("Content-Type", mt)
	h.Set("Content-Disposition", disposition(false, entryName(base)+"."+format))
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return nil
	}
	var a archiver
	if format == "tar" {
		a = tarArchive{tar.NewWriter(w)}
	} else {
		a = zipArchive{zip.NewWriter(w)}
	}
	names := map[string]bool{}
	q := store.Query{Session: sess.ID, Limit: 1000}
	for {
		page, err := s.store.Files(r.Context(), x.caller, q)
		if err != nil {
			return s.broken(r, err)
		}
		for _, f := range page.Items {
			if f.State != store.StateUploaded {
				continue
			}
			if err := s.addToArchive(r, a, names, f); err != nil {
				return s.broken(r, err)
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if err := a.Close(); err != nil {
		return s.broken(r, err)
	}
	return nil
}

func (s *server) addToArchive(r *http.Request, a archiver, names map[string]bool, f *store.File) error {
	d, err := s.store.Open(r.Context(), state(r).caller, store.Ref{Session: f.Session, File: f.ID})
	if k := store.KindOf(err); k == store.NotFound || k == store.Expired || k == store.Used {
		return nil // gone since it was listed
	}
	if err != nil {
		return err
	}
	defer d.Close()
	whole := []store.Span{{From: 0, To: f.Size}}
	if err := d.Reserve(r.Context(), whole); err != nil {
		if store.KindOf(err) != 0 {
			return nil // its downloads are used up or in use
		}
		return err
	}
	name := unique(names, entryName(f.Name))
	dst, err := a.add(name, d.File())
	if err != nil {
		return err
	}
	n, err := d.SendTo(dst, f.Size)
	if err == nil && n != f.Size {
		err = io.ErrUnexpectedEOF
	}
	delivered, doubtful := whole, []store.Span(nil)
	if err != nil {
		delivered, doubtful = split(whole, n, inDoubt)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), settleTimeout)
	defer cancel()
	if serr := d.Settle(ctx, delivered, doubtful); err == nil && serr != nil {
		return fmt.Errorf("settling a download: %w", serr)
	}
	return err
}

// broken is what an error in the middle of an archive becomes. Nothing may
// have been written yet; then it can still be answered.
func (s *server) broken(r *http.Request, err error) error {
	if r.Context().Err() != nil || isGone(err) {
		err = reply.Gone(err)
	}
	return err
}

// entryName is the name of a file in an archive: one path element.
func entryName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || strings.ContainsRune(`/\:`, c) {
			return '_'
		}
		return c
	}, name)
	if strings.Trim(name, ". ") == "" {
		return "unnamed"
	}
	return name
}

// unique numbers a name that has been given, in any case of letters.
func unique(names map[string]bool, name string) string {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	out := name
	for i := 2; names[strings.ToLower(out)]; i++ {
		out = stem + " (" + strconv.Itoa(i) + ")" + ext
	}
	names[strings.ToLower(out)] = true
	return out
}
