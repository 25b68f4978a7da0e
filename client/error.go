package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"fileshare/api"
)

// Error is what the server answered instead of what was asked for.
type Error struct {
	Status     int
	Kind       string // one of the codes of package api; empty where no fileshare answered
	Message    string // for people
	RetryAfter time.Duration
	RequestID  string // finds it in the log of the server
}

func (e *Error) Error() string {
	switch {
	case e.Kind == api.CodeInternal && e.RequestID != "":
		return fmt.Sprintf("%s (request %s)", e.Message, e.RequestID)
	case e.Kind == "":
		return fmt.Sprintf("%s (status %d)", e.Message, e.Status)
	}
	return e.Message
}

// KindOf returns the kind of an error of the server, one of the codes of package
// api, or nothing.
func KindOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// lineError is when no answer came.
type lineError struct {
	host string
	err  error
}

func (e *lineError) Error() string {
	op, ok := errors.AsType[*net.OpError](e.err)
	if ok && op.Op == "dial" {
		return "cannot reach " + e.host + ": " + cause(op.Err).Error()
	}
	if errors.Is(e.err, io.EOF) || errors.Is(e.err, io.ErrUnexpectedEOF) || errors.Is(e.err, net.ErrClosed) {
		return "the connection to " + e.host + " broke"
	}
	if ok {
		return "the connection to " + e.host + " broke: " + cause(op.Err).Error()
	}
	return e.host + ": " + e.err.Error()
}

// cause is what the system said, without the addresses.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return cause(op.Err)
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err
	}
	return err
}

func (e *lineError) Unwrap() error { return e.err }

// ErrMismatch is when the SHA-256 of what came through is not that of what was
// sent. What arrived is thrown away, on either side.
var ErrMismatch = errors.New("what arrived is not what was sent: the digests differ")

// errorOf reads an answer of status 400 and above.
func errorOf(answer *http.Response) *Error {
	e := &Error{
		Status:     answer.StatusCode,
		Kind:       answer.Header.Get(api.ErrorHeader),
		RetryAfter: retryAfter(answer.Header.Get("Retry-After"), time.Now()),
		RequestID:  plain(answer.Header.Get("X-Request-Id")),
	}
	var said api.Error
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if json.Unmarshal(body, &said) == nil && plain(said.Message) != "" {
		e.Message = plain(said.Message)
	} else if e.Message = strings.ToLower(http.StatusText(e.Status)); e.Message == "" {
		e.Message = "refused"
	}
	return e
}

// retryAfter reads Retry-After (RFC 9110 §10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(v); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, longestPause)
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return min(at.Sub(now), longestPause)
	}
	return 0
}
