package extrahorizon

import (
	"context"
	"math"
	"slices"
	"time"

	"fileshare/server/extrahorizon/rql"
	"fileshare/store"
)

// Bounds of a question: how many files it may look at, and how many looks one
// at the tokens of a file is worth.
const (
	mostLooked = 100_000
	tokenLooks = 5
)

// fields are the names under which questions may speak of a file.
func fields() rql.Schema {
	s := rql.Schema{
		"mimeType":           {Name: "mimetype", Type: rql.Text}, // as the service's table has it
		"tokens.token":       {Name: "tokens.token", Type: rql.Text},
		"tokens.accessLevel": {Name: "tokens.accessLevel", Type: rql.Text},
	}
	for name, t := range map[string]rql.Type{
		"name": rql.Text, "mimetype": rql.Text, "size": rql.Number, "tags": rql.Texts, "creatorId": rql.Text, "tokens": rql.Objects,
		"creationTimestamp": rql.Time, "updateTimestamp": rql.Time, "expiryTimestamp": rql.Time,
	} {
		s[name] = rql.Field{Name: name, Type: t}
	}
	return s
}

// question is a list that is asked for: the query, and what evaluating it
// costs.
type question struct {
	a      *api
	ctx    context.Context
	caller store.Caller
	query  *rql.Query
	looks  int   // that are left
	failed error // of reading tokens

	owner, creator string // of the file looked at last: they come one after the other
}

// result is a page of a list.
type result struct {
	page
	files []*file
}

// find answers a question. Where the query names a tag, a creator or times, the
// lists of the engine serve it; else every file that the caller may see is
// looked at, within a bound.
func (q *question) find() (*result, error) {
	r := &result{page: pageOf(q.query)}
	list, any := q.list()
	if !any {
		return r, nil
	}
	top := &ranking[*file]{query: q.query, most: min(r.Offset+r.Limit, q.a.o.Looks)}
	q.looks = q.a.o.Looks
	all, err := q.a.Store.Walk(q.ctx, q.caller, list, q.a.o.Looks, func(f *store.File) bool {
		q.looks--
		if f.State != store.StateUploaded {
			return true
		}
		candidate := q.file(f)
		if q.query.Match(candidate) {
			*r.Total++
			top.add(candidate)
		}
		return q.failed == nil && q.looks >= 0
	})
	if err == nil {
		err = q.failed
	}
	if err == nil && (!all || q.looks < 0) {
		err = refuse(codeRQL, "the query would have to look at too many files: narrow it by creationTimestamp (from when on) or by a tag")
	}
	if err != nil {
		return nil, err
	}
	r.files = top.page(r.Offset)
	return r, nil
}

// list chooses what is walked; any is false where nothing can match.
func (q *question) list() (list store.Query, any bool) {
	list.All = q.caller.Admin
	if creators, ok := q.query.OneOf("creatorId"); ok {
		own := q.a.Store.AccountID(q.caller.Name)
		switch {
		case len(creators) == 1 && creators[0] == own && q.caller.Name != "":
			list.All = false
		case !list.All && !slices.Contains(creators, own):
			return list, false
		}
	}
	if tags, ok := q.query.OneOf("tags"); ok && len(tags) == 1 {
		list.Tag = tags[0]
	}
	from, to := q.query.Between("creationTimestamp")
	list.Since, list.Until = moment(from), moment(to)
	return list, from <= to
}

// moment turns milliseconds since 1970 into a time, and what no file's can be
// into none.
func moment(ms float64) time.Time {
	if math.IsInf(ms, 0) || ms < 0 || ms >= 1<<47 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

func (q *question) file(f *store.File) *file {
	if f.Owner != q.owner {
		q.owner, q.creator = f.Owner, q.a.Store.AccountID(f.Owner)
	}
	return &file{File: f, name: nameOf(f), creator: q.creator, read: func() []token {
		q.looks -= tokenLooks
		tokens, err := q.a.tokens(q.ctx, q.caller, f, mostListed)
		if err != nil && q.failed == nil && store.KindOf(err) == 0 {
			q.failed = err // a refusal: the file has gone meanwhile
		}
		return tokens
	}}
}
