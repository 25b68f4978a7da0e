package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
)

// measureIDs: new records are neighbours where they are stored, and scattered
// where they are shown.
func measureIDs(ctx context.Context, s *scale) (err error) {
	records, err := bolt.Open(filepath.Join(s.dir, "ids"), bolt.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	blobs, err := dir.Open(filepath.Join(s.dir, "ids", "blobs"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	engine, err := store.New(ctx, records, blobs, store.Options{Exclusive: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	var shown [64]int
	caller, ttl := store.Caller{Name: "one"}, time.Hour
	for range s.sizes.files {
		c, err := engine.Receive(ctx, caller, bytes.NewReader(nil), store.Incoming{Size: 0})
		if err != nil {
			return err
		}
		f, err := engine.CreateUpload(ctx, caller, store.FileSpec{Name: new("a"), TTL: &ttl}, c)
		if err != nil {
			return err
		}
		id, err := hex.DecodeString(strings.ReplaceAll(f.ID, "-", ""))
		if err != nil {
			return err
		}
		shown[id[0]>>2]++
	}
	var kept [64]int
	err = records.View(ctx, func(tx store.Tx) error {
		for item, err := range tx.Scan(store.FileRecords, nil, nil) {
			if err != nil {
				return err
			}
			kept[item.ID[0]>>2]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.say("the fullest range has %.2f times the mean by key, %.2f times by id", fullest(kept[:]), fullest(shown[:]))
	return nil
}

// fullest is how many times the mean the largest of the counts is.
func fullest(counts []int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(slices.Max(counts)) * float64(len(counts)) / float64(sum)
}

// measureBuckets: contents have random keys, so the hash of one may choose its
// bucket. The highest of the hashes with each bucket wins (rendezvous), so that a
// bucket more takes its share from all others and moves nothing else.
func measureBuckets(_ context.Context, s *scale) error {
	for _, buckets := range []int{16, 64, 256} {
		var key [16]byte
		counts := make([]int, buckets)
		moved, elsewhere := 0, 0
		keys := s.sizes.keys * 16 / buckets
		for range keys {
			rand.Read(key[:]) // never fails
			before, most := choose(key[:], buckets)
			counts[before]++
			if weigh(key[:], buckets) > most { // the next bucket would have it
				moved++
				after, _ := choose(key[:], buckets+1)
				if after != buckets {
					elsewhere++
				}
			}
		}
		if elsewhere > 0 {
			return fmt.Errorf("%d contents moved between old buckets", elsewhere)
		}
		s.say("%3d buckets, %d contents: the fullest has %.3f times the mean; one bucket more moves %.2f %%", buckets, keys,
			fullest(counts), 100*float64(moved)/float64(keys))
	}
	return nil
}

// choose returns the bucket of a key, and its weight.
func choose(key []byte, buckets int) (best int, most uint64) {
	for b := range buckets {
		if w := weigh(key, b); w > most {
			best, most = b, w
		}
	}
	return best, most
}

func weigh(key []byte, bucket int) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(key[:16:16], uint32(bucket)))
	x := h.Sum64()
	x ^= x >> 33 // FNV leaves the last bytes in the low bits
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
