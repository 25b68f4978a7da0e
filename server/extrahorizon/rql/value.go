package rql

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// operand is a value as each type reads it.
type operand struct {
	text     string
	number   float64
	isNumber bool
	time     float64
	isTime   bool
}

// casts are the prefixes that a value may have. They are recognised before
// the second unescaping: a text with a colon that the SDK has escaped is none.
var casts = [...]string{"string", "number", "boolean", "date", "isodate", "epoch"}

// operandOf reads a value that was unescaped once.
func operandOf(value, op string) operand {
	cast, rest, ok := strings.Cut(value, ":")
	if ok && slices.Contains(casts[:], cast) {
		value = rest
	} else {
		cast = ""
	}
	if text, err := url.PathUnescape(value); err == nil {
		value = text
	}
	o := operand{text: value}
	if op == "like" {
		o.text = strings.ToLower(value)
	}
	if n, err := strconv.ParseFloat(value, 64); err == nil && !math.IsInf(n, 0) && !math.IsNaN(n) && len(value) <= 64 {
		o.number, o.isNumber = n, true
	}
	o.time, o.isTime = timeOf(value, cast)
	return o
}

// layouts are the forms of ISO 8601 that people write, and what JavaScript
// makes of a Date. Without a zone it is UTC.
var layouts = [...]string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
	"2006-01-02 15:04:05.999999999", "2006-01-02", "2006-01", "2006",
	"Mon Jan 02 2006 15:04:05 GMT-0700",
}

// timeOf reads a time: milliseconds since 1970, or ISO 8601.
func timeOf(value, cast string) (ms float64, ok bool) {
	if len(value) > 80 {
		return 0, false
	}
	if cast != "isodate" && cast != "date" {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return float64(n), true
		}
	}
	if head, _, ok := strings.Cut(value, " ("); ok {
		value = head // the name of a zone
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, value); err == nil {
			return float64(t.UnixMilli()), true
		}
	}
	return 0, false
}
