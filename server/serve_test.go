package server

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/api"
	"fileshare/store"
	"fileshare/store/storetest"
)

func TestDownloadHeaders(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	f := h.upload("hello", "")
	a := h.do("GET", "/uploads/"+f.ID, "", nil).want(t, 200)
	a.Header.Del("Date")
	a.Header.Del("X-Request-Id")
	want := http.Header{
		"Content-Type": {"text/plain"}, "Content-Length": {"5"}, "Content-Disposition": {`attachment; filename="test.txt"`}, "Etag": {`"` + *f.SHA256 + `"`},
		"Last-Modified": {f.CreatedAt.UTC().Format(http.TimeFormat)}, "Accept-Ranges": {"bytes"}, "Repr-Digest": {digestOf("hello")},
		"Cache-Control": {"private, no-store"}, "X-Content-Type-Options": {"nosniff"}, "Content-Security-Policy": {"sandbox"},
		"X-Fileshare-Expires": {f.ExpiresAt.UTC().Format(http.TimeFormat)},
	}
	if d := cmp.Diff(want, a.Header); d != "" {
		t.Error(d)
	}
	head := h.do("HEAD", "/uploads/"+f.ID, "", nil).want(t, 200)
	head.Header.Del("Date")
	head.Header.Del("X-Request-Id")
	if d := cmp.Diff(want, head.Header); d != "" {
		t.Error("HEAD:", d)
	}
	if got := h.do("GET", "/uploads/"+f.ID+"?inline=1", "", nil).Header.Get("Content-Disposition"); got != `inline; filename="test.txt"` {
		t.Errorf("inline: %s", got)
	}
	counted := h.upload("hello", "?max_downloads=1")
	ca := h.do("HEAD", "/uploads/"+counted.ID, "", nil).want(t, 200)
	if ca.Header.Get("X-Accel-Buffering") != "no" || ca.Header.Get("Vary") != "Accept, Sec-Fetch-Mode, User-Agent" {
		t.Errorf("counted: %v", ca.Header)
	}
}

func TestConditionsAndRanges(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	for _, size := range []int{10, 200_000} {
		content := strings.Repeat("0123456789", size/10)
		f := h.upload(content, "")
		etag := `"` + *f.SHA256 + `"`
		for _, tc := range []struct {
			header []string
			status int
			want   string
		}{
			{nil, 200, content},
			{[]string{"Range", "bytes=2-4"}, 206, content[2:5]},
			{[]string{"Range", "bytes=-3"}, 206, content[len(content)-3:]},
			{[]string{"Range", "bytes=7-"}, 206, content[7:]},
			{[]string{"Range", "bytes=2-4", "If-Range", etag}, 206, content[2:5]},
			{[]string{"Range", "bytes=2-4", "If-Range", `"x"`}, 200, content},
			{[]string{"If-None-Match", etag}, 304, ""},
			{[]string{"If-None-Match", `"x"`}, 200, content},
			{[]string{"Range", "lines=1-2"}, 200, content},
			{[]string{"Range", "BYTES=2-4"}, 206, content[2:5]},
			{[]string{"Range", "bytes=2-99999999999999999999"}, 206, content[2:]},
			{[]string{"Range", "bytes=-99999999999999999999"}, 206, content},
			{[]string{"Range", "bytes=-0, 2-4"}, 206, content[2:5]},
			{[]string{"Range", "bytes=-0"}, 416, "range_not_satisfiable"},
			{[]string{"Range", "bytes=4-2"}, 416, "range_not_satisfiable"},
			{[]string{"Range", fmt.Sprintf("bytes=%d-", size)}, 416, "range_not_satisfiable"},
			{[]string{"If-Match", `"x"`}, 412, "precondition_failed"},
		} {
			a := h.do("GET", "/uploads/"+f.ID, "", nil, tc.header...)
			ok := string(a.body) == tc.want
			if tc.status >= 400 {
				ok = a.says(tc.want) && a.Header.Get("Etag") == "" && a.Header.Get("Content-Type") == "application/json"
			}
			if a.StatusCode != tc.status || !ok {
				t.Errorf("%d bytes, %v: %d %.80q %v", size, tc.header, a.StatusCode, a.body, a.Header)
			}
			if cr := a.Header.Get("Content-Range"); tc.status == 416 && cr != fmt.Sprintf("bytes */%d", size) {
				t.Errorf("Content-Range %q", cr)
			}
		}
	}
}

func TestMultipleRanges(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	content := strings.Repeat("0123456789", 20_000)
	for _, path := range []string{"/uploads/" + h.upload(content, "").ID, h.tokenFor(content)} {
		a := h.do("GET", path, "", nil, "Range", "bytes=0-99,150000-199999,-5").want(t, 206)
		_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		mr := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
		for _, want := range []string{content[:100], content[150000:], content[len(content)-5:]} {
			p, err := mr.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(p); err != nil || string(got) != want {
				t.Errorf("%s: part of %d bytes, want %d, %v", path, len(got), len(want), err)
			}
		}
	}
}

func TestCountedByBytes(t *testing.T) {
	content := strings.Repeat("0123456789", 30_000)
	h := newHouse(t, store.Options{}, Options{})
	for _, size := range []int{5, len(content)} {
		c := content[:size]
		p := h.tokenFor(c)
		for range 3 { // none of these burns it
			h.do("HEAD", p, "", nil).want(t, 200)
			h.do("GET", p, "", nil, "Range", "bytes=0-0").want(t, 206)
			h.do("GET", p, "", nil, "Range", "bytes=900000-").want(t, 416)
			h.do("GET", p, "", nil, "User-Agent", "Slackbot-LinkExpanding 1.0").want(t, 200)
		}
		if a := h.do("GET", p, "", nil).want(t, 200); string(a.body) != c {
			t.Errorf("%d bytes, want %d", len(a.body), size)
		}
		// Asked at once, without waiting for anything:
		if a := h.do("GET", p, "", nil).want(t, 410); a.message(t) != "token used" || a.Header.Get("Etag") != "" {
			t.Errorf("%s %v", a.body, a.Header)
		}
		// In two halves it is one download.
		p = h.tokenFor(c)
		h.do("GET", p, "", nil, "Range", "bytes=0-1").want(t, 206)
		h.do("GET", p, "", nil, "Range", "bytes=2-").want(t, 206)
		h.do("GET", p, "", nil).want(t, 410)
	}
}

func TestOneOfManyGetsIt(t *testing.T) {
	for _, size := range []int{100, 300_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			h := newHouse(t, store.Options{}, Options{})
			p := h.tokenFor(strings.Repeat("x", size))
			var full, busy, used atomic.Int32
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					resp, err := h.hc.Get(h.url + p)
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					n, err := io.Copy(io.Discard, resp.Body)
					switch {
					case resp.StatusCode == 200 && err == nil && n == int64(size):
						full.Add(1)
					case resp.StatusCode == 409 && resp.Header.Get("Retry-After") != "":
						busy.Add(1)
					case resp.StatusCode == 410:
						used.Add(1)
					default:
						t.Errorf("status %d, %d bytes, %v", resp.StatusCode, n, err)
					}
				})
			}
			wg.Wait()
			if full.Load() != 1 || full.Load()+busy.Load()+used.Load() != 200 {
				t.Errorf("%d full bodies, %d busy, %d used", full.Load(), busy.Load(), used.Load())
			}
			h.do("GET", p, "", nil).want(t, 410)
		})
	}
}

// raw opens a connection and sends a GET, for clients that behave badly.
func (h *house) raw(path string) *net.TCPConn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	return c.(*net.TCPConn)
}

func TestBrokenDownloadBurnsNothing(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	content := strings.Repeat("0123456789", 3_000_000) // more than the kernel's buffers hold
	p := h.tokenFor(content)
	c := h.raw(p)
	if _, err := io.CopyN(io.Discard, c, 100_000); err != nil {
		t.Fatal(err)
	}
	c.Close()
	eventually(t, "the reservation of the broken download is free", func() bool {
		a := h.do("GET", p, "", nil, "Range", "bytes=100000-200000")
		return a.StatusCode == 206
	})
	h.do("GET", p, "", nil).want(t, 200)
	h.do("GET", p, "", nil).want(t, 410)
}

func TestResetAfterTheLastByteReopens(t *testing.T) {
	for name, kill := range map[string]func(c *net.TCPConn){
		"linger 0": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"unread":   func(c *net.TCPConn) { c.Close() },
	} {
		for _, size := range []int{1000, 150_000} {
			t.Run(fmt.Sprintf("%s %d", name, size), func(t *testing.T) {
				h := newHouse(t, store.Options{}, Options{})
				content := strings.Repeat("x", size)
				p := h.tokenFor(content)
				c := h.raw(p)
				eventually(t, "the download is settled", func() bool { return h.store.Stats().Completed == 1 })
				kill(c)
				eventually(t, "the download is reopened", func() bool { return h.store.Stats().Reopened == 1 })
				if a := h.do("GET", p, "", nil).want(t, 200); string(a.body) != content {
					t.Errorf("%d bytes", len(a.body))
				}
				h.do("GET", p, "", nil).want(t, 410)
			})
		}
	}
}

func TestOrderlyEndDoesNotReopen(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	p := h.tokenFor("hello")
	c := h.raw(p)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	c.Close()
	h.do("GET", p, "", nil).want(t, 410)
	h.srv.Close() // waits for the connections
	if n := h.store.Stats().Reopened; n != 0 {
		t.Errorf("%d reopened", n)
	}
}

// fileWriter notes what kind of source its ReadFrom gets.
type fileWriter struct {
	*httptest.ResponseRecorder
	files int
}

func (w *fileWriter) ReadFrom(src io.Reader) (int64, error) {
	if lr, ok := src.(*io.LimitedReader); ok {
		if _, ok := lr.R.(syscall.Conn); ok {
			w.files++
		}
	}
	return io.Copy(w.ResponseRecorder, src)
}

func TestSendfileSurvives(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	content := strings.Repeat("x", 300_000)
	for _, p := range []string{"/uploads/" + h.upload(content, "").ID, h.tokenFor(content)} {
		w := &fileWriter{ResponseRecorder: httptest.NewRecorder()}
		h.handler.ServeHTTP(w, httptest.NewRequest("GET", p, nil))
		if w.files == 0 || w.Body.Len() != len(content) {
			t.Errorf("%s: %d files passed to ReadFrom, %d bytes", p, w.files, w.Body.Len())
		}
	}
}

func TestExpired(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Prefixes: []string{"/rtc/fileshare"}})
	f := h.upload("x", "?ttl=1")
	var a answer
	eventually(t, "the upload expires", func() bool {
		a = h.do("GET", "/rtc/fileshare/uploads/"+f.ID+"?x=y", "", nil)
		return a.StatusCode == 410
	})
	if a.message(t) != "upload expired" {
		t.Errorf("%s", a.body)
	}
	want := `msg="Error at /uploads/` + f.ID + `: message=upload expired, status=410"`
	if !strings.Contains(h.log.String(), want) {
		t.Errorf("no %s in %s", want, h.log)
	}
	page := h.do("GET", "/uploads/"+f.ID, "", nil, "Accept", "text/html,*/*;q=0.8").want(t, 410)
	if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || !strings.Contains(string(page.body), "This link has expired") {
		t.Errorf("%v %s", page.Header, page.body)
	}
}

func TestSessionFlow(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	var s api.Session
	h.do("POST", "/sessions", "alice", strings.NewReader("ttl=600&name=conference"), "Content-Type", "application/x-www-form-urlencoded").want(t, 201).into(t, &s)
	if s.TTL != 600 || s.Name != "conference" || s.URL != h.url+"/sessions/"+s.ID {
		t.Errorf("%+v", s)
	}
	sp := "/sessions/" + s.ID
	var f api.File
	h.do("POST", sp, "alice", strings.NewReader(`{"name":"a.txt","size":5}`), "Content-Type", "application/json").want(t, 201).into(t, &f)
	if f.State != "NEW" || *f.SessionID != s.ID || f.SHA256 != nil || f.URL != h.url+sp+"/files/"+f.ID {
		t.Errorf("%+v", f)
	}
	fp := sp + "/files/" + f.ID
	h.do("GET", fp, "alice", nil).want(t, 409)
	h.do("POST", fp+"/tokens", "alice", nil).want(t, 409)
	body, ct := form(field{name: "file", file: "other.txt", typ: "text/plain", value: "hello"})
	h.do("PUT", fp, "alice", body, "Content-Type", ct).want(t, 200).into(t, &f)
	if f.State != "UPLOADED" || f.Size != 5 || f.Name != "a.txt" {
		t.Errorf("%+v", f)
	}
	h.do("PUT", fp, "alice", strings.NewReader("again")).want(t, 409)
	h.do("GET", fp, "alice", nil).want(t, 200)
	h.do("GET", fp, "", nil).want(t, 401)
	h.do("GET", fp, "bob", nil).want(t, 403)
	var files []api.File
	h.do("GET", sp+"/files", "alice", nil).want(t, 200).into(t, &files)
	if len(files) != 1 || files[0].ID != f.ID {
		t.Errorf("%+v", files)
	}
	var tok api.Token
	h.do("POST", fp+"/tokens", "alice", strings.NewReader(`{"max_downloads":2}`)).want(t, 201).into(t, &tok)
	if tok.Token != tok.ID || tok.State != "NEW" || tok.MaxDownloads != 2 || tok.UploadID != f.ID || tok.URL != h.url+fp+"/tokens/"+tok.ID {
		t.Errorf("%+v", tok)
	}
	h.do("GET", tok.URL, "", nil).want(t, 200)
	var l api.List[api.Token]
	h.do("GET", fp+"/tokens", "alice", nil).want(t, 200).into(t, &l)
	if len(l.Items) != 1 || l.Items[0].Downloads != 1 {
		t.Errorf("%+v", l)
	}
	h.do("DELETE", fp+"/tokens/"+tok.ID, "alice", nil).want(t, 204)
	h.do("GET", tok.URL, "", nil).want(t, 404)
	if strings.Contains(h.log.String(), tok.ID) || !strings.Contains(h.log.String(), tok.ID[:8]+"…") {
		t.Error("the token is in the log")
	}
	h.do("PATCH", sp, "alice", strings.NewReader(`{"name":"renamed"}`)).want(t, 200).into(t, &s)
	if s.Name != "renamed" {
		t.Errorf("%+v", s)
	}
	h.do("DELETE", sp, "alice", nil).want(t, 204)
	h.do("GET", fp, "alice", nil).want(t, 404)
}

func TestArchive(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	var s api.Session
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	sp := "/sessions/" + s.ID
	big := strings.Repeat("z", 100_000)
	for i, content := range []string{"one", big, ""} {
		var f api.File
		h.do("POST", sp+"/files", "alice", strings.NewReader(`{"name":"same.txt"}`)).want(t, 201).into(t, &f)
		if i < 2 {
			h.do("PUT", sp+"/files/"+f.ID, "alice", strings.NewReader(content)).want(t, 200)
		}
	}
	want := map[string]string{"same.txt": big, "same (2).txt": "one"}
	a := h.do("GET", sp+"/archive", "alice", nil).want(t, 200)
	zr, err := zip.NewReader(bytes.NewReader(a.body), int64(len(a.body)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range zr.File {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || e.Method != zip.Store {
			t.Errorf("%s: %v, method %d", e.Name, err, e.Method)
		}
		got[e.Name] = string(b)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	a = h.do("GET", sp+"/archive?format=tar", "alice", nil).want(t, 200)
	got = map[string]string{}
	for tr := tar.NewReader(bytes.NewReader(a.body)); ; {
		e, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(tr)
		got[e.Name] = string(b)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	h.do("GET", sp+"/archive?format=rar", "alice", nil).want(t, 400)
	h.do("GET", sp+"/archive", "bob", nil).want(t, 403)
}

// An archive has a length and a validator, so that a download goes on; files
// with a limit count.
func TestArchiveRanges(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	var s api.Session
	var f api.File
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	sp := "/sessions/" + s.ID
	for _, content := range []string{"one", strings.Repeat("z", 100_000)} {
		h.do("POST", sp+"/files", "alice", strings.NewReader(`{"name":"a.txt"}`)).want(t, 201).into(t, &f)
		h.do("PUT", sp+"/files/"+f.ID, "alice", strings.NewReader(content)).want(t, 200)
	}
	for _, format := range []string{"zip", "tar"} {
		url := sp + "/archive?format=" + format
		all := h.do("GET", url, "alice", nil).want(t, 200)
		size, etag := len(all.body), all.Header.Get("Etag")
		head := h.do("HEAD", url, "alice", nil).want(t, 200)
		if got := head.Header.Get("Content-Length"); got != strconv.Itoa(size) || head.Header.Get("Etag") != etag || etag == "" {
			t.Errorf("%s: %s bytes, %s, want %d, %s", format, got, head.Header.Get("Etag"), size, etag)
		}
		part := h.do("GET", url, "alice", nil, "Range", "bytes=1000-", "If-Range", etag).want(t, 206)
		if !bytes.Equal(part.body, all.body[1000:]) || part.Header.Get("Content-Range") != fmt.Sprintf("bytes 1000-%d/%d", size-1, size) {
			t.Errorf("%s: %d bytes, %s", format, len(part.body), part.Header.Get("Content-Range"))
		}
		h.do("GET", url, "alice", nil, "Range", "bytes=1-2", "If-Range", `"other"`).want(t, 200)
		h.do("GET", url, "alice", nil, "Range", "bytes=1-2,5-6").want(t, 200)
		h.do("GET", url, "alice", nil, "Range", "lines=1-2").want(t, 200)
		h.do("GET", url, "alice", nil, "Range", "bytes=-0").want(t, 416)
		h.do("GET", url, "alice", nil, "If-None-Match", etag).want(t, 304)
		h.do("GET", url, "alice", nil, "If-Match", `"other"`).want(t, 412)
		over := h.do("GET", url, "alice", nil, "Range", fmt.Sprintf("bytes=%d-", size)).want(t, 416)
		if got := over.Header.Get("Content-Range"); got != fmt.Sprintf("bytes */%d", size) || over.Header.Get("Etag") != "" {
			t.Errorf("%s: %s", format, got)
		}
	}

	fp := sp + "/files/" + f.ID
	h.do("PATCH", fp, "alice", strings.NewReader(`{"max_downloads":1}`)).want(t, 200)
	url := sp + "/archive"
	h.do("HEAD", url, "alice", nil).want(t, 200)
	etag := h.do("GET", url, "alice", nil, "Range", "bytes=0-99").want(t, 206).Header.Get("Etag")
	rest := h.do("GET", url, "alice", nil, "Range", "bytes=100-", "If-Range", etag).want(t, 206)
	h.do("GET", fp, "alice", nil).want(t, 410)
	after := h.do("GET", url, "alice", nil, "Range", "bytes=100-", "If-Range", etag).want(t, 200)
	if len(after.body) >= len(rest.body) || after.Header.Get("Etag") == etag {
		t.Errorf("%d bytes, %s", len(after.body), after.Header.Get("Etag"))
	}
}

// Who has all bytes of the last download and asks at once, in whatever way, is
// told that it was the last, also if counting takes a while.
func TestRightAfterTheEnd(t *testing.T) {
	var slow atomic.Bool
	h := newHouseOver(t, store.Options{}, Options{}, func(r store.Records) store.Records {
		return storetest.FaultyRecords(r, func(op string) storetest.Fault {
			if op == "Update" && slow.Load() {
				time.Sleep(200 * time.Millisecond)
			}
			return storetest.None
		})
	})
	h.hc.Transport.(*http.Transport).DisableKeepAlives = true // what comes on the same connection waits anyway
	for _, ask := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", "", nil, 410},
		{"HEAD", "", nil, 410},
		{"GET", "", []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, 410},
		{"GET", "", []string{"User-Agent", "Slackbot"}, 410},
		{"GET", "/info", nil, 200},
	} {
		link := "/uploads/" + h.upload("content", "?max_downloads=1").ID
		slow.Store(true)
		h.do("GET", link, "", nil).want(t, 200)
		a := h.do(ask.method, link+ask.path, "alice", nil, ask.headers...).want(t, ask.want)
		slow.Store(false)
		if ask.want == 200 && !a.says(`"downloads":1,`) {
			t.Errorf("%s: %s", ask.path, a.body)
		}
	}
}

// What is counted of a token, and of its file, is shown right after the end, too.
func TestTokensRightAfterTheEnd(t *testing.T) {
	var slow atomic.Bool
	h := newHouseOver(t, store.Options{}, Options{}, func(r store.Records) store.Records {
		return storetest.FaultyRecords(r, func(op string) storetest.Fault {
			if op == "Update" && slow.Load() {
				time.Sleep(200 * time.Millisecond)
			}
			return storetest.None
		})
	})
	h.hc.Transport.(*http.Transport).DisableKeepAlives = true
	var s api.Session
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	var f api.File
	h.do("POST", "/sessions/"+s.ID+"/files", "alice", nil).want(t, 201).into(t, &f)
	h.do("PUT", f.URL, "alice", strings.NewReader("content")).want(t, 200)
	for i, ask := range []struct{ url, want string }{
		{f.URL + "/tokens?limit=1", `"state":"DOWNLOADED","downloads":1,`},
		{f.URL + "/info", `"downloads":2,`},
		{s.URL + "/files", `"downloads":3,`},
	} {
		var tok api.Token
		h.do("POST", f.URL+"/tokens", "alice", nil).want(t, 201).into(t, &tok)
		slow.Store(true)
		h.do("GET", tok.URL, "", nil).want(t, 200)
		a := h.do("GET", ask.url, "alice", nil).want(t, 200)
		slow.Store(false)
		if !a.says(ask.want) {
			t.Errorf("%d: %s", i, a.body)
		}
	}
}

// A tail that is waited for releases its waiters when it ends, and only then.
func TestTails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts tails
		ref := store.Ref{File: "f"}
		if ts.current(ref).wait(t.Context()) {
			t.Error("waited for nothing")
		}
		one, two := ts.begin(ref), ts.begin(ref)
		if one != two {
			t.Error("two tails of one link")
		}
		got := make(chan bool)
		go func() { got <- ts.current(ref).wait(t.Context()) }()
		synctest.Wait()
		ts.end(ref, one)
		synctest.Wait()
		select {
		case <-got:
			t.Error("released by the first of two")
		default:
		}
		ts.end(ref, two)
		if !<-got || ts.current(ref) != nil {
			t.Error("not released by the end")
		}
		ts.begin(ref)
		begin := time.Now()
		if ts.current(ref).wait(t.Context()) || time.Since(begin) != tailWait {
			t.Error("the wait is not bounded")
		}
	})
}
