package store

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
)

// A backup is a tar archive, in this order:
//
//	backup.json          format, id, when the records were as they are in it
//	blobs/RUN            a run: as many bytes as its record says
//	blobs/RUN.sha256     its digest, as sha256sum -c reads it; not there if the run is not whole
//	records/NNNNNNNN     records, one behind the other (see frame)
//	end.json             counts, and the digest of all records
//
// So each content comes before the records that refer to it, and an archive that
// was cut off has no end.

const (
	backupFormat = 1
	headName     = "backup.json"
	endName      = "end.json"
	blobsDir     = "blobs/"
	recordsDir   = "records/"
	sumSuffix    = ".sha256"
	mostFrame    = 65 << 20 // bytes; more than the largest document that any backend takes
)

// BackupHead is the beginning of a backup.
type BackupHead struct {
	Format int       `json:"format"`
	ID     string    `json:"id"`
	Taken  time.Time `json:"taken"`
}

// BackupEnd is what a backup has.
type BackupEnd struct {
	Records int64  `json:"records"`
	Blobs   int64  `json:"blobs"` // runs
	Bytes   int64  `json:"bytes"` // of the runs
	Left    int64  `json:"left"`  // files that ended while the backup was made: without their contents
	SHA256  string `json:"sha256"`
}

// frame is a record in an archive or in a spool: its length as a varint, then
// fields as records have them.
func appendFrame(b []byte, in Collection, item Item) []byte {
	e := make(encoder, 0, len(item.ID)+len(item.Doc)+32)
	e.string(1, string(in))
	e.bytes(2, item.ID)
	if !item.Due.IsZero() {
		e.uint(3, uint64(item.Due.UnixMilli())+1) // 1970 is a time, too
	}
	e.bytes(4, item.Doc)
	return append(binary.AppendUvarint(b, uint64(len(e))), e...)
}

// readFrame reads the next record; io.EOF is the end.
func readFrame(r *bufio.Reader) (in Collection, item Item, err error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", item, err
	}
	if n > mostFrame {
		return "", item, errCodec
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n))) // grows only when the bytes are there
	if err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", item, err
	}
	item.Doc = []byte{}
	for x, err := range fields(b) {
		if err != nil {
			return "", item, err
		}
		switch x.n {
		case 1:
			in = Collection(x.raw)
		case 2:
			item.ID = x.raw
		case 3:
			if item.Due = (time.Time{}); x.v > 0 {
				item.Due = time.UnixMilli(int64(x.v - 1)).UTC()
			}
		case 4:
			item.Doc = x.raw
		}
	}
	if in == "" || len(item.ID) == 0 {
		return "", item, errCodec
	}
	return in, item, nil
}

// archiver writes a backup.
type archiver struct {
	tar     *tar.Writer
	at      time.Time
	end     BackupEnd
	pending bytes.Buffer // records of the next entry
	entries int
	sum     hash.Hash // of all records
}

func newArchiver(w io.Writer, head BackupHead) (*archiver, error) {
	a := &archiver{tar: tar.NewWriter(w), at: head.Taken, sum: sha256.New()}
	return a, a.document(headName, head)
}

func (a *archiver) header(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: a.at})
}

func (a *archiver) entry(name string, content []byte) error {
	if err := a.header(name, int64(len(content))); err != nil {
		return err
	}
	_, err := a.tar.Write(content)
	return err
}

func (a *archiver) document(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.entry(name, append(b, '\n'))
}

// record adds a record.
func (a *archiver) record(in Collection, item Item) error {
	a.pending.Write(appendFrame(nil, in, item))
	a.end.Records++
	if a.pending.Len() < pageBytes {
		return nil
	}
	return a.flush()
}

func (a *archiver) flush() error {
	if a.pending.Len() == 0 {
		return nil
	}
	a.sum.Write(a.pending.Bytes())
	a.entries++
	err := a.entry(fmt.Sprintf("%s%08d", recordsDir, a.entries), a.pending.Bytes())
	a.pending.Reset()
	return err
}

// blob adds a run. A reader that fails, or ends too early, leaves an entry that is
// filled up and has no digest; gone tells of that.
func (a *archiver) blob(r run, src io.Reader) (gone error, err error) {
	name := blobsDir + r.key.String()
	if err := a.header(name, r.size); err != nil {
		return nil, err
	}
	sum := sha256.New()
	out := &outWriter{w: io.MultiWriter(a.tar, sum)}
	n, gone := io.CopyBuffer(out, struct{ io.Reader }{io.LimitReader(src, r.size)}, make([]byte, 256<<10))
	if out.err != nil {
		return nil, out.err
	}
	if gone == nil && n < r.size {
		gone = io.ErrUnexpectedEOF
	}
	if gone != nil {
		_, err := io.CopyN(a.tar, zeros{}, r.size-n)
		return gone, err
	}
	a.end.Blobs++
	a.end.Bytes += r.size
	return nil, a.entry(name+sumSuffix, fmt.Appendf(nil, "%x  %s\n", sum.Sum(nil), name))
}

// finish writes the end.
func (a *archiver) finish() error {
	if err := a.flush(); err != nil {
		return err
	}
	a.end.SHA256 = hex.EncodeToString(a.sum.Sum(nil))
	if err := a.document(endName, a.end); err != nil {
		return err
	}
	return a.tar.Close()
}

// outWriter tells errors of writing from those of reading.
type outWriter struct {
	w   io.Writer
	err error
}

func (o *outWriter) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.err = err
	}
	return n, err
}

// zeros yields nothing but zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// runName reads the run out of the name of an entry.
func runName(name string) (k Key, sum, ok bool) {
	name, ok = strings.CutPrefix(name, blobsDir)
	name, sum = strings.CutSuffix(name, sumSuffix)
	if !ok {
		return k, sum, false
	}
	k, ok = runOf(name + "/0")
	return k, sum, ok
}
