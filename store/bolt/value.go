package bolt

import (
	"encoding/binary"
	"errors"
	"time"
)

// A stored value is flags (1 byte) ‖ due (8 bytes, if flagDue) ‖ the document,
// or with flagPointer where the value log has it.
const (
	flagDue     = 1 << iota // has a due time
	flagPointer             // the rest is a pointer
	flagsKnown  = flagDue | flagPointer
)

// stored is a decoded value.
type stored struct {
	due    int64 // milliseconds since the epoch, only with hasDue
	hasDue bool
	inLog  bool
	doc    []byte  // unless inLog
	ptr    pointer // if inLog
}

// pointer is a place in the value log.
type pointer struct {
	segment uint32
	offset  uint32 // of the record's header
	length  uint32 // of the document
	crc     uint32 // CRC-32C as in the record's header
}

const pointerSize = 16

func (p pointer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, p.segment)
	b = binary.BigEndian.AppendUint32(b, p.offset)
	b = binary.BigEndian.AppendUint32(b, p.length)
	return binary.BigEndian.AppendUint32(b, p.crc)
}

// appendHead appends what comes before the document or pointer.
func appendHead(b []byte, flags byte, due int64) []byte {
	b = append(b, flags)
	if flags&flagDue != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(due))
	}
	return b
}

var errBadValue = errors.New("malformed stored value")

// decode takes a stored value apart; doc is a part of v.
func decode(v []byte) (s stored, err error) {
	if len(v) == 0 || v[0]&^flagsKnown != 0 {
		return s, errBadValue
	}
	flags := v[0]
	v = v[1:]
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
		crc:     binary.BigEndian.Uint32(v[12:]),
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
