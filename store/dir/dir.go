// Package dir keeps blobs as files of a directory, below an [os.Root]. A key
// names the file dir/<shard>/<key>, with '/' turned into '.' (no key contains
// a dot); the shard is two hex digits of the key's CRC-32. Directories have
// mode 0700, files 0600. No symbolic link that leads out of a shard is ever
// followed.
package dir

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"fileshare/store"
)

const piece = 1 << 20 // bytes of one write, at multiples of its size

// Dir is a [store.Blobs] in a directory. It is safe for concurrent use, also
// by several processes.
type Dir struct {
	root   *os.Root
	self   *dirSync // of the directory itself: the entries of its shards
	shards [store.Shards]shard
	idle   idle
	pieces sync.Pool // of *[piece]byte, for readers that are no io.WriterTo
}

// shard is one of the subdirectories, opened when it is first needed.
type shard struct {
	mu      sync.Mutex
	root    *os.Root // guarded by mu; nil until opened
	self    *dirSync // guarded by mu; set with root
	durable bool     // guarded by mu; the entry in the parent is on the disk
}

// Open opens the directory at path, which is made (mode 0700, durably) if it
// is not there. Close it after the last use.
func Open(path string) (*Dir, error) {
	if err := makeDurable(path); err != nil {
		return nil, fmt.Errorf("making the blob directory: %w", diskError(err))
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening the blob directory: %w", err)
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the blob directory: %w", err), root.Close())
	}
	return &Dir{
		root:   root,
		self:   newDirSync(self),
		pieces: sync.Pool{New: func() any { return new([piece]byte) }},
	}, nil
}

// makeDurable makes path and its missing parents and syncs the entry of each.
func makeDurable(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(filepath.Clean(path))
	if err := makeDurable(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close gives back the file descriptors. No method may run or follow.
func (d *Dir) Close() error {
	d.idle.close()
	errs := []error{d.self.f.Close(), d.root.Close()}
	for i := range d.shards {
		s := &d.shards[i]
		if s.root != nil {
			errs = append(errs, s.self.f.Close(), s.root.Close())
		}
	}
	return errors.Join(errs...)
}

// Open implements [store.Blobs]. The reader is a file.
func (d *Dir) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 || n < 0 {
		return nil, fmt.Errorf("opening a blob: range of %d bytes from %d", n, offset)
	}
	i, name, err := place(key)
	if err != nil {
		return nil, fmt.Errorf("opening a blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, st, err := d.open(i, name)
	if err != nil {
		return nil, fmt.Errorf("opening a blob: %w", bare(err))
	}
	if st.Size() < offset+n {
		err = fmt.Errorf("%d bytes, %d are wanted: %w", st.Size(), offset+n, io.ErrUnexpectedEOF)
	} else {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a blob: %w", bare(err)), f.Close())
	}
	return &reader{f, &d.idle, name}, nil
}

// open returns a file that was kept, or opens it.
func (d *Dir) open(shard int, name string) (*os.File, fs.FileInfo, error) {
	for {
		f := d.idle.take(name)
		kept := f != nil
		if !kept {
			root, _, err := d.shard(shard, false)
			if err != nil {
				return nil, nil, err
			}
			// Nothing else than a regular file is there, for which the flag means nothing;
			// it spares os four calls of fcntl, to set it and to take it back.
			if f, err = root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
				return nil, nil, err
			}
		}
		st, err := f.Stat()
		if err != nil && !kept {
			return nil, nil, errors.Join(err, f.Close())
		}
		if err == nil && (!kept || isLinked(st)) {
			return f, st, nil
		}
		f.Close() // another process has deleted it; a file system of the net may fail to tell of it
	}
}

// isLinked tells whether a file still has a name.
func isLinked(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Nlink > 0
}

// Delete implements [store.Blobs]. It syncs nothing: after a crash a deleted
// blob may be back, and whoever deletes (trash queue, sweep) repeats.
func (d *Dir) Delete(ctx context.Context, key string) error {
	i, name, err := place(key)
	if err != nil {
		return fmt.Errorf("deleting a blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	root, _, err := d.shard(i, false)
	if err == nil {
		err = root.Remove(name)
	}
	d.idle.drop(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting a blob: %w", diskError(err))
	}
	return nil
}

// Free returns how many bytes of the file system this process may still use.
// Where the system cannot tell, the error wraps [errors.ErrUnsupported].
func (d *Dir) Free() (int64, error) {
	n, err := freeBytes(d.self.f)
	if err != nil {
		return 0, fmt.Errorf("asking for free space: %w", bare(err))
	}
	return n, nil
}

// shard opens a shard once and returns it. With create it is made where it is
// missing, and its entry is on the disk on return.
func (d *Dir) shard(i int, create bool) (*os.Root, *dirSync, error) {
	s := &d.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	name := shardName(i)
	if create && !s.durable {
		// A process that died may have made it and not synced: the first Put
		// of a process syncs in any case.
		if err := d.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, nil, err
		}
		if err := d.self.sync(); err != nil {
			return nil, nil, err
		}
	}
	if s.root == nil {
		root, err := d.root.OpenRoot(name)
		if err != nil {
			return nil, nil, err
		}
		f, err := root.Open(".")
		if err != nil {
			return nil, nil, errors.Join(err, root.Close())
		}
		s.root, s.self = root, newDirSync(f)
	}
	s.durable = s.durable || create
	return s.root, s.self, nil
}

func shardName(i int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[i>>4], digits[i&15]})
}

// place checks a key and tells its shard and the name of its file.
func place(key string) (shard int, name string, err error) {
	if len(key) < 3 || len(key) > 120 {
		return 0, "", errors.New("key of a wrong length")
	}
	slash := -1
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case c == '/' && slash < 0 && i > 0 && i < len(key)-1:
			slash = i
		default:
			return 0, "", errors.New("key with a wrong character")
		}
	}
	name = key
	if slash >= 0 {
		name = key[:slash] + "." + key[slash+1:]
	}
	return shardOf(name), name, nil
}

func shardOf(name string) int {
	return int(crc32.ChecksumIEEE([]byte(name)) % store.Shards)
}

// keyOf is the way back: the key of a file found in a shard, if it is one.
func keyOf(shard int, name string) (string, bool) {
	key := strings.Replace(name, ".", "/", 1)
	i, back, err := place(key)
	return key, err == nil && i == shard && back == name
}

// bare takes the path out of an error: keys must not get into logs.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}

// diskError is bare for what changes the disk: it adds the engine's reason.
func diskError(err error) error {
	err = bare(err)
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	case syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EIO:
		return fmt.Errorf("%w: %w", store.ErrReadOnly, err)
	}
	return err
}
