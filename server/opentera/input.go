package opentera

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"fileshare/store"
)

// Bounds of what clients say, in bytes.
const (
	mostJSON = 64 << 10 // of a JSON body or form field
	mostText = 1 << 10  // of one text in it
)

// object is a JSON object whose members are looked at one by one, as clients
// are free with types: a number may be its digits in a string, and null is the
// same as nothing.
type object map[string]json.RawMessage

// parseObject reads an object. Where it has a member of the name wrap that is an
// object itself, that one is meant: the documentation shows the value of the
// form field file_asset with file_asset around it, the service wants what is in
// there.
func parseObject(data []byte, wrap string) (object, error) {
	var o object
	if !utf8.Valid(data) || json.Unmarshal(data, &o) != nil || o == nil {
		return nil, invalid("Invalid JSON")
	}
	var inner object
	if raw, ok := o[wrap]; ok && json.Unmarshal(raw, &inner) == nil && inner != nil {
		return inner, nil
	}
	return o, nil
}

func invalid(message string) error { return store.Refuse(store.Invalid, message) }

func (o object) member(name string) (json.RawMessage, bool) {
	raw, ok := o[name]
	return raw, ok && string(raw) != "null"
}

// text returns a string; ok is false where there is none, or an empty one.
func (o object) text(name string) (s string, ok bool, err error) {
	raw, found := o.member(name)
	if !found {
		return "", false, nil
	}
	if json.Unmarshal(raw, &s) != nil {
		return "", false, invalid(name + " must be a string")
	}
	if len(s) > mostText {
		return "", false, invalid(name + " is too long")
	}
	return s, s != "", nil
}

// number returns a whole number of at least 0, bare or as digits in a string; ok
// is false where there is none.
func (o object) number(name string) (n int64, ok bool, err error) {
	raw, found := o.member(name)
	if !found {
		return 0, false, nil
	}
	digits := string(raw)
	if digits[0] == '"' && json.Unmarshal(raw, &digits) != nil {
		digits = ""
	}
	if n, ok = parseNumber(digits); !ok {
		return 0, false, invalid(name + " must be a number")
	}
	return n, true, nil
}

// parseNumber reads digits, with blanks around them.
func parseNumber(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// texts returns a list of strings and numbers, the latter as their digits.
func (o object) texts(name string) ([]string, error) {
	raw, ok := o.member(name)
	if !ok {
		return nil, nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil, invalid(name + " must be a list")
	}
	var all []string
	for _, item := range items {
		s := string(item)
		if s[0] == '"' {
			if json.Unmarshal(item, &s) != nil {
				return nil, invalid(name + " must be a list of strings or numbers")
			}
		} else if _, ok := parseNumber(s); !ok {
			return nil, invalid(name + " must be a list of strings or numbers")
		}
		all = append(all, s)
	}
	return all, nil
}

// object returns an object.
func (o object) object(name string) (inner object, ok bool, err error) {
	raw, found := o.member(name)
	if !found {
		return nil, false, nil
	}
	if json.Unmarshal(raw, &inner) != nil || inner == nil {
		return nil, false, invalid(name + " must be an object")
	}
	return inner, true, nil
}

// objects returns a list of objects.
func (o object) objects(name string) (list []object, ok bool, err error) {
	raw, found := o.member(name)
	if !found {
		return nil, false, nil
	}
	if json.Unmarshal(raw, &list) != nil || slices.ContainsFunc(list, func(o object) bool { return o == nil }) {
		return nil, false, invalid(name + " must be a list of objects")
	}
	return list, true, nil
}

// required returns strings that must be there and not be empty.
func (o object) required(names ...string) ([]string, error) {
	var all []string
	for _, name := range names {
		s, ok, err := o.text(name)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, invalid("Missing " + name)
		}
		all = append(all, s)
	}
	return all, nil
}

// date returns a date as it was sent, and what it means.
func (o object) date(name string) (sent string, t time.Time, err error) {
	sent, ok, err := o.text(name)
	if !ok || err != nil {
		return "", t, err
	}
	if t, ok = parseDate(sent); !ok {
		return "", t, invalid(name + " must be a date in ISO 8601")
	}
	return strings.TrimSpace(sent), t, nil
}

// newAsset is the form field file_asset.
type newAsset struct {
	session int64  // id_session
	name    string // asset_name
	typ     string // asset_type; empty: not said
	date    string // asset_datetime as it was sent; empty: not said
	expires time.Time
}

// parseAsset reads the form field file_asset.
func parseAsset(data []byte) (a newAsset, err error) {
	o, err := parseObject(data, "file_asset")
	if err != nil {
		return a, err
	}
	_, ok := o.member("id_session")
	if !ok {
		return a, invalid("Missing id_session")
	}
	a.session, _, _ = o.number("id_session") // what is no number is a session that nobody has: 0
	if a.name, ok, err = o.text("asset_name"); err != nil {
		return a, err
	} else if !ok {
		return a, invalid("Missing asset_name")
	}
	if a.typ, _, err = o.text("asset_type"); err != nil {
		return a, err
	}
	if a.date, _, err = o.date("asset_datetime"); err != nil {
		return a, err
	}
	_, a.expires, err = o.date("asset_expiration_datetime")
	return a, err
}
