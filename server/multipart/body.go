package multipart

import (
	"bytes"
	"io"
)

// Read reads the content of the part. It uses all of dst as scratch space, and
// reads from the source right into it where it is long; the longer dst, the
// fewer copies. The error is io.EOF at the end of the part, [ErrTruncated], or
// that of the source.
func (p *Part) Read(dst []byte) (int, error) {
	r := p.r
	if p.over {
		return 0, io.EOF
	}
	if r.part != p {
		return 0, errPartOver
	}
	if len(dst) == 0 {
		return 0, nil
	}
	for r.safe == 0 {
		if r.found {
			p.over = true
			return 0, io.EOF
		}
		held := r.w - r.r
		if r.start || len(dst) < bufSize || held > len(dst)/2 {
			if err := r.look(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := r.readInto(dst[:min(int64(len(dst)), max(firstRead, p.n))])
		p.n += int64(n)
		if n > 0 || err != nil {
			return n, err
		}
	}
	n := copy(dst, r.buf[r.r:r.r+r.safe])
	r.r += n
	r.safe -= n
	p.n += int64(n)
	return n, nil
}

// skip reads to the end of the current part.
func (r *Reader) skip() error {
	for !r.found {
		r.r += r.safe
		r.safe = 0
		if err := r.look(); err != nil {
			return err
		}
	}
	r.r += r.safe
	r.safe = 0
	if !r.start { // at the start the line end belongs to the empty line before
		r.r += len(r.nl)
	}
	return nil
}

// look decides how much of the buffer is content, after reading more if that
// is needed. It is called while nothing is decided: safe is 0, found is false.
func (r *Reader) look() error {
	for {
		b := r.buf[r.r:r.w]
		if r.start && len(b) > 0 {
			// The delimiter may follow the empty line after the headers at once,
			// that is without a line end of its own: an empty part.
			if rest, ok := bytes.CutPrefix(b, r.dash); ok {
				switch after(rest) {
				case delimiter:
					r.found = true
					return nil
				case content:
					r.start = false
				}
			} else if !bytes.HasPrefix(r.dash, b) {
				r.start = false
			}
		}
		if !r.start {
			if r.safe, r.found = r.find(b); r.safe > 0 || r.found {
				return nil
			}
		}
		if err := r.fill(); err != nil {
			return noEOF(err)
		}
	}
}

// readInto reads from the source into dst and returns how much of it is
// content. The rest moves to the buffer.
func (r *Reader) readInto(dst []byte) (int, error) {
	held := copy(dst, r.buf[r.r:r.w])
	n, err := r.read(dst[held:])
	if err != nil {
		return 0, noEOF(err)
	}
	b := dst[:held+n]
	safe, found := r.find(b)
	rest := b[safe:]
	r.r, r.w = 0, 0
	if len(rest) <= bufSize {
		r.buf = r.pooled[:]
	} else {
		r.buf = make([]byte, len(rest))
	}
	r.w = copy(r.buf, rest)
	r.found = found
	return safe, nil
}

// find looks for the delimiter. b[:n] is content for certain; if found, the
// delimiter follows it, else what follows may begin one.
func (r *Reader) find(b []byte) (n int, found bool) {
	from := 0
	for {
		i := r.index(b[from:])
		if i < 0 {
			break
		}
		i += from
		switch after(b[i+len(r.delim):]) {
		case delimiter:
			return i, true
		case undecided:
			return i, false
		}
		from = i + len(r.delim)
	}
	// The first byte of a delimiter does not occur in it again.
	tail := max(from, len(b)-len(r.delim)+1)
	if i := bytes.LastIndexByte(b[tail:], r.delim[0]); i >= 0 && bytes.HasPrefix(r.delim, b[tail+i:]) {
		return tail + i, false
	}
	return len(b), false
}

// index is bytes.Index(b, r.delim), by the algorithm of Horspool (1980) where
// b and the delimiter are long. bytes.Index stops at each '\r', which makes it
// several times slower on text; this looks at one byte of thirty or so.
func (r *Reader) index(b []byte) int {
	last := len(r.delim) - 1
	if len(b) < 2*bufSize || last < 16 {
		return bytes.Index(b, r.delim)
	}
	if r.shift == nil {
		r.shift = shifts(r.delim)
	}
	shift := r.shift
	for i := last; i < len(b); {
		c := b[i]
		// The first byte occurs once in the delimiter: as a rule it decides.
		if c == r.delim[last] && b[i-last] == r.delim[0] && bytes.Equal(b[i-last:i+1], r.delim) {
			return i - last
		}
		i += int(shift[c])
	}
	return -1
}

// shifts tells how far the search may move on from a byte that lies where the
// delimiter would end.
func shifts(delim []byte) *[256]uint8 {
	t := new([256]uint8)
	for i := range t {
		t[i] = uint8(len(delim)) // at most 74: validBoundary
	}
	for i, c := range delim[:len(delim)-1] {
		t[c] = uint8(len(delim) - 1 - i)
	}
	return t
}

type verdict int

const (
	undecided verdict = iota
	content
	delimiter
)

// after judges what follows "--boundary" at the beginning of a line: another
// character makes it a longer word and so content. Clients pick boundaries at
// random; whatever else follows white space or "--" on the line is an error.
func after(b []byte) verdict {
	if len(b) == 0 {
		return undecided
	}
	switch b[0] {
	case ' ', '\t', '\r', '\n':
		return delimiter
	case '-':
		if len(b) == 1 {
			return undecided
		}
		if b[1] == '-' {
			return delimiter
		}
	}
	return content
}

// Value reads the rest of a form field: at most limit bytes, else the error is
// [ErrValueTooLarge].
func (p *Part) Value(limit int) (string, error) {
	r := p.r
	if r.part == p && !p.over && r.safe == 0 && !r.found {
		if err := r.look(); err != nil {
			return "", err
		}
	}
	if r.part == p && !p.over && r.found { // all of it is in the buffer
		if r.safe > limit {
			return "", ErrValueTooLarge
		}
		v := string(r.buf[r.r : r.r+r.safe])
		r.r += r.safe
		r.safe = 0
		p.over = true
		return v, nil
	}
	var v []byte
	for {
		if len(v) == cap(v) {
			longer := make([]byte, len(v), min(2*cap(v)+512, limit+1))
			copy(longer, v)
			v = longer
		}
		n, err := p.Read(v[len(v):cap(v)])
		if v = v[:len(v)+n]; len(v) > limit {
			return "", ErrValueTooLarge
		}
		if err == io.EOF {
			return string(v), nil
		}
		if err != nil {
			return "", err
		}
	}
}
