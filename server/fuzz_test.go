package server

import (
	"bytes"
	"crypto/sha256"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fileshare/store"
)

// FuzzRanges compares with net/http: what it answers is what we reserve.
func FuzzRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=1-2,4-", "bytes=-3,0-1", "bytes=5-,-0", "bytes= 1 - 2 , 3-4", "bytes=9-1", "bytes=,,0-1,", "lines=1-2", "bytes=-", "bytes=--1", "bytes=+1-2", "bytes=0-99999999999999999999", "Bytes=-1", "bytes=-0,-00"} {
		f.Add(s, uint16(10))
		f.Add(s, uint16(0))
	}
	f.Fuzz(func(t *testing.T, header string, size uint16) {
		if strings.ContainsAny(header, "\r\n") {
			return
		}
		content := bytes.Repeat([]byte("x"), int(size))
		for i := range content {
			content[i] = byte(i)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Range"] = []string{header}
		tidyRange(r.Header, int64(size))
		header = r.Header.Get("Range")
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "text/plain")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		got := parseRanges(header, int64(size))
		for _, sp := range got {
			if sp.From < 0 || sp.To < sp.From || sp.To > int64(size) {
				t.Fatalf("%q of %d: %v", header, size, got)
			}
		}
		if w.Code != http.StatusPartialContent {
			return
		}
		if cr := w.Header().Get("Content-Range"); cr != "" {
			sp, ok := parseContentRange(cr)
			if !ok || len(got) != 1 || got[0] != sp || sp.From == sp.To {
				t.Fatalf("%q of %d: %v, net/http says %s", header, size, got, cr)
			}
			return
		}
		_, params, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
		mr := multipart.NewReader(w.Body, params["boundary"])
		for _, sp := range got {
			p, err := mr.NextPart()
			if err != nil {
				t.Fatalf("%q of %d: %v, net/http has fewer parts", header, size, got)
			}
			if b, _ := io.ReadAll(p); !bytes.Equal(b, content[sp.From:sp.To]) {
				t.Fatalf("%q of %d: %v, net/http sends %v", header, size, got, p.Header)
			}
		}
		if _, err := mr.NextPart(); err != io.EOF {
			t.Fatalf("%q of %d: %v, net/http has more parts", header, size, got)
		}
	})
}

func FuzzDigestHeader(f *testing.F) {
	for _, s := range []string{digestOf("x"), "sha-256=:AAAA:", "sha-512=:AAAA:, " + digestOf("y"), digestOf("z") + ";q=1;a", "sha-256=:", "=::", "a=:" + strings.Repeat("A", 43) + "==:", "sha-256=?1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sum, others, ok := parseDigest(s)
		if sum != nil && len(sum) != sha256.Size {
			t.Fatalf("%q: %d bytes", s, len(sum))
		}
		if ok != (sum != nil || others) {
			t.Fatalf("%q: ok %v, sum %x, others %v", s, ok, sum, others)
		}
		if ok {
			again, _, ok := parseDigest("md5=:AAAA:, " + s)
			if !ok || !bytes.Equal(again, sum) {
				t.Fatalf("%q behind another member: %x, %v", s, again, ok)
			}
		}
	})
}

func FuzzTTL(f *testing.F) {
	for _, s := range []string{"1", "0", "-1", "1e3", "3600", " 5", "9223372036854775807", "9223372036", "1.0", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := fields{form: map[string][]string{"ttl": {s}}}.seconds("ttl")
		if (err == nil) == (d == nil) {
			t.Fatalf("%q: %v, %v", s, d, err)
		}
		if err != nil {
			if store.KindOf(err) != store.Invalid || !strings.HasPrefix(err.Error(), "ttl ") {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if *d < time.Second || *d%time.Second != 0 || strings.Trim(s, "0123456789") != "" {
			t.Fatalf("%q: %v", s, *d)
		}
	})
}

// FuzzLogPath: no token is ever whole in the log.
func FuzzLogPath(f *testing.F) {
	f.Add("/sessions/a/files/b/tokens/", "88e5905d-5d96-4750-ab3d-77a1ed26f569", "/x")
	f.Fuzz(func(t *testing.T, before, token, after string) {
		if len(token) <= 8 || strings.Contains(token, "/") || strings.Contains(before+"/tokens/"+after, token) || after != "" && after[0] != '/' {
			return
		}
		for _, path := range []string{before + "/tokens/", "/files/v1/", "/invite/", "/shares/"} {
			if strings.Contains(path+after, token) {
				continue
			}
			if got := logPath(path + token + after); strings.Contains(got, token) {
				t.Fatalf("%q", got)
			}
		}
	})
}

func FuzzDisposition(f *testing.F) {
	for _, s := range []string{"a.txt", `a"b\c`, "naïve 100%.txt", "\u202egpj.exe", "日本.txt", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := disposition(false, name)
		if strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%q: %q", name, got)
		}
		mt, params, err := mime.ParseMediaType(got)
		if err != nil || mt != "attachment" {
			t.Fatalf("%q: %q: %v", name, got, err)
		}
		if strings.ToValidUTF8(name, "") == name && params["filename"] != name {
			t.Fatalf("%q: %q reads %q", name, got, params["filename"])
		}
	})
}
