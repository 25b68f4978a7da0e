package storetest_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
	"fileshare/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEngine(t *testing.T) { storetest.Engine(t, embedded) }

// TestEngineAgain runs every Update twice.
func TestEngineAgain(t *testing.T) {
	storetest.Engine(t, func(t testing.TB) (store.Records, store.Blobs) {
		records, blobs := embedded(t)
		return storetest.Again(records), blobs
	})
}

// embedded is the pair of backends of a daemon that is alone.
func embedded(t testing.TB) (store.Records, store.Blobs) {
	path := t.TempDir()
	records, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	blobs, err := dir.Open(filepath.Join(path, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	return records, blobs
}
