package rql

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var schema = Schema{
	"name": {"name", Text}, "mimetype": {"mimetype", Text}, "mimeType": {"mimetype", Text}, "size": {"size", Number},
	"tags": {"tags", Texts}, "creatorId": {"creatorId", Text}, "creationTimestamp": {"creationTimestamp", Time},
	"tokens": {"tokens", Objects}, "tokens.token": {"tokens.token", Text}, "tokens.accessLevel": {"tokens.accessLevel", Text},
}

// record is a record for the tests: string, []string, int, time.Time, []record.
type record map[string]any

func (r record) Get(name string) (Value, bool) {
	switch v := r[name].(type) {
	case string:
		return Value{Text: v}, true
	case []string:
		return Value{Texts: v}, true
	case int:
		return Value{Number: float64(v)}, true
	case time.Time:
		return Value{Number: float64(v.UnixMilli())}, true
	case []record:
		var all []Record
		for _, o := range v {
			all = append(all, o)
		}
		return Value{Objects: all}, true
	}
	return Value{}, false
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

var records = []record{
	{"name": "a.txt", "size": 10, "tags": []string{"red", "a b/é", ""}, "mimetype": "text/plain", "creationTimestamp": at("2023-02-09T11:03:27.179Z"), "creatorId": "u1",
		"tokens": []record{{"token": "t1", "accessLevel": "full"}, {"token": "t2", "accessLevel": "read"}}},
	{"name": "123", "size": 0, "tags": []string{}, "mimetype": "image/png", "creationTimestamp": at("2023-02-09T11:03:27.180Z"),
		"tokens": []record{{"token": "t3", "accessLevel": "full"}}},
	{"name": "true", "size": 2000, "tags": []string{"x,y", "blue"}, "mimetype": "text/plain", "creationTimestamp": at("2024-01-01T00:00:00Z"), "creatorId": "u2"},
	{"name": "date:x", "size": 7, "tags": []string{"ÄRZTE"}, "mimetype": "", "creationTimestamp": at("2024-06-01T00:00:00Z"), "creatorId": "u1"},
	{"name": "Big (1)+2 & co.txt", "size": 1 << 40, "tags": nil, "creationTimestamp": at("2025-06-01T00:00:00Z"), "creatorId": "u1"},
}

func names(q *Query) []string {
	var out []string
	for _, r := range records {
		if q.Match(r) {
			out = append(out, r["name"].(string))
		}
	}
	return out
}

const everything = "a.txt 123 true date:x Big (1)+2 & co.txt"

func TestMatch(t *testing.T) {
	for _, tc := range []struct{ raw, want string }{
		{"", everything},
		{"&", everything},
		{"eq(name,a.txt)", "a.txt"},
		{"eq(name,a%252Etxt)", "a.txt"},
		{"eq(name,123)", "123"},
		{"eq(name,number:123)", "123"},
		{"eq(name,true)", "true"},
		{"eq(name,boolean:true)", "true"},
		{"eq(name,date%253Ax)", "date:x"},
		{"eq(name,date%3Ax)", ""}, // unescaped once it is a cast
		{"eq(name,date:x)", ""},
		{"eq(name,Big%2520%25281%2529%252B2%2520%2526%2520co%252Etxt)", "Big (1)+2 & co.txt"},
		{"eq(name,)", ""},
		{"ne(name,123)", "a.txt true date:x Big (1)+2 & co.txt"},
		{"in(name,a.txt,x%252Cy,123)", "a.txt 123"},
		{"in(name,)", ""},
		{"out(name,123,true)", "a.txt date:x Big (1)+2 & co.txt"},
		{"eq(tags,a%2520b%252F%25C3%25A9)", "a.txt"},
		{"eq(tags,a%20b%2F%C3%A9)", "a.txt"}, // by hand, escaped once
		{"eq(tags,)", "a.txt"},
		{"eq(tags,x%252Cy)", "true"},
		{"ne(tags,red)", "123 true date:x Big (1)+2 & co.txt"},
		{"in(tags,red,blue)", "a.txt true"},
		{"out(tags,red,blue)", "123 date:x Big (1)+2 & co.txt"},
		{"like(tags,%25C3%25A4rz)", "date:x"},
		{"like(name,TXT)", "a.txt Big (1)+2 & co.txt"},
		{"like(name,.*)", ""},
		{"like(name,a%252)", ""},
		{"eq(size,10)", "a.txt"},
		{"eq(size,1e1)", "a.txt"},
		{"eq(size,number:10)", "a.txt"},
		{"eq(size,ten)", ""},
		{"ne(size,ten)", everything},
		{"gt(size,7)", "a.txt true Big (1)+2 & co.txt"},
		{"ge(size,7)", "a.txt true date:x Big (1)+2 & co.txt"},
		{"lt(size,7)", "123"},
		{"le(size,7)", "123 date:x"},
		{"in(size,7,10)", "a.txt date:x"},
		{"gt(name,a)", "a.txt true date:x"},
		{"eq(creationTimestamp,2023-02-09T11%253A03%253A27.179Z)", "a.txt"},
		{"eq(creationTimestamp,2023-02-09T11:03:27.1799Z)", "a.txt"},
		{"eq(creationTimestamp,2023-02-09T12:03:27.179+01:00)", "a.txt"},
		{"eq(creationTimestamp,1675940607179)", "a.txt"},
		{"eq(creationTimestamp,epoch:1675940607179)", "a.txt"},
		{"gt(creationTimestamp,date:2024-01-01)", "date:x Big (1)+2 & co.txt"},
		{"ge(creation_timestamp,isodate:2024)", "true date:x Big (1)+2 & co.txt"},
		{"gt(creationTimestamp,Sat%2520Jun%252001%25202024%252001%253A00%253A00%2520GMT%252B0200%2520%2528CEST%2529)", "date:x Big (1)+2 & co.txt"},
		{"lt(creationTimestamp,soon)", ""},
		{"eq(mimeType,text%252Fplain)", "a.txt true"},
		{"eq(mime_type,text%252Fplain)", "a.txt true"},
		{"contains(creatorId)", "a.txt true date:x Big (1)+2 & co.txt"},
		{"excludes(creator_id)", "123"},
		{"contains(tags.1)", "a.txt true"},
		{"excludes(tags.0)", "123 Big (1)+2 & co.txt"},
		{"eq(tags.0,red)", "a.txt"},
		{"contains(tokens,and(eq(accessLevel,read)))", "a.txt"},
		{"contains(tokens,and(eq(accessLevel,full),eq(token,t2)))", ""},
		{"excludes(tokens,and(eq(accessLevel,read)))", "123 true date:x Big (1)+2 & co.txt"},
		{"contains(tokens)", "a.txt 123"},
		{"contains(tokens.1)", "a.txt"},
		{"eq(tokens.token,t3)", "123"},
		{"eq(tokens.access_level,read)", "a.txt"},
		{"ne(tokens.accessLevel,read)", "123 true date:x Big (1)+2 & co.txt"},
		{"contains(tokens.token)", "a.txt 123"},
		{"excludes(tokens.token)", "true date:x Big (1)+2 & co.txt"},
		{"eq(color,red)", ""},
		{"like(color,)", ""},
		{"ne(color,red)", everything},
		{"out(color,red)", everything},
		{"contains(color)", ""},
		{"excludes(color)", everything},
		{"excludes(color,and(eq(x,1)))", everything},
		{"and()", everything},
		{"or()", ""},
		{"and(,eq(name,123))", "123"},
		{"or(eq(name,123),and(gt(size,1),lt(size,9)))", "123 date:x"},
		{"eq(mimetype,text/plain)&gt(size,10)", "true"},
		{"eq(mimetype,text/plain)gt(size,10)&limit(6)", "true"}, // as the SDK writes it
		{"and(eq(name,123),sort(-size,+name),limit(5,10))", "123"},
		{"skipCount()", everything},
		{"or(eq(name,123),skipCount())", "123"},
	} {
		q, err := Parse(tc.raw, schema)
		if err != nil {
			t.Errorf("%s: %v", tc.raw, err)
			continue
		}
		if got := strings.Join(names(q), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.raw, got, tc.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, raw := range []string{
		"%", "%zz", "eq", "eq(", "eq(name", "eq(name,", "eq(name,x", "eq(name,x))", ")", "(", "()", "eq(name,x)|eq(name,y)", "name=x", "size>=10",
		"eq()", "eq(name)", "eq(name,a,b)", "eq(name,a%2Cb)", "eq(,a)", "eq(name,f(x))", "eq(eq(a,b),c)", "in(name)", "eq(name,a%26b)",
		"nope(name,x)", "EQ(name,x)", "not(eq(name,x))", "limit()", "limit(x)", "limit(0)", "limit(-1)", "limit(5,x)", "limit(1,2,3)", "limit(1.5)",
		"limit(99999999999999999999)", "or(limit(5),eq(name,x))", "or(sort(name))", "contains(tokens,and(skipCount()))", "sort(eq(a,b))", "skipCount(1)", "and(name)",
		"contains()", "contains(tags,and(eq(a,b)))", "contains(tokens,and(limit(5)))", "contains(tokens,)", "contains(name,x)", "contains(tokens,x)",
		"contains(tokens,and(eq(accessLevel,read)),x)", "+eq(name,x)",
		strings.Repeat("and(", MaxDepth+1) + strings.Repeat(")", MaxDepth+1),
		"in(name," + strings.Repeat("x,", MaxArgs) + ")",
		"eq(name," + strings.Repeat("x", MaxLength) + ")",
	} {
		if q, err := Parse(raw, schema); !errors.Is(err, ErrSyntax) {
			t.Errorf("%.60s: %v, %v", raw, q, err)
		}
	}
}

func TestShape(t *testing.T) {
	for raw, want := range map[string]Query{
		"limit(5)":                        {Limit: 5},
		"limit(5,10)":                     {Limit: 5, Offset: 10},
		"limit(5,10)&limit(7)":            {Limit: 7},
		"limit(20,-10)":                   {Limit: 20},
		"and(limit(3),select(name,size))": {Limit: 3, Select: []string{"name", "size"}},
		"select(creation_timestamp,tokens.token,tokens,nope)": {Select: []string{"creationTimestamp", "tokens"}},
		"select()":                       {Select: []string{}},
		"sort(-creationTimestamp,+name)": {Sort: []Key{{Field{"creationTimestamp", Time}, true}, {Field{"name", Text}, false}}},
		"sort(name)&sort(size,tags,x)":   {Sort: []Key{{Field{"size", Number}, false}}},
		"skip_count()":                   {SkipCount: true},
	} {
		q, err := Parse(raw, schema)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		q.where = nil
		if d := cmp.Diff(want, *q, cmp.AllowUnexported(Query{})); d != "" {
			t.Errorf("%s: %s", raw, d)
		}
	}
}

func TestCompare(t *testing.T) {
	for raw, want := range map[string]string{
		"sort(size)":                          "123 date:x a.txt true Big (1)+2 & co.txt",
		"sort(-size)":                         "Big (1)+2 & co.txt true a.txt date:x 123",
		"sort(creatorId,-name)":               "123 date:x a.txt Big (1)+2 & co.txt true",
		"sort(-creatorId,%2Bname)":            "true Big (1)+2 & co.txt a.txt date:x 123",
		"sort(+mimetype,-creation_timestamp)": "Big (1)+2 & co.txt date:x 123 true a.txt",
	} {
		q, err := Parse(raw, schema)
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Clone(records)
		slices.SortStableFunc(all, func(a, b record) int { return q.Compare(a, b) })
		var got []string
		for _, r := range all {
			got = append(got, r["name"].(string))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", raw, s, want)
		}
	}
}

func TestIndexHints(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                     "[] -Inf +Inf false",
		"eq(tags,a)":                           "[a] -Inf +Inf false",
		"and(in(tags,a,b,a),eq(name,x))":       "[a b] -Inf +Inf false",
		"or(eq(tags,a),eq(tags,b))":            "[] -Inf +Inf false",
		"ne(tags,a)&like(tags,b)&eq(tags.0,c)": "[] -Inf +Inf false",
		"gt(creationTimestamp,5)&le(creation_timestamp,9)&ge(creationTimestamp,2)": "[] 5 9 false",
		"eq(creationTimestamp,7)&ne(creationTimestamp,8)":                          "[] 7 7 false",
		"in(creationTimestamp,7,8)&lt(creationTimestamp,x)":                        "[] -Inf +Inf false",
		"or(eq(name,a),and(ne(tokens.token,b)))":                                   "[] -Inf +Inf true",
	} {
		q, err := Parse(raw, schema)
		if err != nil {
			t.Fatal(err)
		}
		tags, _ := q.OneOf("tags")
		from, to := q.Between("creationTimestamp")
		if got := fmt.Sprint(tags, from, to, q.Uses("tokens")); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

// twice escapes a value as the SDK does.
func twice(s string) string { return once(once(s)) }

func once(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"eq(tags,a%2520b%252F%25C3%25A9)&in(name,x,y%252Cz)&gt(size,10)&sort(-creationTimestamp,+name)&limit(5,10)",
		"eq(a,b)eq(c,d)&limit(6)", "contains(tokens,and(eq(accessLevel,read)))", "or(ne(tags.0,x),excludes(tags.1))", "and(,eq(name,))", "date:x", "a(b(c", "%25"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if q, err := Parse(s, schema); err == nil {
			for _, r := range records {
				q.Match(r)
				q.Compare(r, records[0])
			}
			for _, field := range []string{"name", "tags"} {
				for _, r := range records {
					if values, ok := q.OneOf(field); ok && q.Match(r) && !slices.ContainsFunc(values, func(v string) bool { return r[field] == v || has1(r[field], v) }) {
						t.Fatalf("%q matches %v, OneOf %s says %q", s, r, field, values)
					}
				}
			}
			from, to := q.Between("size")
			for _, r := range records {
				if n := float64(r["size"].(int)); q.Match(r) && (n < from || n > to) {
					t.Fatalf("%q matches %v, Between says %v %v", s, r, from, to)
				}
			}
		} else if !errors.Is(err, ErrSyntax) {
			t.Fatal(err)
		}
		// Whatever a value is, escaped as the SDK does it is that value.
		if len(s) > 1000 {
			return
		}
		q, err := Parse("ne(size,3)&eq(name,"+twice(s)+")", schema)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if !q.Match(record{"name": s, "size": 1}) || q.Match(record{"name": s + "x", "size": 1}) {
			t.Fatalf("%q is not itself", s)
		}
	})
}

func has1(v any, s string) bool {
	list, ok := v.([]string)
	return ok && slices.Contains(list, s)
}
