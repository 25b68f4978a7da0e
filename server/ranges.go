package server

import (
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"fileshare/store"
)

// tidyRange writes the Range header of a request so that http.ServeContent reads
// it as RFC 9110 §14 means it, for a content of size bytes. A unit that is not
// bytes is ignored, whatever its case; the last 0 bytes are no range that could
// be satisfied, nor is one of an empty content, which is sent as it is (net/http
// answers both with a 206 that ends before it begins); a number beyond an int64
// is beyond the end.
func tidyRange(h http.Header, size int64) {
	s := h.Get("Range")
	if s == "" {
		return
	}
	unit, set, ok := strings.Cut(s, "=")
	if !ok || !strings.EqualFold(textproto.TrimString(unit), "bytes") || size == 0 {
		h.Del("Range")
		return
	}
	var specs []string
	empty := false
	for spec := range strings.SplitSeq(set, ",") {
		from, to, ok := strings.Cut(textproto.TrimString(spec), "-")
		from, to = clampDigits(textproto.TrimString(from)), clampDigits(textproto.TrimString(to))
		switch {
		case !ok:
			specs = append(specs, spec)
		case from == "" && to == "0":
			empty = true
		default:
			specs = append(specs, from+"-"+to)
		}
	}
	if len(specs) == 0 && empty {
		specs = append(specs, strconv.FormatInt(size, 10)+"-")
	}
	h.Set("Range", "bytes="+strings.Join(specs, ","))
}

// clampDigits takes leading zeros off a number, and makes one that an int64
// cannot hold the largest that it can. Anything else it returns as it is.
func clampDigits(s string) string {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return s
		}
	}
	if s == "" {
		return s
	}
	if s = strings.TrimLeft(s, "0"); s == "" {
		return "0"
	}
	if _, err := strconv.ParseInt(s, 10, 64); err != nil {
		return strconv.FormatInt(math.MaxInt64, 10)
	}
	return s
}

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

// unsatisfied is the Content-Range of a 416 (RFC 9110 §15.5.17).
func unsatisfied(size int64) string { return "bytes */" + strconv.FormatInt(size, 10) }

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
