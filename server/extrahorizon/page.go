package extrahorizon

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"fileshare/server/extrahorizon/rql"
)

// Bounds of a page.
const (
	defaultPage = 20
	mostPage    = 200
)

// page is what a list is wrapped in. Numbers are numbers: of strings the SDK
// would stop after a page.
type page struct {
	Total  *int `json:"total,omitempty"`
	Offset int  `json:"offset"`
	Limit  int  `json:"limit"`
}

// pageOf is the page that a query asks for, of nothing so far.
func pageOf(q *rql.Query) page {
	limit := min(q.Limit, mostPage)
	if limit == 0 {
		limit = defaultPage
	}
	return page{new(int), q.Offset, limit}
}

// list is the answer to a question.
type list struct {
	Page page             `json:"page"`
	Data []map[string]any `json:"data"`
}

// listOf makes the answer of the objects of a page.
func listOf(q *rql.Query, p page) *list {
	if q.SkipCount {
		p.Total = nil
	}
	return &list{p, []map[string]any{}}
}

// add adds an object, or what the query selects of it.
func (l *list) add(q *rql.Query, object map[string]any) {
	if q.Select != nil {
		for name := range object {
			if !slices.Contains(q.Select, name) {
				delete(object, name)
			}
		}
	}
	l.Data = append(l.Data, object)
}

// ranking keeps the first of many, the last of them on top of a heap.
type ranking[T listed] struct {
	query *rql.Query
	most  int
	first []T
}

// listed is what a list is made of.
type listed interface {
	rql.Record
	made() (at time.Time, id string)
}

func (r *ranking[T]) Len() int           { return len(r.first) }
func (r *ranking[T]) Less(i, j int) bool { return r.compare(r.first[i], r.first[j]) > 0 }
func (r *ranking[T]) Swap(i, j int)      { r.first[i], r.first[j] = r.first[j], r.first[i] }
func (r *ranking[T]) Push(x any)         { r.first = append(r.first, x.(T)) }
func (r *ranking[T]) Pop() any {
	last := r.first[len(r.first)-1]
	r.first = r.first[:len(r.first)-1]
	return last
}

// compare is the order of the query, then that of creation, so that pages fit
// together.
func (r *ranking[T]) compare(a, b T) int {
	if c := r.query.Compare(a, b); c != 0 {
		return c
	}
	aAt, aID := a.made()
	bAt, bID := b.made()
	if c := aAt.Compare(bAt); c != 0 {
		return c
	}
	return cmp.Compare(aID, bID)
}

func (r *ranking[T]) add(x T) {
	switch {
	case len(r.first) < r.most:
		heap.Push(r, x)
	case r.most > 0 && r.compare(x, r.first[0]) < 0:
		r.first[0] = x
		heap.Fix(r, 0)
	}
}

// page returns those from an offset on, in order.
func (r *ranking[T]) page(offset int) []T {
	slices.SortFunc(r.first, r.compare)
	return r.first[min(offset, len(r.first)):]
}
