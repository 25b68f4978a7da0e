package multipart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	std "mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func newReader(form string, limits Limits) *Reader {
	return NewReader(strings.NewReader(form), boundaryOf(form), limits)
}

// readAll reads every part of a form and returns "name=content" of each.
func readAll(r *Reader) (parts []string, err error) {
	defer r.Close()
	for {
		p, err := r.Next()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return parts, err
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return parts, err
		}
		parts = append(parts, p.FormName()+"="+string(content))
	}
}

func TestForm(t *testing.T) {
	r := newReader(forms()["curl"], Limits{})
	defer r.Close()
	p, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{p.FormName(), p.FileName(), p.ContentType(), p.Header.Get("content-TYPE"), p.Header.Get("X")}
	if diff := cmp.Diff([]string{"file", "a.txt", "text/plain", "text/plain", ""}, got); diff != "" {
		t.Errorf("first part (-want +got):\n%s", diff)
	}
	first := p
	if p, err = r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, errPartOver) {
		t.Errorf("reading a part after the next was asked for: %v", err)
	}
	if v, err := p.Value(4); v != "3600" || err != nil || p.FormName() != "ttl" || p.HasFileName() {
		t.Errorf("second part: %q = %q, %v", p.FormName(), v, err)
	}
	for range 2 {
		if p, err := r.Next(); err != io.EOF {
			t.Errorf("Next at the end = %v, %v; want io.EOF", p, err)
		}
	}
	r.Close()
	r.Close()
	if _, err := r.Next(); !errors.Is(err, errClosed) {
		t.Errorf("Next of a closed reader: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ disposition, name, file string }{
		{`form-data; name="a"; filename="b.txt"`, "a", "b.txt"},
		{`FORM-DATA; NAME="a"; FileName="b.txt"`, "a", "b.txt"},
		{`form-data ;name = a ; filename = b.txt ;`, "a", "b.txt"},
		{`form-data; name="a\"b\\c"; filename="d\"e\\f"`, `a"b\c`, `d"e\f`},           // curl before 7.81, --form-escape
		{`form-data; name="a%22b"; filename="c%0D%0Ad%25%2f"`, `a"b`, "c\r\nd%25%2f"}, // curl, browsers
		{`form-data; name="a"; filename="C:\temp\new.txt"`, "a", `C:\temp\new.txt`},   // old browsers
		{`form-data; name="a"; filename="b "c" d.txt"`, "a", `b "c" d.txt`},           // form-data before 4.0.6
		{`form-data; filename=""b"" ; name="a"`, "a", `"b"`},
		{`form-data; name="a"; filename="../../etc/passwd"`, "a", "../../etc/passwd"},
		{`form-data; name="a"; filename="€ ü.txt"`, "a", "€ ü.txt"},
		{`form-data; name="a"; filename="x"; filename*=UTF-8''%e2%82%AC%20y`, "a", "€ y"},
		{`form-data; name="a"; filename*=utf-8'en'b; filename="x"`, "a", "b"},
		{`form-data; name="a"; filename="x"; filename*=UTF-8''%zz`, "a", "x"},
		{`form-data; name="a"; filename="x"; filename*=UTF-8''%ff`, "a", "x"},
		{`form-data; name="a"; filename="x"; filename*=UTF-8''%f`, "a", "x"},
		{`form-data; name="a"; filename="x"; filename*=shift_jis''y`, "a", "x"},
		{`form-data; name="a;b=c"; x="y;z"`, "a;b=c", ""},
		{`form-data; name=""`, "", ""},
		{`form-data`, "", ""},
		{`attachment; name="a"; filename="b"`, "", "b"},
	} {
		r := newReader("--b\r\nContent-Disposition: "+c.disposition+"\r\n\r\n\r\n--b--\r\n", Limits{})
		p, err := r.Next()
		if err != nil {
			t.Errorf("%s: %v", c.disposition, err)
			continue
		}
		if p.FormName() != c.name || p.FileName() != c.file || p.HasFileName() != strings.Contains(strings.ToLower(c.disposition), "filename") {
			t.Errorf("%s: %q, %q, %t; want %q, %q", c.disposition, p.FormName(), p.FileName(), p.HasFileName(), c.name, c.file)
		}
		r.Close()
	}
	for _, bad := range []string{
		``, `;`, `form data; name=a`, `form-data; name`, `form-data; name=`, `form-data; name="a`, `form-data; name="a\"`, `form-data; name=a b`, `form-data; name=a; filename=b"c"`,
		`form-data; name=a; name=a`, `form-data; filename=a; filename=b`, `form-data; filename*=utf-8''a; filename*=utf-8''b`,
		`form-data; name="a"x`, `form-data; =a`, `form-data;; name=a`, `form-data; name=ü`, `form-data; filename=my file.txt`,
		`form-data; filename="a"b`, `form-data; filename="a" b; name=c`, `form-data; filename="a"b"; filename="c"`,
	} {
		parts, err := readAll(newReader("--b\r\nContent-Disposition: "+bad+"\r\n\r\n\r\n--b--\r\n", Limits{}))
		if !errors.Is(err, errDisposition) {
			t.Errorf("%s: %q, %v; want an error", bad, parts, err)
		}
	}
}

func TestLimits(t *testing.T) {
	part := "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n"
	header := func(n int) string { return "--b\r\nA: " + strings.Repeat("x", n-5) + "\r\n\r\nv\r\n--b--\r\n" }
	for _, c := range []struct {
		name, form string
		limits     Limits
		want       error
	}{
		{"parts", strings.Repeat(part, 100) + "--b--", Limits{}, nil},
		{"more parts", strings.Repeat(part, 101) + "--b--", Limits{}, ErrTooManyParts},
		{"parts, given", strings.Repeat(part, 3) + "--b--", Limits{Parts: 2}, ErrTooManyParts},
		{"header", header(16 << 10), Limits{}, nil},
		{"larger header", header(16<<10 + 1), Limits{}, ErrHeaderTooLarge},
		{"endless header", "--b\r\n" + strings.Repeat("A: b\r\n", 1<<20), Limits{}, ErrHeaderTooLarge},
		{"header in one line", "--b\r\nA: " + strings.Repeat("x", 1<<20), Limits{}, ErrHeaderTooLarge},
		{"small header limit", header(101), Limits{Header: 100}, ErrHeaderTooLarge},
		{"at small header limit", header(100), Limits{Header: 100}, nil},
		{"large header limit", header(1 << 20), Limits{Header: 1 << 20}, nil},
		{"preamble", strings.Repeat("x", 64<<10-2) + "\r\n" + part + "--b--", Limits{}, nil},
		{"larger preamble", strings.Repeat("x", 64<<10-1) + "\r\n" + part + "--b--", Limits{}, ErrMalformed},
		{"preamble of lines", strings.Repeat("x\n", 40<<10) + part + "--b--", Limits{}, ErrMalformed},
		{"epilogue", part + "--b--\r\n" + strings.Repeat("x", 64<<10), Limits{}, nil},
		{"larger epilogue", part + "--b--\r\n" + strings.Repeat("x", 64<<10+1), Limits{}, ErrMalformed},
		{"delimiter line", part + "--b" + strings.Repeat(" ", 5000) + "\r\n\r\n\r\n--b--", Limits{}, ErrMalformed},
	} {
		if _, err := readAll(newReader(c.form, c.limits)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestValueLimit(t *testing.T) {
	for _, n := range []int{0, 1, 10, 511, 512, 513, 5000, 100_000} {
		value := strings.Repeat("v", n)
		form := "--b\r\n\r\n" + value + "\r\n--b\r\nContent-Disposition: form-data; name=after\r\n\r\n\r\n--b--"
		for _, src := range []io.Reader{strings.NewReader(form), iotest.OneByteReader(strings.NewReader(form))} {
			r := NewReader(src, "b", Limits{})
			p, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if n%2 == 0 {
				if got, err := p.Value(n); got != value || err != nil {
					t.Errorf("Value(%d) of as many bytes: %d bytes, %v", n, len(got), err)
				}
			} else if _, err := p.Value(n - 1); !errors.Is(err, ErrValueTooLarge) {
				t.Errorf("Value(%d) of one byte more: %v", n-1, err)
			}
			if p, err := r.Next(); err != nil || p.FormName() != "after" {
				t.Errorf("the part after it: %v", err)
			}
			r.Close()
		}
	}
}

// TestTruncated cuts a form everywhere.
func TestTruncated(t *testing.T) {
	form := forms()["curl"]
	whole := len(form) - len("\r\n")
	for i := range len(form) {
		_, err := readAll(NewReader(strings.NewReader(form[:i]), boundaryOf(form), Limits{}))
		if (i < whole || i == whole+1) && (!errors.Is(err, ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("cut at %d: %v, want ErrTruncated", i, err)
		}
		if i == whole && err != nil { // the last line end may be missing, but not half of it
			t.Errorf("cut at %d: %v", i, err)
		}
		// The connection broke: also after the last delimiter the body was not whole.
		_, err = readAll(NewReader(io.MultiReader(strings.NewReader(form[:i]), iotest.ErrReader(io.ErrUnexpectedEOF)), boundaryOf(form), Limits{}))
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("broken at %d: %v, want ErrTruncated", i, err)
		}
		other := errors.New("too large")
		_, err = readAll(NewReader(io.MultiReader(strings.NewReader(form[:i]), iotest.ErrReader(other)), boundaryOf(form), Limits{}))
		if err != other {
			t.Errorf("source failed at %d: %v, want its error", i, err)
		}
	}
}

// TestIndex compares the search for long buffers with the library's.
func TestIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, boundary := range []string{"abcabcabcabcabcabc", strings.Repeat("b", 70), "------------------------d74496d66958873e"} {
		r := NewReader(strings.NewReader(""), boundary, Limits{})
		for range 2000 {
			b := make([]byte, 2*bufSize+rnd.IntN(100))
			for i := range b { // of the delimiter's own bytes
				b[i] = r.delim[rnd.IntN(len(r.delim))]
			}
			for range rnd.IntN(4) { // whole ones, and ones that are cut or broken
				at, n := rnd.IntN(len(b)), len(r.delim)-rnd.IntN(2)*rnd.IntN(len(r.delim))
				copy(b[at:], r.delim[:n])
			}
			if got, want := r.index(b), bytes.Index(b, r.delim); got != want {
				t.Fatalf("%q: index = %d, want %d", boundary, got, want)
			}
		}
		if r.shift == nil {
			t.Errorf("%q: the search for long buffers was not used", boundary)
		}
		r.Close()
	}
}

func TestNoProgress(t *testing.T) {
	_, err := readAll(NewReader(idle{}, "b", Limits{}))
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("source without progress: %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// spy notes how much of a source was read into buffers of the caller.
type spy struct {
	io.Reader
	long, reads int
}

func (s *spy) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.reads++
	if len(p) > bufSize {
		s.long += n
	}
	return n, err
}

// TestReadsDirectly is the reason for this package.
func TestReadsDirectly(t *testing.T) {
	const size = 32 << 20
	src := &spy{Reader: io.MultiReader(strings.NewReader("--b\r\n\r\n"), io.LimitReader(zeros{}, size), strings.NewReader("\r\n--b--\r\n"))}
	r := NewReader(src, "b", Limits{})
	defer r.Close()
	p, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, p, make([]byte, 1<<20)); n != size || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	if src.long < size-bufSize || src.reads > 50 {
		t.Errorf("%d of %d bytes came without a copy, in %d reads", src.long, size, src.reads)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func smallForm() []byte {
	return []byte(strings.Replace(forms()["curl"], "hello\n", strings.Repeat("x", 1024), 1))
}

func BenchmarkSmallForm(b *testing.B) {
	form := smallForm()
	boundary := boundaryOf(string(form))
	content := make([]byte, 64<<10)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := NewReader(bytes.NewReader(form), boundary, Limits{})
			for p, err := r.Next(); err != io.EOF; p, err = r.Next() {
				if err != nil {
					b.Fatal(err)
				}
				if p.FormName() != "file" {
					if _, err := p.Value(100); err != nil {
						b.Fatal(err)
					}
				} else if _, err := io.ReadFull(p, content); p.FileName() == "" || err != io.ErrUnexpectedEOF {
					b.Fatal(err)
				}
			}
			r.Close()
		}
	})
	b.Run("std", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := std.NewReader(bytes.NewReader(form), boundary)
			for p, err := r.NextRawPart(); err != io.EOF; p, err = r.NextRawPart() {
				if err != nil {
					b.Fatal(err)
				}
				if p.FormName() != "file" {
					if _, err := io.ReadAll(io.LimitReader(p, 100)); err != nil {
						b.Fatal(err)
					}
				} else if _, err := io.ReadFull(p, content); p.FileName() == "" || err != io.ErrUnexpectedEOF {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkLarge reads 1 GiB with reads of 1 MiB: of random bytes, of text with
// many line ends, and of almost nothing but line ends. "copy" is the source alone.
func BenchmarkLarge(b *testing.B) {
	const size = 1 << 30
	const boundary = "------------------------d74496d66958873e"
	for name, block := range map[string][]byte{
		"random": randomBytes(1 << 20),
		"text":   bytes.Repeat([]byte("A line of a text file, with its end.\r\n"), 1<<20/38),
		"ends":   bytes.Repeat([]byte("\r\n"), 1<<19),
	} {
		source := func() io.Reader {
			return io.MultiReader(strings.NewReader("--"+boundary+"\r\n\r\n"), io.LimitReader(&repeated{block: block}, size), strings.NewReader("\r\n--"+boundary+"--\r\n"))
		}
		for how, first := range map[string]func() (io.Reader, error){
			"copy": func() (io.Reader, error) { return source(), nil },
			"ours": func() (io.Reader, error) { return NewReader(source(), boundary, Limits{}).Next() },
			"std":  func() (io.Reader, error) { return std.NewReader(source(), boundary).NextRawPart() },
		} {
			b.Run(fmt.Sprint(name, "/", how), func(b *testing.B) {
				buf := make([]byte, 1<<20)
				b.SetBytes(size)
				for b.Loop() {
					r, err := first()
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf); n < size || err != nil {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}

// repeated yields its block for ever.
type repeated struct {
	block []byte
	at    int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], r.block[r.at:])
		n += c
		r.at = (r.at + c) % len(r.block)
	}
	return n, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}
