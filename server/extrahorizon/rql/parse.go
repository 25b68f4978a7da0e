package rql

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// node is a call, or with a nil args that is no call a field or value.
type node struct {
	name string // of the call; else the text, unescaped once
	call bool
	args []node
}

// Parse reads the raw query of an address, without its question mark.
func Parse(raw string, schema Schema) (*Query, error) {
	if len(raw) > MaxLength {
		return nil, syntax("the query is longer than %d bytes", MaxLength)
	}
	text, err := url.PathUnescape(raw) // unlike QueryUnescape, leaves + alone
	if err != nil {
		return nil, syntax("broken percent escape")
	}
	p := parser{text: text}
	items, err := p.items()
	if err != nil {
		return nil, err
	}
	b := builder{schema: schema, q: new(Query)}
	for _, n := range items {
		t, err := b.item(n, true)
		if err != nil {
			return nil, err
		}
		if t != nil {
			b.q.where = append(b.q.where, t)
		}
	}
	return b.q, nil
}

// parser splits a query into calls and their arguments.
type parser struct {
	text string
	at   int
	args int
}

// special are the bytes that end a name or value.
const special = "(),&|"

func (p *parser) word() string {
	rest := p.text[p.at:]
	if n := strings.IndexAny(rest, special); n >= 0 {
		rest = rest[:n]
	}
	p.at += len(rest)
	return rest
}

func (p *parser) peek() byte {
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

// items reads the calls of the top level. The SDK leaves out the & between two
// of them where it has removed a limit, or leaves one too many.
func (p *parser) items() (all []node, err error) {
	for p.at < len(p.text) {
		if p.peek() == '&' {
			p.at++
			continue
		}
		n, err := p.arg(0)
		if err != nil {
			return nil, err
		}
		if !n.call {
			return nil, syntax("an operator such as eq(field,value) is expected at %q", clip(n.name+p.text[p.at:]))
		}
		all = append(all, n)
	}
	return all, nil
}

// arg reads one argument: a call, a field or a value.
func (p *parser) arg(depth int) (node, error) {
	if p.args++; p.args > MaxArgs {
		return node{}, syntax("more than %d arguments", MaxArgs)
	}
	n := node{name: p.word()}
	if p.peek() != '(' {
		return n, nil
	}
	if depth == MaxDepth {
		return n, syntax("nested deeper than %d", MaxDepth)
	}
	p.at++
	n.call = true
	for {
		if p.peek() == ')' && len(n.args) == 0 {
			break // name()
		}
		a, err := p.arg(depth + 1)
		if err != nil {
			return n, err
		}
		n.args = append(n.args, a)
		switch c := p.peek(); {
		case c == ',':
			p.at++
			continue
		case c == ')':
		case a.call && c != '&' && c != '|' && c != '(' && c != 0:
			continue // a missing separator
		case c == 0:
			return n, syntax("%s( is not closed", clip(n.name))
		default:
			return n, syntax("unexpected %q in %s(; values must be percent-encoded twice", c, clip(n.name))
		}
		break
	}
	p.at++
	return n, nil
}

// builder gives calls their meaning.
type builder struct {
	schema Schema
	within string // name of the list whose objects are asked, with a dot
	q      *Query
}

// item makes the term of a call. all says that it stands among those which
// must all hold: there limit, sort and select may stand, too; they are nil.
func (b *builder) item(n node, all bool) (term, error) {
	if !n.call {
		if n.name == "" {
			return nil, nil // what the SDK leaves of a removed limit
		}
		return nil, syntax("an operator is expected instead of %q", clip(n.name))
	}
	switch n.name {
	case "and", "or":
		return b.group(n, all && n.name == "and")
	case "eq", "ne", "gt", "ge", "lt", "le", "like":
		if len(n.args) != 2 {
			return nil, syntax("%s takes a field and a value; commas in values must be percent-encoded twice", n.name)
		}
		return b.compare(n)
	case "in", "out":
		if len(n.args) < 2 {
			return nil, syntax("%s takes a field and values", n.name)
		}
		return b.compare(n)
	case "contains", "excludes":
		return b.has(n)
	case "sort", "select", "limit", "skipCount", "skip_count":
		// That nothing is to be counted the SDK's own tests say within an or, too.
		if !all && !strings.HasPrefix(n.name, "skip") || b.within != "" {
			return nil, syntax("%s cannot stand here", n.name)
		}
		return nil, b.shape(n)
	}
	return nil, syntax("unknown operator %q", clip(n.name))
}

func (b *builder) group(n node, all bool) (term, error) {
	g := group{or: n.name == "or"}
	for _, a := range n.args {
		t, err := b.item(a, all)
		if err != nil {
			return nil, err
		}
		if t != nil {
			g.terms = append(g.terms, t)
		}
	}
	return g, nil
}

// field finds what an argument names: a field, or "list.3", an element. What
// is in the objects of a list comes with the list.
func (b *builder) field(n node) (f, list path, err error) {
	if n.call || n.name == "" {
		return f, list, syntax("a field is expected instead of %q", clip(n.name))
	}
	name, element := camel(n.name), -1
	if head, tail, ok := cutLast(name, '.'); ok {
		if i, err := strconv.ParseUint(tail, 10, 31); err == nil {
			name, element = head, int(i)
		} else if l := b.schema[b.within+head]; l.Type == Objects {
			list = path{Field: Field{strings.TrimPrefix(l.Name, b.within), Objects}, element: -1}
		}
	}
	known, ok := b.schema[b.within+name]
	if !ok || element >= 0 && known.Type != Texts && known.Type != Objects {
		return path{}, path{}, nil
	}
	within := b.within
	if list.Name != "" {
		within += list.Name + "."
	}
	known.Name = strings.TrimPrefix(known.Name, within)
	return path{Field: known, element: element}, list, nil
}

// in puts a term about what is in the objects of a list around it.
func in(list path, t term, not bool) term { return has{path: list, each: t, not: not} }

func (b *builder) compare(n node) (term, error) {
	f, list, err := b.field(n.args[0])
	if err != nil {
		return nil, err
	}
	c := comparison{path: f, op: n.name}
	switch n.name {
	case "ne":
		c.op, c.not = "eq", true
	case "in":
		c.op = "eq"
	case "out":
		c.op, c.not = "eq", true
	}
	for _, a := range n.args[1:] {
		if a.call {
			return nil, syntax("a value is expected instead of %s(", clip(a.name))
		}
		c.operands = append(c.operands, operandOf(a.name, c.op))
	}
	if list.Name != "" {
		not := c.not
		c.not = false
		return in(list, c, not), nil
	}
	return c, nil
}

func (b *builder) has(n node) (term, error) {
	if len(n.args) != 1 && len(n.args) != 2 {
		return nil, syntax("%s takes a field, and perhaps a condition", n.name)
	}
	f, list, err := b.field(n.args[0])
	if err != nil {
		return nil, err
	}
	h := has{path: f, not: n.name == "excludes"}
	if len(n.args) == 1 {
		if list.Name != "" {
			return in(list, has{path: f}, h.not), nil
		}
		return h, nil
	}
	if f.Type != 0 && f.Type != Objects || f.Type == Objects && f.element >= 0 {
		return nil, syntax("%s is not a list of objects", clip(n.args[0].name))
	}
	inner := *b
	inner.within = b.within + f.Name + "."
	if h.each, err = inner.item(n.args[1], false); err == nil && h.each == nil {
		err = syntax("%s lacks its condition", n.name)
	}
	return h, err
}

// shape reads what is not a condition. The last one of its name counts.
func (b *builder) shape(n node) error {
	var names []string
	for _, a := range n.args {
		if a.call {
			return syntax("%s( cannot stand in %s(", clip(a.name), n.name)
		}
		if a.name = strings.TrimSpace(a.name); a.name != "" || n.name == "limit" {
			names = append(names, a.name)
		}
	}
	switch n.name {
	case "limit":
		return b.limit(names)
	case "sort":
		b.q.Sort = nil
		for _, name := range names {
			key := Key{Descending: name[0] == '-'}
			f, ok := b.schema[camel(strings.TrimLeft(name, "+-"))]
			if ok && f.Type != Texts && f.Type != Objects {
				key.Field = f
				b.q.Sort = append(b.q.Sort, key)
			}
		}
	case "select":
		b.q.Select = []string{}
		for _, name := range names {
			if f, ok := b.schema[camel(name)]; ok {
				name, _, _ = strings.Cut(f.Name, ".")
				if !slices.Contains(b.q.Select, name) {
					b.q.Select = append(b.q.Select, name)
				}
			}
		}
	default:
		if len(names) > 0 {
			return syntax("%s takes nothing", n.name)
		}
		b.q.SkipCount = true
	}
	return nil
}

func (b *builder) limit(args []string) error {
	if len(args) != 1 && len(args) != 2 {
		return syntax("limit takes one or two numbers")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		// Zero is refused, too: with it the SDK's findAll would ask for ever.
		return syntax("limit takes numbers from 1")
	}
	offset := 0
	if len(args) == 2 {
		// The SDK's previous() goes below zero on the first page.
		if offset, err = strconv.Atoi(args[1]); err != nil {
			return syntax("the offset of limit must be a number")
		}
	}
	b.q.Limit, b.q.Offset = min(n, math.MaxInt32), min(max(offset, 0), math.MaxInt32)
	return nil
}

// camel turns snake_case into camelCase and leaves other names alone.
func camel(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	var b strings.Builder
	for i, part := range strings.Split(name, "_") {
		if i > 0 && part != "" {
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		b.WriteString(part)
	}
	return b.String()
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i > 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// clip shortens what is quoted in a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
