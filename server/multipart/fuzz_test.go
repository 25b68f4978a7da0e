package multipart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	std "mime/multipart"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parsed is a part as either reader saw it.
type parsed struct {
	Header   map[string][]string
	Name     string
	FileName string
	Body     string
}

// chopped yields its content in random pieces, and its end with or after the
// last one.
type chopped struct {
	b   []byte
	rnd *rand.Rand
	end error
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, c.end
	}
	n := min(len(p), len(c.b))
	switch c.rnd.IntN(4) {
	case 0:
		n = min(n, 1)
	case 1:
		n = min(n, 1+c.rnd.IntN(40))
	case 2:
		n = min(n, 1+c.rnd.IntN(5000))
	}
	copy(p, c.b[:n])
	if c.b = c.b[n:]; len(c.b) == 0 && c.rnd.IntN(2) == 0 {
		return n, c.end
	}
	return n, nil
}

// readOurs reads a form with every kind of call.
func readOurs(body []byte, boundary string, rnd *rand.Rand) (parts []parsed, skipped map[int]bool, err error) {
	r := NewReader(&chopped{body, rnd, io.EOF}, boundary, Limits{Header: 1 << 20, Parts: 1 << 20, Surrounding: 1 << 20})
	defer r.Close()
	skipped = map[int]bool{}
	for {
		p, err := r.Next()
		if err == io.EOF {
			return parts, skipped, nil
		}
		if err != nil {
			return parts, skipped, err
		}
		got := parsed{Header: map[string][]string{}, Name: p.FormName(), FileName: p.FileName()}
		for _, f := range p.Header {
			key := textproto.CanonicalMIMEHeaderKey(f.Name)
			got.Header[key] = append(got.Header[key], f.Value)
		}
		switch how := rnd.IntN(10); how {
		case 0:
			skipped[len(parts)] = true
			if n, err := p.Read(make([]byte, 1+rnd.IntN(10))); err != nil && err != io.EOF {
				return parts, skipped, fmt.Errorf("after %d bytes: %w", n, err)
			}
		case 1, 2:
			if got.Body, err = p.Value(len(body)); err != nil {
				return parts, skipped, err
			}
		default:
			if got.Body, err = readRandomly(p, how, rnd); err != nil {
				return parts, skipped, err
			}
		}
		parts = append(parts, got)
	}
}

func readRandomly(p *Part, how int, rnd *rand.Rand) (string, error) {
	var body []byte
	buf := make([]byte, 100_000)
	for {
		n := 1
		switch {
		case how < 5:
			n = 1 + rnd.IntN(50)
		case how < 7:
			n = len(buf)
		case how < 9:
			n = 1 + rnd.IntN(len(buf))
		}
		n, err := p.Read(buf[:n])
		body = append(body, buf[:n]...)
		if err == io.EOF {
			return string(body), nil
		}
		if err != nil {
			return "", err
		}
	}
}

func readStd(body []byte, boundary string) (parts []parsed, err error) {
	r := std.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := r.NextRawPart()
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
		parts = append(parts, parsed{p.Header, p.FormName(), p.FileName(), string(content)})
	}
}

// hasControl tells whether a header value has a control character.
func hasControl(p parsed) bool {
	for _, values := range p.Header {
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				return true
			}
		}
	}
	return false
}

// checkReader is what FuzzReader checks.
func checkReader(t *testing.T, body []byte, boundary string, seed uint64) {
	got, skipped, err := readOurs(body, boundary, rand.New(rand.NewPCG(seed, 1)))
	if !validBoundary(boundary) {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("boundary %q: %v, want ErrMalformed", boundary, err)
		}
		return
	}
	want, stdErr := readStd(body, boundary)
	switch {
	case err == nil && stdErr != nil:
		// What we accept and it does not: lines that its buffer of 4 KiB does
		// not hold, and control characters in header values, as curl sends
		// them in names.
		if !errors.Is(stdErr, bufio.ErrBufferFull) && !slices.ContainsFunc(got, hasControl) {
			t.Fatalf("accepted; mime/multipart: %v", stdErr)
		}
		return
	case err != nil && stdErr == nil:
		// The rules by which we are stricter.
		if !errors.Is(err, errFieldName) && !errors.Is(err, errDisposition) && !errors.Is(err, errTruncatedHeader) {
			t.Fatalf("%v; mime/multipart accepts", err)
		}
		return
	case err != nil:
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTruncated) {
			t.Fatalf("error of no kind: %v", err)
		}
		return
	}
	for i := range min(len(got), len(want)) {
		if skipped[i] {
			want[i].Body = ""
		}
		if got[i].FileName != "" {
			got[i].FileName = filepath.Base(got[i].FileName)
		}
		disposition := strings.Join(want[i].Header["Content-Disposition"], "")
		if _, _, err := mime.ParseMediaType(disposition); err != nil || strings.ContainsAny(disposition, `*%\`) {
			// Our own quoting rules; TestNames has them.
			want[i].Name, want[i].FileName = got[i].Name, got[i].FileName
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("parts (-mime/multipart +ours):\n%s", diff)
	}
}

// forms are the seeds: what clients send, and what lies on the edges.
func forms() map[string]string {
	const curl = "------------------------d74496d66958873e"
	file := func(b, content string) string {
		return "--" + b + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n" + content + "\r\n"
	}
	return map[string]string{
		"curl":              file(curl, "hello\n") + "--" + curl + "\r\nContent-Disposition: form-data; name=\"ttl\"\r\n\r\n3600\r\n--" + curl + "--\r\n",
		"large":             file("b", strings.Repeat("0123456789\r\n--", 20_000)) + "--b--\r\n",
		"large, like curl":  file(curl, strings.Repeat("0123456789\r\n--"+curl[:40]+"x\r\n--"+curl+"-", 3_000)) + "--" + curl + "--\r\n",
		"small then large":  file("b", strings.Repeat("x", 10_000)) + file("b", strings.Repeat("\r\n-", 100_000)) + "--b--\r\n",
		"two buffers":       file("b", strings.Repeat("0123456789\r\n--", 400)) + "--b--\r\n",
		"prefixes":          file("bound", "\r\n--boun\r\n--boundX\r\n--bound-X\r\n-\r\n\r\r\n--boun") + "--bound--\r\n",
		"prefix at start":   "--b\r\n\r\n--bX\r\n--b--",
		"empty part":        "--b\r\n\r\n\r\n--b--\r\n",
		"empty part, short": "--b\r\n\r\n--b\r\nA: b\r\n\r\n--b--",
		"no headers":        "--b\r\n\r\nbody\r\n--b--\r\n",
		"no last line end":  file("b", "x") + "--b--",
		"long boundary":     file(strings.Repeat("b", 70), strings.Repeat("\r\n--"+strings.Repeat("b", 69), 200)) + "--" + strings.Repeat("b", 70) + "--\r\n",
		"preamble":          "This is ignored.\r\n--bx\r\n\r\n" + file("b", "x") + "--b--\r\nepilogue\r\n--b\r\n\r\n",
		"long preamble":     strings.Repeat("p", 5000) + "--b\r\n\n" + file("b", "x") + "--b--",
		"lf":                "--b\nContent-Disposition: form-data; name=a\n\nx\r\ny\r\n--b\n\nz\n--b--\n",
		"lf headers":        "--b\r\nA: 1\nB: 2\n\nbody\n--b\r\n--b--\r\n",
		"lf last":           "--b\r\n\r\nx\r\n--b--\n",
		"white space":       "--b \t \r\nA:   1 \t\r\n\r\nx\r\n--b \r\n\r\n\r\n--b-- \t\r\n",
		"white space, data": "--b\r\n\r\nx\r\n--b y\r\n--b--\r\n",
		"folded":            "--b\r\nContent-Disposition: form-data;\r\n name=\"a\";\r\n\t filename=b\r\nX:\r\n \r\n 1\r\n\r\nx\r\n--b--\r\n",
		"field names":       "--b\r\nA b: 1\r\n\r\nx\r\n--b--\r\n",
		"no field name":     "--b\r\n: 1\r\n\r\nx\r\n--b--\r\n",
		"fold first":        "--b\r\n A: 1\r\n\r\nx\r\n--b--\r\n",
		"controls":          "--b\r\nA: 1\x00\r\n\r\nx\r\n--b--\r\n",
		"bare cr":           "--b\r\nA: 1\rB: 2\r\n\r\nx\r\n--b--\r\n",
		"two dispositions":  "--b\r\nContent-Disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b\r\n\r\nx\r\n--b--\r\n",
		"escapes":           "--b\r\nContent-Disposition: form-data; name=\"a\\\"b\"; filename=\"c%22d\"; filename*=UTF-8''%e2%82%ac\r\n\r\nx\r\n--b--\r\n",
		"ends early":        "--b\r\nA: 1\r\n\r\nx\r\n--b",
		"ends in headers":   "--b\r\nA: 1\r\n\r\nx\r\n--b\r\nB: 2",
		"last only":         "--b--\r\n",
		"nothing":           "",
	}
}

func boundaryOf(form string) string {
	line, _, _ := strings.Cut(form, "\n")
	for _, b := range []string{"------------------------d74496d66958873e", strings.Repeat("b", 70), "bound"} {
		if strings.HasPrefix(line, "--"+b) {
			return b
		}
	}
	return "b"
}

func FuzzReader(f *testing.F) {
	for _, form := range forms() {
		if len(form) > 8<<10 {
			continue // mutating and minimizing these takes for ever; TestReaderAgainstStd reads them
		}
		f.Add([]byte(form), boundaryOf(form), uint64(len(form)))
	}
	f.Fuzz(checkReader)
}

// TestReaderAgainstStd runs each seed with many ways of cutting and reading.
func TestReaderAgainstStd(t *testing.T) {
	for name, form := range forms() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(60) {
				if len(form) > 10_000 && seed > 20 {
					break
				}
				checkReader(t, []byte(form), boundaryOf(form), seed)
			}
		})
	}
}

func FuzzBoundary(f *testing.F) {
	for _, s := range []string{
		"multipart/form-data; boundary=------------------------d74496d66958873e", `Multipart/Form-Data ; charset=utf-8; BOUNDARY = "a b";`,
		"multipart/form-data", "multipart/form-data; boundary=", `multipart/form-data; boundary="a`, "multipart/form-data; boundary=a; boundary=b",
		"text/plain; boundary=a", "multipart/mixed; boundary=a", `multipart/form-data; boundary="a\"b"`, "multipart/form-data; boundary=" + strings.Repeat("b", 71),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Boundary(s)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotForm) || got != "" {
				t.Fatalf("Boundary(%q) = %q, %v: an error of no kind", s, got, err)
			}
			return
		}
		if !validBoundary(got) {
			t.Fatalf("Boundary(%q) = %q, which is none", s, got)
		}
		kind, params, err := mime.ParseMediaType(s)
		if err != nil || strings.ContainsAny(s, `*\`) {
			return // it also reads RFC 2231 and another set of escapes
		}
		if want := params["boundary"]; got != want || kind != "multipart/form-data" {
			t.Fatalf("Boundary(%q) = %q; mime: %q, %q", s, got, kind, want)
		}
	})
}
