package storetest_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"fileshare/store"
)

// slowAnswer are records that take long to say that something is written.
type slowAnswer struct{ store.Records }

func (r slowAnswer) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := r.Records.Update(ctx, fn)
	time.Sleep(time.Minute)
	return err
}

// TestTallyNotTwice: what is written already is not shown once more as what waits
// for it.
func TestTallyNotTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, blobs := embedded(t)
		s, err := store.New(t.Context(), slowAnswer{records}, blobs, store.Options{Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := store.Caller{Name: "alice"}
		content, err := s.Receive(t.Context(), c, bytes.NewReader([]byte("abc")), store.Incoming{Size: 3})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.CreateUpload(t.Context(), c, store.FileSpec{}, content)
		if err != nil {
			t.Fatal(err)
		}
		ref := store.Ref{File: f.ID}
		fetch := func() {
			t.Helper()
			d, err := s.Open(t.Context(), c, ref)
			if err == nil {
				_, err = io.Copy(io.Discard, d)
			}
			if err == nil {
				err = d.Settle(t.Context(), []store.Span{{From: 0, To: 3}}, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			d.Close()
		}
		shows := func(want int64) {
			t.Helper()
			if got, err := s.File(t.Context(), c, ref); err != nil || got.Downloads != want {
				t.Errorf("%+v, %v, want %d downloads", got, err, want)
			}
		}
		fetch()
		fetch()
		shows(2)
		time.Sleep(30 * time.Second) // they are written, but the answer is under way
		shows(2)
		fetch()
		shows(3)
		time.Sleep(10 * time.Minute)
		shows(3)
	})
}
