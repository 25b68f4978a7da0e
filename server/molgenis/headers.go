package molgenis

import (
	"mime"
	"strings"
	"unicode/utf8"
)

const (
	nameless = "unknown"                  // a file whose client tells no name
	typeless = "application/octet-stream" // … or no type
	mostType = 255                        // bytes of a type; longer ones are none
)

// fileName reads x-molgenis-filename. Browsers can send nothing but Latin-1
// there (what XMLHttpRequest takes are byte strings), other programs send what
// their terminal speaks: bytes that are UTF-8 are taken for it, all others for
// Latin-1.
func fileName(header string) string {
	if header == "" {
		return nameless
	}
	if utf8.ValidString(header) {
		return header
	}
	runes := make([]rune, len(header))
	for i := range len(header) {
		runes[i] = rune(header[i])
	}
	return string(runes)
}

// mediaType is the type to keep, exactly as it was sent, parameters included.
// What is no media type counts as none: browsers send the empty string for
// unknown extensions, and a Python uploader that is around sends "None".
func mediaType(header string) string {
	t, _, err := mime.ParseMediaType(header)
	if err != nil || len(header) > mostType {
		return typeless
	}
	if kind, sub, ok := strings.Cut(t, "/"); !ok || kind == "" || sub == "" || !printable(header) {
		return typeless
	}
	return header
}

// printable keeps out of a header what cannot be in one.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// isForm tells the two types that the API refuses (its documentation: all media
// types with the exception of these are allowed).
func isForm(header string) bool {
	t, _, _ := strings.Cut(header, ";")
	t = strings.TrimSpace(t)
	return strings.EqualFold(t, "multipart/form-data") || strings.EqualFold(t, "application/x-www-form-urlencoded")
}

// sameType tells whether two spellings name one type.
func sameType(a, b string) bool {
	ta, pa, err := mime.ParseMediaType(a)
	if err != nil {
		return false
	}
	tb, pb, err := mime.ParseMediaType(b)
	return err == nil && mime.FormatMediaType(ta, pa) == mime.FormatMediaType(tb, pb)
}
