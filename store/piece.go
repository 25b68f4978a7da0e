package store

import (
	"context"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"
)

// unfinished is what the record of an unfinished file has more than others.
type unfinished struct {
	length  int64  // of the whole, -1 = not known yet
	got     int64  // bytes that are durable
	pieces  int64  // blobs they are in
	epoch   uint64 // of the newest writer
	writing bool   // a writer of this epoch may still be at work
	mode    uint8
	part    bool   // for Concat
	tail    bool   // the bytes are a record of their own and no blob
	hash    []byte // state of SHA-256 after got bytes; in order only
	want    []byte // SHA-256 that the whole must have, nil = any
	// wait is how long it is kept after its last byte, 0 = Options.UnfinishedTTL.
	wait time.Duration

	// A part that was used is what remains of it, without content: so that who
	// has not heard of it can ask, and ask for the same again.
	whole Key   // the file that was made of it, zero: not used
	place int64 // of that file's parts
	parts int64 // how many it has
}

// used tells that a part has become one of a whole.
func (u *unfinished) used() bool { return !u.whole.zero() }

// complete tells whether nothing is missing any more, which only parts are
// while they are unfinished.
func (u *unfinished) complete() bool { return u.length == u.got }

func (u *unfinished) encode() []byte {
	var e encoder
	e.uint(1, uint64(u.length+1))
	e.uint(2, uint64(u.got))
	e.uint(3, uint64(u.pieces))
	e.uint(4, u.epoch)
	e.uint(5, uint64(u.mode))
	e.uint(6, flag(u.writing)|flag(u.part)<<1|flag(u.tail)<<2|1<<3) // never nothing
	e.bytes(7, u.hash)
	e.bytes(8, u.want)
	e.key(9, u.whole)
	e.uint(10, uint64(u.place))
	e.uint(11, uint64(u.parts))
	e.uint(12, uint64(u.wait/time.Millisecond))
	return e
}

func decodeUnfinished(b []byte) (*unfinished, error) {
	u := &unfinished{length: -1}
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			u.length = int64(x.v) - 1
		case 2:
			u.got = int64(x.v)
		case 3:
			u.pieces = int64(x.v)
		case 4:
			u.epoch = x.v
		case 5:
			u.mode = uint8(x.v)
		case 6:
			u.writing, u.part, u.tail = x.v&1 != 0, x.v&2 != 0, x.v&4 != 0
		case 7:
			u.hash = slices.Clone(x.raw)
		case 8:
			u.want = slices.Clone(x.raw)
		case 9:
			u.whole = x.key()
		case 10:
			u.place = int64(x.v)
		case 11:
			u.parts = int64(x.v)
		case 12:
			u.wait = time.Duration(x.v) * time.Millisecond
		}
	}
	return u, nil
}

// piece is a durable stretch of an unfinished file, a record of its own.
type piece struct {
	from int64
	run  run
	crc  uint32 // CRC-32 (IEEE)
}

func (p piece) end() int64 { return p.from + p.run.size }

func piecesOf(file Key) []byte { return append([]byte{'p'}, file[:]...) }

func pieceID(file Key, from int64) []byte {
	return binary.BigEndian.AppendUint64(piecesOf(file), uint64(from))
}

func (p piece) put(tx Tx, file Key) error {
	var e encoder
	e.bytes(1, p.run.encode())
	e.uint(2, uint64(p.crc))
	return tx.Put(IndexRecords, pieceID(file, p.from), e, time.Time{})
}

func decodePiece(file Key, item Item) (p piece, err error) {
	if len(item.ID) != len(pieceID(file, 0)) {
		return p, errCodec
	}
	at := item.ID[len(piecesOf(file)):]
	p.from = int64(binary.BigEndian.Uint64(at))
	for x, err := range fields(item.Doc) {
		if err != nil {
			return p, err
		}
		switch x.n {
		case 1:
			if p.run, err = decodeRun(x.raw); err != nil {
				return p, err
			}
		case 2:
			p.crc = uint32(x.v)
		}
	}
	return p, nil
}

// pieces reads all pieces of a file in their order. It does not see what the
// transaction itself wrote.
func pieces(tx Tx, file Key) (all []piece, err error) {
	for item, err := range tx.Scan(IndexRecords, piecesOf(file), nil) {
		if err != nil {
			return nil, err
		}
		p, err := decodePiece(file, item)
		if err != nil {
			return nil, fmt.Errorf("piece %x: %w", item.ID, err)
		}
		all = append(all, p)
	}
	slices.Reverse(all)
	return all, nil
}

// pieceBelow reads the last piece that begins below at; ok is false where there
// is none. It does not see what the transaction itself wrote.
func pieceBelow(tx Tx, file Key, at int64) (p piece, ok bool, err error) {
	for item, err := range tx.Scan(IndexRecords, piecesOf(file), pieceID(file, at)) {
		if err != nil {
			return p, false, err
		}
		p, err = decodePiece(file, item)
		return p, err == nil, err
	}
	return p, false, nil
}

// resumeHash gives the SHA-256 of what is there so far, nil if it is not known.
func (s *Store) resumeHash(u *unfinished) hash.Hash {
	h := s.newHash(u.want)
	if h == nil || u.got == 0 {
		return h
	}
	if len(u.hash) == 0 || h.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.hash) != nil {
		return nil
	}
	return h
}

// sumOf is the digest of what a hash has seen, nil if there is none.
func sumOf(h hash.Hash) []byte {
	if h == nil {
		return nil
	}
	return h.Sum(nil)
}

// keepHash notes the state of a digest in the record.
func (u *unfinished) keepHash(h hash.Hash) {
	u.hash = nil
	if h != nil {
		u.hash, _ = h.(encoding.BinaryMarshaler).MarshalBinary() // of crypto/sha256: never fails
	}
}

// joinBelow is up to which size the last of so many pieces is written again
// together with what comes after it: the more there are, the larger they get.
func joinBelow(pieces int64) int64 {
	return min(int64(minPiece)<<min(2*(pieces/1000), 8), mostPiece)
}

// pieceReader reads pieces, one behind the other. One is open at a time, until
// Close.
type pieceReader struct {
	ctx  context.Context
	s    *Store
	left []piece
	d    *Download // of the first one that is left, nil = not opened yet
}

// Read implements io.Reader.
func (r *pieceReader) Read(p []byte) (int, error) {
	for len(r.left) > 0 {
		if r.d == nil {
			if err := context.Cause(r.ctx); err != nil {
				return 0, err
			}
			first := r.left[0].run
			r.d = &Download{s: r.s, ctx: r.ctx, file: &File{Size: first.size}, runs: []run{first}}
		}
		n, err := r.d.Read(p)
		if err == io.EOF {
			r.Close()
			r.left = r.left[1:]
			err = nil
		}
		if err != nil {
			return n, fmt.Errorf("read content: %w", err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// Close closes what is open; it returns nil. The reader may be read on.
func (r *pieceReader) Close() error {
	if r.d != nil {
		r.d.closePart()
		r.d = nil
	}
	return nil
}

// skipHash is a hash that has seen the first bytes already.
type skipHash struct {
	hash.Hash
	skip int64
}

func (h *skipHash) Write(p []byte) (int, error) {
	n := min(h.skip, int64(len(p)))
	h.skip -= n
	_, _ = h.Hash.Write(p[n:]) // never fails
	return len(p), nil
}

var _ hash.Hash = (*skipHash)(nil)
