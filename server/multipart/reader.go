// Package multipart reads multipart/form-data bodies (RFC 7578, RFC 2046
// §5.1) as a stream. It is made for large files: a [Part] reads from the
// source straight into the caller's buffer and looks for the delimiter there,
// so that content is copied once. For many slow clients, a reader holds 4 KiB.
//
// What it accepts is what mime/multipart accepts, except that it refuses what
// two readers could understand differently: field names with spaces, empty
// ones, a second Content-Disposition, one that cannot be parsed (but for quotes
// within a file name, which there are clients for). Lines may end in LF alone
// where mime/multipart allows it: in headers, and everywhere if the first
// delimiter does. A form that ends within the headers of a part is truncated
// (mime/multipart takes that for its end).
package multipart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// What can be wrong with a form. All of them are the client's fault; errors of
// the source (but for its unexpected end) are returned as they are.
var (
	ErrMalformed      = errors.New("malformed form")
	ErrTruncated      = errors.New("form ends too early") // with io.ErrUnexpectedEOF
	ErrTooManyParts   = errors.New("form has too many parts")
	ErrHeaderTooLarge = errors.New("headers of a part are too large")
	ErrValueTooLarge  = errors.New("value of a form field is too large")
)

// The particular faults for which mime/multipart has another rule or none.
var (
	errFieldName   = fmt.Errorf("%w: field name in a part's header", ErrMalformed)
	errDisposition = fmt.Errorf("%w: Content-Disposition", ErrMalformed)
	errSurrounding = fmt.Errorf("%w: too much before or after the parts", ErrMalformed)

	errTruncated = fmt.Errorf("%w: %w", ErrTruncated, io.ErrUnexpectedEOF)
	// mime/multipart takes this for the good end of a form.
	errTruncatedHeader = fmt.Errorf("headers of a part: %w", errTruncated)

	errLineLong = fmt.Errorf("%w: delimiter line too long", ErrMalformed)
	errClosed   = errors.New("form reader is closed")
	errPartOver = errors.New("part is over: the next one was asked for")
)

// Limits bounds what a form may cost. The zero value means the defaults.
type Limits struct {
	Header      int // bytes of the headers of one part; default 16 KiB
	Parts       int // number of parts; default 100
	Surrounding int // bytes before the first part, and bytes after the last; default 64 KiB
}

const (
	bufSize = 4 << 10
	// firstRead bounds direct reads at the beginning of a part: what follows its
	// end in the same read must be kept. Later reads may be as long as the part
	// was so far.
	firstRead = 64 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufSize]byte) }}

// Reader yields the parts of one form. It is used by one goroutine; Close it.
type Reader struct {
	src    io.Reader
	srcErr error // what src ended with
	limits Limits

	pooled *[bufSize]byte
	buf    []byte // pooled[:], or a longer one for the moment
	r, w   int    // buf[r:w] was read from src and is not consumed

	delim []byte      // "\r\n--boundary"; "\n--boundary" in a form with LF ends
	dash  []byte      // "--boundary"
	nl    []byte      // "\r\n" or "\n"
	shift *[256]uint8 // of delim, for index; nil until needed

	part  *Part // the one being read
	parts int
	err   error // what Next ended with

	// Of the part being read:
	start bool // no byte of its content was decided yet
	safe  int  // buf[r:r+safe] is content
	found bool // the delimiter follows these
}

// NewReader reads a form from src. The boundary is that of the Content-Type
// (see [Boundary]); one that RFC 2046 §5.1.1 does not allow makes Next fail.
func NewReader(src io.Reader, boundary string, limits Limits) *Reader {
	if limits.Header <= 0 {
		limits.Header = 16 << 10
	}
	if limits.Parts <= 0 {
		limits.Parts = 100
	}
	if limits.Surrounding <= 0 {
		limits.Surrounding = 64 << 10
	}
	r := &Reader{src: src, limits: limits, pooled: buffers.Get().(*[bufSize]byte)}
	r.buf = r.pooled[:]
	r.delim = append(append(make([]byte, 0, 80), "\r\n--"...), boundary...)
	r.dash, r.nl = r.delim[2:], r.delim[:2]
	if !validBoundary(boundary) {
		r.err = errBoundary
	}
	return r
}

// Close gives the buffer back; the source is not closed. Neither the reader
// nor its parts can be read afterwards. A second Close does nothing.
func (r *Reader) Close() {
	if r.pooled == nil {
		return
	}
	buffers.Put(r.pooled)
	r.pooled, r.buf, r.r, r.w, r.part, r.err = nil, nil, 0, 0, nil, errClosed
}

// Next skips what is left of the current part and returns the next one. After
// the last it reads the source to its end and returns io.EOF.
func (r *Reader) Next() (*Part, error) {
	if r.err != nil {
		return nil, r.err
	}
	p, err := r.next()
	if err != nil {
		r.part, r.err = nil, err
		return nil, err
	}
	r.part = p
	return p, nil
}

func (r *Reader) next() (*Part, error) {
	var last bool
	var err error
	if r.parts == 0 {
		last, err = r.preamble()
	} else if err = r.skip(); err == nil {
		last, err = r.delimiter()
	}
	if err != nil {
		return nil, err
	}
	if last {
		return nil, r.epilogue()
	}
	if r.parts++; r.parts > r.limits.Parts {
		return nil, ErrTooManyParts
	}
	block, err := r.headerBlock()
	if err != nil {
		return nil, err
	}
	p := &Part{r: r}
	if err := p.parse(block); err != nil {
		return nil, err
	}
	r.start, r.safe, r.found = true, 0, false
	return p, nil
}

// preamble passes over the lines before the first delimiter (RFC 2046 §5.1.1).
func (r *Reader) preamble() (last bool, err error) {
	seen, within := 0, false // within a line of which the beginning was passed over
	for {
		line, err := r.line()
		if err != nil && err != errLineLong {
			if err == io.EOF && !within && r.isLast(line) {
				return true, nil
			}
			return false, noEOF(err)
		}
		if !within {
			if r.isLast(line) {
				return true, nil
			}
			rest, ok := bytes.CutPrefix(line, r.dash)
			if rest = skipLWSP(rest); ok && len(rest) == 1 && rest[0] == '\n' {
				r.nl, r.delim = r.nl[1:], r.delim[1:] // the whole form has LF ends
			}
			if ok && bytes.Equal(rest, r.nl) {
				return false, nil
			}
		}
		within = err == errLineLong
		if seen += len(line); seen > r.limits.Surrounding {
			return false, errSurrounding
		}
	}
}

// delimiter reads the delimiter line that ended a part.
func (r *Reader) delimiter() (last bool, err error) {
	line, err := r.line()
	if (err == nil || err == io.EOF) && r.isLast(line) {
		return true, nil
	}
	if err != nil {
		return false, noEOF(err)
	}
	if bytes.Equal(skipLWSP(line[len(r.dash):]), r.nl) {
		return false, nil
	}
	return false, fmt.Errorf("%w: delimiter line", ErrMalformed)
}

// isLast reports whether line is the close-delimiter. The end of the source
// may stand for the end of its line.
func (r *Reader) isLast(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, r.dash)
	if !ok {
		return false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte("--")); !ok {
		return false
	}
	rest = skipLWSP(rest)
	return len(rest) == 0 || bytes.Equal(rest, r.nl)
}

func skipLWSP(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// epilogue reads the source to its end, so that a body that was cut is noticed
// and the connection can be used again.
func (r *Reader) epilogue() error {
	seen := 0
	for {
		seen += r.w - r.r
		r.r = r.w
		if seen > r.limits.Surrounding {
			return errSurrounding
		}
		if err := r.fill(); err != nil {
			if err != io.EOF {
				return noEOF(err)
			}
			return io.EOF
		}
	}
}

// headerBlock consumes the headers of a part with the empty line after them.
// The result is valid until the next fill.
func (r *Reader) headerBlock() ([]byte, error) {
	at, from := 0, 0 // offset of the current line, and of what was not looked at
	for {
		b := r.buf[r.r:r.w]
		for {
			i := bytes.IndexByte(b[from:], '\n')
			if i < 0 {
				break
			}
			end := from + i
			if end == at || end == at+1 && b[at] == '\r' {
				if at > r.limits.Header {
					return nil, ErrHeaderTooLarge
				}
				r.r += end + 1
				return b[:at], nil
			}
			at, from = end+1, end+1
		}
		from = len(b)
		if len(b) > r.limits.Header+2 {
			return nil, ErrHeaderTooLarge
		}
		if len(b) == len(r.buf) {
			r.grow(2 * len(r.buf))
		}
		if err := r.fill(); err != nil {
			if err = noEOF(err); err == errTruncated {
				err = errTruncatedHeader
			}
			return nil, err
		}
	}
}

// line consumes a line and returns it with its end. errLineLong comes with the
// beginning of a line that the buffer does not hold, io.EOF with the last one.
func (r *Reader) line() ([]byte, error) {
	from := 0
	for {
		b := r.buf[r.r:r.w]
		if i := bytes.IndexByte(b[from:], '\n'); i >= 0 {
			r.r += from + i + 1
			return b[:from+i+1], nil
		}
		if from = len(b); from >= bufSize {
			r.r = r.w
			return b, errLineLong
		}
		if err := r.fill(); err != nil {
			b = r.buf[r.r:r.w]
			r.r = r.w
			return b, err
		}
	}
}

// fill reads more from the source into the buffer, which must not be full of
// unconsumed bytes. It returns an error only if nothing was read.
func (r *Reader) fill() error {
	if r.pooled == nil {
		return errClosed
	}
	if r.r == r.w {
		r.buf, r.r, r.w = r.pooled[:], 0, 0
	} else if r.w == len(r.buf) {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	n, err := r.read(r.buf[r.w:])
	r.w += n
	return err
}

// read reads at least one byte from the source, or returns its error.
func (r *Reader) read(p []byte) (int, error) {
	for range 100 {
		if r.srcErr != nil {
			return 0, r.srcErr
		}
		var n int
		if n, r.srcErr = r.src.Read(p); n > 0 {
			return n, nil
		}
	}
	if r.srcErr == nil {
		r.srcErr = io.ErrNoProgress
	}
	return 0, r.srcErr
}

// grow moves what is unconsumed into a buffer of n bytes.
func (r *Reader) grow(n int) {
	longer := make([]byte, n)
	r.w = copy(longer, r.buf[r.r:r.w])
	r.buf, r.r = longer, 0
}

// noEOF turns an end of the source where a form cannot end into ErrTruncated.
func noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTruncated
	}
	return err
}
