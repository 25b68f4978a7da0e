package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fileshare/store"
)

// dead are blobs whose server does not answer when something is to be deleted.
type dead struct{ store.Blobs }

func (dead) Delete(context.Context, string) error {
	time.Sleep(5 * time.Second)
	return store.ErrUnavailable
}

// TestPurgeBlobsDown: a Purge does not stay with contents that cannot be deleted
// now; there are other things to do.
func TestPurgeBlobsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, blobs := embedded(t)
		s, err := store.New(t.Context(), records, dead{blobs}, store.Options{Inline: 10, Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := store.Caller{Name: "alice"}
		for range 600 {
			content, err := s.Receive(t.Context(), c, bytes.NewReader(make([]byte, 100)), store.Incoming{Size: 100})
			if err != nil {
				t.Fatal(err)
			}
			f, err := s.CreateUpload(t.Context(), c, store.FileSpec{}, content)
			if err == nil {
				err = s.DeleteFile(t.Context(), c, store.Ref{File: f.ID})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		if _, err := s.Purge(ctx); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
	})
}
