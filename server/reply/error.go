package reply

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// Fault is the closed set of refusals that concern HTTP itself and that the
// engine therefore does not know.
type Fault int

// The faults of a request.
const (
	Method         Fault = iota + 1 // the path is there, the method is not; the handler sets Allow
	MediaType                       // a body of a type that is not understood
	Range                           // no byte of the content is in the range; the handler sets Content-Range
	Precondition                    // If-Match or If-Unmodified-Since failed
	Timeout                         // the body moved no byte for too long
	Incomplete                      // the body ended too early
	Malformed                       // the body is framed wrongly
	NotImplemented                  // a call that the API knows and that is not offered here
	ClientGone                      // nobody is left to be answered
	faultEnd
)

// Refusal is an error of a [Fault]. Message is for the client.
type Refusal struct {
	Fault   Fault
	Message string
	cause   error
}

// Refuse makes a refusal; cause (may be nil) is for the log only.
func Refuse(f Fault, message string, cause error) *Refusal {
	return &Refusal{Fault: f, Message: message, cause: cause}
}

func (e *Refusal) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

func (e *Refusal) Unwrap() error { return e.cause }

type row struct {
	status int
	code   string
	retry  int // seconds of Retry-After where the error says none; 0 = no such header
}

// kindRow is the table of the engine's refusals.
func kindRow(k store.Kind) (row, bool) {
	switch k {
	case store.NotFound:
		return row{status: http.StatusNotFound, code: api.CodeNotFound}, true
	case store.Expired:
		return row{status: http.StatusGone, code: api.CodeExpired}, true
	case store.Used:
		return row{status: http.StatusGone, code: api.CodeUsed}, true
	case store.Unauthenticated:
		return row{status: http.StatusUnauthorized, code: api.CodeUnauthenticated}, true
	case store.Denied:
		return row{status: http.StatusForbidden, code: api.CodeDenied}, true
	case store.Invalid:
		return row{status: http.StatusBadRequest, code: api.CodeInvalid}, true
	case store.Conflict:
		return row{status: http.StatusConflict, code: api.CodeConflict}, true
	case store.Busy:
		return row{status: http.StatusConflict, code: api.CodeBusy, retry: 1}, true
	case store.TooLarge:
		return row{status: http.StatusRequestEntityTooLarge, code: api.CodeTooLarge}, true
	case store.Mismatch:
		return row{status: http.StatusUnprocessableEntity, code: api.CodeMismatch}, true
	case store.Quota:
		return row{status: http.StatusInsufficientStorage, code: api.CodeQuota}, true
	case store.NoSpace:
		return row{status: http.StatusInsufficientStorage, code: api.CodeNoSpace}, true
	case store.RateLimited:
		return row{status: http.StatusTooManyRequests, code: api.CodeRateLimited, retry: 1}, true
	case store.Unavailable:
		return row{status: http.StatusServiceUnavailable, code: api.CodeUnavailable, retry: 5}, true
	}
	return row{}, false
}

// faultRow is the table of HTTP's own refusals.
func faultRow(f Fault) (row, bool) {
	switch f {
	case Method:
		return row{status: http.StatusMethodNotAllowed, code: api.CodeMethod}, true
	case MediaType:
		return row{status: http.StatusUnsupportedMediaType, code: api.CodeMediaType}, true
	case Range:
		return row{status: http.StatusRequestedRangeNotSatisfiable, code: api.CodeRange}, true
	case Precondition:
		return row{status: http.StatusPreconditionFailed, code: api.CodePrecondition}, true
	case Timeout:
		return row{status: http.StatusRequestTimeout, code: api.CodeTimeout}, true
	case NotImplemented:
		return row{status: http.StatusNotImplemented, code: api.CodeNotImplemented}, true
	case Incomplete, Malformed, ClientGone:
		return row{status: http.StatusBadRequest, code: api.CodeIncomplete}, true
	}
	return row{}, false
}

// CodeOf is the code that goes with a status which a dialect has chosen itself.
func CodeOf(status int) string {
	for _, k := range store.Kinds() {
		if r, _ := kindRow(k); r.status == status {
			return r.code
		}
	}
	for f := Method; f < faultEnd; f++ {
		if r, _ := faultRow(f); r.status == status {
			return r.code
		}
	}
	return api.CodeInternal
}

// Answer is what an error became.
type Answer struct {
	Status  int
	Code    string
	Message string // for the client
	Ours    bool   // our fault: the error itself belongs into the log
	Gone    bool   // nobody is left to be answered
	retry   int    // seconds
}

// Of tells what err becomes, without answering.
func Of(err error) Answer {
	if e, ok := errors.AsType[*store.Error](err); ok {
		if r, ok := kindRow(e.Kind); ok {
			a := Answer{Status: r.status, Code: r.code, Message: e.Message, retry: r.retry, Ours: r.status >= 500}
			if r.retry > 0 && e.RetryAfter > 0 {
				a.retry = int((e.RetryAfter + time.Second - 1) / time.Second)
			}
			return a
		}
	}
	if e, ok := errors.AsType[*Refusal](err); ok {
		if r, ok := faultRow(e.Fault); ok {
			return Answer{Status: r.status, Code: r.code, Message: e.Message, retry: r.retry, Gone: e.Fault == ClientGone}
		}
	}
	if errors.Is(err, context.Canceled) {
		return Answer{Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable, Message: "request cancelled", retry: 1, Gone: true}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Answer{Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable, Message: "storage does not answer", retry: 5, Ours: true}
	}
	return Answer{Status: http.StatusInternalServerError, Code: api.CodeInternal, Message: "internal error", Ours: true}
}

// Error answers with err as JSON and tells what it became. The cause of a
// fault of ours is not in the answer: the caller logs it. Allow, Content-Range
// and a WWW-Authenticate of another realm are the caller's to set before.
func Error(w http.ResponseWriter, r *http.Request, err error) Answer {
	return Of(err).JSON(w)
}

// JSON answers as Error does.
func (a Answer) JSON(w http.ResponseWriter) Answer {
	body := api.Error{Message: a.Message}
	if a.Status == http.StatusInternalServerError {
		body.RequestID = w.Header().Get("X-Request-Id")
	}
	return a.Write(w, jsonType, body)
}

// Headers sets what belongs to the answer besides its body.
func (a Answer) Headers(h http.Header) {
	h.Set(api.ErrorHeader, a.Code)
	if a.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		// Without charset (RFC 7617 §2.1): clients send UTF-8 as it is.
		h.Set("WWW-Authenticate", `Basic realm="fileshare"`)
	}
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retry))
	}
}

// BodyError classifies an error of reading the body of a request; the result
// is a [Refusal] of the client's doing.
func BodyError(err error) error {
	if _, ok := errors.AsType[*Refusal](err); ok {
		return err
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Refuse(Timeout, "the request body stalled", err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled), isNet(err), errors.Is(err, http.ErrBodyReadAfterClose):
		return Refuse(Incomplete, "the request body is incomplete", err)
	default:
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return store.RefuseCause(store.TooLarge, "the request body is too large", err)
		}
		return Refuse(Malformed, "the request body is malformed", err)
	}
}

func isNet(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// Statuses says which statuses a dialect gives to refusals of the engine where
// they are not ours.
type Statuses map[store.Kind]int

// Of is Of in the dialect.
func (t Statuses) Of(err error) Answer {
	a := Of(err)
	if status, ok := t[store.KindOf(err)]; ok {
		a.Status, a.Ours = status, status >= http.StatusInternalServerError
	}
	return a
}
