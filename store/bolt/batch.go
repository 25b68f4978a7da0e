package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The log, all numbers big-endian. A segment begins with its head:
//
//	magic 4 ‖ format 4 ‖ number 4 ‖ CRC-32C of the rest of the head 4 ‖
//	nonce 8 ‖ sequence of its first batch 8 ‖ end of the segment before 8 ‖ zeros
//
// and goes on with batches, one per commit:
//
//	magic 4 ‖ format 2 ‖ zero 2 ‖ sequence 8 ‖ operations 4 ‖
//	length of the operations 4 ‖ segment 4 ‖ CRC-32C 4 ‖ operations
//
// The checksum of a batch is that of the segment's nonce, of its head without
// the checksum, and of its operations; the nonce is random, so that no document
// can be made to look like a batch. An operation is
//
//	CRC-32C of the rest 4 ‖ flags 1 ‖ length of collection 1 ‖ of id 2 ‖
//	of document 4 ‖ due 8 ‖ collection ‖ id ‖ document
const (
	formatVersion = 1
	segmentMagic  = 0x66734c31 // "fsL1"
	segmentHeader = 64
	batchMagic    = 0x66734231 // "fsB1"
	batchHeader   = 32
	opHeader      = 20
)

func crcUpdate(crc uint32, b []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), b)
}

// segmentHead is the decoded head of a segment.
type segmentHead struct {
	number  uint32
	nonce   uint64
	first   uint64 // sequence of the first batch
	prevEnd int64  // where the segment before ends; what may follow there was never acknowledged
}

func (h segmentHead) encode() []byte {
	b := make([]byte, segmentHeader)
	binary.BigEndian.PutUint32(b, segmentMagic)
	binary.BigEndian.PutUint32(b[4:], formatVersion)
	binary.BigEndian.PutUint32(b[8:], h.number)
	binary.BigEndian.PutUint64(b[16:], h.nonce)
	binary.BigEndian.PutUint64(b[24:], h.first)
	binary.BigEndian.PutUint64(b[32:], uint64(h.prevEnd))
	binary.BigEndian.PutUint32(b[12:], headSum(b))
	return b
}

func headSum(b []byte) uint32 { return crcUpdate(crcUpdate(0, b[:12]), b[16:segmentHeader]) }

func parseSegmentHead(b []byte) (segmentHead, error) {
	switch {
	case len(b) < segmentHeader || binary.BigEndian.Uint32(b) != segmentMagic:
		return segmentHead{}, errors.New("no head of a segment")
	case binary.BigEndian.Uint32(b[12:]) != headSum(b):
		return segmentHead{}, errors.New("checksum of the head differs")
	case binary.BigEndian.Uint32(b[4:]) != formatVersion:
		return segmentHead{}, fmt.Errorf("format %d", binary.BigEndian.Uint32(b[4:]))
	}
	return segmentHead{
		number:  binary.BigEndian.Uint32(b[8:]),
		nonce:   binary.BigEndian.Uint64(b[16:]),
		first:   binary.BigEndian.Uint64(b[24:]),
		prevEnd: int64(binary.BigEndian.Uint64(b[32:])),
	}, nil
}

// batchHead is the decoded head of a batch.
type batchHead struct {
	seq     uint64
	ops     uint32
	length  uint32 // of the operations
	segment uint32
	crc     uint32
}

// put writes the head, with the checksum of the whole batch, into b.
func (h batchHead) put(b []byte, nonce uint64) {
	clear(b[:batchHeader])
	binary.BigEndian.PutUint32(b, batchMagic)
	binary.BigEndian.PutUint16(b[4:], formatVersion)
	binary.BigEndian.PutUint64(b[8:], h.seq)
	binary.BigEndian.PutUint32(b[16:], h.ops)
	binary.BigEndian.PutUint32(b[20:], h.length)
	binary.BigEndian.PutUint32(b[24:], h.segment)
	binary.BigEndian.PutUint32(b[28:], batchSum(b, nonce))
}

func batchSum(b []byte, nonce uint64) uint32 {
	crc := crcUpdate(0, binary.BigEndian.AppendUint64(nil, nonce))
	return crcUpdate(crcUpdate(crc, b[:batchHeader-4]), b[batchHeader:])
}

func parseBatchHead(b []byte) (batchHead, error) {
	switch {
	case len(b) < batchHeader || binary.BigEndian.Uint32(b) != batchMagic:
		return batchHead{}, errors.New("no batch there")
	case binary.BigEndian.Uint16(b[4:]) != formatVersion:
		return batchHead{}, errors.New("unknown format of a batch")
	}
	return batchHead{
		seq:     binary.BigEndian.Uint64(b[8:]),
		ops:     binary.BigEndian.Uint32(b[16:]),
		length:  binary.BigEndian.Uint32(b[20:]),
		segment: binary.BigEndian.Uint32(b[24:]),
		crc:     binary.BigEndian.Uint32(b[28:]),
	}, nil
}

// appendOpHead appends an operation's head as it is checksummed: without the
// checksum.
func appendOpHead(b []byte, flags byte, coll, id, doc int, due int64) []byte {
	b = append(b, flags, byte(coll))
	b = binary.BigEndian.AppendUint16(b, uint16(id))
	b = binary.BigEndian.AppendUint32(b, uint32(doc))
	return binary.BigEndian.AppendUint64(b, uint64(due))
}

// appendOp appends a whole operation and returns its checksum.
func appendOp(b []byte, flags byte, coll, id, doc []byte, due int64) ([]byte, uint32) {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendOpHead(b, flags, len(coll), len(id), len(doc), due)
	b = append(b, coll...)
	b = append(b, id...)
	b = append(b, doc...)
	crc := crcUpdate(0, b[start+4:])
	binary.BigEndian.PutUint32(b[start:], crc)
	return b, crc
}

// opHead is the decoded head of an operation.
type opHead struct {
	crc      uint32
	flags    byte
	coll, id int
	doc      uint32
	due      int64
}

func (h opHead) size() int64 { return opHeader + int64(h.coll) + int64(h.id) + int64(h.doc) }

// parseOpHead takes the head of an operation apart; b goes at most to the end
// of the batch.
func parseOpHead(b []byte) (opHead, error) {
	if len(b) < opHeader {
		return opHead{}, errors.New("operation cut off")
	}
	h := opHead{
		crc:   binary.BigEndian.Uint32(b),
		flags: b[4],
		coll:  int(b[5]),
		id:    int(binary.BigEndian.Uint16(b[6:])),
		doc:   binary.BigEndian.Uint32(b[8:]),
		due:   int64(binary.BigEndian.Uint64(b[12:])),
	}
	if h.flags&^(flagDue|flagDelete) != 0 || h.id == 0 || h.id > maxID || h.doc > maxDocument {
		return opHead{}, errors.New("malformed operation")
	}
	return h, nil
}

// position is a place between batches.
type position struct {
	segment uint32
	offset  int64
	seq     uint64 // of the batch that follows
}

const positionSize = 24

func (p position) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, p.segment)
	b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
	b = binary.BigEndian.AppendUint64(b, p.seq)
	return binary.BigEndian.AppendUint32(b, crcUpdate(0, b))
}

func decodePosition(b []byte) (p position, err error) {
	if len(b) != positionSize || crcUpdate(0, b[:positionSize-4]) != binary.BigEndian.Uint32(b[positionSize-4:]) {
		return p, errors.New("malformed position in the log")
	}
	return position{
		segment: binary.BigEndian.Uint32(b),
		offset:  int64(binary.BigEndian.Uint64(b[4:])),
		seq:     binary.BigEndian.Uint64(b[12:]),
	}, nil
}
