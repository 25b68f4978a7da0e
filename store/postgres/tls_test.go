package postgres

import (
	"context"
	"testing"
	"time"

	"fileshare/store"
	"fileshare/store/postgres/pgtest"
)

// Over TCP every connection is encrypted, and a server that cannot be verified
// is refused.
func TestTLS(t *testing.T) {
	s, err := pgtest.StartTLS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	db := openIn(t, s.TLSURL("verify-full", true), Options{})
	err = db.Update(t.Context(), func(tx store.Tx) error { return tx.Put(store.MetaRecords, []byte("k"), []byte("v"), time.Time{}) })
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(t.Context(), func(tx store.Tx) error {
		v, err := tx.Get(store.MetaRecords, []byte("k"))
		if string(v) != "v" {
			t.Errorf("%q", v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var all, plain int
	err = db.readers.QueryRow(t.Context(), "SELECT count(*), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL").Scan(&all, &plain)
	if err != nil || all < 2 || plain > 0 {
		t.Errorf("%d connections over TCP, %d of them in plain text: %v", all, plain, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if db, err := Open(ctx, s.TLSURL("verify-full", false), Options{Timeout: time.Second}); err == nil {
		db.Close()
		t.Error("a server whose certificate nobody vouches for is let in")
	} else {
		t.Log(err)
	}
}
