package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"fileshare/store"
)

// replay reads the log from where the tree ends: at Open.
type replay struct {
	db       *DB
	dir      string
	at       position // where the tree ends, then what has been read
	files    []uint32 // in order
	segments map[uint32]*segment
	mem      *memtable
	arena    arena
	cut      *segment // has bytes behind its last batch that a crash has left
}

// openLog opens what the tree points to and replays what it does not know. It
// changes nothing before it knows that all is well.
func (db *DB) openLog(dir string) (err error) {
	at, err := db.readBooks()
	if err != nil {
		return err
	}
	r := replay{db: db, dir: dir, at: at, segments: map[uint32]*segment{}, mem: &memtable{}}
	defer func() {
		if err != nil {
			for _, s := range r.segments {
				s.file.Close()
			}
		}
	}()
	if r.files, err = listSegments(dir); err != nil {
		return err
	}
	if err := r.openOld(); err != nil {
		return err
	}
	if err := r.run(); err != nil {
		return err
	}
	if err := r.clean(); err != nil {
		return err
	}
	if r.mem.end = r.at; r.mem.ops > 0 {
		r.mem.begun = time.Now()
	}
	db.done = at
	db.tables.current.Store(newTable(r.segments, &db.tables.holes))
	db.version.Store(&version{active: r.mem})
	return nil
}

// listSegments returns the numbers of the files, in order.
func listSegments(dir string) (list []uint32, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list log segments: %w", err)
	}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".log")
		if n, err := strconv.ParseUint(base, 10, 32); ok && err == nil {
			list = append(list, uint32(n))
		}
	}
	slices.Sort(list)
	return list, nil
}

func (r *replay) damaged(n uint32, format string, args ...any) error {
	return fmt.Errorf("log segment %s: %w: %s", logName(r.dir, n), ErrDamaged, fmt.Sprintf(format, args...))
}

// open opens a segment and reads its head. whole is false if the file was
// never finished; only the last one may be like that.
func (r *replay) open(n uint32) (s *segment, h segmentHead, whole bool, err error) {
	f, err := os.OpenFile(logName(r.dir, n), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, h, false, r.damaged(n, "missing")
	} else if err != nil {
		return nil, h, false, fmt.Errorf("open log segment: %w", diskError(err))
	}
	b := make([]byte, segmentHeader)
	k, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, h, false, fmt.Errorf("read log segment: %w", diskError(err))
	}
	h, err = parseSegmentHead(b[:k])
	switch {
	case err == nil && h.number == n:
		return &segment{number: n, file: f, nonce: h.nonce}, h, true, nil
	case n == r.files[len(r.files)-1] && (n > r.at.segment || r.at.offset == segmentHeader):
		if empty, readErr := isZero(f, 0); readErr != nil || empty {
			f.Close()
			return nil, h, false, readErr
		}
	}
	f.Close()
	return nil, h, false, r.damaged(n, "head: %v", err)
}

// openOld opens the segments before the position.
func (r *replay) openOld() error {
	for n, u := range r.db.books {
		if n >= r.at.segment {
			continue
		}
		s, _, _, err := r.open(n)
		if err != nil {
			return err
		}
		r.segments[n] = s
		s.end.Store(u.end)
	}
	for n, u := range r.db.books {
		path := logName(r.dir, n)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return r.damaged(n, "missing")
		case err != nil:
			return fmt.Errorf("open log segment: %w", diskError(err))
		case info.Size() < u.end:
			return r.damaged(n, "%d bytes of %d", info.Size(), u.end)
		}
	}
	return nil
}

// run reads batches until the end of the log, and has the log go on there.
func (r *replay) run() error {
	l := &r.db.log
	for {
		n := r.at.segment
		i, there := slices.BinarySearch(r.files, n)
		var s *segment
		if there {
			var err error
			if s, _, _, err = r.open(n); err != nil {
				return err
			}
		}
		if s == nil { // the next batch begins it
			if r.at.offset != segmentHeader || i < len(r.files) && r.files[i] != n {
				return r.damaged(n, "missing")
			}
			l.number, l.tail, l.seq = n, segmentHeader, r.at.seq
			return nil
		}
		r.segments[n] = s
		next, err := r.next(i)
		if err != nil {
			return err
		}
		stop := int64(-1)
		if next != nil {
			stop = next.prevEnd
		}
		if err := r.segment(s, stop); err != nil {
			return err
		}
		if next == nil {
			return r.tail(s)
		}
		if next.first != r.at.seq {
			return r.damaged(n+1, "begins with batch %d, not %d", next.first, r.at.seq)
		}
		s.end.Store(r.at.offset)
		l.prevEnd = r.at.offset
		r.at = position{segment: n + 1, offset: segmentHeader, seq: r.at.seq}
	}
}

// next returns the head of the segment behind the i-th, nil if there is none.
func (r *replay) next(i int) (*segmentHead, error) {
	if i+1 == len(r.files) {
		return nil, nil
	}
	if want := r.files[i] + 1; r.files[i+1] != want {
		return nil, r.damaged(want, "missing")
	}
	s, h, whole, err := r.open(r.files[i+1])
	if err != nil || !whole {
		return nil, err
	}
	s.file.Close()
	return &h, nil
}

// segment reads the batches of a segment up to stop; -1 = to the end.
func (r *replay) segment(s *segment, stop int64) error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("open log segment: %w", diskError(err))
	}
	if info.Size() < r.at.offset {
		return r.damaged(s.number, "%d bytes of %d", info.Size(), r.at.offset)
	}
	var buf []byte
	for r.at.offset != stop {
		var h batchHead
		var bad error
		if buf, h, bad, err = readBatch(s, r.at.offset, info.Size(), buf); err != nil {
			return err
		}
		if bad == nil && h.seq != r.at.seq {
			bad = fmt.Errorf("batch %d", h.seq)
		}
		if bad != nil {
			if stop >= 0 {
				return r.damaged(s.number, "at %d of %d: %v", r.at.offset, stop, bad)
			}
			return r.nothingBehind(s, info.Size())
		}
		if err := r.apply(s, h, buf); err != nil {
			return err
		}
		r.at.offset += int64(len(buf))
		r.at.seq++
		r.mem.logBytes += int64(len(buf))
		if stop >= 0 && r.at.offset > stop {
			return r.damaged(s.number, "goes on behind its end at %d", stop)
		}
	}
	return nil
}

// readBatch reads and verifies a batch. bad says why there is none.
func readBatch(s *segment, off, size int64, buf []byte) (_ []byte, h batchHead, bad, err error) {
	if size-off < batchHeader {
		return buf, h, io.ErrUnexpectedEOF, nil
	}
	buf = slices.Grow(buf[:0], batchHeader)[:batchHeader]
	if _, err := s.file.ReadAt(buf, off); err != nil {
		return buf, h, nil, fmt.Errorf("read log segment: %w", diskError(err))
	}
	if h, bad = parseBatchHead(buf); bad != nil {
		return buf, h, bad, nil
	}
	if h.segment != s.number || int64(h.length) > size-off-batchHeader {
		return buf, h, errors.New("batch of another place"), nil
	}
	buf = slices.Grow(buf, int(h.length))[:batchHeader+int(h.length)]
	if _, err := s.file.ReadAt(buf[batchHeader:], off+batchHeader); err != nil {
		return buf, h, nil, fmt.Errorf("read log segment: %w", diskError(err))
	}
	if batchSum(buf, s.nonce) != h.crc {
		bad = errors.New("checksum of a batch differs")
	}
	return buf, h, bad, nil
}

// nothingBehind tells the end of the log from damage: behind what a crash cut
// off there is no whole batch, because one is written after the other is durable.
func (r *replay) nothingBehind(s *segment, size int64) error {
	if zero, err := isZero(s.file, r.at.offset); zero || err != nil {
		return err
	}
	r.cut = s
	rest := make([]byte, size-r.at.offset)
	if _, err := s.file.ReadAt(rest, r.at.offset); err != nil {
		return fmt.Errorf("read log segment: %w", diskError(err))
	}
	magic := binary.BigEndian.AppendUint32(nil, batchMagic)
	for from := 1; ; from++ {
		i := bytes.Index(rest[min(from, len(rest)):], magic)
		if i < 0 {
			return nil
		}
		from += i
		_, h, bad, err := readBatch(s, r.at.offset+int64(from), size, nil)
		if err != nil {
			return err
		}
		if bad == nil && h.seq >= r.at.seq {
			return r.damaged(s.number, "at %d, before batch %d at %d", r.at.offset, h.seq, r.at.offset+int64(from))
		}
	}
}

// isZero reports whether a file has nothing but zeros from off on.
func isZero(f *os.File, off int64) (bool, error) {
	b := make([]byte, 256<<10)
	for {
		n, err := f.ReadAt(b, off)
		if bytes.Count(b[:n], []byte{0}) != n {
			return false, nil
		}
		off += int64(n)
		if errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return false, fmt.Errorf("read log segment: %w", diskError(err))
		}
	}
}

// apply carries a batch over into the memtable.
func (r *replay) apply(s *segment, h batchHead, b []byte) error {
	off := int64(batchHeader)
	for range h.ops {
		o, err := parseOpHead(b[off:])
		if err != nil || o.size() > int64(len(b))-off {
			return r.damaged(s.number, "operation at %d", r.at.offset+off)
		}
		body := b[off+opHeader:][:o.size()-opHeader]
		coll, ok := r.db.index[store.Collection(body[:o.coll])]
		if !ok {
			return r.damaged(s.number, "unknown collection %q", body[:o.coll])
		}
		e := r.arena.entry()
		e.id = r.arena.clone(body[o.coll:][:o.id])
		if e.deleted = o.flags&flagDelete != 0; !e.deleted {
			doc := body[o.coll+o.id:]
			e.crc, e.due, e.hasDue = o.crc, o.due, o.flags&flagDue != 0
			e.ptr = pointer{segment: s.number, offset: uint32(r.at.offset + off + o.size() - int64(o.doc)), length: o.doc}
			e.inLog = len(doc) > r.db.opts.Threshold
			r.arena.keep(e, doc)
		}
		r.mem.put(coll, e)
		off += o.size()
	}
	if off != int64(len(b)) {
		return r.damaged(s.number, "batch at %d is longer than its operations", r.at.offset)
	}
	return nil
}

// tail has the log go on behind the last batch.
func (r *replay) tail(s *segment) error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("open log segment: %w", diskError(err))
	}
	l := &r.db.log
	l.active, l.number, l.tail, l.seq, l.reserved = s, s.number, r.at.offset, r.at.seq, info.Size()
	return nil
}

// clean removes what is not needed: old segments whose removal was interrupted,
// a new one that never was finished, and what is behind the last batch.
func (r *replay) clean() error {
	for _, n := range r.files {
		if r.segments[n] != nil {
			continue
		}
		if err := os.Remove(filepath.Join(r.dir, filepath.Base(logName(r.dir, n)))); err != nil {
			return fmt.Errorf("remove log segment: %w", diskError(err))
		}
	}
	l := &r.db.log
	if r.cut != nil {
		size := l.reserved
		if err := errors.Join(r.cut.file.Truncate(l.tail), r.cut.file.Sync()); err != nil {
			return fmt.Errorf("cut log segment: %w", diskError(err))
		}
		l.reserved = l.tail
		if fallocate(r.cut.file, l.tail, size-l.tail) == nil {
			l.reserved = size
		}
	}
	if l.active != nil && l.tail >= l.segmentSize {
		l.finish(l.tail)
		r.at = l.position()
	}
	return nil
}
