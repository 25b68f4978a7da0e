package server

import (
	"net/url"
	"slices"
	"testing"

	"fileshare/store"
)

func TestFileSenderLists(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{FileSender: &FileSender{}})
	var want []int64
	for range 5 {
		want = append(want, h.fsSent("alice", 1, nil).ID)
	}
	h.upload("no transfer", "")
	bobs := h.fsSent("bob", 1, nil)
	list := func(path, user string, args map[string]string) (ids []int64) {
		t.Helper()
		var all []fsTransfer
		h.fs(signAsync, "GET", "/rest.php/transfer"+path, user, args, nil).want(t, 200).into(t, &all)
		for _, tr := range all {
			ids = append(ids, tr.ID)
			if owner := map[bool]string{true: "bob", false: "alice"}[tr.ID == bobs.ID]; tr.User != owner || tr.Email != owner+"@example.com" {
				t.Errorf("%s: %+v", path, tr)
			}
		}
		return ids
	}
	// Those of one millisecond come in any order, but always in the same.
	newest := list("", "alice", nil)
	oldest := slices.Clone(newest)
	slices.Reverse(oldest)
	if !slices.Equal(slices.Sorted(slices.Values(newest)), want) {
		t.Fatalf("%v, want %v", newest, want)
	}
	for _, x := range []struct {
		args url.Values
		want []int64
	}{
		{nil, newest},
		{url.Values{"count": {"2"}}, newest[:2]},
		{url.Values{"count": {"2"}, "startIndex": {"4"}}, newest[4:]},
		{url.Values{"startIndex": {"5"}}, nil},
		{url.Values{"sortOrder": {"ascending"}, "count": {"2"}, "startIndex": {"1"}}, oldest[1:3]},
		{url.Values{"updatedSince": {"3 days"}, "sortOrder": {"descending"}}, newest},
		{url.Values{"updatedSince": {"4000000000"}}, nil},
	} {
		args := map[string]string{}
		for k := range x.args {
			args[k] = x.args.Get(k)
		}
		for _, path := range []string{"", "/@me"} {
			if got := list(path, "alice", args); !slices.Equal(got, x.want) {
				t.Errorf("%v: %v, want %v", x.args, got, x.want)
			}
		}
	}
	fsMessage(t, h.fs(signNew, "GET", "/rest.php/transfer", "alice", map[string]string{"updatedSince": "yesterday"}, nil), 400, "rest_updatedsince_bad_format")
	fsMessage(t, h.fs(signNew, "GET", "/rest.php/transfer/@all", "alice", nil, nil), 403, "rest_admin_required")
	if got := list("/@all", "root", nil); !slices.Equal(slices.Sorted(slices.Values(got)), append(want, bobs.ID)) {
		t.Errorf("%v", got)
	}
	if got := list("", "root", nil); got != nil {
		t.Errorf("%v", got)
	}
	// An administrator sees another's transfer as it is: under its owner's name.
	var tr fsTransfer
	h.fs(signNew, "GET", "/rest.php/transfer/"+fsID(bobs.ID), "root", nil, nil).want(t, 200).into(t, &tr)
	if tr.User != "bob" || tr.Email != "bob@example.com" {
		t.Errorf("%+v", tr)
	}
}
