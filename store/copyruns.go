package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// The runs of a content keep their keys wherever they are copied to; how they
// are cut is the business of the blobs they come to lie in.

// errDamaged is a content that is not what its record says.
var errDamaged = errors.New("the content is not what was stored")

// content is what a record says of bytes in the blobs.
type content struct {
	runs []run
	crc  uint32
	sha  []byte // nil: not known
}

// size is how many bytes that is.
func (c *content) size() (n int64) {
	for _, r := range c.runs {
		n += r.size
	}
	return n
}

// contentOf returns what of a record's bytes is in the blobs, nil if nothing is.
// Only files and pieces have such.
func contentOf(in Collection, item Item) (*content, error) {
	switch {
	case in == FileRecords:
		f, err := decodeFile(item.Doc)
		if err != nil || f.reason != alive || len(f.runs) == 0 {
			return nil, err
		}
		return &content{f.runs, f.crc, f.sha}, nil
	case in == IndexRecords && item.ID[0] == piecesOf(Key{})[0]:
		p, err := decodePiece(Key{}, item)
		if err != nil {
			return nil, err
		}
		return &content{runs: []run{p.run}, crc: p.crc}, nil
	}
	return nil, nil
}

// withRuns is the record of a content with other runs. What else it says stays as
// it is, also what this version does not know.
func withRuns(in Collection, doc []byte, runs []run) ([]byte, error) {
	field := 10 // of a file
	if in == IndexRecords {
		field = 1
	}
	var out encoder
	for x, err := range fields(doc) {
		switch {
		case err != nil:
			return nil, err
		case x.n == field && len(runs) > 0:
			out.bytes(field, runs[0].encode())
			runs = runs[1:]
		case x.raw != nil:
			out.item(x.n, string(x.raw))
		default:
			out.uint(x.n, x.v)
		}
	}
	return out, nil
}

// recut is a run as it lies in other blobs.
func recut(to Blobs, r run) run {
	r.seg, r.count = r.size, 1
	if cut, ok := to.(Segmented); ok && r.size > 0 {
		r.seg = min(cut.Segment(r.size), r.size)
		r.count = (r.size + r.seg - 1) / r.seg
	}
	return r
}

// readRuns reads runs from blobs, one behind the other. The reader is to be
// closed.
func readRuns(ctx context.Context, b Blobs, runs ...run) *Download {
	c := content{runs: runs}
	return &Download{s: &Store{blobs: b}, ctx: ctx, file: &File{Size: c.size()}, runs: runs}
}

// putRun writes a run whose bytes r has. again says that parts of it may be there.
func putRun(ctx context.Context, to Blobs, out run, r io.Reader, again bool) error {
	for i := range out.count {
		if again {
			if err := to.Delete(ctx, out.blob(i)); err != nil {
				return err
			}
		}
		size := min(out.seg, out.size-i*out.seg)
		if _, err := to.Put(ctx, out.blob(i), io.LimitReader(r, size), size); err != nil {
			return err
		}
	}
	return nil
}

// copyContent copies a content to other blobs, and compares it with what its
// record says on the way. It returns the runs as they are there.
func copyContent(ctx context.Context, from, to Blobs, c *content, again bool) (runs []run, err error) {
	sum := newDigest(c)
	for _, r := range c.runs {
		out := recut(to, r)
		if err := copyRun(ctx, from, to, r, out, sum, again); err != nil {
			return nil, err
		}
		runs = append(runs, out)
	}
	return runs, sum.check()
}

func copyRun(ctx context.Context, from, to Blobs, r, out run, sum io.Writer, again bool) error {
	src := readRuns(ctx, from, r)
	defer src.Close()
	return putRun(ctx, to, out, io.TeeReader(src, sum), again)
}

// digest compares bytes with what a record says of them.
type digest struct {
	io.Writer
	c   *content
	crc hash.Hash32
	sha hash.Hash // nil: not known
}

func newDigest(c *content) *digest {
	d := &digest{c: c, crc: crc32.NewIEEE()}
	d.Writer = d.crc
	if len(c.sha) > 0 {
		d.sha = sha256.New()
		d.Writer = io.MultiWriter(d.crc, d.sha)
	}
	return d
}

func (d *digest) check() error {
	if d.crc.Sum32() != d.c.crc {
		return fmt.Errorf("%w: its CRC-32 differs", errDamaged)
	}
	if d.sha != nil && !bytes.Equal(d.sha.Sum(nil), d.c.sha) {
		return fmt.Errorf("%w: its SHA-256 differs", errDamaged)
	}
	return nil
}

// checkInline compares a small content with what its file's record says.
func checkInline(doc []byte, f *fileRec) error {
	size := f.size
	if f.open != nil {
		size = f.open.got
	}
	if doc == nil || int64(len(doc)) != size {
		return fmt.Errorf("%w: %d bytes of %d", errDamaged, len(doc), size)
	}
	d := newDigest(&content{crc: f.crc, sha: f.sha})
	_, _ = d.Write(doc) // never fails
	return d.check()
}
