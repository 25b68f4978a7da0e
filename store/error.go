package store

import (
	"errors"
	"time"
)

// Errors of disks and servers, for backends to wrap. The engine turns them into
// [NoSpace] and [Unavailable].
var (
	ErrNoSpace  = errors.New("no space left")
	ErrReadOnly = errors.New("storage cannot be written")
	// ErrUnavailable means that a server does not answer, or says that it
	// cannot for now: the same call may succeed later.
	ErrUnavailable = errors.New("storage does not answer")
)

// Kind is the closed set of reasons for which the engine refuses. What is
// not a *Error is a fault of ours or of a backend.
type Kind int

// The kinds of refusal. server/reply has one status for each.
const (
	NotFound        Kind = iota + 1 // unknown, or removed by its owner
	Expired                         // its time is over
	Used                            // its downloads are used up
	Unauthenticated                 // needs an account
	Denied                          // the account may not
	Invalid                         // the request makes no sense
	Conflict                        // not in this state
	Busy                            // a counted download is running; RetryAfter says when to ask again
	TooLarge                        // above limits.file_size
	Mismatch                        // the bytes are not those the client's digest says
	Quota                           // the account's quota is used up
	NoSpace                         // the disk's reserve is used up
	RateLimited                     // too many attempts; RetryAfter says when to come again
	Unavailable                     // a backend does not answer, or the daemon stops
	kindEnd
)

// Kinds returns every kind of refusal, for tables that must be complete.
func Kinds() []Kind {
	var all []Kind
	for r := NotFound; r < kindEnd; r++ {
		all = append(all, r)
	}
	return all
}

func (k Kind) String() string {
	names := [...]string{"", "not found", "expired", "used", "unauthenticated", "denied", "invalid", "conflict", "busy",
		"too large", "mismatch", "quota", "no space", "rate limited", "unavailable"}
	if k < NotFound || k >= kindEnd {
		return "unknown"
	}
	return names[k]
}

// Error is a refusal. Message is for the client: plain words, no secrets.
type Error struct {
	Kind       Kind
	Message    string
	RetryAfter time.Duration // 0 = not said; rounded up to seconds on the wire
	cause      error         // for the log only
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the kind of a refusal, 0 if err is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}

// Refuse makes a refusal; also for the faces of the engine, whose own
// refusals (a malformed form, a missing part) are answered the same way.
func Refuse(k Kind, message string) *Error { return &Error{Kind: k, Message: message} }

// RefuseCause is Refuse with a cause for the log.
func RefuseCause(k Kind, message string, cause error) *Error {
	return &Error{Kind: k, Message: message, cause: cause}
}

// unavailableFor is after how long a client may try again what a server did not
// answer. It has waited for a while already.
const unavailableFor = 3 * time.Second

// refusal turns the errors of backends into refusals and leaves others alone.
func refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case KindOf(err) != 0:
		return err
	case errors.Is(err, ErrNoSpace):
		return RefuseCause(NoSpace, "no space left on the server", err)
	case errors.Is(err, ErrReadOnly):
		return RefuseCause(Unavailable, "the storage cannot be written at the moment", err)
	case errors.Is(err, ErrUnavailable):
		return &Error{Kind: Unavailable, Message: "the storage does not answer, try again", RetryAfter: unavailableFor, cause: err}
	}
	return err
}

var errUsedUp = errors.New("used up") // becomes "token used" or "upload used"
