package bolt

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"fileshare/store"
)

// diskError wraps what the engine must be able to tell apart.
func diskError(err error) error {
	if err == nil {
		return nil
	}
	for _, e := range []struct {
		errno syscall.Errno
		as    error
	}{
		{syscall.ENOSPC, store.ErrNoSpace},
		{syscall.EDQUOT, store.ErrNoSpace},
		{syscall.EROFS, store.ErrReadOnly},
		{syscall.EIO, store.ErrReadOnly},
		{syscall.EPERM, store.ErrReadOnly},
		{syscall.EACCES, store.ErrReadOnly},
	} {
		// bbolt keeps only the text of some errors.
		if errors.Is(err, e.errno) || strings.HasSuffix(err.Error(), e.errno.Error()) {
			return fmt.Errorf("%w: %w", e.as, err)
		}
	}
	return err
}
