package storetest_test

import (
	"bytes"
	"strings"
	"testing"

	"fileshare/store"
)

// TestLostTail: where the content of an unfinished file is lost, a piece of it is
// refused once.
func TestLostTail(t *testing.T) {
	records, blobs := embedded(t)
	s, err := store.New(t.Context(), records, blobs, store.Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := store.Caller{Name: "alice"}
	p, err := s.BeginUpload(t.Context(), c, store.FileSpec{}, store.Begin{Length: 10})
	if err != nil {
		t.Fatal(err)
	}
	ref := store.Ref{File: p.File.ID}
	if _, err := s.WriteAt(t.Context(), c, ref, strings.NewReader("0123456789"), 0, 10, nil); err != nil {
		t.Fatal(err)
	}
	err = records.Update(t.Context(), func(tx store.Tx) error {
		for item, err := range tx.Scan(store.ContentRecords, nil, nil) {
			if err != nil {
				return err
			}
			if err := tx.Delete(store.ContentRecords, bytes.Clone(item.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt(t.Context(), c, ref, strings.NewReader("345"), 3, 3, nil); err == nil || store.KindOf(err) == store.Conflict {
		t.Errorf("a piece of what is lost: %v", err)
	}
}
