package server

import (
	"mime"
	"strings"
	"unicode/utf8"
)

// disposition is the Content-Disposition of a content (RFC 6266): a quoted
// file name that every client reads, and where that cannot tell the name
// exactly, filename* (RFC 8187) for those that can.
func disposition(inline bool, name string) string {
	var b strings.Builder
	b.Grow(len(name) + 64)
	if inline {
		b.WriteString("inline")
	} else {
		b.WriteString("attachment")
	}
	if name == "" {
		return b.String()
	}
	b.WriteString(`; filename="`)
	exact := true
	for _, c := range name {
		switch {
		case c == '"' || c == '\\':
			// Escaping is right by the grammar and misread by many (RFC 6266
			// appendix D); curl -J then takes no name at all.
			exact = false
			b.WriteByte('_')
		case c == '%':
			exact = false // some browsers decode %xx in here
			b.WriteByte('%')
		case c < 0x20 || c >= 0x7f:
			exact = false
			b.WriteByte('_')
		default:
			b.WriteByte(byte(c))
		}
	}
	b.WriteByte('"')
	if exact {
		return b.String()
	}
	b.WriteString("; filename*=UTF-8''")
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < utf8.RuneSelf && isAttrChar(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// isAttrChar is attr-char of RFC 8187 §3.2.1.
func isAttrChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0
}

// inlineTypes are the media types that a browser may show.
type inlineTypes struct {
	exact    map[string]bool
	families []string // "image/"
}

func newInlineTypes(list []string) inlineTypes {
	if list == nil {
		list = []string{"image/*", "text/plain", "application/pdf", "audio/*", "video/*"}
	}
	t := inlineTypes{exact: make(map[string]bool)}
	for _, e := range list {
		e = strings.ToLower(strings.TrimSpace(e))
		if family, ok := strings.CutSuffix(e, "/*"); ok {
			t.families = append(t.families, family+"/")
		} else {
			t.exact[e] = true
		}
	}
	return t
}

// shows leaves out SVG, which is a program, unless it is named.
func (t inlineTypes) shows(mediaType string) bool {
	mt, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return false
	}
	if t.exact[mt] {
		return true
	}
	if mt == "image/svg+xml" {
		return false
	}
	for _, f := range t.families {
		if strings.HasPrefix(mt, f) {
			return true
		}
	}
	return false
}
