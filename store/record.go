package store

import (
	"encoding/binary"
	"slices"
	"time"
)

// reason says why a record is a tombstone.
type reason uint8

const (
	alive   reason = iota
	expired        // its time was over
	usedUp         // its downloads were used up
	deleted        // removed by its owner; parts of it still wait for removal
)

// run is what one body left in the blobs: count segments under one random key,
// each of seg bytes but the last.
type run struct {
	key   Key
	count int64
	seg   int64
	size  int64
}

// fileRec is the record of a file, or with a reason its tombstone.
type fileRec struct {
	reason   reason
	owner    string
	session  Key // zero: an upload
	name     string
	original string
	mime     string
	size     int64 // announced while NEW
	sha      []byte
	crc      uint32 // CRC-32 (IEEE) of a stored content
	stored   bool   // has its content
	inline   bool   // … as a record under the file's key
	audit    bool   // its session is made for one
	runs     []run
	tags     []string
	attrs    map[string]string
	sequence string // empty: has no number
	number   int64
	max      int64
	ttl      time.Duration
	created  time.Time
	updated  time.Time
	expires  time.Time   // zero: with its session
	managers uint64      // tokens with full access
	open     *unfinished // nil: it is not, see stored
}

func (f *fileRec) encode() []byte {
	e := make(encoder, 0, 128+len(f.owner)+len(f.name)+len(f.original)+len(f.mime))
	e.uint(1, uint64(f.reason))
	e.string(2, f.owner)
	e.key(3, f.session)
	e.string(4, f.name)
	if f.original != f.name {
		e.string(5, f.original)
	}
	e.string(6, f.mime)
	e.uint(7, uint64(f.size))
	e.bytes(8, f.sha)
	e.uint(9, flag(f.stored)|flag(f.inline)<<1|flag(f.audit)<<2)
	for _, r := range f.runs {
		e.bytes(10, r.encode())
	}
	for _, t := range f.tags {
		e.item(11, t)
	}
	e.uint(12, uint64(f.max))
	e.uint(13, uint64(f.ttl/time.Millisecond))
	e.time(14, f.created)
	e.time(15, f.updated)
	e.time(16, f.expires)
	e.uint(17, uint64(f.crc))
	e.attrs(30, 31, f.attrs)
	e.uint(32, uint64(f.number))
	e.string(33, f.sequence)
	e.uint(38, f.managers)
	if f.open != nil {
		e.bytes(20, f.open.encode())
	}
	return e
}

func decodeFile(b []byte) (*fileRec, error) {
	f, attrs := new(fileRec), attrReader{}
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			f.reason = reason(x.v)
		case 2:
			f.owner = string(x.raw)
		case 3:
			f.session = x.key()
		case 4:
			f.name = string(x.raw)
		case 5:
			f.original = string(x.raw)
		case 6:
			f.mime = string(x.raw)
		case 7:
			f.size = int64(x.v)
		case 8:
			f.sha = slices.Clone(x.raw)
		case 9:
			f.stored, f.inline, f.audit = x.v&1 != 0, x.v&2 != 0, x.v&4 != 0
		case 10:
			r, err := decodeRun(x.raw)
			if err != nil {
				return nil, err
			}
			f.runs = append(f.runs, r)
		case 11:
			f.tags = append(f.tags, string(x.raw))
		case 12:
			f.max = int64(x.v)
		case 13:
			f.ttl = time.Duration(x.v) * time.Millisecond
		case 14:
			f.created = x.time()
		case 15:
			f.updated = x.time()
		case 16:
			f.expires = x.time()
		case 17:
			f.crc = uint32(x.v)
		case 30:
			attrs.key = string(x.raw)
		case 31:
			attrs.value(x.raw)
		case 32:
			f.number = int64(x.v)
		case 33:
			f.sequence = string(x.raw)
		case 38:
			f.managers = x.v
		case 20:
			if f.open, err = decodeUnfinished(x.raw); err != nil {
				return nil, err
			}
		}
	}
	if f.original == "" {
		f.original = f.name
	}
	f.attrs = attrs.all
	return f, nil
}

func (r run) encode() []byte {
	b := append(make([]byte, 0, 48), r.key[:]...)
	b = binary.AppendUvarint(b, uint64(r.count))
	b = binary.AppendUvarint(b, uint64(r.seg))
	return binary.AppendUvarint(b, uint64(r.size))
}

func decodeRun(b []byte) (run, error) {
	var r run
	if len(b) < len(r.key) {
		return r, errCodec
	}
	b = b[copy(r.key[:], b):]
	for _, p := range []*int64{&r.count, &r.seg, &r.size} {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<62 {
			return r, errCodec
		}
		*p, b = int64(v), b[n:]
	}
	if r.count < 1 || r.seg < 1 && r.size > 0 || len(b) > 0 {
		return r, errCodec
	}
	return r, nil
}

// sessionRec is the record of a session, or with a reason its tombstone.
type sessionRec struct {
	reason  reason
	owner   string
	name    string
	ttl     time.Duration
	created time.Time
	updated time.Time
	expires time.Time
	members []string // may use it as the owner may

	attrs    map[string]string
	sequence string // empty: has no number
	number   int64

	invitation   Key // by which it was made, zero: by its owner
	completed    time.Time
	files, bytes int64          // what was put in by the invitation
	told         summaries      // what its owner is told from time to time
	guest        *invitationRec // by which the caller is here; not kept
	from         string         // the caller's address; not kept

	audit   bool     // its events are kept with it, and what it was when it has ended
	remains *remains // nil: it has not ended, or nothing of it is kept
}

func (s *sessionRec) encode() []byte {
	var e encoder
	e.uint(1, uint64(s.reason))
	e.string(2, s.owner)
	e.string(3, s.name)
	e.uint(4, uint64(s.ttl/time.Millisecond))
	e.time(5, s.created)
	e.time(6, s.updated)
	e.time(7, s.expires)
	e.attrs(20, 21, s.attrs)
	e.uint(22, uint64(s.number))
	e.string(23, s.sequence)
	e.key(24, s.invitation)
	e.time(25, s.completed)
	e.uint(26, uint64(s.files))
	e.uint(27, uint64(s.bytes))
	e.uint(28, uint64(s.told.every/time.Millisecond))
	e.time(29, s.told.until)
	e.time(31, s.told.next)
	for _, m := range s.members {
		e.string(30, m)
	}
	e.uint(32, flag(s.audit))
	if s.remains != nil {
		e.bytes(33, s.remains.encode())
	}
	return e
}

func decodeSession(b []byte) (*sessionRec, error) {
	s, attrs := new(sessionRec), attrReader{}
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			s.reason = reason(x.v)
		case 2:
			s.owner = string(x.raw)
		case 3:
			s.name = string(x.raw)
		case 4:
			s.ttl = time.Duration(x.v) * time.Millisecond
		case 5:
			s.created = x.time()
		case 6:
			s.updated = x.time()
		case 7:
			s.expires = x.time()
		case 20:
			attrs.key = string(x.raw)
		case 21:
			attrs.value(x.raw)
		case 22:
			s.number = int64(x.v)
		case 23:
			s.sequence = string(x.raw)
		case 24:
			s.invitation = x.key()
		case 25:
			s.completed = x.time()
		case 26:
			s.files = int64(x.v)
		case 27:
			s.bytes = int64(x.v)
		case 28:
			s.told.every = time.Duration(x.v) * time.Millisecond
		case 29:
			s.told.until = x.time()
		case 31:
			s.told.next = x.time()
		case 30:
			s.members = append(s.members, string(x.raw))
		case 32:
			s.audit = x.v != 0
		case 33:
			if s.remains, err = decodeRemains(x.raw); err != nil {
				return nil, err
			}
		}
	}
	s.attrs = attrs.all
	return s, nil
}

// tokenRec is the record of a token.
type tokenRec struct {
	file    Key
	max     int64
	created time.Time
	expires time.Time // zero: with its file
	access  uint64    // see Access.number
}

func (t *tokenRec) encode() []byte {
	var e encoder
	e.key(1, t.file)
	e.uint(2, uint64(t.max))
	e.time(3, t.created)
	e.time(4, t.expires)
	e.uint(10, t.access)
	return e
}

func decodeToken(b []byte) (*tokenRec, error) {
	t := new(tokenRec)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			t.file = x.key()
		case 2:
			t.max = int64(x.v)
		case 3:
			t.created = x.time()
		case 4:
			t.expires = x.time()
		case 10:
			t.access = x.v
		}
	}
	return t, nil
}

// usageRec is what an account has stored.
type usageRec struct{ files, bytes int64 }

func (u usageRec) encode() []byte {
	var e encoder
	e.uint(1, uint64(u.files))
	e.uint(2, uint64(u.bytes))
	return e
}

func decodeUsage(b []byte) (u usageRec, err error) {
	for x, err := range fields(b) {
		if err != nil {
			return u, err
		}
		switch x.n {
		case 1:
			u.files = int64(x.v)
		case 2:
			u.bytes = int64(x.v)
		}
	}
	return u, nil
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// The ids of index records: a letter, what is listed by, and at last the key of
// what is listed.
func byOwner(owner string) []byte         { return text('o', owner) }
func byTag(owner, tag string) []byte      { return append(text('t', owner), text('t', tag)...) }
func bySession(s Key) []byte              { return append([]byte{'s'}, s[:]...) }
func sessionsOf(owner string) []byte      { return text('e', owner) }
func tokensOf(file Key) []byte            { return append([]byte{'k'}, file[:]...) }
func runID(r Key) []byte                  { return append([]byte{'b'}, r[:]...) }
func usageID(owner string) []byte         { return append([]byte{'u'}, owner...) }
func entry(prefix []byte, key Key) []byte { return append(slices.Clip(prefix), key[:]...) }
func text(letter byte, value string) []byte {
	b := make([]byte, 0, 4+len(value)+len(Key{}))
	b = binary.AppendUvarint(append(b, letter), uint64(len(value)))
	return append(b, value...)
}

// bytes is how many bytes are stored of a file.
func (f *fileRec) bytes() int64 {
	switch {
	case f.open != nil && f.open.used():
		return 0
	case f.open != nil:
		return f.open.got
	case f.stored:
		return f.size
	}
	return 0
}
