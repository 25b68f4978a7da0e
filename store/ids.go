package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Key is the inner id of a record: 122 bits, big endian, left-aligned in 16
// bytes (the last six bits are zero). The first 48 bits are the milliseconds
// of its making, the other 74 are random. Keys made together lie together in
// an ordered tree; that is worth a factor in uploads per second and more in a
// purge.
type Key [16]byte

// newKey makes a fresh key.
func newKey(now time.Time) Key {
	var k Key
	rand.Read(k[6:]) // never fails
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(k[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(k[2:], uint32(ms))
	k[15] &^= 0x3f
	return k
}

// firstKey is below every key made at or after t.
func firstKey(t time.Time) Key {
	k := newKey(t)
	clear(k[6:])
	return k
}

// before tells whether the key was made before t, to the millisecond; never
// if t is zero.
func (k Key) before(t time.Time) bool {
	if t.IsZero() {
		return false
	}
	first := firstKey(t)
	return bytes.Compare(k[:6], first[:6]) < 0
}

// keyOf reads a key from a record's id; ok is false for another length.
func keyOf(id []byte) (k Key, ok bool) {
	return k, copy(k[:], id) == len(id) && len(id) == len(k)
}

func (k Key) zero() bool     { return k == Key{} }
func (k Key) String() string { return hex.EncodeToString(k[:]) }

const half = 1<<61 - 1 // mask of one half of a key: 61 bits

// idCodec turns keys into the ids that users see and back. An id is a UUIDv4
// (RFC 9562 §5.4) whose 122 free bits are the key's bits under a keyed
// permutation, a Feistel network of ten rounds over two halves of 61 bits with
// AES as the round function. Without the secret an id tells neither time nor
// neighbours; and even with it 74 bits stay to be guessed.
type idCodec struct{ block cipher.Block }

// newIDCodec takes a secret of 16 bytes.
func newIDCodec(secret []byte) (*idCodec, error) {
	b, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("id secret: %w", err)
	}
	return &idCodec{b}, nil
}

const rounds = 10

// round uses buf, of 16 bytes, so that a permutation allocates once.
func (c *idCodec) round(buf []byte, i int, x uint64) uint64 {
	clear(buf)
	buf[0] = byte(i)
	binary.BigEndian.PutUint64(buf[8:], x)
	c.block.Encrypt(buf, buf)
	return binary.BigEndian.Uint64(buf) & half
}

// id returns the public form of a key.
func (c *idCodec) id(k Key) string {
	hi, lo := binary.BigEndian.Uint64(k[:]), binary.BigEndian.Uint64(k[8:])
	l, r := hi>>3, (hi&7)<<58|lo>>6
	buf := make([]byte, 16)
	for i := range rounds {
		l, r = r, l^c.round(buf, i, r)
	}
	var u [16]byte // 48 bits, version 4, 12 bits, variant 10, 62 bits
	v := l >> 1
	binary.BigEndian.PutUint64(u[:], v>>12<<16|4<<12|v&0xfff)
	binary.BigEndian.PutUint64(u[8:], 2<<62|(l&1)<<61|r)
	var s [36]byte
	hex.Encode(s[:8], u[:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:], u[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// key is the inverse of id; ok is false for what no id can be.
func (c *idCodec) key(s string) (k Key, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return k, false
	}
	var u [16]byte
	for i, at := range [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		h, l := nibble(s[at]), nibble(s[at+1])
		if h|l > 15 {
			return k, false
		}
		u[i] = h<<4 | l
	}
	if u[6]>>4 != 4 || u[8]>>6 != 2 {
		return k, false
	}
	a, b := binary.BigEndian.Uint64(u[:]), binary.BigEndian.Uint64(u[8:])
	l := (a>>16<<12|a&0xfff)<<1 | b>>61&1
	r := b & half
	buf := make([]byte, 16)
	for i := rounds - 1; i >= 0; i-- {
		l, r = r^c.round(buf, i, l), l
	}
	binary.BigEndian.PutUint64(k[:], l<<3|r>>58)
	binary.BigEndian.PutUint64(k[8:], r<<6)
	return k, true
}

// nibble returns the value of a lower-case hexadecimal digit, 0xff for
// anything else: ids have one spelling.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
