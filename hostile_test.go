package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"fileshare/api"
)

// e2eAuthorization is the header of the user for requests written by hand.
const e2eAuthorization = "Authorization: Basic ZTJlOmNvcnJlY3QgaG9yc2U=\r\n"

// dial opens a connection of its own, with a deadline.
func (d *e2eDaemon) dial() net.Conn {
	d.t.Helper()
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(e2ePatience)); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

// raw sends text as it is, then what more yields, and returns the answer's
// status, 0 if the connection was closed without one. The writing ends when the
// answer is there.
func (d *e2eDaemon) raw(text string, more io.Reader) *e2eAnswer {
	d.t.Helper()
	c := d.dial()
	defer c.Close()
	written := make(chan int64)
	go func() {
		n, _ := io.Copy(c, io.MultiReader(strings.NewReader(text), more)) // refused bodies end it
		written <- n
	}()
	a := e2eRead(bufio.NewReader(c))
	c.Close()
	if n := <-written; n > 64<<20 {
		d.t.Errorf("the daemon has read %d bytes before it answered %v", n, a)
	}
	return a
}

// e2eRead reads an answer, of status 0 if there is none.
func e2eRead(r *bufio.Reader) *e2eAnswer {
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return &e2eAnswer{body: []byte(err.Error())}
	}
	defer res.Body.Close()
	a := &e2eAnswer{status: res.StatusCode, header: res.Header}
	a.body, _ = io.ReadAll(res.Body) // the status is what counts
	return a
}

// e2eRepeat yields text over and over, size bytes in all.
func e2eRepeat(text string, size int64) io.Reader {
	return io.LimitReader(e2eEndless(text), size)
}

type e2eEndless string

func (e e2eEndless) Read(p []byte) (int, error) {
	n := 0
	for len(p)-n >= len(e) {
		n += copy(p[n:], e)
	}
	if n == 0 {
		return 0, io.ErrShortBuffer
	}
	return n, nil
}

// nothing checks that the daemon stores nothing and is well.
func (d *e2eDaemon) nothing(t *testing.T) {
	t.Helper()
	for _, f := range d.list() {
		t.Errorf("%s of %d bytes is there", f.Name, f.Size)
		_ = d.do("DELETE", e2ePath(f), nil) // not again in the next test
	}
	e2eUntil(t, "no blob", func() bool {
		n, _ := e2eBlobs(t, d.dir)
		return n == 0
	})
}

// TestHostileForms sends forms that nobody should send.
func TestHostileForms(t *testing.T) {
	d := e2eStart(t, t.TempDir())
	const size = 100 << 20
	post := func(boundary string, length int64) string {
		return fmt.Sprintf("POST /uploads HTTP/1.1\r\nHost: x\r\n%sContent-Type: multipart/form-data%s\r\nContent-Length: %d\r\n\r\n", e2eAuthorization, boundary, length)
	}
	field := func(name, rest, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"" + rest + "\r\n\r\n" + value + "\r\n"
	}
	file := field("file", `; filename="a"`, "content")
	long := strings.Repeat("c", 200<<10) // does not stay among the records
	whole := func(boundary, body string) (string, io.Reader) {
		return post(boundary, int64(len(body))), strings.NewReader(body)
	}
	for _, test := range []struct {
		name string
		send func() (string, io.Reader)
		want int
	}{
		{"one part of headers only", func() (string, io.Reader) {
			return post("; boundary=b", size) + "--b\r\n", e2eRepeat("X-Header: value\r\n", size-5)
		}, 400},
		{"one header without end", func() (string, io.Reader) {
			return post("; boundary=b", size) + "--b\r\nX-Header: ", e2eRepeat("v", size-15)
		}, 400},
		{"many parts with small headers", func() (string, io.Reader) {
			return post("; boundary=b", size), e2eRepeat("--b\r\nX: y\r\n\r\n\r\n", size)
		}, 400},
		{"many empty parts of a name", func() (string, io.Reader) {
			return post("; boundary=b", size), e2eRepeat(field("tags", "", ""), size)
		}, 400},
		{"many files without name", func() (string, io.Reader) {
			return post("; boundary=b", size), e2eRepeat(field("", `; filename="a"`, ""), size)
		}, 400},
		{"no boundary in the body", func() (string, io.Reader) {
			return post("; boundary=b", size), e2eRepeat("\r\n-", size)
		}, 400},
		{"10,000 fields", func() (string, io.Reader) {
			return whole("; boundary=b", strings.Repeat(field("tags", "", "a"), 10_000)+file+"--b--\r\n")
		}, 400},
		{"10,000 fields after the file", func() (string, io.Reader) {
			return whole("; boundary=b", file+strings.Repeat(field("tags", "", "a"), 10_000)+"--b--\r\n")
		}, 400},
		{"field of a megabyte", func() (string, io.Reader) {
			return whole("; boundary=b", field("name", "", strings.Repeat("n", 1<<20))+file+"--b--\r\n")
		}, 400},
		{"file part without name", func() (string, io.Reader) {
			return whole("; boundary=b", "--b\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\nx\r\n--b--\r\n")
		}, 400},
		{"part without disposition", func() (string, io.Reader) { return whole("; boundary=b", "--b\r\n\r\nx\r\n--b--\r\n") }, 400},
		{"no part", func() (string, io.Reader) { return whole("; boundary=b", "--b--\r\n") }, 400},
		{"empty body", func() (string, io.Reader) { return whole("; boundary=b", "") }, 400},
		{"no boundary", func() (string, io.Reader) { return whole("", file+"--b--\r\n") }, 400},
		{"empty boundary", func() (string, io.Reader) { return whole("; boundary=", file+"--b--\r\n") }, 400},
		{"boundary of 71", func() (string, io.Reader) {
			b := strings.Repeat("b", 71)
			return whole("; boundary="+b, strings.ReplaceAll(file+"--b--\r\n", "--b", "--"+b))
		}, 400},
		{"truncated in the head", func() (string, io.Reader) { return whole("; boundary=b", "--b\r\nContent-Dispo") }, 400},
		{"truncated in the file", func() (string, io.Reader) { return whole("; boundary=b", file[:len(file)-5]) }, 400},
		{"truncated in a long file", func() (string, io.Reader) {
			return whole("; boundary=b", field("file", `; filename="a"`, long)[:100<<10])
		}, 400},
		{"no end", func() (string, io.Reader) { return whole("; boundary=b", file) }, 400},
		{"two files", func() (string, io.Reader) { return whole("; boundary=b", file+file+"--b--\r\n") }, 400},
		{"two long files", func() (string, io.Reader) {
			f := field("file", `; filename="a"`, long)
			return whole("; boundary=b", f+f+"--b--\r\n")
		}, 400},
		{"bad ttl after a long file", func() (string, io.Reader) {
			return whole("; boundary=b", field("file", `; filename="a"`, long)+field("ttl", "", "-1")+"--b--\r\n")
		}, 400},
		{"form in a form", func() (string, io.Reader) {
			return whole("; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n")
		}, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, more := test.send()
			a := d.raw(text, more)
			if a.status != test.want || a.message() == "" {
				t.Errorf("%v, want %d and a message", a, test.want)
			}
			d.nothing(t)
		})
	}
	t.Run("boundary of 70 in quotes", func(t *testing.T) {
		b := strings.Repeat("b", 60) + "'()+_,-./:"
		a := d.raw(whole(`; boundary="`+b+`"`, strings.ReplaceAll(file+"--b--\r\n", "--b", "--"+b)))
		if a.status != http.StatusCreated {
			t.Fatalf("%v, want 201", a)
		}
		d.want(e2eID(a), []byte("content"))
	})
	if peak := d.proc("VmHWM"); peak > 80<<10 {
		t.Errorf("VmHWM %d kB", peak)
	} else {
		t.Logf("VmHWM %d kB", peak)
	}
}

// TestHostileHTTP breaks the rules of HTTP itself.
func TestHostileHTTP(t *testing.T) {
	d := e2eStart(t, t.TempDir(), "SERVER_READ_HEADER_TIMEOUT=1s", "LIMITS_IDLE_TIMEOUT=1s")
	const put = "PUT /uploads/a HTTP/1.1\r\nHost: x\r\n" + e2eAuthorization
	none := strings.NewReader("")
	for _, test := range []struct {
		name string
		text string
		more io.Reader
		want []int // 0: closed without an answer
	}{
		{"headers without end", put, e2eRepeat("X-Header: value\r\n", 100<<20), []int{431}},
		{"path without end", "GET /", e2eRepeat("a", 100<<20), []int{431, 400, 414}},
		{"two lengths", put + "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", none, []int{400, 0}},
		{"two lengths in one", put + "Content-Length: 3, 5\r\n\r\nabcde", none, []int{400, 0}},
		{"two encodings", put + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", none, []int{400, 501, 0}},
		{"unknown encoding", put + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", none, []int{400, 501, 0}},
		{"encoding behind a space", put + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", none, []int{400, 0}},
		{"negative length", put + "Content-Length: -1\r\n\r\n", none, []int{400, 0}},
		{"length with a sign", put + "Content-Length: +3\r\n\r\nabc", none, []int{400, 0}},
		{"length beyond 64 bits", put + "Content-Length: 99999999999999999999\r\n\r\n", none, []int{400, 0}},
		{"huge length", put + "Content-Length: 9223372036854775807\r\n\r\n", none, []int{413, 507}},
		{"broken chunk length", put + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", none, []int{400}},
		{"huge chunk length", put + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc", none, []int{400}},
		{"chunk without end", put + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", none, []int{400}},
		{"null in the header", put + "X: a\x00b\r\n\r\n", none, []int{400}},
		{"no host", "PUT /uploads/a HTTP/1.1\r\nContent-Length: 1\r\n\r\na", none, []int{400}},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", none, []int{400, 0}},
		{"header that stops", put, none, []int{0, 408, 400}},
		{"body that stalls", put + "Content-Length: 10\r\n\r\nabc", none, []int{408}},
		{"long body that stalls", put + "Content-Length: 1000000\r\n\r\n" + strings.Repeat("c", 200<<10), none, []int{408}},
		{"chunks that stall", put + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", none, []int{408}},
		{"form that stalls", "POST /uploads HTTP/1.1\r\nHost: x\r\n" + e2eAuthorization + "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n" +
			"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc", none, []int{408}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := d.raw(test.text, test.more)
			ok := false
			for _, want := range test.want {
				ok = ok || a.status == want
			}
			if !ok {
				t.Errorf("%v, want %v", a, test.want)
			}
			d.nothing(t)
		})
	}
	t.Run("body that ends early", func(t *testing.T) {
		for _, size := range []int{10, 200 << 10} {
			c := d.dial().(*net.TCPConn)
			fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", put, size+1, strings.Repeat("c", size))
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if a := e2eRead(bufio.NewReader(c)); a.status != 400 {
				t.Errorf("%v, want 400", a)
			}
		}
		d.nothing(t)
	})
	t.Run("both lengths", func(t *testing.T) {
		// RFC 9112 §6.1: refused, or else nothing more is taken from the
		// connection; a proxy may have understood it in another way.
		for _, lengths := range []string{"Content-Length: 30\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 30\r\n"} {
			c := d.dial()
			fmt.Fprintf(c, "%s%s\r\n3\r\nabc\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n", put, lengths)
			r := bufio.NewReader(c)
			a := e2eRead(r)
			if a.status == http.StatusCreated {
				if second := e2eRead(r); second.status != 0 {
					t.Errorf("%q: the request hidden behind the body is answered: %v", lengths, second)
				}
				if del := d.do("DELETE", e2eID(a), nil); del.status != http.StatusNoContent {
					t.Error(del)
				}
			} else if a.status != 400 && a.status != 0 {
				t.Errorf("%v, want 400", a)
			}
		}
		d.nothing(t)
	})
	t.Run("body that goes on", func(t *testing.T) {
		// What is beyond the length is another request, and a bad one.
		c := d.dial()
		fmt.Fprintf(c, "%sContent-Length: 3\r\n\r\nabcdef\r\n\r\n", put)
		r := bufio.NewReader(c)
		a := e2eRead(r)
		if a.status != http.StatusCreated {
			t.Fatalf("%v, want 201", a)
		}
		if second := e2eRead(r); second.status != 400 && second.status != 0 {
			t.Errorf("%v, want 400 or nothing", second)
		}
		d.want(e2eID(a), []byte("abc"))
	})
}

// TestHostileNames follows names from upload to download.
func TestHostileNames(t *testing.T) {
	d := e2eStart(t, t.TempDir())
	for _, test := range []struct{ sent, want string }{
		{"../../etc/passwd", "passwd"},
		{"/etc/passwd", "passwd"},
		{`C:\Users\me\a.txt`, "a.txt"},
		{"..", "unnamed"},
		{".", "unnamed"},
		{"a/..", "unnamed"},
		{"a/", "unnamed"},
		{".htaccess", ".htaccess"},
		{"a\x01b\x1b[31mc\x7f.txt", "ab[31mc.txt"},
		{"a\tb.txt", "ab.txt"},
		{"line\u2028break.txt", "linebreak.txt"},
		{`say "hello".txt`, `say "hello".txt`},
		{"semi;colon=x.txt", "semi;colon=x.txt"},
		{"100%.txt", "100%.txt"},
		{"%2e%2e%2fpasswd", "%2e%2e%2fpasswd"},
		{"übergröße €.txt", "übergröße €.txt"},
		{"😀👩‍👩‍👧.png", "😀👩‍👩‍👧.png"},
		{"invoice\u202efdp.exe", "invoicefdp.exe"},
		{"\u2066a\u2069.txt", "a.txt"},
		{"שלום.txt", "שלום.txt"},
		{"bad\xff\xfeutf8.txt", "bad\ufffdutf8.txt"},
		{"  spaces  ", "spaces"},
		{strings.Repeat("ä", 400) + ".txt", strings.Repeat("ä", 125) + ".txt"},
	} {
		t.Run(fmt.Sprintf("%.40q", test.sent), func(t *testing.T) {
			quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(test.sent)
			form, kind := e2eForm(quoted, []byte("content"))
			for way, a := range map[string]*e2eAnswer{
				"form": d.do("POST", "/uploads", form, "Content-Type", kind),
				"raw":  d.do("POST", "/uploads?name="+url.QueryEscape(test.sent), strings.NewReader("content"), "Content-Type", "text/plain"),
			} {
				if a.status != http.StatusCreated {
					t.Errorf("%s: %v", way, a)
					continue
				}
				d.wantName(t, way, e2eID(a), test.want)
			}
		})
	}
}

// wantName checks a name as it is told, and as it is offered to a browser.
func (d *e2eDaemon) wantName(t *testing.T, way, path, want string) {
	t.Helper()
	var info api.File
	if err := json.Unmarshal(d.do("GET", path+"/info", nil).body, &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != want {
		t.Errorf("%s: name %q, want %q", way, info.Name, want)
	}
	got := d.do("GET", path, nil)
	disposition := got.header.Get("Content-Disposition")
	if strings.ContainsFunc(disposition, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%s: Content-Disposition %q has bytes that are not printable ASCII", way, disposition)
	}
	kind, params, err := mime.ParseMediaType(disposition)
	if err != nil || kind != "attachment" || params["filename"] != want {
		t.Errorf("%s: Content-Disposition %q: %s %q %v, want %q", way, disposition, kind, params["filename"], err, want)
	}
	if !bytes.Equal(got.body, []byte("content")) {
		t.Errorf("%s: content %q", way, got.body)
	}
}
