package bolt

import (
	"encoding/binary"
	"errors"
	"time"
)

// A value of the tree is flags (1 byte) ‖ checksum (4) ‖ due (8, if flagDue) ‖
// the document, or with flagPointer where the log has it.
const (
	flagDue     = 1 << iota // has a due time
	flagPointer             // the rest is a pointer; only in the tree
	flagDelete              // is deleted; only in the log
)

// stored is what is known of a document.
type stored struct {
	due    int64 // milliseconds since the epoch, only with hasDue
	hasDue bool
	inLog  bool
	crc    uint32  // as in the head of its operation in the log
	doc    []byte  // unless inLog
	ptr    pointer // if inLog
}

// pointer is a place in the log.
type pointer struct {
	segment uint32
	offset  uint32 // of the document
	length  uint32 // of the document
}

const pointerSize = 12

// size is what a stored value takes in the tree.
func (s *stored) size() int {
	if s.inLog {
		return 1 + 4 + 8 + pointerSize
	}
	return 1 + 4 + 8 + len(s.doc)
}

// time is when the document is due, zero: never.
func (s *stored) time() time.Time {
	if !s.hasDue {
		return time.Time{}
	}
	return time.UnixMilli(s.due).UTC()
}

// append appends the value of the tree.
func (s *stored) append(b []byte) []byte {
	var flags byte
	if s.hasDue {
		flags |= flagDue
	}
	if s.inLog {
		flags |= flagPointer
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, s.crc)
	if s.hasDue {
		b = binary.BigEndian.AppendUint64(b, uint64(s.due))
	}
	if !s.inLog {
		return append(b, s.doc...)
	}
	b = binary.BigEndian.AppendUint32(b, s.ptr.segment)
	b = binary.BigEndian.AppendUint32(b, s.ptr.offset)
	return binary.BigEndian.AppendUint32(b, s.ptr.length)
}

var errBadValue = errors.New("malformed stored value")

// decode takes a value of the tree apart; doc is a part of v.
func decode(v []byte) (s stored, err error) {
	if len(v) < 5 || v[0]&^(flagDue|flagPointer) != 0 {
		return s, errBadValue
	}
	flags := v[0]
	s.crc = binary.BigEndian.Uint32(v[1:])
	v = v[5:]
	if flags&flagDue != 0 {
		if len(v) < 8 {
			return s, errBadValue
		}
		s.hasDue, s.due = true, int64(binary.BigEndian.Uint64(v))
		v = v[8:]
	}
	if flags&flagPointer == 0 {
		s.doc = v[:len(v):len(v)]
		return s, nil
	}
	if len(v) != pointerSize {
		return s, errBadValue
	}
	s.inLog = true
	s.ptr = pointer{
		segment: binary.BigEndian.Uint32(v),
		offset:  binary.BigEndian.Uint32(v[4:]),
		length:  binary.BigEndian.Uint32(v[8:]),
	}
	return s, nil
}

// dueMillis rounds up to milliseconds since the epoch.
func dueMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}

// appendDueKey appends the key of a due bucket: the time so that the bytes
// sort like it (the sign turned, for times before 1970) ‖ id.
func appendDueKey(b []byte, ms int64, id []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(ms)^1<<63)
	return append(b, id...)
}

func splitDueKey(k []byte) (ms int64, id []byte, err error) {
	if len(k) <= 8 {
		return 0, nil, errBadValue
	}
	return int64(binary.BigEndian.Uint64(k) ^ 1<<63), k[8:], nil
}
