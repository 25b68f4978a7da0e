package main

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"fileshare/store/postgres/pgtest"
	"fileshare/store/s3/s3test"
)

// pair is a pair of backends that scripts run over.
type pair struct {
	name    string
	scripts []string                 // without .txtar; none: all of them
	shared  bool                     // several daemons may use the records
	bucket  bool                     // contents are in one
	make    func() ([]string, error) // environment of a daemon with empty backends; nil: the defaults
}

const scriptDir = "testdata/script"

// essential are the scripts that exercise what a backend does: contents small
// and large, ranges, counted downloads, kills, sessions, limits, one of the
// foreign APIs. The others look at the face, and run over the default pair.
func essential() []string {
	return []string{"seed", "raw", "ranges", "onetime", "sessions", "cut", "limits", "opentera", "redirect"}
}

// pairs returns the pairs of backends. All scripts run over the first.
func pairs(t *testing.T) []pair {
	t.Helper()
	db, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	bucket, err := s3test.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bucket.Stop(); err != nil {
			t.Error(err)
		}
	})
	postgres := func() ([]string, error) {
		url, err := db.NewSchema()
		return []string{"FILESHARE_STORE_RECORDS=" + url}, err
	}
	s3 := func() ([]string, error) {
		url, err := bucket.NewURL("contents")
		return append(bucket.Env(), "FILESHARE_STORE_BLOBS="+url), err
	}
	return []pair{
		{name: "bolt+dir"},
		{name: "postgres+dir", shared: true, scripts: essential(), make: postgres},
		{name: "bolt+s3", bucket: true, scripts: essential(), make: s3},
		{name: "postgres+s3", shared: true, bucket: true, scripts: essential(), make: func() ([]string, error) {
			records, err := postgres()
			blobs, err2 := s3()
			return slices.Concat(records, blobs), errors.Join(err, err2)
		}},
	}
}

func (p pair) dir() string {
	if len(p.scripts) > 0 {
		return ""
	}
	return scriptDir
}

func (p pair) files() (all []string) {
	for _, s := range p.scripts {
		all = append(all, filepath.Join(scriptDir, s+".txtar"))
	}
	return all
}

// fresh makes empty backends for a daemon.
func (p pair) fresh() ([]string, error) {
	if p.make == nil {
		return nil, nil
	}
	return p.make()
}
