package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// BackupOptions configures Backup.
type BackupOptions struct {
	// TempDir is where the records wait until all contents have been written,
	// about 1 KB for each file; default [os.TempDir].
	TempDir  string
	Progress func(BackupEnd) // is told now and then; nil: nobody is
}

// Backup writes all records, as they are at one moment, and their contents.
// Daemons may be at work meanwhile. A file that ends before its content could be
// written is left without it, and ends in what is restored, too.
//
// What it writes is as good as everything in it: secrets, contents, links.
func Backup(ctx context.Context, b Backend, w io.Writer, o BackupOptions) (BackupEnd, error) {
	if _, err := readIDs(ctx, b.Records); err != nil {
		return BackupEnd{}, err
	}
	if err := arrived(ctx, b.Records); err != nil {
		return BackupEnd{}, err
	}
	if err := paired(ctx, b); err != nil {
		return BackupEnd{}, err
	}
	spool, err := os.CreateTemp(o.TempDir, "fileshare-backup-")
	if err != nil {
		return BackupEnd{}, fmt.Errorf("make a spool: %w", err)
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil { // it lives as long as it is open
		return BackupEnd{}, fmt.Errorf("make a spool: %w", err)
	}
	id := make([]byte, 16)
	rand.Read(id) // never fails
	k := &backup{b: b, o: o, spool: spool}
	head := BackupHead{Format: backupFormat, ID: fmt.Sprintf("%x", id), Taken: time.Now().UTC().Truncate(time.Millisecond)}
	if k.a, err = newArchiver(w, head); err != nil { // first, so that whoever waits sees that it has begun
		return BackupEnd{}, err
	}
	if err := k.snapshot(ctx); err != nil {
		return BackupEnd{}, fmt.Errorf("read the records: %w", err)
	}
	if err := k.each(ctx, k.blobs); err != nil {
		return k.a.end, fmt.Errorf("back up contents: %w", err)
	}
	if err := k.each(ctx, k.records); err != nil {
		return k.a.end, fmt.Errorf("back up records: %w", err)
	}
	return k.a.end, k.a.finish()
}

// MayBackup refuses a caller that Backup would refuse.
func (s *Store) MayBackup(c Caller) error { return s.permit(c, toSeeAll, nil) }

// Backup is the backup of what a running daemon has, for an administrator.
func (s *Store) Backup(ctx context.Context, c Caller, w io.Writer) error {
	if err := s.MayBackup(c); err != nil {
		return err
	}
	_, err := Backup(ctx, Backend{Records: s.records, Blobs: s.blobs}, w, BackupOptions{})
	return err
}

// backup is one Backup.
type backup struct {
	b     Backend
	o     BackupOptions
	spool *os.File
	a     *archiver
}

// snapshot writes all records into the spool, in one View, which is over as soon as
// the disk has them: whoever the backup is for may be slow. Small contents are
// left out: like the others they are written once, and are read later.
func (k *backup) snapshot(ctx context.Context) error {
	return k.b.Records.View(ctx, func(tx Tx) error {
		if _, err := k.spool.Seek(0, io.SeekStart); err != nil {
			return err
		}
		out := bufio.NewWriterSize(k.spool, 1<<20)
		for _, in := range Collections() {
			if in.passing() || in == TrashRecords || in == ContentRecords {
				continue
			}
			for item, err := range tx.Scan(in, nil, nil) {
				if err != nil {
					return err
				}
				if in == MetaRecords && bound(item.ID) {
					continue
				}
				if _, err := out.Write(appendFrame(nil, in, item)); err != nil {
					return err
				}
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

// spooled is a record of the spool.
type spooled struct {
	in   Collection
	item Item
}

// each passes the records of the spool on, some at a time.
func (k *backup) each(ctx context.Context, do func(context.Context, []spooled) error) error {
	if _, err := k.spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(k.spool, 1<<20)
	for more := true; more; {
		var batch []spooled
		for size := 0; len(batch) < pageRecords && size < pageBytes; {
			in, item, err := readFrame(r)
			if err == io.EOF {
				more = false
				break
			}
			if err != nil {
				return fmt.Errorf("read the spool: %w", err)
			}
			batch = append(batch, spooled{in, item})
			size += len(item.ID) + len(item.Doc)
		}
		if err := do(ctx, batch); err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if k.o.Progress != nil {
			k.o.Progress(k.a.end)
		}
	}
	return nil
}

// blobs writes the runs of some records.
func (k *backup) blobs(ctx context.Context, batch []spooled) error {
	for _, s := range batch {
		c, err := contentOf(s.in, s.item)
		if err != nil || c == nil {
			continue // a record that cannot be read is backed up as it is
		}
		for _, r := range c.runs {
			gone, err := k.blob(ctx, r)
			if err != nil {
				return err
			}
			if gone {
				k.a.end.Left++
				break
			}
		}
	}
	return nil
}

// blob writes a run, unless it is gone.
func (k *backup) blob(ctx context.Context, r run) (gone bool, err error) {
	src := readRuns(ctx, k.b.Blobs, r)
	defer src.Close()
	err = src.Prepare() // before the header tells of it
	if err == nil {
		var broken error
		if broken, err = k.a.blob(r, src); err != nil {
			return false, err
		}
		err = broken
	}
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, io.ErrUnexpectedEOF):
		return true, nil
	}
	return false, err
}

// records writes some records, small contents before their files.
func (k *backup) records(ctx context.Context, batch []spooled) error {
	size, begin := int64(0), 0
	for i, s := range batch {
		if f, err := decodeFile(s.item.Doc); s.in == FileRecords && err == nil && f.small() {
			size += f.size
		}
		if size > pageBytes || i == len(batch)-1 {
			if err := k.written(ctx, batch[begin:i+1]); err != nil {
				return err
			}
			size, begin = 0, i+1
		}
	}
	return nil
}

func (k *backup) written(ctx context.Context, batch []spooled) error {
	small := map[string]Item{}
	left := int64(0)
	err := k.b.Records.View(ctx, func(tx Tx) error {
		clear(small)
		left = 0
		for _, s := range batch {
			if s.in != FileRecords {
				continue
			}
			f, err := decodeFile(s.item.Doc)
			if err != nil || !f.small() {
				continue // what is damaged stays so
			}
			doc, err := tx.Get(ContentRecords, s.item.ID)
			if err != nil {
				return err
			}
			if checkInline(doc, f) == nil {
				small[string(s.item.ID)] = Item{ID: s.item.ID, Doc: bytes.Clone(doc)}
			} else {
				left++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.a.end.Left += left
	for _, s := range batch {
		if content, ok := small[string(s.item.ID)]; ok && s.in == FileRecords {
			if err := k.a.record(ContentRecords, content); err != nil {
				return err
			}
		}
		if err := k.a.record(s.in, s.item); err != nil {
			return err
		}
	}
	return nil
}
