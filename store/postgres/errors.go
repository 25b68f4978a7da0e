package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"fileshare/store"
)

// ErrClosed means that the DB has been closed.
var ErrClosed = errors.New("records are closed")

// Codes of PostgreSQL, appendix A, "Error Codes".
const (
	serializationFailure = "40001"
	unknownCompletion    = "40003"
	deadlock             = "40P01"
	diskFull             = "53100"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014" // a timeout of ours
	readOnly             = "25006" // a standby, or one that has become one
	undefinedTable       = "42P01"
	undefinedObject      = "42704"
	uniqueViolation      = "23505"
	duplicateTable       = "42P07"
	duplicateObject      = "42710"
)

func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// retryError is an error after which the same may succeed.
type retryError struct{ error }

func (e *retryError) Unwrap() error { return e.error }

// retryable tells whether the same may succeed later: others stood in the
// way, the connection was lost, the server does not answer or takes no more.
func retryable(err error) bool {
	if _, ok := errors.AsType[*retryError](err); ok {
		return true
	}
	if unknown(err) {
		return false
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return lost(err)
	}
	switch e.Code {
	case serializationFailure, unknownCompletion, deadlock, lockNotAvailable, queryCanceled, readOnly:
		return true
	case diskFull:
		return false
	}
	// Connections, resources (too many connections), the server's end or begin.
	return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "53") || strings.HasPrefix(e.Code, "57P")
}

// lost tells whether the error is one of the connection: what the server did
// is not known.
func lost(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return !errors.Is(err, ErrClosed)
	}
	return e.Code == unknownCompletion || e.Severity == "FATAL" || e.Severity == "PANIC" || strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P")
}

// unknownError is that of a commit of which it could not be found out whether it
// has taken place. It must not be tried again.
type unknownError struct{ error }

func (e *unknownError) Unwrap() error { return store.ErrUnavailable }

func unknown(err error) bool {
	_, ok := errors.AsType[*unknownError](err)
	return ok
}

// infrastructure words an error for the engine.
func infrastructure(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case codeOf(err) == diskFull:
		return fmt.Errorf("postgres: %w: %w", store.ErrNoSpace, err)
	case retryable(err):
		return fmt.Errorf("postgres: %w: %w", store.ErrUnavailable, err)
	}
	return fmt.Errorf("postgres: %w", err)
}
