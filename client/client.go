// Package client is the Go client of fileshare: its native API, and resumable
// uploads.
//
// A [Client] belongs to one server and may be used by many goroutines. What
// breaks on the way is tried again, with growing pauses, as long as it gets on:
// uploads and downloads go on at the byte that they have reached. Contents are
// streamed; memory does not depend on their size. The SHA-256 of what was sent
// or received is compared with what the server says.
//
// Errors that the server answers are of type [*Error] and carry its kind, one
// of the codes of package api.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Options configures [New]. Only URL is mandatory.
type Options struct {
	// URL is the base of the server, with the prefix if it has one:
	// https://files.example.com/rtc/fileshare.
	URL            string
	User, Password string // none: as a stranger

	HTTP      *http.Client // default: one of its own; it must have no Timeout, transfers take as long as they take
	UserAgent string       // default: fileshare-client

	// Attempts is how often something is tried without getting on before it is
	// given up. Default 8, negative: once.
	Attempts int
	// Pause is the first pause between two attempts; the following ones are
	// twice as long each, at most 30 s, all of them at random between the half
	// and the whole. The server may ask for longer ones. Default 500 ms.
	Pause time.Duration
	// Idle is how long a transfer may move no byte before its connection is given
	// up. Default 60 s, negative: for ever.
	Idle time.Duration
	// OnRetry is told why something is tried again, and after which pause. It is
	// called by the goroutine that waits.
	OnRetry func(err error, pause time.Duration)
}

// Client talks to one server.
type Client struct {
	o       Options
	base    *url.URL // without a slash at the end
	http    *http.Client
	reached atomic.Bool // the server has answered something
}

// New makes a client. It does not talk to the server yet.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("%q is not the address of a server: https://HOST or https://HOST/PREFIX is expected", o.URL)
	}
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), ""
	base.RawQuery, base.Fragment = "", ""
	if base.User != nil && o.User == "" {
		o.User = base.User.Username()
		o.Password, _ = base.User.Password()
	}
	base.User = nil
	if o.Attempts == 0 {
		o.Attempts = 8
	}
	if o.Pause == 0 {
		o.Pause = 500 * time.Millisecond
	}
	if o.Idle == 0 {
		o.Idle = time.Minute
	}
	if o.UserAgent == "" {
		o.UserAgent = "fileshare-client"
	}
	c := &Client{o: o, base: base, http: &http.Client{}}
	if o.HTTP != nil {
		*c.http = *o.HTTP
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = maxParallel
		t.ResponseHeaderTimeout = answerTimeout
		t.DisableCompression = true // lengths and ranges are those of the content
		c.http.Transport = t
	}
	follow := c.http.CheckRedirect
	c.http.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if !c.ours(req.URL) {
			req.Header.Del("Authorization") // net/http sends it to another port of the host, too
		}
		if follow != nil {
			return follow(req, via)
		}
		if len(via) >= 10 {
			return errors.New("too many redirects")
		}
		return nil
	}
	return c, nil
}

// ours tells whether an address is at the server that the password is for.
func (c *Client) ours(u *url.URL) bool { return u.Scheme == c.base.Scheme && u.Host == c.base.Host }

// answerTimeout is how long the server may think after the last byte of a
// request: an upload made of parts is read again for its digest.
const answerTimeout = 3 * time.Minute

// URL is the base of the server.
func (c *Client) URL() string { return c.base.String() }

// Close closes connections that nobody uses. The client can be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is a request. Its path is below the base, or it is a whole URL.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	header http.Header
	send   any // JSON; nil = nothing
	body   io.Reader
	size   int64 // of body
}

// request makes the HTTP request of a call.
func (c *Client) request(ctx context.Context, a call) (*http.Request, error) {
	target := a.path
	if strings.HasPrefix(target, "/") {
		target = c.base.String() + a.path
	}
	body := a.body
	if a.send != nil {
		b, err := json.Marshal(a.send)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, target, body)
	if err != nil {
		return nil, err
	}
	if a.query != nil {
		req.URL.RawQuery = a.query.Encode()
	}
	for k, v := range a.header {
		req.Header[k] = v
	}
	if a.body != nil {
		req.ContentLength = a.size
		if a.size == 0 {
			req.Body = http.NoBody
		}
	}
	if a.send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if c.o.User != "" && c.ours(req.URL) {
		req.SetBasicAuth(c.o.User, c.o.Password)
	}
	return req, nil
}

// do sends a request once. The caller closes the body of the answer. A status of
// 400 and above is an [*Error].
func (c *Client) do(ctx context.Context, a call) (*http.Response, error) {
	req, err := c.request(ctx, a)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(req)
	if err != nil {
		// *url.Error repeats the URL, and a link is a secret.
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return nil, &lineError{req.URL.Host, err}
	}
	c.reached.Store(true)
	if answer.StatusCode >= 400 {
		defer drain(answer)
		return nil, errorOf(answer)
	}
	return answer, nil
}

// drain reads the rest of a short answer, so that its connection can be used
// again.
func drain(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)
	answer.Body.Close()
}

// maxAnswer bounds the JSON that is read into memory: a page has at most 1000
// files of a few KiB each.
const maxAnswer = 32 << 20

// json makes a call again until it has an answer, and decodes that into v
// unless v is nil. It returns the header of the answer.
func (c *Client) json(ctx context.Context, a call, v any) (header http.Header, err error) {
	first := true
	err = c.persist(ctx, a.method != http.MethodPost, func(ctx context.Context) error {
		defer func() { first = false }()
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		answer, err := c.do(ctx, a)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); ok && a.method == http.MethodDelete && e.Status == http.StatusNotFound && !first {
				return nil // the attempt before has done it
			}
			return err
		}
		defer drain(answer)
		header = answer.Header
		if v == nil {
			return nil
		}
		return decode(answer, v)
	})
	return header, err
}

// decode reads the JSON of an answer.
func decode(answer *http.Response, v any) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &fatal{fmt.Errorf("%s does not answer as fileshare does: %w", answer.Request.URL.Host, err)}
	}
	return nil
}

// whole is the number of whole seconds of a time to live, rounded up.
func whole(ttl time.Duration) int64 { return int64((ttl + time.Second - 1) / time.Second) }
