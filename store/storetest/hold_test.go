package storetest_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fileshare/store"
)

// aged are blobs that are all three hours old.
type aged struct{ store.Blobs }

func (a aged) List(ctx context.Context, shard int) iter.Seq2[store.BlobInfo, error] {
	return func(yield func(store.BlobInfo, error) bool) {
		for info, err := range a.Blobs.List(ctx, shard) {
			info.Modified = time.Now().Add(-3 * time.Hour)
			if !yield(info, err) {
				return
			}
		}
	}
}

// severed are records whose server a node may not reach.
type severed struct {
	store.Records
	off atomic.Bool
}

func (s *severed) View(ctx context.Context, fn func(store.Tx) error) error {
	if s.off.Load() {
		return store.ErrUnavailable
	}
	return s.Records.View(ctx, fn)
}

func (s *severed) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.off.Load() {
		return store.ErrUnavailable
	}
	return s.Records.Update(ctx, fn)
}

// TestHold: what one node writes for hours is no orphan to another, unless the
// first cannot say so; then it gets no record any more.
func TestHold(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	for _, test := range []struct {
		name    string
		severed bool
	}{{"held", false}, {"severed", true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				records, blobs := embedded(t)
				line := &severed{Records: records}
				node := func(r store.Records) *store.Store {
					s, err := store.New(t.Context(), r, aged{blobs}, store.Options{Inline: 10, AnonymousUploads: true})
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
				slow, other := node(line), node(records)
				defer other.Close()
				defer slow.Close()
				c, err := slow.Receive(t.Context(), store.Caller{}, bytes.NewReader(content), store.Incoming{Size: -1})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Discard()
				time.Sleep(20 * time.Minute)
				line.off.Store(test.severed)
				time.Sleep(70 * time.Minute)
				if _, err := other.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
				line.off.Store(false)

				want := 0
				if test.severed {
					want = 1
				}
				var found []store.Problem
				o := store.CheckOptions{MinAge: time.Hour, Found: func(p store.Problem) { found = append(found, p) }}
				if _, err := store.Check(t.Context(), store.Backend{Records: records, Blobs: aged{blobs}}, o); err != nil || len(found) != want {
					t.Errorf("a check beside it finds %v, %v", found, err)
				}
				if r, err := other.Sweep(t.Context(), time.Hour); err != nil || r.Removed != want {
					t.Errorf("the other's sweep: %+v, %v", r, err)
				}
				f, err := slow.CreateUpload(t.Context(), store.Caller{}, store.FileSpec{}, c)
				if test.severed {
					if store.KindOf(err) != store.Unavailable {
						t.Errorf("it gets a record: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				d, err := other.Open(t.Context(), store.Caller{}, store.Ref{File: f.ID})
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		})
	}
}
