package server

import (
	"net/textproto"
	"strconv"
	"strings"

	"fileshare/store"
)

// parseRanges reads a Range header (RFC 9110 §14.2) for a content of size
// bytes the way http.ServeContent does, which has decided to answer it: the
// engine must know beforehand what goes out. It returns nil for a header that
// ServeContent ignores or refuses.
func parseRanges(s string, size int64) []store.Span {
	specs, ok := strings.CutPrefix(s, "bytes=")
	if !ok {
		return nil
	}
	var spans []store.Span
	var sum int64
	for spec := range strings.SplitSeq(specs, ",") {
		spec = textproto.TrimString(spec)
		if spec == "" {
			continue
		}
		from, to, ok := strings.Cut(spec, "-")
		if !ok {
			return nil
		}
		from, to = textproto.TrimString(from), textproto.TrimString(to)
		var sp store.Span
		if from == "" { // the last bytes
			if to == "" || to[0] == '-' {
				return nil
			}
			n, err := strconv.ParseInt(to, 10, 64)
			if n < 0 || err != nil {
				return nil
			}
			sp = store.Span{From: size - min(n, size), To: size}
		} else {
			i, err := strconv.ParseInt(from, 10, 64)
			if err != nil || i < 0 {
				return nil
			}
			if i >= size {
				continue // not satisfiable, others may be
			}
			sp = store.Span{From: i, To: size}
			if to != "" {
				j, err := strconv.ParseInt(to, 10, 64)
				if err != nil || i > j {
					return nil
				}
				sp.To = min(j, size-1) + 1
			}
		}
		sum += sp.To - sp.From
		spans = append(spans, sp)
	}
	if sum > size {
		return nil // more than the whole: answered as the whole
	}
	return spans
}

// parseContentRange reads the header of a 206 with one range, as ServeContent
// writes it.
func parseContentRange(s string) (store.Span, bool) {
	s, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return store.Span{}, false
	}
	s, _, _ = strings.Cut(s, "/")
	a, b, _ := strings.Cut(s, "-")
	from, err1 := strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	if err1 != nil || err2 != nil || from < 0 || to < from-1 {
		return store.Span{}, false
	}
	return store.Span{From: from, To: to + 1}, true
}

// split divides the first sent bytes of spans into those that certainly
// arrived and the last doubt bytes, of which nobody knows.
func split(spans []store.Span, sent, doubt int64) (delivered, doubtful []store.Span) {
	doubt = min(doubt, sent)
	delivered, rest := take(spans, sent-doubt)
	doubtful, _ = take(rest, doubt)
	return delivered, doubtful
}

// take cuts spans after n bytes.
func take(spans []store.Span, n int64) (head, tail []store.Span) {
	for i, sp := range spans {
		l := sp.To - sp.From
		if n >= l {
			n -= l
			continue
		}
		head = append(head, spans[:i]...)
		if n > 0 {
			head = append(head, store.Span{From: sp.From, To: sp.From + n})
		}
		tail = append(tail, store.Span{From: sp.From + n, To: sp.To})
		return head, append(tail, spans[i+1:]...)
	}
	return spans, nil
}
