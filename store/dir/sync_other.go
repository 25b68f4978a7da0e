//go:build !linux

package dir

import (
	"errors"
	"os"
)

func startWriteback(*os.File, int64, int64) {}

func syncData(f *os.File) error { return f.Sync() }

func freeBytes(*os.File) (int64, error) { return 0, errors.ErrUnsupported }
