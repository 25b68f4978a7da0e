package store

import "hash/crc32"

// Every stored content has its CRC-32 (IEEE) beside it: archives need it in
// front of the bytes, and it costs next to nothing while they pass.

// combineCRC returns the CRC-32 of two pieces joined, from theirs and the
// length of the second one: a is shifted by lenB zero bytes, which is a
// multiplication by x^(8·lenB) modulo the polynomial.
func combineCRC(a, b uint32, lenB int64) uint32 {
	const one = 1 << 31 // the polynomial 1, bits reflected
	power := uint32(one)
	square := uint32(one >> 8) // x^8
	for n := lenB; n > 0; n >>= 1 {
		if n&1 != 0 {
			power = multiplyCRC(power, square)
		}
		square = multiplyCRC(square, square)
	}
	return multiplyCRC(power, a) ^ b
}

// multiplyCRC multiplies two reflected polynomials modulo that of CRC-32.
func multiplyCRC(a, b uint32) (product uint32) {
	for bit := uint32(1 << 31); bit > 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		low := b & 1
		b >>= 1
		if low != 0 {
			b ^= crc32.IEEE
		}
	}
	return product
}
