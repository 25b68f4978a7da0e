package archive

import (
	"encoding/binary"
	"time"
)

// zipFormat is APPNOTE.TXT 6.3.10, method "stored", with CRC and sizes in front
// of each content (no data descriptor), so that also readers of streams
// understand it. ZIP64 fields (§4.3.14, §4.5.3) appear only where a number does
// not fit without them.
type zipFormat struct{}

const (
	max16 = 1<<16 - 1
	max32 = 1<<32 - 1

	zipUTF8      = 0x0800   // flag: the name is UTF-8 (§4.4.4)
	zipVersion   = 20       // needed to extract: 2.0
	zipVersion64 = 45       // 4.5: ZIP64
	zipUnix      = 3 << 8   // made by Unix, so that the attributes are a mode
	zipMode      = 0o100644 // a regular file
	extraZip64   = 0x0001   // §4.5.3
	extraTime    = 0x5455   // extended timestamp: seconds in UTC
)

func (zipFormat) lay(entries []Entry) ([]part, error) {
	parts := make([]part, 0, 3*len(entries)+1)
	offset := int64(0)
	var directory []part
	for i, e := range entries {
		size := int64(len(zipLocal(e)))
		parts = append(parts, part{kind: header, entry: i, size: size}, part{kind: content, entry: i, size: e.Size})
		directory = append(directory, part{kind: central, entry: i, size: int64(len(zipCentral(e, offset)))})
		offset += size + e.Size
	}
	start, length := offset, int64(0)
	for _, p := range directory {
		length += p.size
	}
	parts = append(parts, directory...)
	return append(parts, part{kind: end, size: int64(len(zipEnd(len(entries), start, length)))}), nil
}

func (zipFormat) bytes(a *Archive, p part) ([]byte, error) {
	switch p.kind {
	case header:
		return zipLocal(a.entries[p.entry]), nil
	case central:
		return zipCentral(a.entries[p.entry], a.parts[2*p.entry].from), nil
	}
	n := len(a.entries)
	start := p.from
	if n > 0 {
		start = a.parts[2*n].from
	}
	return zipEnd(n, start, p.from-start), nil
}

// zipCommon appends the fields that both headers of a file share (§4.3.7), up
// to the length of the extra field.
func zipCommon(b []byte, e Entry, version int, extra int) []byte {
	le := binary.LittleEndian
	date, clock := dosTime(e.Modified)
	b = le.AppendUint16(b, uint16(version))
	b = le.AppendUint16(b, zipUTF8)
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, clock)
	b = le.AppendUint16(b, date)
	b = le.AppendUint32(b, e.CRC32)
	b = le.AppendUint32(b, uint32(min(e.Size, max32)))
	b = le.AppendUint32(b, uint32(min(e.Size, max32)))
	b = le.AppendUint16(b, uint16(len(e.Name)))
	return le.AppendUint16(b, uint16(extra))
}

// zipExtra makes the extra field of a header: big are the numbers that did not
// fit.
func zipExtra(e Entry, big []int64) []byte {
	le := binary.LittleEndian
	var b []byte
	if len(big) > 0 {
		b = le.AppendUint16(b, extraZip64)
		b = le.AppendUint16(b, uint16(8*len(big)))
		for _, n := range big {
			b = le.AppendUint64(b, uint64(n))
		}
	}
	b = le.AppendUint16(b, extraTime)
	b = le.AppendUint16(b, 5)
	b = append(b, 1) // the time of modification follows
	return le.AppendUint32(b, uint32(e.Modified.Unix()))
}

// bigSizes are the sizes of a file, twice, if they do not fit.
func bigSizes(e Entry) []int64 {
	if e.Size < max32 {
		return nil
	}
	return []int64{e.Size, e.Size}
}

func zipLocal(e Entry) []byte {
	big := bigSizes(e)
	extra := zipExtra(e, big)
	version := zipVersion
	if big != nil {
		version = zipVersion64
	}
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 30+len(e.Name)+len(extra)), 0x04034b50)
	b = zipCommon(b, e, version, len(extra))
	return append(append(b, e.Name...), extra...)
}

func zipCentral(e Entry, offset int64) []byte {
	le := binary.LittleEndian
	big := bigSizes(e)
	if offset >= max32 {
		big = append(big, offset)
	}
	extra := zipExtra(e, big)
	version := zipVersion
	if big != nil {
		version = zipVersion64
	}
	b := le.AppendUint32(make([]byte, 0, 46+len(e.Name)+len(extra)), 0x02014b50)
	b = le.AppendUint16(b, uint16(zipUnix|version))
	b = zipCommon(b, e, version, len(extra))
	b = append(b, 0, 0, 0, 0, 0, 0) // no comment, first disk, no internal attributes
	b = le.AppendUint32(b, zipMode<<16)
	b = le.AppendUint32(b, uint32(min(offset, max32)))
	return append(append(b, e.Name...), extra...)
}

// zipEnd makes what follows the directory of n files, which begins at start and
// is length bytes long (§4.3.14 to §4.3.16).
func zipEnd(n int, start, length int64) []byte {
	le := binary.LittleEndian
	var b []byte
	if n >= max16 || start >= max32 || length >= max32 {
		b = le.AppendUint32(b, 0x06064b50)
		b = le.AppendUint64(b, 44) // what follows of this record
		b = le.AppendUint16(b, zipUnix|zipVersion64)
		b = le.AppendUint16(b, zipVersion64)
		b = le.AppendUint64(b, 0) // this disk, and that of the directory
		b = le.AppendUint64(b, uint64(n))
		b = le.AppendUint64(b, uint64(n))
		b = le.AppendUint64(b, uint64(length))
		b = le.AppendUint64(b, uint64(start))
		b = le.AppendUint32(b, 0x07064b50) // where that record is
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, uint64(start+length))
		b = le.AppendUint32(b, 1) // one disk
	}
	b = le.AppendUint32(b, 0x06054b50)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, uint16(min(n, max16)))
	b = le.AppendUint16(b, uint16(min(n, max16)))
	b = le.AppendUint32(b, uint32(min(length, max32)))
	b = le.AppendUint32(b, uint32(min(start, max32)))
	return le.AppendUint16(b, 0) // no comment
}

// dosTime is a time as §4.4.6 has it, in UTC and even seconds, for readers that
// do not know the extended timestamp.
func dosTime(t time.Time) (date, clock uint16) {
	t = t.UTC()
	if t.Year() < 1980 {
		return 1<<5 | 1, 0
	}
	date = uint16(t.Day() | int(t.Month())<<5 | (t.Year()-1980)<<9)
	return date, uint16(t.Second()/2 | t.Minute()<<5 | t.Hour()<<11)
}
