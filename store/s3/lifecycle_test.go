package s3_test

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"fileshare/store"
	"fileshare/store/s3"
)

// TestLifecycle: our rule comes and goes, and is all that changes.
func TestLifecycle(t *testing.T) {
	b, line := faulty(t, s3.Options{})
	days := func(want int) {
		t.Helper()
		if got, err := b.Lifecycle(t.Context()); got != want || err != nil {
			t.Errorf("%d days, %v; want %d", got, err, want)
		}
	}
	set := func(n int) {
		t.Helper()
		if err := b.SetLifecycle(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	days(0)
	set(40)
	days(40)
	var rules struct {
		Rule []struct {
			ID         string
			Status     string
			Prefix     string `xml:"Filter>Prefix"`
			Expiration struct{ Days int }
		}
	}
	if err := xml.Unmarshal(line.Rules(), &rules); err != nil {
		t.Fatal(err)
	}
	if r := rules.Rule; len(r) != 1 || r[0].ID != "fileshare some/where" || r[0].Status != "Enabled" || r[0].Prefix != "some/where/" || r[0].Expiration.Days != 40 {
		t.Errorf("the rules are %+v: %s", r, line.Rules())
	}
	set(50)
	days(50)
	set(0)
	days(0)
	if r := line.Rules(); r != nil {
		t.Errorf("this is left: %s", r)
	}
}

// TestLifecycleOfOthers: rules that we did not make stay.
func TestLifecycleOfOthers(t *testing.T) {
	b, line := faulty(t, s3.Options{})
	const theirs = `<LifecycleConfiguration><Rule><ID>logs</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>`
	line.SetRules([]byte(theirs))
	for _, n := range []int{40, 50, 0} {
		if err := b.SetLifecycle(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if r := string(line.Rules()); !strings.Contains(r, "<ID>logs</ID>") || !strings.Contains(r, "<Days>3</Days>") || strings.Count(r, "<Rule>") != min(n, 1)+1 {
			t.Errorf("set to %d days: %s", n, r)
		}
	}
}

// TestNoLifecycle: a server that knows no rules says so; it does not help to ask
// again.
func TestNoLifecycle(t *testing.T) {
	b := open(t, s3.Options{})
	_, err := b.Lifecycle(t.Context())
	if err == nil {
		err = b.SetLifecycle(t.Context(), 40)
	}
	if err == nil || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "lifecycle") {
		t.Errorf("%v", err)
	}
}
