package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of the attributes of a file or session.
const (
	maxAttrs    = 32
	maxAttrKey  = 64
	maxAttrText = 8 << 10 // bytes of all keys and values
)

// mergeAttrs returns what is left of attributes when some are set; an empty
// value removes one. Names are "dialect.name", so that nobody is in the way of
// another: those of others stay.
func mergeAttrs(old, said map[string]string) (map[string]string, error) {
	all := map[string]string{}
	maps.Copy(all, old)
	for k, v := range said {
		if len(k) > maxAttrKey || !strings.Contains(k, ".") || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, Refuse(Invalid, "bad attribute")
		}
		if v == "" {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	size := 0
	for k, v := range all {
		size += len(k) + len(v)
	}
	if len(all) > maxAttrs || size > maxAttrText {
		return nil, Refuse(Invalid, fmt.Sprintf("too much is said: at most %d attributes of together %d bytes", maxAttrs, maxAttrText))
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// attrs encodes attributes as pairs of fields, in the order of their names.
func (e *encoder) attrs(name, value int, attrs map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		e.item(name, k)
		e.item(value, attrs[k])
	}
}

// attrReader puts the pairs together again.
type attrReader struct {
	key string
	all map[string]string
}

func (r *attrReader) value(raw []byte) {
	if r.all == nil {
		r.all = map[string]string{}
	}
	r.all[r.key] = string(raw)
}
