package filesender

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"fileshare/store"
)

// A list of 0 to 6, newest (6) first and in pages of three, of which even ones
// are wanted: whatever is asked for, it is what a list of all would have there.
func TestPart(t *testing.T) {
	next := func(q store.Query) (p store.Page[int], err error) {
		at, _ := strconv.Atoi(q.Cursor)
		for i := at; i < min(at+3, 7); i++ {
			p.Items = append(p.Items, 6-i)
		}
		if at+3 < 7 {
			p.Next = strconv.Itoa(at + 3)
		}
		return p, nil
	}
	even := func(n int) bool { return n%2 == 0 }
	for from := range 6 {
		for most := 1; most < 6; most++ {
			for _, oldest := range []bool{false, true} {
				want := []int{6, 4, 2, 0}
				if oldest {
					slices.Reverse(want)
				}
				want = want[min(from, 4):min(from+most, 4)]
				got, err := part(listing{from: from, most: most, oldest: oldest}, next, even)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%d from %d, oldest first %v: %v, %v, want %v", most, from, oldest, got, err, want)
				}
			}
		}
	}
	broken := errors.New("broken")
	for _, oldest := range []bool{false, true} {
		_, err := part(listing{most: 1, oldest: oldest}, func(store.Query) (store.Page[int], error) { return store.Page[int]{}, broken }, even)
		if !errors.Is(err, broken) {
			t.Error(err)
		}
	}
}

func TestAsked(t *testing.T) {
	for query, want := range map[string]listing{
		"":                     {most: mostListed},
		"count=3&startIndex=7": {from: 7, most: 3},
		"count=0&startIndex=x": {most: mostListed},
		"count=-1":             {most: mostListed},
		"count=1000000&startIndex=99999999999999": {most: mostListed},
		"sortOrder=ascending&updatedSince=7":      {most: mostListed, oldest: true, since: time.Unix(7, 0)},
		"sortOrder=sideways":                      {most: mostListed},
	} {
		if got, err := asked(httptest.NewRequest("GET", "/?"+query, nil)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", query, got, err)
		}
	}
	if _, err := asked(httptest.NewRequest("GET", "/?updatedSince=yesterday", nil)); err == nil {
		t.Error("yesterday is a time")
	}
}

func TestUpdatedSince(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	for said, want := range map[string]time.Time{
		"2026-01-02T03:04:05Z":      time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05+01:00": time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05":       time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02 03:04:05":       time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02":                time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		"1700000000":                time.Unix(1700000000, 0),
		"36 hours":                  now.Add(-36 * time.Hour),
		"3 days":                    time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC),
		"1week":                     time.Date(2026, 3, 24, 12, 0, 0, 0, time.UTC),
		"2 months":                  time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"1 year":                    time.Date(2025, 3, 31, 12, 0, 0, 0, time.UTC),
	} {
		if got, err := updatedSince(said, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", said, got, err, want)
		}
	}
	for _, bad := range []string{"", "days", "-3 days", "3 fortnights", "2026-01", "1e9", "99999999999999999999", "999999 years"} {
		if got, err := updatedSince(bad, now); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
