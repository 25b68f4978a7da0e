package storetest

import (
	"context"
	"errors"

	"fileshare/store"
)

// Again wraps records so that every function of an Update runs twice, and what
// the first run wrote is thrown away, as in a backend whose transactions can fail
// and are tried again.
func Again(r store.Records) store.Records { return again{r} }

type again struct{ store.Records }

var errAgain = errors.New("to be run again")

func (a again) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := a.Records.Update(ctx, func(tx store.Tx) error {
		_ = fn(tx) // the second run counts
		return errAgain
	}); err != errAgain {
		return err
	}
	return a.Records.Update(ctx, fn)
}
