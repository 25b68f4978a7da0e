package server

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// tus sends a request of the tus protocol.
func (h *house) tus(method, path, user string, body io.Reader, kv ...string) answer {
	h.t.Helper()
	return h.do(method, path, user, body, append([]string{"Tus-Resumable", "1.0.0", "Content-Type", offsetStream}, kv...)...)
}

// has checks headers, in pairs; an empty value: it must not be there.
func (a answer) has(t testing.TB, kv ...string) answer {
	t.Helper()
	for i := 0; i+1 < len(kv); i += 2 {
		if got := a.Header.Get(kv[i]); got != kv[i+1] {
			t.Errorf("%s %s: %s is %q, want %q", a.Request.Method, a.Request.URL.Path, kv[i], got, kv[i+1])
		}
	}
	return a
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

func TestTusCore(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 1 << 20}, Options{Tus: true, Prefixes: []string{"/rtc/fileshare"}})
	for _, path := range []string{"/tus", "/tus/", "/rtc/fileshare/tus/", "/tus/88e5905d-5d96-4750-ab3d-77a1ed26f569"} {
		h.do("OPTIONS", path, "", nil).want(t, 204).has(t, "Tus-Version", "1.0.0", "Tus-Max-Size", "1048576", "Tus-Resumable", "1.0.0", "Tus-Extension", tusExtensions,
			"Tus-Checksum-Algorithm", "sha1,sha256,md5", "Access-Control-Allow-Origin", "*", "Upload-Limit", "max-size=1048576")
	}
	data := noise(100_000)
	meta := "filename " + b64("ünï.txt") + ",filetype " + b64("text/plain") + ",ttl " + b64("600") + ",max_downloads " + b64("3") + ",tags " + b64("a, b") + ",other"
	a := h.tus("POST", "/rtc/fileshare/tus/", "alice", nil, "Upload-Length", "100000", "Upload-Metadata", meta).want(t, 201)
	url := a.Header.Get("Location")
	if !strings.HasPrefix(url, h.url+"/rtc/fileshare/tus/") || a.Header.Get("Upload-Expires") == "" || a.Header.Get("Upload-Offset") != "0" {
		t.Errorf("%v", a.Header)
	}
	h.tus("HEAD", url, "alice", nil).want(t, 200).has(t, "Upload-Offset", "0", "Upload-Length", "100000", "Upload-Metadata", meta, "Cache-Control", "no-store",
		"Upload-Concat", "", "Upload-Defer-Length", "", "Tus-Resumable", "1.0.0")
	for from := 0; from < len(data); from += 30_000 {
		to := min(from+30_000, len(data))
		h.tus("PATCH", url, "alice", bytes.NewReader(data[from:to]), "Upload-Offset", strconv.Itoa(from+1)).want(t, 409)
		a = h.tus("PATCH", url, "alice", bytes.NewReader(data[from:to]), "Upload-Offset", strconv.Itoa(from)).want(t, 204).has(t, "Upload-Offset", strconv.Itoa(to))
		if (a.Header.Get("Upload-Expires") == "") != (to == len(data)) || (a.Header.Get("Upload-File") == "") != (to < len(data)) {
			t.Errorf("%v", a.Header)
		}
	}
	link := a.Header.Get("Upload-File")
	if id := url[strings.LastIndexByte(url, '/')+1:]; link != h.url+"/rtc/fileshare/uploads/"+id || a.Header.Get("Location") != link {
		t.Errorf("%s, %s", link, a.Header.Get("Location"))
	}
	got := h.do("GET", link, "", nil).want(t, 200)
	if !bytes.Equal(got.body, data) || got.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("%d bytes, %v", len(got.body), got.Header)
	}
	var f api.File
	h.do("GET", link+"/info", "alice", nil).want(t, 200).into(t, &f)
	if f.Name != "ünï.txt" || f.TTL != 600 || f.MaxDownloads != 3 || strings.Join(f.Tags, ",") != "a,b" || f.State != "UPLOADED" || *f.SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) {
		t.Errorf("%+v", f)
	}
	h.tus("HEAD", url, "alice", nil).want(t, 200).has(t, "Upload-Offset", "100000", "Upload-Length", "100000", "Upload-File", link, "Upload-Expires", "")
	h.tus("PATCH", url, "alice", nil, "Upload-Offset", "100000").want(t, 204)
	h.tus("PATCH", url, "alice", strings.NewReader("x"), "Upload-Offset", "100000").want(t, 409)
	h.tus("DELETE", url, "alice", nil).want(t, 204)
	h.tus("HEAD", url, "alice", nil).want(t, 404)
	h.do("GET", link, "", nil).want(t, 404)
}

func TestTusRefusals(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 1000}, Options{Tus: true})
	url := h.tus("POST", "/tus/", "alice", nil, "Upload-Length", "10").want(t, 201).Header.Get("Location")
	long := strings.Repeat("x", 5000)
	for name, tc := range map[string]struct {
		method, path, user, body string
		status                   int
		kv                       []string
	}{
		"no version":        {"PATCH", url, "alice", "x", 412, []string{"Tus-Resumable", "", "Upload-Offset", "0"}},
		"other version":     {"POST", "/tus/", "alice", "", 412, []string{"Tus-Resumable", "0.2.2", "Upload-Length", "1"}},
		"head, version":     {"HEAD", url, "alice", "", 412, []string{"Tus-Resumable", "2"}},
		"stranger":          {"POST", "/tus/", "", "", 401, []string{"Upload-Length", "1"}},
		"stranger appends":  {"PATCH", url, "", "x", 401, []string{"Upload-Offset", "0"}},
		"other appends":     {"PATCH", url, "bob", "x", 403, []string{"Upload-Offset", "0"}},
		"other asks":        {"HEAD", url, "bob", "", 403, nil},
		"other ends":        {"DELETE", url, "bob", "", 403, nil},
		"no length":         {"POST", "/tus/", "alice", "", 400, nil},
		"two lengths":       {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "1", "Upload-Defer-Length", "1"}},
		"defer 2":           {"POST", "/tus/", "alice", "", 400, []string{"Upload-Defer-Length", "2"}},
		"negative":          {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "-1"}},
		"too large":         {"POST", "/tus/", "alice", "", 413, []string{"Upload-Length", "1001"}},
		"huge":              {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "99999999999999999999"}},
		"bad metadata":      {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "1", "Upload-Metadata", "filename ???"}},
		"twice":             {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "1", "Upload-Metadata", "a eA==,a eA=="}},
		"long metadata":     {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "1", "Upload-Metadata", "a " + b64(long)}},
		"bad ttl":           {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "1", "Upload-Metadata", "ttl " + b64("soon")}},
		"bad concat":        {"POST", "/tus/", "alice", "", 400, []string{"Upload-Length", "1", "Upload-Concat", "both"}},
		"foreign part":      {"POST", "/tus/", "alice", "", 400, []string{"Upload-Concat", "final;http://elsewhere/files/1"}},
		"no part":           {"POST", "/tus/", "alice", "", 400, []string{"Upload-Concat", "final;" + url}},
		"no id of a part":   {"POST", "/tus/", "alice", "", 400, []string{"Upload-Concat", "final;/tus/"}},
		"part of a session": {"POST", "/tus/", "alice", "", 400, []string{"Upload-Concat", "final;/tus/a/b"}},
		"bad part":          {"POST", "/tus/", "alice", "", 400, []string{"Upload-Concat", "final;/tus/%zz"}},
		"no parts":          {"POST", "/tus/", "alice", "", 400, []string{"Upload-Concat", "final;"}},
		"created, checksum": {"POST", "/tus/", "alice", "x", 460, []string{"Upload-Length", "1", "Upload-Checksum", "md5 AAAAAAAAAAAAAAAAAAAAAA=="}},
		"unknown session":   {"POST", "/tus/", "alice", "", 404, []string{"Upload-Length", "1", "Upload-Metadata", "session " + b64("88e5905d-5d96-4750-ab3d-77a1ed26f569")}},
		"body of a type":    {"POST", "/tus/", "alice", "x", 415, []string{"Upload-Length", "1", "Content-Type", "text/plain"}},
		"patch of a type":   {"PATCH", url, "alice", "x", 415, []string{"Upload-Offset", "0", "Content-Type", "application/octet-stream"}},
		"no offset":         {"PATCH", url, "alice", "x", 400, nil},
		"bad offset":        {"PATCH", url, "alice", "x", 400, []string{"Upload-Offset", "one"}},
		"wrong offset":      {"PATCH", url, "alice", "x", 409, []string{"Upload-Offset", "3"}},
		"too much":          {"PATCH", url, "alice", "12345678901", 400, []string{"Upload-Offset", "0"}},
		"other length":      {"PATCH", url, "alice", "x", 400, []string{"Upload-Offset", "0", "Upload-Length", "11"}},
		"unknown algorithm": {"PATCH", url, "alice", "x", 400, []string{"Upload-Offset", "0", "Upload-Checksum", "crc32 AAAAAA=="}},
		"bad checksum":      {"PATCH", url, "alice", "x", 400, []string{"Upload-Offset", "0", "Upload-Checksum", "sha1 AAAA"}},
		"wrong checksum":    {"PATCH", url, "alice", "x", 460, []string{"Upload-Offset", "0", "Upload-Checksum", "md5 AAAAAAAAAAAAAAAAAAAAAA=="}},
		"unknown":           {"PATCH", "/tus/88e5905d-5d96-4750-ab3d-77a1ed26f569", "alice", "x", 404, []string{"Upload-Offset", "0"}},
		"no id":             {"HEAD", "/tus/x", "alice", "", 404, nil},
		"method":            {"PUT", url, "alice", "x", 405, nil},
		"override":          {"POST", url, "alice", "", 405, []string{"X-HTTP-Method-Override", "PUT"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.tus(tc.method, tc.path, tc.user, strings.NewReader(tc.body), tc.kv...).want(t, tc.status)
			if a.Header.Get("Tus-Resumable") != "1.0.0" || a.Header.Get("Access-Control-Allow-Origin") != "*" || (tc.status == 412) != (a.Header.Get("Tus-Version") != "") {
				t.Errorf("%v", a.Header)
			}
			if tc.method != "HEAD" && a.message(t) == "" || a.Header.Get("Location") != "" {
				t.Errorf("%s %v", a.body, a.Header)
			}
		})
	}
}

func TestTusExpired(t *testing.T) {
	h := newHouse(t, store.Options{UnfinishedTTL: 200 * time.Millisecond}, Options{Tus: true})
	url := h.tus("POST", "/tus/", "alice", nil, "Upload-Length", "10").want(t, 201).Header.Get("Location")
	time.Sleep(250 * time.Millisecond)
	h.tus("HEAD", url, "alice", nil).want(t, 410)
	h.tus("DELETE", url, "alice", nil).want(t, 410)
	if m := h.tus("PATCH", url, "alice", strings.NewReader("x"), "Upload-Offset", "0").want(t, 410).message(t); m != "upload expired" {
		t.Error(m)
	}
}

func TestTusExtensions(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true})
	// Creation with upload, whole and in part.
	a := h.tus("POST", "/tus/", "alice", strings.NewReader("hello"), "Upload-Length", "5").want(t, 201).has(t, "Upload-Offset", "5")
	if got := h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200); string(got.body) != "hello" {
		t.Errorf("%s", got.body)
	}
	a = h.tus("POST", "/tus/", "alice", strings.NewReader("hel"), "Upload-Length", "5").want(t, 201).has(t, "Upload-Offset", "3", "Upload-File", "")
	h.tus("PATCH", a.Header.Get("Location"), "alice", strings.NewReader("lo"), "Upload-Offset", "3").want(t, 204)
	// Empty.
	a = h.tus("POST", "/tus/", "alice", nil, "Upload-Length", "0").want(t, 201)
	h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200)
	// Deferred length, other methods than PATCH and DELETE.
	url := h.tus("POST", "/tus/", "alice", nil, "Upload-Defer-Length", "1").want(t, 201).Header.Get("Location")
	h.tus("POST", url, "alice", strings.NewReader("abc"), "Upload-Offset", "0", "X-HTTP-Method-Override", "PATCH").want(t, 204).has(t, "Upload-Offset", "3")
	h.tus("HEAD", url, "alice", nil).want(t, 200).has(t, "Upload-Defer-Length", "1", "Upload-Length", "", "Upload-Offset", "3")
	h.tus("PATCH", url, "alice", nil, "Upload-Offset", "3", "Upload-Length", "2").want(t, 400)
	a = h.tus("PATCH", url, "alice", strings.NewReader("d"), "Upload-Offset", "3", "Upload-Length", "4").want(t, 204)
	if got := h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200); string(got.body) != "abcd" {
		t.Errorf("%s", got.body)
	}
	h.tus("POST", url, "alice", nil, "X-HTTP-Method-Override", "DELETE").want(t, 204)
	// The method that counts is the one in the header, whatever the other.
	url = h.tus("PATCH", "/tus/", "alice", nil, "Upload-Length", "3", "X-HTTP-Method-Override", "post").want(t, 405).has(t, "Allow", "POST, OPTIONS").Header.Get("Location")
	url = h.tus("POST", "/tus/", "alice", nil, "Upload-Length", "3", "X-HTTP-Method-Override", "post").want(t, 201).Header.Get("Location") + url
	h.tus("POST", url, "alice", nil, "X-HTTP-Method-Override", "HEAD").want(t, 200).has(t, "Upload-Offset", "0")
	h.tus("DELETE", url, "alice", nil, "X-HTTP-Method-Override", "HEAD").want(t, 200).has(t, "Upload-Offset", "0")
	h.tus("GET", url, "alice", nil, "X-HTTP-Method-Override", "POST").want(t, 405).has(t, "Allow", "GET, HEAD, PATCH, DELETE, OPTIONS")
	a = h.tus("POST", url, "alice", strings.NewReader("abc"), "Upload-Offset", "0", "X-HTTP-Method-Override", "PATCH").want(t, 204)
	a.has(t, "Location", a.Header.Get("Upload-File"))
	// What is there is all there is.
	url = h.tus("POST", "/tus/", "alice", strings.NewReader("abc"), "Upload-Defer-Length", "1").want(t, 201).Header.Get("Location")
	a = h.tus("PATCH", url, "alice", nil, "Upload-Offset", "3", "Upload-Length", "3").want(t, 204).has(t, "Upload-Offset", "3")
	if got := h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200); string(got.body) != "abc" {
		t.Errorf("%s", got.body)
	}
	// Checksums, in front and behind.
	url = h.tus("POST", "/tus/", "alice", nil, "Upload-Length", "9").want(t, 201).Header.Get("Location")
	s1, s2, s3 := sha1.Sum([]byte("abc")), sha256.Sum256([]byte("def")), md5.Sum([]byte("ghi"))
	h.tus("PATCH", url, "alice", strings.NewReader("abd"), "Upload-Offset", "0", "Upload-Checksum", "sha1 "+b64(string(s1[:]))).want(t, 460)
	h.tus("PATCH", url, "alice", strings.NewReader("abc"), "Upload-Offset", "0", "Upload-Checksum", "sha1 "+b64(string(s1[:]))).want(t, 204)
	h.tus("PATCH", url, "alice", strings.NewReader("def"), "Upload-Offset", "3", "Upload-Checksum", "sha256 "+b64(string(s2[:]))).want(t, 204)
	for sum, status := range map[string]int{"md5 " + b64(string(s1[:16])): 460, "": 400, "md5 " + b64(string(s3[:])): 204} {
		if status == 204 {
			h.tus("HEAD", url, "alice", nil).want(t, 200).has(t, "Upload-Offset", "6")
		}
		if got := h.trailer(url, "ghi", 6, sum); got != status && !(status != 204 && got == 409) {
			t.Errorf("%q: %d, want %d", sum, got, status)
		}
	}
	h.tus("HEAD", url, "alice", nil).want(t, 200).has(t, "Upload-Offset", "9")
	// Concatenation.
	var parts []string
	for _, part := range []string{"hello", " world", ""} {
		a := h.tus("POST", "/tus/", "alice", nil, "Upload-Concat", "partial", "Upload-Length", strconv.Itoa(len(part))).want(t, 201)
		parts = append(parts, a.Header.Get("Location"))
		h.do("GET", strings.Replace(a.Header.Get("Location"), "/tus/", "/uploads/", 1), "", nil).want(t, 409)
		if part != "" {
			h.tus("PATCH", a.Header.Get("Location"), "alice", strings.NewReader(part), "Upload-Offset", "0").want(t, 204)
		}
		h.tus("HEAD", a.Header.Get("Location"), "alice", nil).want(t, 200).has(t, "Upload-Concat", "partial", "Upload-Length", strconv.Itoa(len(part)))
	}
	concat := "final;" + parts[0] + " " + strings.TrimPrefix(parts[1], h.url) + " " + parts[2]
	h.tus("POST", "/tus/", "bob", nil, "Upload-Concat", concat).want(t, 403)
	a = h.tus("POST", "/tus/", "alice", nil, "Upload-Concat", concat, "Upload-Metadata", "filename "+b64("hello.txt")).want(t, 201)
	final := a.Header.Get("Location")
	// The answer may have been lost: the parts are there, and the same request has the same answer.
	h.tus("HEAD", parts[1], "alice", nil).want(t, 200).has(t, "Upload-Concat", "partial", "Upload-Offset", "6", "Upload-Length", "6")
	h.tus("POST", "/tus/", "bob", nil, "Upload-Concat", concat).want(t, 403)
	h.tus("POST", "/tus/", "alice", nil, "Upload-Concat", concat).want(t, 201).has(t, "Location", final, "Upload-File", a.Header.Get("Upload-File"))
	h.tus("POST", "/tus/", "alice", nil, "Upload-Concat", "final;"+parts[1]).want(t, 409)
	h.tus("PATCH", parts[1], "alice", strings.NewReader("x"), "Upload-Offset", "6").want(t, 409)
	h.tus("HEAD", final, "alice", nil).want(t, 200).has(t, "Upload-Concat", concat, "Upload-Length", "11", "Upload-Offset", "11", "Upload-Metadata", "filename "+b64("hello.txt"))
	h.tus("PATCH", final, "alice", strings.NewReader("x"), "Upload-Offset", "11").want(t, 403)
	if got := h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200); string(got.body) != "hello world" {
		t.Errorf("%s", got.body)
	}
	// Into a session.
	var s api.Session
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	a = h.tus("POST", "/tus/", "alice", strings.NewReader("abc"), "Upload-Length", "6", "Upload-Metadata", "session "+b64(s.ID)+",filename "+b64("s.txt")).want(t, 201)
	a = h.tus("PATCH", a.Header.Get("Location"), "alice", strings.NewReader("def"), "Upload-Offset", "3").want(t, 204)
	if got := h.do("GET", a.Header.Get("Upload-File"), "alice", nil).want(t, 200); string(got.body) != "abcdef" || !strings.Contains(a.Header.Get("Upload-File"), s.ID) {
		t.Errorf("%s", got.body)
	}
}

// trailer sends a PATCH whose checksum comes behind the body.
func (h *house) trailer(url, body string, offset int, sum string) int {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), "PATCH", url, io.MultiReader(strings.NewReader(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	r.SetBasicAuth("alice", "pw")
	r.Header.Set("Tus-Resumable", "1.0.0")
	r.Header.Set("Content-Type", offsetStream)
	r.Header.Set("Upload-Offset", strconv.Itoa(offset))
	r.Trailer = http.Header{"Upload-Checksum": nil}
	r.Body = &atEnd{r.Body, func() { r.Trailer.Set("Upload-Checksum", sum) }}
	resp, err := h.hc.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

type atEnd struct {
	io.ReadCloser
	do func()
}

func (a *atEnd) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err == io.EOF {
		a.do()
	}
	return n, err
}

// Without accounts whoever knows the address goes on, and nobody owns it then.
func TestTusAnonymous(t *testing.T) {
	h := newHouse(t, store.Options{AnonymousUploads: true}, Options{Tus: true})
	url := h.tus("POST", "/tus/", "", nil, "Upload-Length", "6").want(t, 201).Header.Get("Location")
	h.tus("PATCH", url, "", strings.NewReader("abc"), "Upload-Offset", "0").want(t, 204)
	h.tus("PATCH", url, "", strings.NewReader("def"), "Upload-Offset", "3").want(t, 204)
	h.tus("HEAD", url, "", nil).want(t, 200)
	h.tus("DELETE", url, "", nil).want(t, 401)
	url = h.tus("POST", "/tus/", "", nil, "Upload-Length", "6").want(t, 201).Header.Get("Location")
	h.tus("DELETE", url, "", nil).want(t, 204)
	url = h.tus("POST", "/tus/", "alice", nil, "Upload-Length", "6").want(t, 201).Header.Get("Location")
	h.tus("PATCH", url, "", strings.NewReader("abc"), "Upload-Offset", "0").want(t, 401)
}

// hanging sends the beginning of a PATCH and no more.
func (h *house) hanging(url, typ string, total int, sent []byte, kv ...string) net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	var extra string
	for i := 0; i+1 < len(kv); i += 2 {
		extra += kv[i] + ": " + kv[i+1] + "\r\n"
	}
	fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s",
		strings.TrimPrefix(url, h.url), strings.TrimPrefix(h.url, "http://"), b64("alice:pw"), typ, total, extra, sent)
	return c
}

// Who comes back after his line broke is not held up by the request that
// hangs, and goes on behind what came of it.
func TestTusTakeOver(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true, IdleTimeout: time.Hour})
	data := noise(300_000)
	url := h.tus("POST", "/tus/", "alice", nil, "Upload-Length", strconv.Itoa(len(data))).want(t, 201).Header.Get("Location")
	old := h.hanging(url, offsetStream, len(data), data[:200_000], "Tus-Resumable", "1.0.0", "Upload-Offset", "0")
	at := 0
	for at < 200_000 { // until what was sent has been received
		a := h.tus("HEAD", url, "alice", nil).want(t, 200)
		n, _ := strconv.Atoi(a.Header.Get("Upload-Offset"))
		if n == at && n < 200_000 {
			old.Close()
			old = h.hanging(url, offsetStream, len(data)-at, data[at:200_000], "Tus-Resumable", "1.0.0", "Upload-Offset", strconv.Itoa(at))
		}
		at = n
	}
	answer, err := textproto.NewReader(bufio.NewReader(old)).ReadLine()
	if err == nil && !strings.HasPrefix(answer, "HTTP/1.1 4") {
		t.Errorf("the old request: %s", answer)
	}
	a := h.tus("PATCH", url, "alice", bytes.NewReader(data[at:]), "Upload-Offset", strconv.Itoa(at)).want(t, 204)
	if got := h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200); !bytes.Equal(got.body, data) {
		t.Errorf("%d bytes", len(got.body))
	}
}

// Neither another PATCH nor a DELETE waits for a request that hangs, and that
// one's connection ends.
func TestTusBreaks(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true, IdleTimeout: time.Hour})
	for _, method := range []string{"PATCH", "DELETE"} {
		url := h.tus("POST", "/tus/", "alice", nil, "Upload-Length", "100").want(t, 201).Header.Get("Location")
		old := h.hanging(url, offsetStream, 100, nil, "Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Expect", "100-continue")
		lines := textproto.NewReader(bufio.NewReader(old))
		if line, err := lines.ReadLine(); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") { // now it waits for the body
			t.Fatalf("%s, %v", line, err)
		}
		if method == "PATCH" {
			a := h.tus("PATCH", url, "alice", bytes.NewReader(noise(100)), "Upload-Offset", "0").want(t, 204)
			if got := h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200); !bytes.Equal(got.body, noise(100)) {
				t.Errorf("%d bytes", len(got.body))
			}
		} else {
			h.tus("DELETE", url, "alice", nil).want(t, 204)
			h.tus("HEAD", url, "alice", nil).want(t, 404)
		}
		if err := old.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(lines.R)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: the old request hangs on: %s", method, text)
		}
		if strings.Contains(string(text), "HTTP/1.1 2") {
			t.Errorf("%s: the old request: %s", method, text)
		}
	}
}

// FuzzTusMetadata: what is accepted is what was sent, pair by pair.
func FuzzTusMetadata(f *testing.F) {
	for _, s := range []string{"filename d29ybGQ=,is_confidential", "a ,b eA==", ",", " ", "name eA==,filename eQ==,tags YSxi", "ttl NjAw,max_downloads Mw==", "session eA==", "a eA==,a eA==", "\u00e4 eA=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		m, err := parseMetadata(raw)
		if err != nil {
			if store.KindOf(err) != store.Invalid {
				t.Error(err)
			}
			return
		}
		if strings.ContainsAny(m.raw, "\r\n") { // HEAD repeats it
			t.Errorf("%q", raw)
		}
		var again []string
		for k, v := range m.values {
			if k == "" || strings.ContainsAny(k, " ,") {
				t.Errorf("%q: key %q", raw, k)
			}
			again = append(again, k+" "+b64(v))
		}
		if len(again) == 0 {
			return
		}
		back, err := parseMetadata(strings.Join(again, ","))
		if len(strings.Join(again, ",")) > mostMetadata {
			return
		}
		if err != nil || !maps.Equal(back.values, m.values) || back.session != m.session {
			t.Errorf("%q: %v, then %v, %v", raw, m.values, back.values, err)
		}
		r := httptest.NewRequest("POST", "/tus/", nil)
		if spec, err := m.spec(r); err != nil && store.KindOf(err) != store.Invalid {
			t.Errorf("%q: %v", raw, err)
		} else if err == nil && spec.TTL != nil && *spec.TTL < time.Second {
			t.Errorf("%q: %v", raw, *spec.TTL)
		}
	})
}

// FuzzTusHeaders: the small ones.
func FuzzTusHeaders(f *testing.F) {
	f.Add("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "/tus/a http://b/tus/c", "max-size=5;a")
	f.Add("md5 ", "/tus/ //", "")
	f.Add("sha256 =", "%2ftus%2fx /tus/tus/x", ":")
	f.Fuzz(func(t *testing.T, sum, concat, digest string) {
		if name, b, err := parseChecksum(sum); err == nil && (len(b) != newChecksum(name).Size() || sum != name+" "+b64(string(b))) {
			t.Errorf("%q: %s of %d bytes", sum, name, len(b))
		}
		parts, err := parseParts(concat)
		if err == nil && len(parts) != len(strings.Fields(concat)) || err != nil && store.KindOf(err) != store.Invalid {
			t.Errorf("%q: %v, %v", concat, parts, err)
		}
		for _, p := range parts {
			if p.File == "" || p.Session != "" || strings.Contains(p.File, "/") {
				t.Errorf("%q: %+v", concat, p)
			}
		}
		_, _ = headerDigest(http.Header{"Repr-Digest": {digest}}, "Repr-Digest")
	})
}

// FuzzStructured: what is read of the draft's headers is in their range, and
// means the same with parameters behind it.
func FuzzStructured(f *testing.F) {
	for _, s := range []string{"?1", "?0;a=1", " ?1 ", "10", "-1", "999999999999999", "1000000000000000", "5;a;b=\"x\"", "05", "1.0", "?2", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := structuredInt(s)
		if ok && (n < 0 || n > 999_999_999_999_999) {
			t.Errorf("%q: %d", s, n)
		}
		if again, still := structuredInt(strings.TrimRight(s, " ") + ";p=1"); ok && (!still || again != n) {
			t.Errorf("%q: %d, with a parameter %d, %v", s, n, again, still)
		}
		v, ok := structuredBool(s)
		if again, still := structuredBool(strings.TrimRight(s, " ") + ";p"); ok && (!still || again != v) {
			t.Errorf("%q: %v, with a parameter %v, %v", s, v, again, still)
		}
	})
}
