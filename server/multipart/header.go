package multipart

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Part is one part of a form. It can be read until the next one is asked for;
// its names stay.
type Part struct {
	Header Header

	r              *Reader
	n              int64 // bytes of the content read so far
	over           bool  // the content was read to its end
	name, fileName string
	hasFileName    bool
	few            [3]Field // what Header needs, as a rule
}

// Header is the list of a part's fields, as sent.
type Header []Field

// Field is one field of a header; Value has no white space around it.
type Field struct{ Name, Value string }

// Get returns the value of the first field of that name, in any case of letters.
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// FormName is the name of the form field (RFC 7578 §4.2), empty if there is
// none or the part is not form-data. It may hold any byte.
func (p *Part) FormName() string { return p.name }

// FileName is the name of the file as the client meant it: with the quoting of
// curl (backslash before quote and backslash, or %22 %0D %0A like browsers do)
// undone, and not cleaned. It may hold any byte, also '/' and line ends.
// filename* (RFC 8187) goes before filename although RFC 7578 has it forbidden.
func (p *Part) FileName() string { return p.fileName }

// HasFileName tells a file with an empty name from a field that is no file.
func (p *Part) HasFileName() bool { return p.hasFileName }

// ContentType is the part's Content-Type as sent, empty if it has none.
func (p *Part) ContentType() string { return p.Header.Get("Content-Type") }

// parse reads the fields in block (RFC 5322 §2.2, with line ends of either
// kind and folded lines).
func (p *Part) parse(block []byte) error {
	p.Header = p.few[:0]
	s := string(block) // the one allocation for all of them
	for s != "" {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line[0] == ' ' || line[0] == '\t' {
			if len(p.Header) == 0 {
				return fmt.Errorf("%w: header begins with white space", ErrMalformed)
			}
			last := &p.Header[len(p.Header)-1]
			last.Value = strings.Trim(last.Value+" "+strings.Trim(line, " \t"), " \t")
			if !validValue(last.Value) {
				return fmt.Errorf("%w: control character in a header", ErrMalformed)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("%w: header line without colon", ErrMalformed)
		}
		if !isToken(name) {
			return errFieldName
		}
		if !validValue(value) {
			return fmt.Errorf("%w: control character in a header", ErrMalformed)
		}
		p.Header = append(p.Header, Field{name, strings.Trim(value, " \t")})
	}
	return p.disposition()
}

// disposition reads the Content-Disposition, of which there may be one.
func (p *Part) disposition() error {
	at := -1
	for i, f := range p.Header {
		if strings.EqualFold(f.Name, "Content-Disposition") {
			if at >= 0 {
				return errDisposition
			}
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	kind, rest, _ := strings.Cut(p.Header[at].Value, ";")
	if kind = strings.Trim(kind, " \t"); !isToken(kind) {
		return errDisposition
	}
	form := strings.EqualFold(kind, "form-data")
	var hasName, hasExtended bool
	var extended string
	for name, value := range params(rest) {
		switch {
		case name == "":
			return errDisposition
		case strings.EqualFold(name, "name"):
			if hasName {
				return errDisposition
			}
			hasName = true
			if form {
				p.name = unpercent(value)
			}
		case strings.EqualFold(name, "filename"):
			if p.hasFileName {
				return errDisposition
			}
			p.hasFileName, p.fileName = true, unpercent(value)
		case strings.EqualFold(name, "filename*"):
			if hasExtended {
				return errDisposition
			}
			extended, hasExtended = value, true
		}
	}
	if v, ok := extendedValue(extended); ok {
		p.hasFileName, p.fileName = true, v
	}
	return nil
}

// params yields the parameters in s, which follows the first ';' of a header
// field (RFC 2045 §5.1). An empty name stands for what cannot be parsed and is
// the last.
func params(s string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for {
			s = strings.TrimLeft(s, " \t")
			if s == "" {
				return // also after a last ';', which some clients send
			}
			end := tokenEnd(s)
			name := s[:end]
			s = strings.TrimLeft(s[end:], " \t")
			if name == "" || s == "" || s[0] != '=' {
				yield("", "")
				return
			}
			s = strings.TrimLeft(s[1:], " \t")
			value, rest, ok := paramValue(s)
			if rest = strings.TrimLeft(rest, " \t"); ok && !endsParam(rest) && s[0] == '"' && strings.EqualFold(name, "filename") {
				value, rest, ok = bareQuotes(s)
			}
			if !ok || !endsParam(rest) {
				yield("", "")
				return
			}
			if !yield(name, value) {
				return
			}
			s = strings.TrimPrefix(rest, ";")
		}
	}
}

// paramValue reads a token or a quoted string. A backslash quotes only quote
// and backslash: old browsers send paths of Windows with bare ones.
func paramValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		end := tokenEnd(s)
		return s[:end], s[end:], end > 0
	}
	s = s[1:]
	end := strings.IndexAny(s, `"\`)
	if end >= 0 && s[end] == '"' { // as a rule
		return s[:end], s[end+1:], true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// endsParam tells whether a parameter's value is over before s.
func endsParam(s string) bool { return s == "" || s[0] == ';' }

// bareQuotes reads a quoted string in which quotes stand as they are: old
// versions of the library form-data put file names there unescaped. It ends at
// the first quote that a parameter can end with.
func bareQuotes(s string) (value, rest string, ok bool) {
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		if rest = strings.TrimLeft(s[i+1:], " \t"); endsParam(rest) {
			return s[1:i], rest, true
		}
	}
	return "", "", false
}

// unpercent undoes what browsers and curl do to names: exactly these three are
// escaped, and '%' is not (HTML standard, "multipart/form-data").
func unpercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	return strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n").Replace(s)
}

// extendedValue decodes an ext-value of RFC 8187 §3.2 in UTF-8.
func extendedValue(s string) (string, bool) {
	charset, s, ok := strings.Cut(s, "'")
	if !ok || !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		return "", false
	}
	if _, s, ok = strings.Cut(s, "'"); !ok {
		return "", false
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return "", false
		}
		b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
		i += 2
	}
	return string(b), utf8.Valid(b)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func tokenEnd(s string) int {
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return i
		}
	}
	return len(s)
}

func isToken(s string) bool { return s != "" && tokenEnd(s) == len(s) }

// isTokenChar is tchar of RFC 9110 §5.6.2.
func isTokenChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// validValue refuses what could end a line somewhere else. Other control
// characters stand in the names that curl sends as they are.
func validValue(s string) bool { return !strings.ContainsAny(s, "\x00\r\n") }

// ErrNotForm says that a Content-Type is not multipart/form-data.
var ErrNotForm = errors.New("not multipart/form-data")

var errBoundary = fmt.Errorf("%w: boundary", ErrMalformed)

// Boundary returns the boundary in a Content-Type. The error wraps [ErrNotForm]
// for another media type, [ErrMalformed] for a form without a good boundary.
func Boundary(contentType string) (string, error) {
	kind, rest, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.Trim(kind, " \t"), "multipart/form-data") {
		return "", ErrNotForm
	}
	boundary := ""
	for name, value := range params(rest) {
		if name == "" {
			return "", fmt.Errorf("%w: Content-Type", ErrMalformed)
		}
		if !strings.EqualFold(name, "boundary") {
			continue
		}
		if boundary != "" || !validBoundary(value) {
			return "", errBoundary
		}
		boundary = value
	}
	if boundary == "" {
		return "", errBoundary
	}
	return boundary, nil
}

// validBoundary checks for 1 to 70 printable ASCII characters, no space last
// (RFC 2046 §5.1.1; clients use more characters than bchars).
func validBoundary(s string) bool {
	if len(s) == 0 || len(s) > 70 || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
