package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// names are what a client said something of.
func (f fields) names() []string {
	var all []string
	for name := range f.json {
		if _, said := f.member(name); said {
			all = append(all, name)
		}
	}
	for name := range f.form {
		all = append(all, name)
	}
	return all
}

// refuseLost refuses a name that asks for a limit and is no field of this call:
// passed over, it would leave a link without the limit that somebody meant to
// set. Other unknown names are passed over: clients of the old service may say
// more than is needed.
func (f fields) refuseLost(known ...string) error {
	for _, name := range f.names() {
		meant := limitMeant(name)
		switch {
		case meant == "", slices.Contains(known, name):
		case slices.Contains(known, meant):
			return invalid(fmt.Sprintf("there is no field %.40q, the limit is called %s", name, meant))
		default:
			return invalid(fmt.Sprintf("there is no field %.40q here", name))
		}
	}
	return nil
}

// refuseUnknown refuses every name in the body that is neither a field that can be
// changed nor a member of the object: who gets that, changes it and sends it back
// may leave in it what cannot be changed. A query may say what is for others, such
// as a proxy.
func (f fields) refuseUnknown(object any, known ...string) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for _, name := range (fields{json: f.json, form: f.body}).names() {
		if _, ok := members[name]; !ok && !slices.Contains(known, name) {
			return invalid(fmt.Sprintf("there is no field %.40q, what can be changed is %s", name, strings.Join(known, ", ")))
		}
	}
	return nil
}

// limitMeant is the limit that a name stands for, by its spelling or as other
// services call it; empty: none.
func limitMeant(name string) string {
	if len(name) > 40 {
		return ""
	}
	plain := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			return c
		}
		return -1
	}, strings.ToLower(name))
	switch plain {
	case "expire", "expires", "expirein", "expiresin", "expiry", "expiration", "lifetime", "timetolive":
		return "ttl"
	case "downloadlimit", "maxviews", "once", "onetime", "oneshot":
		return "max_downloads"
	}
	switch {
	case strings.HasPrefix(plain, "ttl"):
		return "ttl"
	case distance(plain, "maxdownloads") <= 2:
		return "max_downloads"
	}
	return ""
}

// distance is how many letters must be put in, taken out or replaced to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
