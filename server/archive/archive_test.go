package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// files are contents by their place in the archive.
type files []string

func (f files) send(w io.Writer, i int, from, to int64) (int64, error) {
	n, err := io.WriteString(w, f[i][from:to])
	return int64(n), err
}

func (f files) entries(names ...string) (out []Entry) {
	for i, c := range f {
		out = append(out, Entry{ID: strconv.Itoa(i), Name: names[i], Size: int64(len(c)), CRC32: crc32.ChecksumIEEE([]byte(c)),
			Modified: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)})
	}
	return out
}

func build(t *testing.T, kind string, entries []Entry) *Archive {
	t.Helper()
	a, err := New(kind, entries)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func whole(t *testing.T, a *Archive, send Send) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := a.WriteRange(&b, 0, a.Size(), send)
	if err != nil || n != a.Size() || int64(b.Len()) != n {
		t.Fatalf("%d bytes (%d told) of %d, %v", b.Len(), n, a.Size(), err)
	}
	return b.Bytes()
}

func sample() (files, []Entry) {
	f := files{"one", "", strings.Repeat("z", 100_000), strings.Repeat("0123", 128)}
	return f, f.entries("one.txt", "empty", "sub/Grüße 😀.bin", strings.Repeat("long", 60)+".txt")
}

func TestZip(t *testing.T) {
	f, entries := sample()
	b := whole(t, build(t, "zip", entries), f.send)
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != len(f) {
		t.Fatalf("%d files", len(r.File))
	}
	for i, e := range r.File {
		rc, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc) // checks the CRC
		if err != nil || string(got) != f[i] || e.Name != entries[i].Name || e.NonUTF8 || e.Mode() != 0o644 ||
			!e.Modified.Equal(entries[i].Modified.Truncate(time.Second)) || e.Flags&8 != 0 {
			t.Errorf("%s: %v, %d bytes, %+v", e.Name, err, len(got), e.FileHeader)
		}
	}
	// Programs that people use read it too.
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"unzip", "-tq", name}, {"python3", "-m", "zipfile", "-t", name}} {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("bad")) {
			t.Errorf("%v: %v\n%s", argv, err, out)
		}
	}
}

func TestTar(t *testing.T) {
	f, entries := sample()
	r := tar.NewReader(bytes.NewReader(whole(t, build(t, "tar", entries), f.send)))
	for i := range f {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != f[i] || h.Name != entries[i].Name {
			t.Errorf("%s: %v, %d bytes", h.Name, err, len(got))
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}

// Every range is that of the whole.
func TestRanges(t *testing.T) {
	f, entries := sample()
	for _, kind := range []string{"zip", "tar"} {
		a := build(t, kind, entries)
		b := whole(t, a, f.send)
		for range 2000 {
			from := rand.Int64N(a.Size() + 1)
			to := from + rand.Int64N(a.Size()-from+1)
			var got bytes.Buffer
			if n, err := a.WriteRange(&got, from, to, f.send); err != nil || n != to-from || !bytes.Equal(got.Bytes(), b[from:to]) {
				t.Fatalf("%s [%d, %d): %d bytes, %v", kind, from, to, n, err)
			}
		}
	}
}

// readerAt reads an archive of contents that are zeros.
type readerAt struct{ *Archive }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	var b bytes.Buffer
	n, err := r.WriteRange(&b, off, off+int64(len(p)), func(w io.Writer, _ int, from, to int64) (int64, error) {
		n, err := w.Write(make([]byte, to-from))
		return int64(n), err
	})
	copy(p, b.Bytes())
	if err == nil && n < int64(len(p)) {
		err = io.EOF
	}
	return int(n), err
}

// Beyond 4 GiB and 65,535 files it takes ZIP64.
func TestZip64(t *testing.T) {
	const huge = 5 << 30
	large := []Entry{{Name: "small", Size: 3}, {Name: "huge", Size: huge}, {Name: "limit", Size: max32}, {Name: "below", Size: max32 - 1}, {Name: "last", Size: 7}}
	var many []Entry
	for i := range Most {
		many = append(many, Entry{Name: strconv.Itoa(i), Size: int64(i % 3)})
	}
	for _, entries := range [][]Entry{large, many, many[:max16-1], many[:max16], nil} {
		a := build(t, "zip", entries)
		r, err := zip.NewReader(readerAt{a}, a.Size())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.File) != len(entries) {
			t.Fatalf("%d files of %d", len(r.File), len(entries))
		}
		for i, e := range r.File {
			if e.Name != entries[i].Name || int64(e.UncompressedSize64) != entries[i].Size || int64(e.CompressedSize64) != entries[i].Size {
				t.Fatalf("%+v, want %+v", e.FileHeader, entries[i])
			}
			if off, err := e.DataOffset(); err != nil || off != a.parts[2*i+1].from {
				t.Fatalf("%s begins at %d (%v), want %d", e.Name, off, err, a.parts[2*i+1].from)
			}
		}
	}
	if _, err := New("zip", append(many, Entry{})); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if _, err := New("rar", nil); err == nil {
		t.Error("no error")
	}
}

func TestETag(t *testing.T) {
	_, entries := sample()
	seen := map[string]bool{build(t, "zip", entries).ETag(): true, build(t, "tar", entries).ETag(): true}
	for i := range 5 {
		_, other := sample()
		e := &other[1]
		switch i {
		case 0:
			e.ID += "x"
		case 1:
			e.Name += "x"
		case 2:
			e.Size++
		case 3:
			e.CRC32++
		case 4:
			e.Modified = e.Modified.Add(time.Second)
		}
		seen[build(t, "zip", other).ETag()] = true
	}
	if _, same := sample(); len(seen) != 7 || !seen[build(t, "zip", same).ETag()] {
		t.Error(seen)
	}
}

// What fails or ends early is an error, with the right count.
func TestErrors(t *testing.T) {
	f, entries := sample()
	a := build(t, "zip", entries)
	broken := errors.New("broken")
	n, err := a.WriteRange(io.Discard, 0, a.Size(), func(w io.Writer, i int, from, to int64) (int64, error) {
		if i == 2 {
			return 10, broken
		}
		return f.send(w, i, from, to)
	})
	if want := a.parts[5].from + 10; n != want || !errors.Is(err, broken) {
		t.Errorf("%d, %v, want %d", n, err, want)
	}
	if _, err := a.WriteRange(io.Discard, 0, a.Size(), func(io.Writer, int, int64, int64) (int64, error) { return 1, nil }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	n := Names{}
	for _, tc := range [][2]string{{"a.txt", "a.txt"}, {"A.txt", "A (2).txt"}, {"a.txt", "a (3).txt"}, {"d/a.txt", "d/a.txt"}, {"d/a.txt", "d/a (2).txt"}, {".x", ".x"}, {".x", ".x (2)"}} {
		if got := n.Unique(tc[0]); got != tc[1] {
			t.Errorf("%s: %s, want %s", tc[0], got, tc[1])
		}
	}
	for _, tc := range [][2]string{{"a/b", "a_b"}, {`c:\d`, "c__d"}, {"..", "unnamed"}, {"", "unnamed"}, {"x\x00\n", "x__"}} {
		if got := Name(tc[0]); got != tc[1] {
			t.Errorf("%q: %s, want %s", tc[0], got, tc[1])
		}
	}
}
