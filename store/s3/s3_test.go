package s3_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/s3"
	"fileshare/store/s3/s3test"
	"fileshare/store/storetest"
)

var server *s3test.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if server, err = s3test.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	os.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// target makes an empty bucket.
func target(t testing.TB) s3.Target {
	t.Helper()
	url, err := server.NewURL("some/where")
	if err != nil {
		t.Fatal(err)
	}
	to, err := s3.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func open(t testing.TB, o s3.Options) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(context.Background(), target(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBlobs(t *testing.T) {
	storetest.Blobs(t, func(t *testing.T) store.Blobs { return open(t, s3.Options{Segment: 16 << 20}) })
}

// TestEngine runs the engine over small segments, so that most contents are cut.
func TestEngine(t *testing.T) {
	storetest.Engine(t, func(t testing.TB) (store.Records, store.Blobs) {
		records, err := bolt.Open(t.TempDir(), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { records.Close() })
		return records, open(t, s3.Options{Segment: s3.MinSegment})
	})
}
