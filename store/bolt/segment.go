package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"fileshare/store"
)

// A record of the value log, all numbers big-endian:
//
//	magic 4 ‖ CRC-32C of the rest 4 ‖ document length 4 ‖ id length 2 ‖
//	collection length 1 ‖ zero 1 ‖ collection ‖ id ‖ document
const (
	recordMagic  = 0x66735631 // "fsV1"
	recordHeader = 16
	reserveBy    = 8 << 20 // blocks are reserved ahead of the tail: a sync then costs less
)

// segment is one open file of the log. Its descriptor lives as long as a table
// refers to it: a reader of an old snapshot can read what is unlinked.
type segment struct {
	number uint32
	file   *os.File
	refs   atomic.Int64 // tables
}

// segmentTable is an immutable set of segments, referred to by every View that
// began under it and, while it is the current one, by the log.
type segmentTable struct {
	segments map[uint32]*segment
	refs     atomic.Int64
}

func newTable(segments map[uint32]*segment) *segmentTable {
	t := &segmentTable{segments: segments}
	t.refs.Store(1)
	for _, s := range segments {
		s.refs.Add(1)
	}
	return t
}

func (t *segmentTable) release() {
	if t.refs.Add(-1) > 0 {
		return
	}
	for _, s := range t.segments {
		if s.refs.Add(-1) == 0 {
			s.file.Close() // only read from by now: nothing can be lost
		}
	}
}

// usage is what the tree knows of a segment.
type usage struct {
	live int64 // bytes of records that the tree points to
	end  int64 // bytes written
}

// valueLog is the append side (owned by the committer) and the table for
// readers.
type valueLog struct {
	dir         string
	segmentSize int64
	table       atomic.Pointer[segmentTable]

	known    map[uint32]usage // as in the tree and this group
	changed  map[uint32]bool  // by this group
	active   *segment         // nil until something is appended
	fresh    bool             // active is not in the tree yet
	tail     int64            // committed end of active
	reserved int64            // blocks of active are reserved up to here
	buf      []byte           // records of this group; they go to tail
}

func (l *valueLog) name(n uint32) string {
	return filepath.Join(l.dir, fmt.Sprintf("%08d.val", n))
}

// openLog opens the segments that the tree knows, removes the others and cuts
// off what a crash left behind the end of the last one.
func openLog(dir string, segmentSize int64, load func() (map[uint32]usage, error)) (*valueLog, error) {
	l := &valueLog{dir: dir, segmentSize: segmentSize, changed: map[uint32]bool{}}
	var err error
	if l.known, err = load(); err != nil {
		return nil, err
	}
	segments := map[uint32]*segment{}
	fail := func(err error) (*valueLog, error) {
		for _, s := range segments {
			s.file.Close()
		}
		return nil, err
	}
	for n, u := range l.known {
		s, err := l.openSegment(n, u)
		if err != nil {
			return fail(err)
		}
		segments[n] = s
	}
	if err := l.removeUnknown(); err != nil {
		return fail(err)
	}
	if len(segments) > 0 {
		last := slices.Max(slices.Collect(maps.Keys(segments)))
		if end := l.known[last].end; end < segmentSize {
			l.active, l.tail = segments[last], end
			if err := l.active.file.Truncate(end); err != nil {
				return fail(fmt.Errorf("cut segment: %w", diskError(err)))
			}
		}
	}
	l.table.Store(newTable(segments))
	l.markDead()
	return l, nil
}

// markDead has the next group look at segments without life.
func (l *valueLog) markDead() {
	for n, u := range l.known {
		if u.live == 0 {
			l.changed[n] = true
		}
	}
}

func (l *valueLog) openSegment(n uint32, u usage) (*segment, error) {
	f, err := os.OpenFile(l.name(n), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("value segment %s: %w: missing", l.name(n), ErrDamaged)
	} else if err != nil {
		return nil, fmt.Errorf("open value segment: %w", diskError(err))
	}
	info, err := f.Stat()
	if err == nil && info.Size() < u.end {
		err = fmt.Errorf("value segment %s: %w: %d bytes of %d", l.name(n), ErrDamaged, info.Size(), u.end)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segment{number: n, file: f}, nil
}

func (l *valueLog) removeUnknown() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("list value segments: %w", err)
	}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".val")
		n, err := strconv.ParseUint(base, 10, 32)
		if !ok || err != nil {
			continue // not ours
		}
		if _, ok := l.known[uint32(n)]; ok {
			continue
		}
		if err := os.Remove(filepath.Join(l.dir, e.Name())); err != nil {
			return fmt.Errorf("remove value segment: %w", diskError(err))
		}
	}
	return nil
}

// acquire returns the current table with a reference to it.
func (l *valueLog) acquire() *segmentTable {
	for {
		t := l.table.Load()
		n := t.refs.Load()
		if n > 0 && t.refs.CompareAndSwap(n, n+1) {
			return t
		}
	}
}

// swap replaces the current table.
func (l *valueLog) swap(segments map[uint32]*segment) {
	old := l.table.Swap(newTable(segments))
	old.release()
}

// add appends a record to the group and returns where it will be.
func (l *valueLog) add(in store.Collection, id, doc []byte) (pointer, error) {
	if l.active == nil {
		if err := l.create(); err != nil {
			return pointer{}, err
		}
	}
	start := len(l.buf)
	b := binary.BigEndian.AppendUint32(l.buf, recordMagic)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(doc)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(id)))
	b = append(b, byte(len(in)), 0)
	b = append(b, in...)
	b = append(b, id...)
	b = append(b, doc...)
	crc := crc32.Checksum(b[start+8:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b[start+4:], crc)
	l.buf = b
	return pointer{
		segment: l.active.number,
		offset:  uint32(l.tail + int64(start)),
		length:  uint32(len(doc)),
		crc:     crc,
	}, nil
}

// recordSize is what a record takes in the log.
func recordSize(in store.Collection, id []byte, length uint32) int64 {
	return recordHeader + int64(len(in)) + int64(len(id)) + int64(length)
}

// create begins a new segment. The tree learns of it with the group's commit.
func (l *valueLog) create() error {
	n := uint32(1)
	if len(l.known) > 0 {
		n = slices.Max(slices.Collect(maps.Keys(l.known))) + 1
	}
	// A file of this name is the rest of an attempt that failed.
	if err := os.Remove(l.name(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove value segment: %w", diskError(err))
	}
	f, err := os.OpenFile(l.name(n), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create value segment: %w", diskError(err))
	}
	l.active, l.fresh, l.tail, l.reserved = &segment{number: n, file: f}, true, 0, 0
	l.known[n] = usage{}
	segments := maps.Clone(l.table.Load().segments)
	segments[n] = l.active
	l.swap(segments)
	return nil
}

// flush makes the records of the group durable.
func (l *valueLog) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	end := l.tail + int64(len(l.buf))
	if end > l.reserved {
		const keepSize = 1 // FALLOC_FL_KEEP_SIZE
		l.reserved = end + reserveBy
		// Best effort: without it a sync is dearer, that is all.
		_ = syscall.Fallocate(int(l.active.file.Fd()), keepSize, l.tail, l.reserved-l.tail)
	}
	if _, err := l.active.file.WriteAt(l.buf, l.tail); err != nil {
		return fmt.Errorf("append to value log: %w", err)
	}
	if err := syscall.Fdatasync(int(l.active.file.Fd())); err != nil {
		return fmt.Errorf("sync value log: %w", err)
	}
	if l.fresh {
		if err := syncDir(l.dir); err != nil {
			return fmt.Errorf("sync %s: %w", l.dir, err)
		}
	}
	return nil
}

// count changes the live bytes of a segment.
func (l *valueLog) count(n uint32, by int64) {
	u := l.known[n]
	u.live += by
	l.known[n] = u
	l.changed[n] = true
}

// committed ends a group whose commit is durable: drop are the segments that
// the tree no longer knows.
func (l *valueLog) committed(drop []uint32) {
	if n := len(l.buf); n > 0 {
		l.tail += int64(n)
		l.fresh = false
	}
	l.resetBuffer()
	clear(l.changed)
	if l.active != nil && !l.fresh && l.tail >= l.segmentSize {
		// What was reserved behind the tail is given back.
		_ = l.active.file.Truncate(l.tail)
		l.changed[l.active.number] = true // it may be dead already
		l.active = nil
	}
	if len(drop) == 0 {
		return
	}
	segments := maps.Clone(l.table.Load().segments)
	for _, n := range drop {
		delete(segments, n)
		delete(l.known, n)
		_ = os.Remove(l.name(n)) // the next Open tries again
	}
	l.swap(segments)
}

// reload ends a group that was not committed: known is what the tree knows
// now. After a failed write the segment is not appended to any more, because a
// sync that failed once may succeed later without having written.
func (l *valueLog) reload(known map[uint32]usage, wrote bool) {
	l.resetBuffer()
	clear(l.changed)
	l.known = known
	l.markDead()
	if l.active == nil {
		return
	}
	u, ok := known[l.active.number]
	if ok && !wrote {
		return
	}
	if ok {
		_ = l.active.file.Truncate(u.end)
	} else {
		segments := maps.Clone(l.table.Load().segments)
		delete(segments, l.active.number)
		_ = os.Remove(l.name(l.active.number))
		l.swap(segments)
	}
	l.active, l.fresh = nil, false
}

func (l *valueLog) resetBuffer() {
	if cap(l.buf) > 2*groupBytes {
		l.buf = nil
	}
	l.buf = l.buf[:0]
}

// close gives back what was reserved and drops the log's own references.
func (l *valueLog) close() {
	if l.active != nil {
		_ = l.active.file.Truncate(l.tail)
	}
	l.swap(nil)
}

// parseRecord checks a whole record against the place that points to it.
func parseRecord(b []byte, in store.Collection, id []byte, crc uint32) ([]byte, error) {
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	switch {
	case h.crc != crc || int64(len(b)) != h.size():
		return nil, errors.New("not the record that is pointed to")
	case crc32.Checksum(b[8:], crc32.MakeTable(crc32.Castagnoli)) != crc:
		return nil, errors.New("checksum differs")
	case string(b[recordHeader:][:h.coll]) != string(in) || string(b[recordHeader+h.coll:][:h.id]) != string(id):
		return nil, errors.New("record of another document")
	}
	return b[recordHeader+h.coll+h.id:], nil
}

type header struct {
	crc      uint32
	doc      uint32
	id, coll int
}

func (h header) size() int64 { return recordHeader + int64(h.coll) + int64(h.id) + int64(h.doc) }

func parseHeader(b []byte) (header, error) {
	if len(b) < recordHeader || binary.BigEndian.Uint32(b) != recordMagic {
		return header{}, errors.New("no record there")
	}
	return header{
		crc:  binary.BigEndian.Uint32(b[4:]),
		doc:  binary.BigEndian.Uint32(b[8:]),
		id:   int(binary.BigEndian.Uint16(b[12:])),
		coll: int(b[14]),
	}, nil
}
