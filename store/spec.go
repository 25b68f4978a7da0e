package store

import (
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what clients may say of a file.
const (
	maxName     = 255  // bytes of a cleaned name
	maxOriginal = 1024 // bytes of a name as sent
	maxType     = 255
	maxTags     = 32
	maxTag      = 128
	maxCount    = 1 << 31 // downloads
	maxMembers  = 100
	maxMember   = 256
)

// CleanName makes a name that is safe to offer as a file name anywhere: the
// last element of a path, without control characters and without the marks
// that reverse the direction of writing, valid UTF-8, at most 255 bytes.
func CleanName(name string) string {
	name = cleanLine(name[strings.LastIndexAny(name, `/\`)+1:])
	if strings.Trim(name, ".") == "" {
		return "unnamed"
	}
	if len(name) > maxName {
		ext := path.Ext(name)
		if len(ext) > 16 {
			ext = ""
		}
		name = cut(name, maxName-len(ext)) + ext
	}
	return name
}

// cleanLine makes a line of text that is safe to show: valid UTF-8 without
// control characters and without the marks that reverse the direction of writing.
func cleanLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd")))
}

// cut shortens s to at most n bytes of whole runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// IsAddress tells whether text may be an address of mail, at most 254 bytes, and
// nothing that could be more than one.
func IsAddress(text string) bool {
	at := strings.LastIndexByte(text, '@')
	return at > 0 && at < len(text)-1 && len(text) <= 254 && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`<>",;`, c) })
}

// cleanTags checks tags. They are kept as they are, in their order: some clients
// have empty ones, or one twice.
func cleanTags(tags []string) ([]string, error) {
	if len(tags) > maxTags {
		return nil, Refuse(Invalid, fmt.Sprintf("too many tags: at most %d", maxTags))
	}
	for _, t := range tags {
		if len(t) > maxTag || !utf8.ValidString(t) || strings.ContainsFunc(t, unicode.IsControl) {
			return nil, Refuse(Invalid, fmt.Sprintf("bad tag: at most %d bytes of UTF-8 without control characters", maxTag))
		}
	}
	return slices.Clone(tags), nil
}

// cleanMembers checks names of callers and drops repeated ones.
func cleanMembers(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		switch {
		case slices.Contains(out, n):
			continue
		case n == "" || len(n) > maxMember || !utf8.ValidString(n) || strings.ContainsFunc(n, unicode.IsControl):
			return nil, Refuse(Invalid, fmt.Sprintf("bad member: a name of at most %d bytes is expected", maxMember))
		case len(out) == maxMembers:
			return nil, Refuse(Invalid, fmt.Sprintf("too many members: at most %d", maxMembers))
		}
		out = append(out, n)
	}
	return out, nil
}

// cleanTTL checks a TTL against its maximum.
func cleanTTL(ttl, most time.Duration) (time.Duration, error) {
	if ttl < time.Second || ttl > most {
		return 0, Refuse(Invalid, fmt.Sprintf("ttl must be between 1 and %d seconds", int64(most/time.Second)))
	}
	return ttl, nil
}

// cleanMax checks a download limit.
func cleanMax(n, least int64) (int64, error) {
	if n < least || n > maxCount {
		return 0, Refuse(Invalid, fmt.Sprintf("max_downloads must be between %d and %d", least, int64(maxCount)))
	}
	return n, nil
}

// typeOf returns the media type of a file: what the client said if that is one,
// else what the name's extension says, else text or not by the first bytes.
func typeOf(said, name string, head []byte) string {
	if t := MediaType(said); t != "" {
		return t
	}
	if t := mime.TypeByExtension(strings.ToLower(path.Ext(name))); t != "" {
		return t
	}
	if len(head) > 0 && looksLikeText(head) {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// MediaType writes a media type as it is kept, empty if said is none or has more
// than 255 bytes.
func MediaType(said string) string {
	if len(said) > maxType {
		return ""
	}
	if isTidyType(said) {
		return said
	}
	t, params, err := mime.ParseMediaType(said)
	if err != nil || !strings.Contains(t, "/") {
		return ""
	}
	return mime.FormatMediaType(t, params)
}

// isTidyType tells whether a type has no parameters and is written as it is kept,
// as nearly all are.
func isTidyType(s string) bool {
	kind, sub, _ := strings.Cut(s, "/")
	return isTidyName(kind) && isTidyName(sub)
}

func isTidyName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-+.") == ""
}

func looksLikeText(head []byte) bool {
	if len(head) == sniffLen { // it may end in the middle of a rune
		for i := 1; i < utf8.UTFMax; i++ {
			if utf8.RuneStart(head[len(head)-i]) {
				head = head[:len(head)-i]
				break
			}
		}
	}
	if !utf8.Valid(head) {
		return false
	}
	for _, b := range head {
		if b < ' ' && b != '\t' && b != '\n' && b != '\r' && b != '\f' && b != 0x1b || b == 0x7f {
			return false
		}
	}
	return true
}

// apply writes what a client says of a file into its record. most is the
// longest TTL.
func (f *fileRec) apply(spec FileSpec, now time.Time, most time.Duration) error {
	if spec.Name != nil {
		f.name = CleanName(*spec.Name)
		f.original = cut(strings.ToValidUTF8(*spec.Name, "\ufffd"), maxOriginal)
	}
	if spec.OriginalName != nil {
		f.original = cut(strings.ToValidUTF8(*spec.OriginalName, "\ufffd"), maxOriginal)
		if f.name == "" {
			f.name = CleanName(f.original)
		}
	}
	var err error
	if spec.Type != nil {
		f.mime = typeOf(*spec.Type, f.name, nil)
	}
	if spec.TTL != nil {
		if f.ttl, err = cleanTTL(*spec.TTL, most); err != nil {
			return err
		}
		if f.open == nil { // else it begins when the content is complete
			f.expires = now.Add(f.ttl)
		}
	}
	if spec.MaxDownloads != nil {
		if f.max, err = cleanMax(*spec.MaxDownloads, 0); err != nil {
			return err
		}
	}
	if spec.Tags != nil {
		if f.tags, err = cleanTags(*spec.Tags); err != nil {
			return err
		}
	}
	if spec.Attrs != nil {
		if f.attrs, err = mergeAttrs(f.attrs, *spec.Attrs); err != nil {
			return err
		}
	}
	if spec.Size != nil && !f.stored {
		if *spec.Size < 0 {
			return Refuse(Invalid, "size must not be negative")
		}
		f.size = *spec.Size
	}
	return nil
}
