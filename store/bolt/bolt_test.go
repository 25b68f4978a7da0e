package bolt

import (
	"testing"

	"go.uber.org/goleak"

	"fileshare/store"
	"fileshare/store/storetest"
)

func openIn(t testing.TB, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

func TestRecords(t *testing.T) {
	storetest.Records(t, func(t *testing.T) store.Records { return openIn(t, t.TempDir(), Options{}) })
}

// TestRecordsInLog has nearly everything in tiny segments of the value log.
func TestRecordsInLog(t *testing.T) {
	storetest.Records(t, func(t *testing.T) store.Records {
		return openIn(t, t.TempDir(), Options{Threshold: 1, SegmentSize: 20_000})
	})
}

func TestRecordsReopen(t *testing.T) {
	for name, o := range map[string]Options{"default": {}, "log": {Threshold: 1, SegmentSize: 20_000}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			storetest.RecordsReopen(t, openIn(t, dir, o), func() store.Records { return openIn(t, dir, o) })
		})
	}
}

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m)
}
