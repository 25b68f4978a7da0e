package dir

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the kernel to begin writing the dirty pages of a range.
// It waits for nothing and promises nothing, so its error says nothing that
// the sync at the end does not say.
func startWriteback(f *os.File, offset, n int64) {
	_ = withFD(f, func(fd int) error {
		return unix.SyncFileRange(fd, offset, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// syncData makes the content and the size of f durable, and not its times.
func syncData(f *os.File) error {
	return withFD(f, unix.Fdatasync)
}

// freeBytes is what statfs calls available: without the blocks kept for root.
func freeBytes(f *os.File) (int64, error) {
	var st unix.Statfs_t
	if err := withFD(f, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Frsize, nil
}

func withFD(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if callErr = call(int(fd)); callErr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return callErr
}
