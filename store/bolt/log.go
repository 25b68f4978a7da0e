package bolt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"fileshare/store"
)

// commitLog is the append side of the log; it belongs to the committer.
// The next batch goes to tail of segment number, which need not exist yet.
type commitLog struct {
	dir         string
	segmentSize int64
	disk        reserve
	hook        func(string)
	tables      *tables

	active   *segment // nil: the next batch begins it
	number   uint32
	tail     int64
	seq      uint64
	prevEnd  int64 // of segment number-1
	reserved int64 // active has blocks up to here
	written  int64 // active's blocks are no mere reservation up to here, at least
	buf      []byte
	ops      uint32 // in buf
	zeros    []byte // of writeAhead
}

func logName(dir string, n uint32) string { return filepath.Join(dir, fmt.Sprintf("%08d.log", n)) }

func (l *commitLog) position() position {
	return position{segment: l.number, offset: l.tail, seq: l.seq}
}

// begin begins a batch.
func (l *commitLog) begin() {
	if cap(l.buf) > 2*groupBytes {
		l.buf = nil
	}
	l.buf = append(l.buf[:0], make([]byte, batchHeader)...)
	l.ops = 0
}

// add appends an operation to the batch and returns its checksum and where its
// document will be.
func (l *commitLog) add(flags byte, coll, id, doc []byte, due int64) (crc uint32, p pointer) {
	l.buf, crc = appendOp(l.buf, flags, coll, id, doc, due)
	l.ops++
	return crc, pointer{
		segment: l.number,
		offset:  uint32(l.tail + int64(len(l.buf)-len(doc))),
		length:  uint32(len(doc)),
	}
}

// inBuffer returns the document if it belongs to the batch under way.
func (l *commitLog) inBuffer(p pointer) ([]byte, bool) {
	at := int64(p.offset) - l.tail
	if p.segment != l.number || at < batchHeader || at+int64(p.length) > int64(len(l.buf)) {
		return nil, false
	}
	return l.buf[at:][:p.length:p.length], true
}

// room makes sure that the batch as it is has blocks on the disk, and that the
// reserve is left behind it. What releases space may use the reserve; what has
// only small documents, the largest as given, half of it: counters go on.
func (l *commitLog) room(largest int, releases bool) error {
	if l.active == nil {
		if err := l.create(); err != nil {
			return err
		}
	}
	end := l.tail + int64(len(l.buf))
	if end+l.disk.least <= l.reserved {
		return nil
	}
	err := l.disk.extend(l.active.file, &l.reserved, end)
	if err != nil && (releases && end <= l.reserved || largest <= smallDocument && end+l.disk.least/2 <= l.reserved) {
		return nil
	}
	return err
}

// create makes the file of the next batch, with a durable head: a batch is
// never there without one.
func (l *commitLog) create() (err error) {
	name := logName(l.dir, l.number)
	// A file of this name is the rest of an attempt that failed.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove log segment: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create log segment: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = os.Remove(name)
		}
	}()
	h := segmentHead{number: l.number, nonce: rand.Uint64(), first: l.seq, prevEnd: l.prevEnd}
	reserved := int64(0)
	if err := l.disk.extend(f, &reserved, segmentHeader); err != nil && reserved < segmentHeader {
		return fmt.Errorf("create log segment: %w", err)
	}
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return fmt.Errorf("write head of log segment: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync log segment: %w", err)
	}
	if err := syncDir(l.dir); err != nil {
		return fmt.Errorf("sync %s: %w", l.dir, err)
	}
	l.hook("segment created")
	l.active = &segment{number: l.number, file: f, nonce: h.nonce}
	l.tail, l.reserved, l.written = segmentHeader, reserved, segmentHeader
	l.tables.change(nil, func(m map[uint32]*segment) { m[l.number] = l.active })
	return nil
}

// commit makes the batch durable. After an error nothing of it will ever be
// seen, unless the disk forbids even to cut it off.
func (l *commitLog) commit() error {
	h := batchHead{seq: l.seq, ops: l.ops, length: uint32(len(l.buf) - batchHeader), segment: l.number}
	h.put(l.buf, l.active.nonce)
	if err := l.write(); err != nil {
		l.abandon()
		return err
	}
	l.hook("batch synced")
	l.tail += int64(len(l.buf))
	l.seq++
	if l.tail >= l.segmentSize {
		l.finish(l.tail)
	}
	return nil
}

func (l *commitLog) write() error {
	if _, err := l.active.file.WriteAt(l.buf, l.tail); err != nil {
		return fmt.Errorf("append to %s: %w", l.active.file.Name(), err)
	}
	l.hook("batch written")
	if err := l.writeAhead(); err != nil {
		return fmt.Errorf("append to %s: %w", l.active.file.Name(), err)
	}
	if err := syscall.Fdatasync(int(l.active.file.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", l.active.file.Name(), err)
	}
	return nil
}

const (
	aheadStep  = 256 << 10 // bytes of zeros written at once
	aheadBelow = 64 << 10  // size of batches for which that pays
)

// writeAhead writes zeros behind a small batch where the next ones will go. The
// first write to a reserved block changes the file system's books, which every
// sync has to write as well; a write over zeros does not.
func (l *commitLog) writeAhead() error {
	end := l.tail + int64(len(l.buf))
	l.written = max(l.written, end)
	if l.written > end || len(l.buf) > aheadBelow {
		return nil
	}
	n := min(aheadStep, l.reserved-end)
	if n <= 0 {
		return nil
	}
	if l.zeros == nil {
		l.zeros = make([]byte, aheadStep)
	}
	if _, err := l.active.file.WriteAt(l.zeros[:n], end); err != nil {
		return err
	}
	l.written = end + n
	return nil
}

// finish closes the active segment; what was reserved behind its end is given
// back.
func (l *commitLog) finish(end int64) {
	_ = l.active.file.Truncate(end)
	l.active.end.Store(end)
	l.active = nil
	l.number++
	l.tail, l.prevEnd, l.reserved = segmentHeader, end, 0
}

// abandon goes on in another segment after a failed write: a sync that failed
// once may succeed later without having written. The head of the next segment
// says where this one ends, should the truncation not last.
func (l *commitLog) abandon() {
	old, fresh := l.active, l.tail == segmentHeader
	_ = old.file.Truncate(l.tail)
	_ = old.file.Sync()
	if !fresh {
		l.finish(l.tail)
		return
	}
	// Nothing was ever committed to it: its number is used again.
	_ = os.Remove(logName(l.dir, l.number))
	l.active, l.reserved = nil, 0
	l.tables.change(nil, func(m map[uint32]*segment) { delete(m, old.number) })
}

// reserve says how many blocks are kept ahead of what is written, so that
// deletions find room on a full disk.
type reserve struct {
	least int64 // bytes that only what releases space may use
	ahead int64 // bytes reserved at once while there is plenty
}

const (
	smallDocument = 512
	leastReserve  = 256 << 10
	mostReserve   = 4 << 20
)

// newReserve returns one that suits the file system of dir.
func newReserve(dir string) reserve {
	least := int64(mostReserve)
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) == nil {
		least = min(max(int64(s.Blocks)*s.Bsize/64, leastReserve), mostReserve)
	}
	return reserve{least: least, ahead: 2 * least}
}

// extend reserves blocks from *reserved to the least behind end, or to more.
// An error wraps [store.ErrNoSpace] and leaves *reserved as it is.
func (r reserve) extend(f *os.File, reserved *int64, end int64) error {
	for _, to := range []int64{end + r.least + r.ahead, end + r.least} {
		if to > end+r.least && free(f) < 4*(to-*reserved) {
			continue // leave some for others
		}
		switch err := fallocate(f, *reserved, to-*reserved); {
		case err == nil:
			*reserved = to
			return nil
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EINVAL):
			return nil // it cannot reserve: the write will tell
		case !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT):
			return fmt.Errorf("reserve room in %s: %w", f.Name(), err)
		}
	}
	return fmt.Errorf("%w: no room for %s", store.ErrNoSpace, f.Name())
}

func fallocate(f *os.File, from, n int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, from, n)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// free returns the free bytes of a file's disk.
func free(f *os.File) int64 {
	var s syscall.Statfs_t
	if syscall.Fstatfs(int(f.Fd()), &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}
