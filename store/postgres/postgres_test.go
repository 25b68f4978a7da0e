package postgres

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"fileshare/store"
	"fileshare/store/dir"
	"fileshare/store/postgres/pgtest"
	"fileshare/store/storetest"
)

var server *pgtest.Server // of the whole test; started by TestMain

func TestMain(m *testing.M) {
	var err error
	if server, err = pgtest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func openIn(t testing.TB, url string, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), url, o)
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
	storetest.Records(t, func(t *testing.T) store.Records { return openIn(t, server.Schema(t), Options{}) })
}

func TestRecordsReopen(t *testing.T) {
	url := server.Schema(t)
	storetest.RecordsReopen(t, openIn(t, url, Options{}), func() store.Records { return openIn(t, url, Options{}) })
}

func TestEngine(t *testing.T) {
	storetest.Engine(t, func(t testing.TB) (store.Records, store.Blobs) {
		blobs, err := dir.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := blobs.Close(); err != nil {
				t.Error(err)
			}
		})
		return openIn(t, server.Schema(t), Options{}), blobs
	})
}
