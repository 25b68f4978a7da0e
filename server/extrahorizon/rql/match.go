package rql

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Match tells whether a record is asked for.
func (q *Query) Match(r Record) bool {
	for _, t := range q.where {
		if !t.match(r) {
			return false
		}
	}
	return true
}

// Compare orders two records as the query wants them: negative if a comes
// first, 0 if it does not matter. Records without the field come first.
func (q *Query) Compare(a, b Record) int {
	for _, k := range q.Sort {
		va, aok := a.Get(k.Name)
		vb, bok := b.Get(k.Name)
		var c int
		switch {
		case !aok || !bok:
			c = cmp.Compare(btoi(aok), btoi(bok))
		case k.Type == Text:
			c = cmp.Compare(va.Text, vb.Text)
		default:
			c = cmp.Compare(va.Number, vb.Number)
		}
		if k.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// OneOf returns values of which every asked record has one in the field, for
// an index; false if the query does not say so.
func (q *Query) OneOf(field string) ([]string, bool) {
	for c := range q.required {
		if c.Name != field || c.op != "eq" || c.not || c.element >= 0 || c.Type != Text && c.Type != Texts {
			continue
		}
		var values []string
		for _, o := range c.operands {
			if !slices.Contains(values, o.text) {
				values = append(values, o.text)
			}
		}
		return values, true
	}
	return nil, false
}

// Between returns the bounds, both included, within which a number or time of
// every asked record lies; infinite where the query says nothing.
func (q *Query) Between(field string) (from, to float64) {
	from, to = math.Inf(-1), math.Inf(1)
	for c := range q.required {
		if c.Name != field || c.not || len(c.operands) != 1 || c.Type != Number && c.Type != Time {
			continue
		}
		n, ok := c.operands[0].number, c.operands[0].isNumber
		if c.Type == Time {
			n, ok = c.operands[0].time, c.operands[0].isTime
		}
		if !ok {
			continue
		}
		switch c.op {
		case "eq":
			from, to = max(from, n), min(to, n)
		case "gt", "ge":
			from = max(from, n)
		case "lt", "le":
			to = min(to, n)
		}
	}
	return from, to
}

// Uses tells whether a record must be looked at for the field: whether a
// condition is about it or about what is in it.
func (q *Query) Uses(field string) bool {
	return slices.ContainsFunc(q.where, func(t term) bool { return t.uses(field) })
}

// required yields the comparisons that must all hold.
func (q *Query) required(yield func(comparison) bool) {
	eachRequired(q.where, yield)
}

func eachRequired(terms []term, yield func(comparison) bool) bool {
	for _, t := range terms {
		switch t := t.(type) {
		case comparison:
			if !yield(t) {
				return false
			}
		case group:
			if !t.or && !eachRequired(t.terms, yield) {
				return false
			}
		}
	}
	return true
}

// term is a condition.
type term interface {
	match(Record) bool
	uses(field string) bool
}

// group holds if all of its terms do, or one of them.
type group struct {
	or    bool
	terms []term
}

func (g group) match(r Record) bool {
	for _, t := range g.terms {
		if t.match(r) == g.or {
			return g.or
		}
	}
	return !g.or
}

func (g group) uses(field string) bool {
	return slices.ContainsFunc(g.terms, func(t term) bool { return t.uses(field) })
}

// path is a field, or an element of a list. The zero path is a field that no
// record has.
type path struct {
	Field
	element int // -1: the field itself
}

func (p path) uses(field string) bool {
	return p.Name == field || strings.HasPrefix(p.Name, field+".")
}

// get returns what a record has there, and of which type that is.
func (p path) get(r Record) (v Value, t Type, ok bool) {
	if p.Type == 0 {
		return v, 0, false
	}
	if v, ok = r.Get(p.Name); !ok || p.element < 0 {
		return v, p.Type, ok
	}
	switch {
	case p.Type == Texts && p.element < len(v.Texts):
		return Value{Text: v.Texts[p.element]}, Text, true
	case p.Type == Objects && p.element < len(v.Objects):
		return Value{Objects: v.Objects[p.element : p.element+1]}, Objects, true
	}
	return Value{}, 0, false
}

// comparison holds if the field stands in the relation to one of the operands,
// or with not if it does not.
type comparison struct {
	path
	op       string // eq gt ge lt le like
	not      bool
	operands []operand
}

func (c comparison) match(r Record) bool {
	v, t, ok := c.get(r)
	return (ok && c.holds(v, t)) != c.not
}

func (c comparison) holds(v Value, t Type) bool {
	switch t {
	case Text:
		return c.text(v.Text)
	case Texts:
		return slices.ContainsFunc(v.Texts, c.text)
	case Number:
		for _, o := range c.operands {
			if o.isNumber && c.relation(cmp.Compare(v.Number, o.number)) {
				return true
			}
		}
	case Time:
		for _, o := range c.operands {
			if o.isTime && c.relation(cmp.Compare(v.Number, o.time)) {
				return true
			}
		}
	}
	return false
}

func (c comparison) text(s string) bool {
	if c.op == "like" {
		s = strings.ToLower(s)
	}
	for _, o := range c.operands {
		if c.op == "like" && strings.Contains(s, o.text) || c.op != "like" && c.relation(cmp.Compare(s, o.text)) {
			return true
		}
	}
	return false
}

func (c comparison) relation(sign int) bool {
	switch c.op {
	case "eq":
		return sign == 0
	case "gt":
		return sign > 0
	case "ge":
		return sign >= 0
	case "lt":
		return sign < 0
	case "le":
		return sign <= 0
	}
	return false
}

// has holds if the record has the field, and in it, if each is there, an object
// for which that holds; with not if it has not.
type has struct {
	path
	not  bool
	each term
}

func (h has) match(r Record) bool {
	v, _, ok := h.get(r)
	if ok && h.each != nil {
		ok = slices.ContainsFunc(v.Objects, h.each.match)
	}
	return ok != h.not
}
