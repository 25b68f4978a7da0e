package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"fileshare/store"
)

// headers is what digests are read from: those of a request or of a part.
type headers interface{ Get(name string) string }

// expectedDigest reads Repr-Digest and Content-Digest (RFC 9530 §2, §3), which
// say the same of a body without content coding. nil: the client sent none
// that we can check and at least one that it can live without.
func expectedDigest(h headers) ([]byte, error) {
	var want []byte
	for _, name := range []string{"Repr-Digest", "Content-Digest"} {
		v := h.Get(name)
		if hh, ok := h.(http.Header); ok {
			v = strings.Join(hh.Values(name), ", ")
		}
		if v == "" {
			continue
		}
		sum, others, ok := parseDigest(v)
		switch {
		case !ok:
			return nil, store.Refuse(store.Invalid, name+" is malformed")
		case sum == nil && others:
			return nil, store.Refuse(store.Invalid, name+": only sha-256 is verified here")
		case want != nil && sum != nil && !bytes.Equal(want, sum):
			return nil, store.Refuse(store.Mismatch, "Repr-Digest and Content-Digest differ")
		case sum != nil:
			want = sum
		}
	}
	return want, nil
}

// reprDigest tells the SHA-256 of a content (RFC 9530 §3), empty if it has none.
func reprDigest(f *store.File) string {
	if len(f.SHA256) == 0 {
		return ""
	}
	var room [64]byte
	return string(append(base64.StdEncoding.AppendEncode(append(room[:0], "sha-256=:"...), f.SHA256), ':'))
}

// parseDigest reads a dictionary of byte sequences (RFC 9651 §3.2, §3.3.5) and
// returns the member sha-256, and whether there are others. Of a key that
// occurs more than once the last one counts.
func parseDigest(s string) (sum []byte, others, ok bool) {
	s = strings.Trim(s, " ")
	for {
		n := 0
		for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || n == 0 && s[n] == '*' || n > 0 && (s[n] >= '0' && s[n] <= '9' || strings.IndexByte("_-.*", s[n]) >= 0)) {
			n++
		}
		key := s[:n]
		rest, found := strings.CutPrefix(s[n:], "=:")
		if n == 0 || !found {
			return nil, false, false
		}
		text, rest, found := strings.Cut(rest, ":")
		if !found {
			return nil, false, false
		}
		// Padding may be missing (RFC 9651 §4.2.7).
		value, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil || strings.ContainsAny(text, "\r\n") || len(text)-len(strings.TrimRight(text, "=")) > 2 {
			return nil, false, false
		}
		if key == "sha-256" {
			if len(value) != sha256.Size {
				return nil, false, false
			}
			sum = value
		} else {
			others = true
		}
		if rest, ok = skipParams(rest); !ok {
			return nil, false, false
		}
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			return sum, others, true
		}
		if rest, found = strings.CutPrefix(rest, ","); !found {
			return nil, false, false
		}
		s = strings.TrimLeft(rest, " \t")
	}
}

// skipParams passes over parameters of a member, which mean nothing here:
// keys with or without a value that is a token, number, boolean or sequence.
func skipParams(s string) (rest string, ok bool) {
	for {
		p, found := strings.CutPrefix(s, ";")
		if !found {
			return s, true
		}
		p = strings.TrimLeft(p, " ")
		n := 0
		for n < len(p) && p[n] > ' ' && p[n] < 0x7f && strings.IndexByte(`;,"`, p[n]) < 0 {
			n++
		}
		if n == 0 || !(p[0] >= 'a' && p[0] <= 'z' || p[0] == '*') {
			return "", false
		}
		s = p[n:]
	}
}
