package store

import (
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// Records are encoded as fields: a byte number<<1|form, then an unsigned varint
// (form 0) or a length and so many bytes (form 1). Absent fields are zero,
// unknown ones are passed over, so that a record can grow.

var errCodec = errors.New("damaged record")

type encoder []byte

func (e *encoder) uint(n int, v uint64) {
	if v != 0 {
		*e = binary.AppendUvarint(append(*e, byte(n<<1)), v)
	}
}

func (e *encoder) bytes(n int, v []byte) {
	if len(v) > 0 {
		*e = append(binary.AppendUvarint(append(*e, byte(n<<1|1)), uint64(len(v))), v...)
	}
}

func (e *encoder) string(n int, v string) {
	if v != "" {
		*e = append(binary.AppendUvarint(append(*e, byte(n<<1|1)), uint64(len(v))), v...)
	}
}

// item is a string of a list, which may be empty.
func (e *encoder) item(n int, v string) {
	*e = append(binary.AppendUvarint(append(*e, byte(n<<1|1)), uint64(len(v))), v...)
}

func (e *encoder) key(n int, k Key) {
	if !k.zero() {
		e.bytes(n, k[:])
	}
}

func (e *encoder) time(n int, t time.Time) {
	if !t.IsZero() {
		e.uint(n, uint64(t.UnixMilli()))
	}
}

// field is one decoded field; raw is valid as long as the record.
type field struct {
	n   int
	v   uint64
	raw []byte
}

func (f field) time() time.Time { return time.UnixMilli(int64(f.v)).UTC() }

func (f field) key() Key {
	k, _ := keyOf(f.raw)
	return k
}

// fields yields the fields of a record and at last an error if it is damaged.
func fields(b []byte) iter.Seq2[field, error] {
	return func(yield func(field, error) bool) {
		for len(b) > 0 {
			f := field{n: int(b[0] >> 1)}
			v, n := binary.Uvarint(b[1:])
			if n <= 0 {
				yield(field{}, errCodec)
				return
			}
			withBytes := b[0]&1 == 1
			b = b[1+n:]
			if withBytes {
				if v > uint64(len(b)) {
					yield(field{}, errCodec)
					return
				}
				f.raw, b = b[:v:v], b[v:]
			} else {
				f.v = v
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}
