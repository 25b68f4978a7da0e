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

// slow are blobs that take their time to write one.
type slow struct{ store.Blobs }

func (s slow) Put(ctx context.Context, key string, r io.Reader, size int64) (int64, error) {
	time.Sleep(20 * time.Second)
	return s.Blobs.Put(ctx, key, r, size)
}

// TestOverlapSlow: what lies in holes may take as long to write as any chunk.
func TestOverlapSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, blobs := embedded(t)
		s, err := store.New(t.Context(), records, slow{blobs}, store.Options{Inline: 10, Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c, data := store.Caller{Name: "alice"}, make([]byte, 500)
		p, err := s.BeginUpload(t.Context(), c, store.FileSpec{}, store.Begin{Length: 500})
		if err != nil {
			t.Fatal(err)
		}
		ref := store.Ref{File: p.File.ID}
		for _, w := range [][2]int64{{100, 200}, {300, 400}, {0, 500}} {
			if p, err = s.WriteAt(t.Context(), c, ref, bytes.NewReader(data[w[0]:w[1]]), w[0], w[1]-w[0], nil); err != nil {
				t.Fatal(err)
			}
		}
		if p.Offset != 500 {
			t.Errorf("%+v", p)
		}
	})
}
