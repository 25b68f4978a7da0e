package store

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// Counting downloads. A limit counts bodies, by bytes: a use is the set of
// spans that went out, and it is complete when the set covers the content.
// usesRec is the record of a file or token; its methods are the whole rule,
// and touch nothing but the record.

// usesRec holds the downloads of one file or token.
type usesRec struct {
	complete int64
	open     []use
}

// use is a download that is not complete.
type use struct {
	touched time.Time
	got     []Span   // went out
	doubt   []Span   // went into a kernel, perhaps no further
	flights []flight // on their way
}

// flight is one reserved span of a running request.
type flight struct {
	id   uint64 // of the reservation: a request with several ranges has several flights
	node Key    // the daemon that sends
	span Span
}

// maxOpen bounds the open uses of one record, and so the record's size: beyond
// it a further download waits, whatever the limit.
const maxOpen = 64

// maxSpans bounds the spans of one use: a client that fetches single bytes at
// random offsets is told to wait for itself.
const maxSpans = 256

// settleDead makes flights of dead daemons doubtful and drops the uses that
// nobody has touched for the lease. It returns how many it dropped.
func (u *usesRec) settleDead(now time.Time, size int64, lease time.Duration, alive func(node Key) bool) (lapsed int64) {
	for i := range u.open {
		o := &u.open[i]
		o.flights = slices.DeleteFunc(o.flights, func(f flight) bool {
			if alive(f.node) {
				return false
			}
			o.doubt = add(o.doubt, f.span)
			return true
		})
		o.doubt = without(o.doubt, o.got)
	}
	u.open = slices.DeleteFunc(u.open, func(o use) bool {
		switch {
		case len(o.flights) > 0:
			return false
		case size > 0 && covers(o.got, size): // what its last flight was to repeat was there already
			u.complete++
			return true
		case !o.touched.Add(lease).After(now):
			lapsed++
			return true
		}
		return false
	})
	return lapsed
}

// reserve takes the spans for reservation id. The caller has called settleDead.
// It refuses with Used when all uses are complete, with Busy while an open one
// stands in the way.
func (u *usesRec) reserve(now time.Time, size, limit int64, id uint64, node Key, spans []Span, burn bool) error {
	spans = stretch(spans, size)
	if burn {
		if u.complete >= limit {
			return errUsedUp
		}
		u.complete++
		return nil
	}
	i := u.join(spans)
	if i < 0 {
		switch {
		case u.complete >= limit:
			return errUsedUp
		case u.complete+int64(len(u.open)) >= limit || len(u.open) >= maxOpen:
			return &Error{Kind: Busy, Message: "this link is being downloaded, try again later", RetryAfter: 2 * time.Second}
		}
		u.open = append(u.open, use{})
		i = len(u.open) - 1
	}
	o := &u.open[i]
	if len(o.got)+len(o.doubt)+len(o.flights)+len(spans) > maxSpans {
		return &Error{Kind: Busy, Message: "this link is being downloaded in too many pieces", RetryAfter: 2 * time.Second}
	}
	o.touched = now
	for _, s := range spans {
		// Who asks from the middle of a doubtful span has what lies before.
		for _, d := range slices.Clone(o.doubt) {
			if d.From <= s.From && s.From <= d.To {
				o.got = add(o.got, Span{d.From, s.From})
			}
		}
		o.flights = append(o.flights, flight{id, node, s})
	}
	o.doubt = without(o.doubt, o.got)
	return nil
}

// join finds an open use in which nothing in flight overlaps the spans, first
// of all one that lacks some of them.
func (u *usesRec) join(spans []Span) int {
	fallback := -1
	for i := range u.open {
		o := &u.open[i]
		if slices.ContainsFunc(o.flights, func(f flight) bool { return overlaps(spans, f.span) }) {
			continue
		}
		if slices.ContainsFunc(spans, func(s Span) bool { return len(without([]Span{s}, o.got)) > 0 }) {
			return i
		}
		if fallback < 0 {
			fallback = i
		}
	}
	return fallback
}

// settle ends reservation id. It tells whether that completed a use.
func (u *usesRec) settle(now time.Time, size int64, id uint64, delivered, doubtful []Span) (complete bool) {
	for i := range u.open {
		o := &u.open[i]
		n := len(o.flights)
		o.flights = slices.DeleteFunc(o.flights, func(f flight) bool { return f.id == id })
		if len(o.flights) == n {
			continue
		}
		if len(delivered)+len(doubtful) > 0 {
			o.touched = now
		}
		for _, s := range stretch(delivered, size) {
			o.got = add(o.got, s)
		}
		for _, s := range doubtful {
			o.doubt = add(o.doubt, s)
		}
		o.doubt = without(o.doubt, o.got)
		if covers(o.got, size) {
			u.open = slices.Delete(u.open, i, i+1)
			u.complete++
			return true
		}
		if len(o.got)+len(o.doubt)+len(o.flights) == 0 {
			u.open = slices.Delete(u.open, i, i+1)
		}
		return false
	}
	return false
}

// reopen makes a complete use an open one again, whose doubtful spans may not
// have arrived.
func (u *usesRec) reopen(now time.Time, size int64, doubtful []Span) bool {
	if u.complete == 0 || len(doubtful) == 0 || len(u.open) >= maxOpen {
		return false
	}
	u.complete--
	u.open = append(u.open, use{touched: now, got: without([]Span{{0, max(size, 1)}}, doubtful), doubt: doubtful})
	return true
}

// stretch gives the empty content one imaginary byte, so that it can be
// reserved and delivered like any other.
func stretch(spans []Span, size int64) []Span {
	if size == 0 && len(spans) > 0 {
		return []Span{{0, 1}}
	}
	return spans
}

func covers(got []Span, size int64) bool {
	return len(got) == 1 && got[0].From == 0 && got[0].To >= max(size, 1)
}

func overlaps(spans []Span, b Span) bool {
	return slices.ContainsFunc(spans, func(a Span) bool { return a.From < b.To && b.From < a.To })
}

// add returns the sorted, disjoint spans of set and s.
func add(set []Span, s Span) []Span {
	if s.From >= s.To {
		return set
	}
	out := make([]Span, 0, len(set)+1)
	for _, o := range set {
		if o.To < s.From || s.To < o.From { // apart, not even touching
			out = append(out, o)
			continue
		}
		s.From, s.To = min(s.From, o.From), max(s.To, o.To)
	}
	out = append(out, s)
	slices.SortFunc(out, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	return out
}

// without returns what of set is not in minus (sorted and disjoint).
func without(set, minus []Span) []Span {
	var out []Span
	for _, s := range set {
		for _, m := range minus {
			if m.To <= s.From || s.To <= m.From {
				continue
			}
			if s.From < m.From {
				out = append(out, Span{s.From, m.From})
			}
			s.From = min(m.To, s.To)
		}
		if s.From < s.To {
			out = append(out, s)
		}
	}
	return out
}

func (u *usesRec) encode() []byte {
	var e encoder
	e.uint(1, uint64(u.complete))
	for _, o := range u.open {
		var b encoder
		b.time(1, o.touched)
		b.bytes(2, appendSpans(nil, o.got))
		b.bytes(3, appendSpans(nil, o.doubt))
		for _, f := range o.flights {
			b.bytes(4, appendSpans(append(binary.BigEndian.AppendUint64(nil, f.id), f.node[:]...), []Span{f.span}))
		}
		e.bytes(2, b)
	}
	return e
}

func decodeUses(b []byte) (*usesRec, error) {
	u := new(usesRec)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			u.complete = int64(x.v)
		case 2:
			o, err := decodeUse(x.raw)
			if err != nil {
				return nil, err
			}
			u.open = append(u.open, o)
		}
	}
	return u, nil
}

func decodeUse(b []byte) (o use, err error) {
	for x, err := range fields(b) {
		if err != nil {
			return o, err
		}
		switch x.n {
		case 1:
			o.touched = x.time()
		case 2:
			o.got, err = decodeSpans(x.raw)
		case 3:
			o.doubt, err = decodeSpans(x.raw)
		case 4:
			if len(x.raw) < 24 {
				return o, errCodec
			}
			f := flight{id: binary.BigEndian.Uint64(x.raw), node: Key(x.raw[8:24])}
			var s []Span
			if s, err = decodeSpans(x.raw[24:]); err == nil && len(s) == 1 {
				f.span = s[0]
				o.flights = append(o.flights, f)
			}
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func appendSpans(b []byte, spans []Span) []byte {
	for _, s := range spans {
		b = binary.AppendUvarint(b, uint64(s.From))
		b = binary.AppendUvarint(b, uint64(s.To-s.From))
	}
	return b
}

func decodeSpans(b []byte) ([]Span, error) {
	var spans []Span
	for len(b) > 0 {
		from, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errCodec
		}
		length, m := binary.Uvarint(b[n:])
		if m <= 0 || from > 1<<62 || length > 1<<62 {
			return nil, errCodec
		}
		spans = append(spans, Span{int64(from), int64(from + length)})
		b = b[n+m:]
	}
	return spans, nil
}
