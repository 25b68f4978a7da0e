// Package archive lays out archives of stored files whose every byte is known
// before the first one is sent: their length, a strong validator, and any range
// of them. So a download of an archive that broke can go on where it stopped.
//
// Contents are neither compressed nor kept: an [Archive] holds names and
// numbers only, and asks for the bytes of a file when it comes to them.
package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Most is how many files an archive may have.
const Most = 100_000

// ErrTooMany says that there are more than [Most] files.
var ErrTooMany = errors.New("too many files for one archive: at most " + strconv.Itoa(Most))

// Entry is a file of an archive.
type Entry struct {
	ID       string    // names the content: another content has another one
	Name     string    // a relative path with '/', see [Name]; UTF-8, at most 65,535 bytes
	Size     int64     // bytes
	CRC32    uint32    // IEEE; for zip
	Modified time.Time // in whole seconds
}

// Archive is the layout of one archive.
type Archive struct {
	format  format
	entries []Entry
	parts   []part
	size    int64
}

// format makes the bytes around the contents.
type format interface {
	// lay returns the parts of an archive in their order, without offsets.
	lay(entries []Entry) ([]part, error)
	// bytes makes the bytes of a part that is no content.
	bytes(a *Archive, p part) ([]byte, error)
}

// kind is what a part of an archive is.
type kind uint8

const (
	header  kind = iota // in front of a content
	content             // of a file
	padding             // behind it
	central             // a file's line in the directory of a zip
	end                 // of the archive
)

// part is a stretch of an archive that is made in one piece.
type part struct {
	kind  kind
	entry int
	from  int64 // offset in the archive
	size  int64
}

// New lays out an archive: "zip" (stored, ZIP64 where it is needed) or "tar"
// (PAX where it is needed). It refuses other formats and more than [Most] files.
func New(kind string, entries []Entry) (*Archive, error) {
	a := &Archive{entries: entries}
	switch kind {
	case "zip":
		a.format = zipFormat{}
	case "tar":
		a.format = tarFormat{}
	default:
		return nil, fmt.Errorf("no such kind of archive: %q", kind)
	}
	if len(entries) > Most {
		return nil, ErrTooMany
	}
	var err error
	if a.parts, err = a.format.lay(entries); err != nil {
		return nil, err
	}
	for i := range a.parts {
		a.parts[i].from = a.size
		a.size += a.parts[i].size
	}
	return a, nil
}

// Size is the length of the archive in bytes.
func (a *Archive) Size() int64 { return a.size }

// ETag is a strong validator (RFC 9110 §8.8.3), with its quotes: archives with
// the same one are the same to the last byte.
func (a *Archive) ETag() string {
	h := sha256.New()
	fmt.Fprintf(h, "%T", a.format)
	for _, e := range a.entries {
		fmt.Fprintf(h, "\n%q %q %d %08x %d", e.ID, e.Name, e.Size, e.CRC32, e.Modified.Unix())
	}
	return `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// Send writes the bytes [from, to) of the i-th file to w, and tells how many
// w took.
type Send func(w io.Writer, i int, from, to int64) (int64, error)

// WriteRange writes the bytes [from, to) of the archive to w; the contents come
// from send. It returns how many bytes w took.
func (a *Archive) WriteRange(w io.Writer, from, to int64, send Send) (total int64, err error) {
	to = min(to, a.size)
	i := sort.Search(len(a.parts), func(i int) bool { return a.parts[i].from+a.parts[i].size > from })
	for ; from < to; i++ {
		p := a.parts[i]
		lo, hi := from-p.from, min(to-p.from, p.size)
		if lo >= hi {
			continue // an empty content
		}
		var n int64
		if p.kind == content {
			n, err = send(w, p.entry, lo, hi)
		} else {
			n, err = a.write(w, p, lo, hi)
		}
		total, from = total+n, from+n
		if err == nil && n < hi-lo {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (a *Archive) write(w io.Writer, p part, from, to int64) (int64, error) {
	b, err := a.format.bytes(a, p)
	if err != nil {
		return 0, err
	}
	if int64(len(b)) != p.size {
		return 0, fmt.Errorf("a part of an archive is %d bytes long instead of %d", len(b), p.size)
	}
	n, err := w.Write(b[from:to])
	return int64(n), err
}

// tarFormat is POSIX.1-2001 (pax), as archive/tar writes it.
type tarFormat struct{}

func (tarFormat) lay(entries []Entry) ([]part, error) {
	parts := make([]part, 0, 3*len(entries)+1)
	for i, e := range entries {
		b, err := tarHeader(e)
		if err != nil {
			return nil, err
		}
		parts = append(parts,
			part{kind: header, entry: i, size: int64(len(b))},
			part{kind: content, entry: i, size: e.Size},
			part{kind: padding, entry: i, size: -e.Size & 511})
	}
	return append(parts, part{kind: end, size: 1024}), nil
}

func (tarFormat) bytes(a *Archive, p part) ([]byte, error) {
	if p.kind == header {
		return tarHeader(a.entries[p.entry])
	}
	return make([]byte, p.size), nil
}

func tarHeader(e Entry) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: e.Name, Size: e.Size, Mode: 0o644, ModTime: e.Modified.Truncate(time.Second), Typeflag: tar.TypeReg})
	return b.Bytes(), err
}

// Names gives every file of an archive a name of its own.
type Names map[string]bool

// Unique returns name, numbered if it was given before, in any case of letters.
func (n Names) Unique(name string) string {
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i+1], name[i+1:]
	}
	stem, ext := base, ""
	if i := strings.LastIndexByte(base, '.'); i > 0 {
		stem, ext = base[:i], base[i:]
	}
	out := name
	for i := 2; n[strings.ToLower(out)]; i++ {
		out = dir + stem + " (" + strconv.Itoa(i) + ")" + ext
	}
	n[strings.ToLower(out)] = true
	return out
}

// Name makes one path element of a name: without control characters and what
// separates paths on any system, never empty, "." or "..".
func Name(name string) string {
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
