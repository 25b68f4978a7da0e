package main

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-viper/mapstructure/v2"
)

// Duration is a time.Duration that is configured as whole seconds or as Go
// writes durations, with d for days.
type Duration time.Duration

// Size is a number of bytes that is configured as such or as 64KiB, 2GiB.
type Size int64

// strict makes viper's decoder take values for what they are: a number is no
// text (of a password 0123, YAML would keep 83) and text is no list.
func strict(d *mapstructure.DecoderConfig) {
	d.WeaklyTypedInput = false
	d.ErrorUnused = true
	d.ZeroFields = true
	d.DecodeHook = mapstructure.DecodeHookFuncType(decodeScalar)
}

func decodeScalar(_, to reflect.Type, data any) (any, error) {
	switch to {
	case reflect.TypeFor[Duration]():
		return ParseDuration(data)
	case reflect.TypeFor[Size]():
		return ParseSize(data)
	}
	text, isText := data.(string)
	switch to.Kind() {
	case reflect.Bool:
		if isText {
			if b, err := strconv.ParseBool(text); err == nil {
				return b, nil
			}
		}
		if _, ok := data.(bool); !ok {
			return nil, errors.New("true or false is expected")
		}
	case reflect.Int64:
		if isText {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				return n, nil
			}
		}
		if n, ok := wholeNumber(data); ok {
			return n, nil
		}
		return nil, errors.New("a whole number is expected")
	case reflect.String:
		if !isText {
			return nil, errors.New("text is expected (numbers, dates and words like yes need quotes)")
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, errors.New("text in UTF-8 is expected")
		}
	case reflect.Slice:
		if k := reflect.ValueOf(data).Kind(); k != reflect.Slice {
			return nil, errors.New("a list is expected")
		}
	case reflect.Struct:
		if k := reflect.ValueOf(data).Kind(); k != reflect.Map {
			return nil, errors.New("an object is expected")
		}
	}
	return data, nil
}

func wholeNumber(data any) (int64, bool) {
	switch v := reflect.ValueOf(data); {
	case !v.IsValid():
		return 0, false
	case v.CanInt():
		return v.Int(), true
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int64(v.Uint()), true
	case v.CanFloat() && v.Float() == math.Trunc(v.Float()) && math.Abs(v.Float()) < 1<<53: // JSON has no other numbers
		return int64(v.Float()), true
	}
	return 0, false
}

// ParseDuration reads whole seconds (a number, or digits) or a duration as Go
// writes it, which may begin with days: 3600, "3600", "1h30m", "7d", "1d12h".
func ParseDuration(data any) (Duration, error) {
	expected := errors.New("whole seconds or a duration like 90s, 1h30m, 7d is expected")
	seconds, ok := wholeNumber(data)
	if text, isText := data.(string); isText {
		n, err := strconv.ParseInt(text, 10, 64)
		if seconds, ok = n, err == nil; !ok {
			return parseDurationText(text, expected)
		}
	}
	const most = int64(math.MaxInt64 / time.Second)
	if !ok || seconds > most || seconds < -most {
		return 0, expected
	}
	return Duration(time.Duration(seconds) * time.Second), nil
}

func parseDurationText(text string, expected error) (Duration, error) {
	var days int64
	if before, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(before, 10, 16) // 65,535 days are 179 years; a duration holds 292
		if err != nil {
			return 0, expected
		}
		days, text = int64(n), rest
		if text == "" {
			text = "0"
		}
	}
	d, err := time.ParseDuration(text)
	sum := d + time.Duration(days)*24*time.Hour
	if err != nil || days > 0 && (d < 0 || sum < d) {
		return 0, expected
	}
	return Duration(sum), nil
}

// ParseSize reads bytes (a number, or digits) or a number with a unit: B, and
// K, M, G, T with iB (1024) or B (1000).
func ParseSize(data any) (Size, error) {
	expected := errors.New("bytes or a size like 64KiB, 500MB, 2GiB is expected")
	if n, ok := wholeNumber(data); ok {
		return Size(n), nil
	}
	text, ok := data.(string)
	if !ok {
		return 0, expected
	}
	digits := strings.TrimRight(text, "BKMGTib ")
	unit := int64(1)
	switch suffix := strings.TrimSpace(text[len(digits):]); suffix {
	case "", "B":
	default:
		power := strings.IndexByte("KMGT", suffix[0]) + 1
		base := map[string]int64{"iB": 1 << 10, "B": 1000}[suffix[1:]]
		if power == 0 || base == 0 {
			return 0, expected
		}
		for range power {
			unit *= base
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, expected
	}
	return Size(n * unit), nil
}
