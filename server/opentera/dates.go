package opentera

import (
	"strings"
	"time"
)

// mostDate is the longest spelling of a date that is read.
const mostDate = 64

// parseDate reads a date in the spellings of ISO 8601 that Python's isoformat,
// Qt and browsers make: with T or a blank, with or without seconds, fraction and
// offset, or a day alone. Without an offset it is in UTC.
func parseDate(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if len(s) > mostDate {
		return time.Time{}, false
	}
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + strings.TrimLeft(s[10:], " ")
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", time.DateOnly,
	} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return t, t.Year() >= 1 && t.Year() <= 9999 // as Python has it
		}
	}
	return time.Time{}, false
}

// formatDate writes a date the way Python's fromisoformat reads it, in UTC, to
// the second.
func formatDate(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05-07:00") }
