package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// draft sends a request of the draft and returns its 104s, too.
func (h *house) draft(method, path string, body io.Reader, kv ...string) (answer, []textproto.MIMEHeader) {
	h.t.Helper()
	var interim []textproto.MIMEHeader
	ctx := httptrace.WithClientTrace(h.t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		if code == 104 {
			interim = append(interim, header)
		}
		return nil
	}})
	old := h.t
	a := h.doCtx(ctx, method, path, "alice", body, append([]string{"Upload-Draft-Interop-Version", "8"}, kv...)...)
	h.t = old
	return a, interim
}

func (h *house) doCtx(ctx context.Context, method, path, user string, body io.Reader, kv ...string) answer {
	h.t.Helper()
	if !strings.HasPrefix(path, "http://") {
		path = h.url + path
	}
	r, err := http.NewRequestWithContext(ctx, method, path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	r.SetBasicAuth(user, "pw")
	for i := 0; i+1 < len(kv); i += 2 {
		r.Header.Set(kv[i], kv[i+1])
	}
	resp, err := h.hc.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp, data}
}

func TestDraftWhole(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 1 << 20, UnfinishedTTL: time.Hour}, Options{Tus: true})
	for interop, limit := range map[string]string{"8": "max-age", "7": "max-age", "6": "expires", "5": "", "x": ""} {
		a, interim := h.draft("POST", "/uploads?name=a.txt&ttl=60", strings.NewReader("hello"), "Upload-Complete", "?1", "Content-Type", "text/plain", "Upload-Draft-Interop-Version", interop)
		a.want(t, 201)
		var f api.File
		a.into(t, &f)
		if f.Name != "a.txt" || f.TTL != 60 || f.MimeType != "text/plain" || f.Size != 5 || a.Header.Get("Location") != f.URL {
			t.Errorf("%s: %+v %v", interop, f, a.Header)
		}
		if limit == "" { // an ordinary upload
			if len(interim) != 0 || a.Header.Get("Upload-Complete") != "" {
				t.Errorf("%s: %v %v", interop, interim, a.Header)
			}
			continue
		}
		if len(interim) != 1 || interim[0].Get("Location") != h.url+"/tus/"+f.ID || interim[0].Get("Upload-Draft-Interop-Version") != interop ||
			!strings.HasPrefix(interim[0].Get("Upload-Limit"), "max-size=1048576, "+limit+"=3") {
			t.Errorf("%s: %v", interop, interim)
		}
		a.has(t, "Upload-Complete", "?1", "Upload-Offset", "5", "Upload-Limit", "", "Upload-Draft-Interop-Version", "")
		if got := h.do("GET", f.URL, "", nil).want(t, 200); string(got.body) != "hello" {
			t.Errorf("%s", got.body)
		}
		// The resource stays for who has not heard.
		a, _ = h.draft("HEAD", "/tus/"+f.ID, nil)
		a.want(t, 204).has(t, "Upload-Complete", "?1", "Upload-Offset", "5", "Upload-Length", "5", "Cache-Control", "no-store")
		a, _ = h.draft("PATCH", "/tus/"+f.ID, nil, "Upload-Complete", "?1", "Upload-Offset", "5", "Content-Type", partialUpload)
		a.want(t, 201).has(t, "Upload-Complete", "?1", "Location", f.URL)
		a, _ = h.draft("PATCH", "/tus/"+f.ID, strings.NewReader("x"), "Upload-Complete", "?1", "Upload-Offset", "5", "Content-Type", partialUpload)
		a.want(t, 400).has(t, "Upload-Complete", "?0", "Content-Type", "application/problem+json")
		if p := problemOf(t, a); p.Type != problemCompleted {
			t.Errorf("%+v", p)
		}
	}
}

func problemOf(t *testing.T, a answer) (p problem) {
	t.Helper()
	if err := json.Unmarshal(a.body, &p); err != nil || p.Status != a.StatusCode || p.Message == "" || p.Title == "" {
		t.Errorf("%v: %s", err, a.body)
	}
	return p
}

func TestDraftPieces(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true})
	data := noise(100_000)
	for _, known := range []bool{false, true} {
		var kv []string
		if known {
			kv = []string{"Upload-Length", strconv.Itoa(len(data))}
		}
		a, interim := h.draft("PUT", "/uploads/b.bin", bytes.NewReader(data[:30_000]), append(kv, "Upload-Complete", "?0")...)
		a.want(t, 201).has(t, "Upload-Complete", "?0", "Upload-Offset", "30000")
		url := a.Header.Get("Location")
		if len(interim) != 1 || interim[0].Get("Location") != url || !strings.HasPrefix(a.Header.Get("Upload-Limit"), "min-size=0, max-age=") {
			t.Errorf("%v %v", interim, a.Header)
		}
		patch := func(from, to int, complete string, kv ...string) answer {
			a, _ := h.draft("PATCH", url, bytes.NewReader(data[from:to]), append([]string{"Upload-Complete", complete, "Upload-Offset", strconv.Itoa(from), "Content-Type", partialUpload}, kv...)...)
			return a
		}
		patch(30_000, 60_000, "?0").want(t, 204).has(t, "Upload-Complete", "?0", "Upload-Offset", "60000")
		a = patch(30_000, 60_000, "?0").want(t, 409).has(t, "Upload-Complete", "?0", "Upload-Offset", "60000")
		if p := problemOf(t, a); p.Type != problemOffset || *p.Expected != 60_000 || *p.Provided != 30_000 {
			t.Errorf("%+v", p)
		}
		a, _ = h.draft("HEAD", url, nil)
		a.want(t, 204).has(t, "Upload-Complete", "?0", "Upload-Offset", "60000")
		if (a.Header.Get("Upload-Length") != "") != known {
			t.Errorf("%v", a.Header)
		}
		if known {
			a = patch(60_000, 90_000, "?1").want(t, 400).has(t, "Upload-Complete", "?0")
			if p := problemOf(t, a); p.Type != problemLength {
				t.Errorf("%+v", p)
			}
			a = patch(60_000, 90_000, "?0", "Upload-Length", "5").want(t, 400)
			if p := problemOf(t, a); p.Type != problemLength {
				t.Errorf("%+v", p)
			}
		}
		for _, bad := range [][]string{{"Upload-Offset", "x"}, {"Upload-Complete", "yes"}, {"Upload-Offset", ""}} {
			patch(60_000, 70_000, "?0", bad...).want(t, 400)
		}
		sum := sha256.Sum256(data[60_000:])
		patch(60_000, 99_999, "?0", "Content-Digest", "sha-256=:"+b64(string(sum[:]))+":").want(t, 422)
		a = patch(60_000, 100_000, "?1", "Content-Digest", "sha-256=:"+b64(string(sum[:]))+":").want(t, 201).has(t, "Upload-Complete", "?1")
		var f api.File
		a.into(t, &f)
		if got := h.do("GET", f.URL, "", nil).want(t, 200); !bytes.Equal(got.body, data) || f.Name != "b.bin" {
			t.Errorf("%d bytes, %+v", len(got.body), f)
		}
	}
}

// Begun with one protocol, continued with the other.
func TestDraftAndTus(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true})
	url := h.tus("POST", "/tus/", "alice", strings.NewReader("abc"), "Upload-Length", "9").want(t, 201).Header.Get("Location")
	a, _ := h.draft("PATCH", url, strings.NewReader("def"), "Upload-Complete", "?0", "Upload-Offset", "3", "Content-Type", partialUpload)
	a.want(t, 204)
	h.tus("HEAD", url, "alice", nil).want(t, 200).has(t, "Upload-Offset", "6")
	a = h.tus("PATCH", url, "alice", strings.NewReader("ghi"), "Upload-Offset", "6").want(t, 204)
	if got := h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200); string(got.body) != "abcdefghi" {
		t.Errorf("%s", got.body)
	}
	a, _ = h.draft("POST", "/uploads", strings.NewReader("abc"), "Upload-Complete", "?0", "Upload-Length", "6")
	url = a.want(t, 201).Header.Get("Location")
	h.tus("HEAD", url, "alice", nil).want(t, 200).has(t, "Upload-Offset", "3", "Upload-Length", "6")
	a = h.tus("PATCH", url, "alice", strings.NewReader("def"), "Upload-Offset", "3").want(t, 204)
	h.do("GET", a.Header.Get("Upload-File"), "", nil).want(t, 200)
	a, _ = h.draft("DELETE", url, nil)
	a.want(t, 204)
	a, _ = h.draft("HEAD", url, nil)
	a.want(t, 404)
}

func TestDraftSession(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true})
	var s api.Session
	var f api.File
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	h.do("POST", "/sessions/"+s.ID+"/files", "alice", strings.NewReader(`{"name":"c.txt"}`)).want(t, 201).into(t, &f)
	path := "/sessions/" + s.ID + "/files/" + f.ID
	h.do("OPTIONS", path, "", nil).want(t, 204).has(t, "Upload-Limit", "min-size=0")
	a, interim := h.draft("PUT", path, strings.NewReader("abc"), "Upload-Complete", "?0")
	url := a.want(t, 201).Header.Get("Location")
	if len(interim) != 1 || url != h.url+"/tus/"+s.ID+"/"+f.ID {
		t.Errorf("%v %s", interim, url)
	}
	h.do("PUT", path, "alice", strings.NewReader("other")).want(t, 409)
	h.do("GET", path, "alice", nil).want(t, 409)
	a, _ = h.draft("PATCH", url, strings.NewReader("def"), "Upload-Complete", "?1", "Upload-Offset", "3", "Content-Type", partialUpload)
	a.want(t, 200).has(t, "Upload-Complete", "?1").into(t, &f)
	if got := h.do("GET", path, "alice", nil).want(t, 200); string(got.body) != "abcdef" || f.State != "UPLOADED" || f.Name != "c.txt" {
		t.Errorf("%s %+v", got.body, f)
	}
	// Empty contents.
	h.do("POST", "/sessions/"+s.ID+"/files", "alice", nil).want(t, 201).into(t, &f)
	a, _ = h.draft("PUT", "/sessions/"+s.ID+"/files/"+f.ID, nil, "Upload-Complete", "?0")
	url = a.want(t, 201).Header.Get("Location")
	a, _ = h.draft("PATCH", url, nil, "Upload-Complete", "?1", "Upload-Offset", "0", "Content-Type", partialUpload)
	a.want(t, 200).into(t, &f)
	if f.Size != 0 || f.State != "UPLOADED" {
		t.Errorf("%+v", f)
	}
}

// What must not be taken for a whole is refused; a digest of the whole holds
// across requests.
func TestDraftRefusals(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 1000}, Options{Tus: true})
	a, _ := h.draft("POST", "/uploads", strings.NewReader("abc"), "Upload-Complete", "?1", "Upload-Length", "4")
	if p := problemOf(t, a.want(t, 400)); p.Type != problemLength {
		t.Errorf("%+v", p)
	}
	a, _ = h.draft("POST", "/uploads", strings.NewReader("abc"), "Upload-Complete", "?0", "Upload-Length", "1001")
	a.want(t, 413).has(t, "Upload-Complete", "?0", "Upload-Limit", "max-size=1000")
	a, _ = h.draft("POST", "/uploads", nil, "Upload-Complete", "?0")
	url := a.want(t, 201).Header.Get("Location")
	a, _ = h.draft("PATCH", url, bytes.NewReader(noise(1001)), "Upload-Complete", "?1", "Upload-Offset", "0", "Content-Type", partialUpload)
	a.want(t, 413).has(t, "Upload-Complete", "?0", "Upload-Limit", "max-size=1000")
	a, _ = h.draft("DELETE", url, nil)
	a.want(t, 204)
	body, ct := form(field{"file", "a.txt", "", "abc"})
	a, _ = h.draft("POST", "/uploads", body, "Upload-Complete", "?0", "Content-Type", ct)
	a.want(t, 400)
	body, ct = form(field{"file", "a.txt", "", "abc"})
	a, _ = h.draft("POST", "/uploads", body, "Upload-Complete", "?1", "Content-Type", ct)
	a.want(t, 201)

	// What is no append is told so in the words of the draft, not of tus.
	a, _ = h.draft("POST", "/uploads", nil, "Upload-Complete", "?0")
	url = a.want(t, 201).Header.Get("Location")
	a, _ = h.draft("PATCH", url, strings.NewReader("abc"), "Upload-Complete", "?1", "Upload-Offset", "0", "Content-Type", "text/plain")
	if a.want(t, 415); !strings.Contains(a.message(t), partialUpload) {
		t.Errorf("%s", a.body)
	}
	a, _ = h.draft("DELETE", url, nil)
	a.want(t, 204)

	// More than announced: given up, as nobody knows what is right.
	a, _ = h.draft("POST", "/uploads", strings.NewReader("abc"), "Upload-Complete", "?0", "Upload-Length", "5")
	url = a.want(t, 201).Header.Get("Location")
	a, _ = h.draft("PATCH", url, io.MultiReader(strings.NewReader("defg")), "Upload-Complete", "?0", "Upload-Offset", "3", "Content-Type", partialUpload)
	a.want(t, 400)
	a, _ = h.draft("HEAD", url, nil)
	a.want(t, 404)

	sum := sha256.Sum256([]byte("abcdef"))
	for end, status := range map[string]int{"def": 201, "xyz": 422} {
		a, _ = h.draft("POST", "/uploads", strings.NewReader("abc"), "Upload-Complete", "?0", "Repr-Digest", "sha-256=:"+b64(string(sum[:]))+":")
		url = a.want(t, 201).Header.Get("Location")
		a, _ = h.draft("PATCH", url, strings.NewReader(end), "Upload-Complete", "?1", "Upload-Offset", "3", "Content-Type", partialUpload)
		a.want(t, status).has(t, "Upload-Complete", "?1")
		if a, _ = h.draft("HEAD", url, nil); status == 422 {
			a.want(t, 404)
		}
	}
	a, _ = h.draft("POST", "/uploads", strings.NewReader("abcde"), "Upload-Complete", "?1", "Repr-Digest", "sha-256=:"+b64(string(sum[:]))+":")
	a.want(t, 422)
	var l api.List[api.File]
	h.do("GET", "/uploads", "alice", nil).want(t, 200).into(t, &l)
	if len(l.Items) != 2 {
		t.Errorf("%d files", len(l.Items))
	}
}

// At /tus/ the headers tell which protocol a new upload speaks, too.
func TestDraftAtTus(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true, Prefixes: []string{"/rtc/fileshare"}})
	a, interim := h.draft("POST", "/rtc/fileshare/tus/", strings.NewReader("abc"), "Upload-Complete", "?0", "Content-Disposition", `inline; filename="a.txt"`)
	url := a.want(t, 201).Header.Get("Location")
	if len(interim) != 1 || interim[0].Get("Location") != url || !strings.HasPrefix(url, h.url+"/rtc/fileshare/tus/") {
		t.Errorf("%v %s", interim, url)
	}
	a, _ = h.draft("PATCH", url, strings.NewReader("def"), "Upload-Complete", "?1", "Upload-Offset", "3", "Content-Type", partialUpload, "Want-Repr-Digest", "sha-256=1")
	var f api.File
	a.want(t, 201).has(t, "Upload-Complete", "?1", "Repr-Digest", digestOf("abcdef")).into(t, &f)
	if f.Name != "a.txt" || a.Header.Get("Location") != f.URL {
		t.Errorf("%+v %v", f, a.Header)
	}
	r := h.do("POST", "/tus/", "", strings.NewReader("abc"), "Upload-Complete", "?0").want(t, 401)
	if r.message(t) == "" {
		t.Errorf("%s", r.body)
	}
}

// A broken request has left what came of it.
func TestDraftBroken(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Tus: true})
	data := noise(200_000)
	a, _ := h.draft("POST", "/uploads", nil, "Upload-Complete", "?0", "Upload-Length", strconv.Itoa(len(data)))
	url := a.want(t, 201).Header.Get("Location")
	c := h.hanging(url, partialUpload, len(data), data[:150_000], "Upload-Complete", "?1", "Upload-Offset", "0", "Upload-Draft-Interop-Version", "8")
	time.Sleep(20 * time.Millisecond)
	c.Close()
	a, _ = h.draft("HEAD", url, nil)
	at, err := strconv.Atoi(a.want(t, 204).Header.Get("Upload-Offset"))
	if err != nil || at > 150_000 {
		t.Fatalf("at %d, %v", at, err)
	}
	a, _ = h.draft("PATCH", url, bytes.NewReader(data[at:]), "Upload-Complete", "?1", "Upload-Offset", strconv.Itoa(at), "Content-Type", partialUpload)
	var f api.File
	a.want(t, 201).into(t, &f)
	if got := h.do("GET", f.URL, "", nil).want(t, 200); !bytes.Equal(got.body, data) {
		t.Errorf("%d bytes", len(got.body))
	}
}
