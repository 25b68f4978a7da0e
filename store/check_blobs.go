package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"
)

// readers is how many contents a Check looks at at once.
const readers = 8

// contents looks whether the contents of a page of files are there.
func (c *checker) contents(ctx context.Context, items []Item) error {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards c.sum and c.lost
	var errs [readers]error
	for w := range readers {
		wg.Go(func() {
			var all []stored
			if all, errs[w] = c.stored(ctx, items, w); errs[w] != nil {
				return
			}
			for _, s := range all {
				blobs, size, err := c.content(ctx, s)
				f, bad := faultOf(err)
				if err != nil && !bad {
					errs[w] = fmt.Errorf("content of %s: %w", s.key, err)
					return
				}
				mu.Lock()
				if c.sum.Blobs, c.sum.Bytes = c.sum.Blobs+blobs, c.sum.Bytes+size; bad {
					c.lost[s.key] = lost{f, s.doc}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// stored is what a file's record says of its content.
type stored struct {
	key      Key
	doc      []byte // the record
	contents []content
	err      error // what is wrong already, without the blobs
}

// stored reads what each so many-th record of a page says, from the first on.
func (c *checker) stored(ctx context.Context, items []Item, first int) (all []stored, err error) {
	err = c.b.Records.View(ctx, func(tx Tx) error {
		all = nil
		for i := first; i < len(items); i += readers {
			s := stored{doc: items[i].Doc}
			s.key, _ = keyOf(items[i].ID)
			s.contents, s.err = contentsOf(tx, s.key, s.doc)
			if _, known := faultOf(s.err); s.err != nil && !known {
				return s.err
			}
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// faultOf tells what an error of reading a content says of the content itself.
func faultOf(err error) (fault, bool) {
	f := fault{mending: "the file ends, as if its time were over"}
	switch {
	case errors.Is(err, errDamaged):
		f.kind = WrongSum
	case errors.Is(err, fs.ErrNotExist):
		f.kind = Missing
	case errors.Is(err, io.ErrUnexpectedEOF):
		f.kind = WrongSize
	default:
		return f, false
	}
	f.detail = err.Error()
	return f, true
}

// content looks at the content of a file: whether it is there, and with Deep
// whether it is what was stored.
func (c *checker) content(ctx context.Context, s stored) (blobs, size int64, err error) {
	if s.err != nil {
		return 0, 0, s.err
	}
	for _, one := range s.contents {
		for _, r := range one.runs {
			for i := range r.count {
				blobs++
				if err := c.there(ctx, r.blob(i), min(r.seg, r.size-i*r.seg)); err != nil {
					return blobs, size, err
				}
			}
			size += r.size
		}
		if c.o.Deep {
			if err := c.compare(ctx, one); err != nil {
				return blobs, size, err
			}
		}
	}
	return blobs, size, nil
}

// contentsOf are the contents of a file that are in the blobs; a small one is
// looked at at once.
func contentsOf(tx Tx, key Key, doc []byte) ([]content, error) {
	f, err := decodeFile(doc)
	if err != nil || doc == nil || f.reason != alive {
		return nil, nil // it is judged later
	}
	if f.small() {
		doc, err := tx.Get(ContentRecords, key[:])
		if err != nil {
			return nil, err
		}
		if doc == nil {
			return nil, fmt.Errorf("content: %w", fs.ErrNotExist)
		}
		return nil, checkInline(doc, f)
	}
	if f.stored {
		return []content{{f.runs, f.crc, f.sha}}, nil
	}
	if f.open == nil || f.open.used() {
		return nil, nil
	}
	own, err := pieces(tx, key)
	if errors.Is(err, errCodec) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []content
	var got int64
	for _, p := range own {
		all = append(all, content{runs: []run{p.run}, crc: p.crc})
		got += p.run.size
	}
	if got != f.open.got {
		return nil, fmt.Errorf("pieces of %d bytes, %d were stored: %w", got, f.open.got, io.ErrUnexpectedEOF)
	}
	return all, nil
}

// there looks whether a blob is there and as long as it must be.
func (c *checker) there(ctx context.Context, blob string, size int64) error {
	r, err := c.b.Blobs.Open(ctx, blob, size, 0)
	if err != nil {
		return err
	}
	return r.Close()
}

// compare reads a content and compares it with its digests.
func (c *checker) compare(ctx context.Context, one content) error {
	r := readRuns(ctx, c.b.Blobs, one.runs...)
	defer r.Close()
	sum := newDigest(&one)
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		return err
	}
	return sum.check()
}

// orphans looks at every blob that there is: a record must refer to it, and know
// its size.
func (c *checker) orphans(ctx context.Context) error {
	var batch []BlobInfo
	limit := time.Now().Add(-c.o.MinAge)
	for info, err := range c.b.Blobs.List(ctx, AllShards) {
		if err != nil {
			return err
		}
		if batch = append(batch, info); len(batch) == sweepBatch {
			if err := c.blobs(ctx, batch, limit); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return c.blobs(ctx, batch, limit)
}

// blobs judges some blobs, and once more those that look wrong.
func (c *checker) blobs(ctx context.Context, batch []BlobInfo, limit time.Time) error {
	var suspects []BlobInfo
	err := c.b.Records.View(ctx, func(tx Tx) error {
		suspects = suspects[:0]
		for _, info := range batch {
			key, ours := runOf(info.Key)
			if !ours {
				continue
			}
			if doc, err := tx.Get(TrashRecords, key[:]); err != nil {
				return err
			} else if doc != nil { // it is about to be deleted
				continue
			}
			size, ok, err := sizeOf(tx, info.Key)
			if errors.Is(err, errCodec) {
				continue // of a record that cannot be read
			}
			if err == nil && !ok {
				var held bool
				if held, err = isHeld(tx, key); held {
					continue // it is being written
				}
			}
			if err != nil {
				return err
			}
			if (!ok || size != info.Size) && !(c.o.MinAge > 0 && info.Modified.After(limit)) {
				suspects = append(suspects, info)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, info := range suspects {
		if err := c.blob(ctx, info); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// blob judges a blob that looks wrong.
func (c *checker) blob(ctx context.Context, info BlobInfo) error {
	var size int64
	var known bool
	err := c.b.Records.View(ctx, func(tx Tx) (err error) {
		size, known, err = sizeOf(tx, info.Key)
		return err
	})
	if err != nil {
		return err
	}
	p := Problem{Blob: info.Key}
	switch {
	case !known:
		p.Kind, p.Detail, p.Mending = Orphan, fmt.Sprintf("no record refers to its %d bytes", info.Size), "it is deleted"
		if c.o.Repair {
			if err := c.b.Blobs.Delete(ctx, info.Key); err != nil {
				return err
			}
			p.Repaired = true
		}
	case size < info.Size && c.there(ctx, info.Key, size+1) == nil:
		p.Kind, p.Detail, p.Mending = WrongSize, fmt.Sprintf("%d bytes, its record says %d", info.Size, size), "it is left: what is too much is not served"
	default:
		return nil // too short: its file has told so
	}
	c.report(p)
	return nil
}

// sizeOf is how many bytes the records say a blob has; ok is false where none
// refers to it.
func sizeOf(tx Tx, blob string) (size int64, ok bool, err error) {
	key, _ := runOf(blob)
	doc, err := tx.Get(IndexRecords, runID(key))
	if err != nil || doc == nil {
		return 0, false, err
	}
	file, _ := keyOf(doc)
	r, ok, err := runOfFile(tx, file, key)
	if err != nil || !ok {
		return 0, false, err
	}
	_, number, _ := strings.Cut(blob, "/")
	i, err := strconv.ParseInt(number, 10, 64)
	if err != nil || i < 0 || i >= r.count {
		return 0, false, nil
	}
	return min(r.seg, r.size-i*r.seg), true, nil
}
