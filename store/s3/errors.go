package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/minio/minio-go/v7"

	"fileshare/store"
)

// errStalled is the cause of a transfer's end when the server took or gave no
// byte for too long.
var errStalled = fmt.Errorf("%w: the S3 server does not go on", store.ErrUnavailable)

// errMemory is what an upload gets for which no memory became free.
var errMemory = fmt.Errorf("%w: no memory is left for uploads to S3", store.ErrUnavailable)

// explain gives an error of the client library the engine's reason.
func explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	r, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok { // no answer, or none that can be read
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	err = fmt.Errorf("%s: %s (status %d)", r.Code, r.Message, r.StatusCode) // without the object's name
	switch {
	case r.StatusCode == http.StatusNotImplemented:
		return err // it will not be better later
	case r.Code == minio.NoSuchKey:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case r.StatusCode == http.StatusRequestedRangeNotSatisfiable: // it begins where the object has ended
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	case r.StatusCode == http.StatusInsufficientStorage, r.Code == "QuotaExceeded", r.Code == "XMinioStorageFull":
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	case r.StatusCode >= 500, r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusRequestTimeout, r.Code == "RequestTimeout", r.Code == "SlowDown":
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// exists tells whether an error says that the object was there already.
func exists(err error) bool {
	r, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && (r.StatusCode == http.StatusPreconditionFailed || r.Code == minio.PreconditionFailed || r.Code == "ConditionalRequestConflict")
}
