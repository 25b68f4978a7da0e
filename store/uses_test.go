package store

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelFlight is a reservation that runs, as the test knows it.
type modelFlight struct {
	id    uint64
	spans []Span
}

// TestUses plays random requests, endings, deaths and lapses against one
// record and checks what must never be: more complete uses than the limit,
// overlapping flights within a use, a complete use whose bytes did not all go
// out.
func TestUses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 50).Draw(t, "size")
		limit := rapid.Int64Range(1, 3).Draw(t, "limit")
		u := new(usesRec)
		now := time.UnixMilli(1_790_000_000_000)
		lease := time.Minute
		var node Key
		var running []modelFlight
		var next uint64
		sent := int64(0) // bytes that went out, or that a client said it has
		check := func() {
			if u.complete > limit {
				t.Fatalf("%d uses of %d", u.complete, limit)
			}
			if u.complete+int64(len(u.open)) > limit {
				t.Fatalf("%d complete and %d open of %d", u.complete, len(u.open), limit)
			}
			if need := u.complete * max(size, 1); sent < need {
				t.Fatalf("%d uses complete, but only %d bytes of %d went out", u.complete, sent, need)
			}
			for _, o := range u.open {
				for i, a := range o.flights {
					for _, b := range o.flights[i+1:] {
						if a.id != b.id && overlaps([]Span{a.span}, b.span) {
							t.Fatalf("%v and %v are under way at once", a, b)
						}
					}
				}
				if covers(o.got, size) && len(o.flights) == 0 {
					t.Fatalf("a use that covers the content is open: %+v", o)
				}
			}
			back, err := decodeUses(u.encode())
			if err != nil || len(back.open) != len(u.open) || back.complete != u.complete {
				t.Fatalf("record: %v", err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"reserve": func(t *rapid.T) {
				from := rapid.Int64Range(0, max(size-1, 0)).Draw(t, "from")
				to := rapid.Int64Range(min(from+1, size), size).Draw(t, "to")
				next++
				before := u.complete
				err := u.reserve(now, size, limit, next, node, []Span{{from, to}}, false)
				if before != u.complete {
					t.Fatal("a reservation completed a use")
				}
				switch {
				case err == nil:
					running = append(running, modelFlight{next, []Span{{from, to}}})
					sent += from // at most what the client says it has
				case err == errUsedUp && u.complete < limit, err != errUsedUp && KindOf(err) != Busy:
					t.Fatalf("refused with %v, %d of %d", err, u.complete, limit)
				}
			},
			"settle": func(t *rapid.T) {
				if len(running) == 0 {
					return
				}
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				f := running[i]
				running = append(running[:i:i], running[i+1:]...)
				s := f.spans[0]
				mid := rapid.Int64Range(s.From, s.To).Draw(t, "delivered")
				end := rapid.Int64Range(mid, s.To).Draw(t, "doubtful")
				var delivered []Span
				if mid > s.From || size == 0 {
					delivered = []Span{{s.From, mid}}
					sent += max(mid-s.From, flagged(size == 0))
				}
				u.settle(now, size, f.id, delivered, without([]Span{{mid, end}}, nil))
			},
			"die": func(*rapid.T) {
				node = newKey(now)
				running = nil
				u.settleDead(now, size, lease, func(k Key) bool { return k == node })
			},
			"lapse": func(*rapid.T) {
				now = now.Add(lease)
				u.settleDead(now, size, lease, func(k Key) bool { return k == node })
				for _, o := range u.open {
					if len(o.flights) == 0 {
						t.Fatalf("an abandoned use did not lapse: %+v", o)
					}
				}
			},
		})
	})
}

func flagged(b bool) int64 { return int64(flag(b)) }

func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set []Span
		in := map[int64]bool{}
		for _, s := range rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Span {
			a := rapid.Int64Range(0, 30).Draw(t, "a")
			return Span{a, a + rapid.Int64Range(0, 6).Draw(t, "n")}
		}), 0, 8).Draw(t, "spans") {
			set = add(set, s)
			for i := s.From; i < s.To; i++ {
				in[i] = true
			}
		}
		minus := add(nil, Span{5, 9})
		rest := without(set, minus)
		has := func(spans []Span, i int64) bool { return overlaps(spans, Span{i, i + 1}) }
		for i := range int64(40) {
			if has(set, i) != in[i] || has(rest, i) != (in[i] && (i < 5 || i >= 9)) {
				t.Fatalf("at %d: set %v, rest %v", i, set, rest)
			}
		}
		for i := 1; i < len(set); i++ {
			if set[i-1].To >= set[i].From {
				t.Fatalf("not disjoint and sorted: %v", set)
			}
		}
	})
}
