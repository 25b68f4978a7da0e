package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"fileshare/api"
)

// Content is what the server says of a content, and its bytes.
type Content struct {
	Name    string // safe to be a file name; empty = not said
	Type    string
	Size    int64 // of the whole, -1 = not said
	ETag    string
	SHA256  []byte    // of the whole, nil = not said
	Expires time.Time // zero = not said
	// Body are the bytes from the offset that was asked for, nil of [Client.Head].
	Body io.ReadCloser
}

// Head asks what a link stands for. That counts as no download.
func (c *Client) Head(ctx context.Context, link string) (*Content, error) {
	var got *Content
	err := c.persist(ctx, true, func(ctx context.Context) error {
		ctx, stop := context.WithTimeout(ctx, answerTimeout)
		defer stop()
		answer, err := c.do(ctx, call{method: http.MethodHead, path: link})
		if err != nil {
			return explained(err)
		}
		answer.Body.Close()
		got, err = contentOf(answer)
		return err
	})
	return got, err
}

// explained gives an error the words that an answer to HEAD has no room for.
func explained(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Kind {
		case api.CodeExpired:
			e.Message = "the link has expired"
		case api.CodeUsed:
			e.Message = "the downloads of the link are used up"
		case api.CodeNotFound:
			e.Message = "there is no such file"
		case api.CodeUnauthenticated:
			e.Message = "the link needs an account"
		}
	}
	return err
}

// open begins one download from an offset to the end, or to a bound if that is
// not -1; etag is that of the content which is expected, empty = any.
func (c *Client) open(ctx context.Context, link string, from, to int64, etag string) (*Content, error) {
	h := http.Header{"Want-Repr-Digest": {"sha-256=10"}} // RFC 9530 §4; who asks for it is not redirected
	ranged := from > 0 || to >= 0
	if ranged {
		r := "bytes=" + strconv.FormatInt(from, 10) + "-"
		if to >= 0 {
			r += strconv.FormatInt(to-1, 10)
		}
		h.Set("Range", r)
	}
	if etag != "" {
		h.Set("If-Match", etag)
	}
	answer, err := c.do(ctx, call{method: http.MethodGet, path: link, header: h})
	if err != nil {
		if KindOf(err) == api.CodePrecondition {
			err = errChanged
		}
		return nil, err
	}
	got, err := contentOf(answer)
	if err == nil && ranged {
		want := fmt.Sprintf("bytes %d-", from)
		if answer.StatusCode != http.StatusPartialContent || !strings.HasPrefix(answer.Header.Get("Content-Range"), want) {
			err = &fatal{errors.New("the server does not send the part that was asked for")}
		}
	}
	if err != nil {
		answer.Body.Close()
		return nil, err
	}
	got.Body = answer.Body
	return got, nil
}

var errChanged = &fatal{errors.New("the content is another one than before")}

// contentOf reads the header of a download.
func contentOf(answer *http.Response) (*Content, error) {
	h := answer.Header
	got := &Content{Type: h.Get("Content-Type"), Size: answer.ContentLength, ETag: h.Get("Etag")}
	if _, total, ok := strings.Cut(h.Get("Content-Range"), "/"); ok {
		n, err := strconv.ParseInt(total, 10, 64)
		if err != nil {
			return nil, &fatal{fmt.Errorf("Content-Range of the server is %q", h.Get("Content-Range"))}
		}
		got.Size = n
	}
	if _, params, err := mime.ParseMediaType(h.Get("Content-Disposition")); err == nil {
		got.Name = safeName(params["filename"])
	}
	if t, err := http.ParseTime(h.Get("X-Fileshare-Expires")); err == nil {
		got.Expires = t
	}
	// RFC 9530 §3; of what the server says only sha-256 is looked at.
	for member := range strings.SplitSeq(h.Get("Repr-Digest"), ",") {
		if text, ok := strings.CutPrefix(strings.TrimSpace(member), "sha-256=:"); ok {
			sum, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, ":"))
			if err != nil || len(sum) != sha256.Size {
				return nil, &fatal{fmt.Errorf("Repr-Digest of the server is malformed")}
			}
			got.SHA256 = sum
		}
	}
	return got, nil
}

// safeName makes a file name of what a server offers: no path, no control
// characters, and nothing that is hidden.
func safeName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.TrimSpace(plain(name))
	if rest, ok := strings.CutPrefix(name, "."); ok {
		name = "_" + rest
	}
	if len(name) > 255 {
		return ""
	}
	return name
}

// plain is text of a server without what may make a terminal show something else.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, text)
}

// Download writes the content of a link to w, and goes on where it broke. With
// a digest that differs it returns [ErrMismatch]; what was written is not to be
// trusted then. progress, if not nil, is told how many more bytes came.
func (c *Client) Download(ctx context.Context, link string, w io.Writer, progress func(more int64)) (*Content, error) {
	h := sha256.New()
	got := new(Content)
	if _, err := c.fetch(ctx, link, span64{0, -1}, got, io.MultiWriter(w, h), progress); err != nil {
		return nil, err
	}
	return got, got.check(h)
}

func (g *Content) check(h hash.Hash) error {
	if g.SHA256 != nil && string(h.Sum(nil)) != string(g.SHA256) {
		return ErrMismatch
	}
	return nil
}

// span64 is from and to; to is -1 for the end, wherever that is.
type span64 struct{ from, to int64 }

// fetch writes a span of a content to w, in order, and goes on where it broke.
// It returns where it got to. got is filled by the first answer; if it was filled
// before, the content must be the same.
func (c *Client) fetch(ctx context.Context, link string, s span64, got *Content, w io.Writer, progress func(int64)) (int64, error) {
	p := c.patience()
	buf := make([]byte, 256<<10)
	for {
		n, err := c.fetchOnce(ctx, link, s, got, w, progress, buf)
		s.from += n
		if err == nil {
			return s.from, nil
		}
		if n > 0 {
			p.reset()
		}
		if err := p.wait(ctx, err); err != nil {
			return s.from, err
		}
	}
}

func (c *Client) fetchOnce(ctx context.Context, link string, s span64, got *Content, w io.Writer, progress func(int64), buf []byte) (n int64, err error) {
	i := c.idle(ctx)
	defer i.stop()
	part, err := c.open(i, link, s.from, s.to, got.ETag)
	if err != nil {
		return 0, i.why(err)
	}
	defer part.Body.Close()
	if got.ETag == "" {
		body := part.Body
		*got, got.Body = *part, nil
		part.Body = body
	}
	want := part.Size - s.from
	if s.to >= 0 {
		want = s.to - s.from
	}
	for {
		if err := context.Cause(i); err != nil { // at once, though more may have come
			return n, i.why(err)
		}
		m, err := part.Body.Read(buf)
		i.moved()
		if m > 0 {
			if _, werr := w.Write(buf[:m]); werr != nil {
				return n, &fatal{werr}
			}
			n += int64(m)
			if progress != nil {
				progress(int64(m))
			}
		}
		switch {
		case err == io.EOF && n == want:
			return n, nil
		case err == io.EOF:
			return n, io.ErrUnexpectedEOF
		case err != nil:
			return n, i.why(err)
		}
	}
}
