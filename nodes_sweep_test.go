package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fileshare/store/dir"
)

// TestNodesSweep: two nodes share the sweep while files are uploaded. Each orphan
// goes once, and nothing else does, however old it is.
func TestNodesSweep(t *testing.T) {
	c := startCluster(t, "REAPER_SCHEDULE=@every 1s", "REAPER_SWEEP=@every 3s", "STORE_INLINE_SIZE=0")
	var paths []string
	for range 30 {
		paths = append(paths, c.front.put("old.bin", e2eBytes()[:2000]))
	}
	aged := contentFiles(t, c.dir)
	if len(aged) != len(paths) {
		t.Fatalf("%d contents of %d files", len(aged), len(paths))
	}
	l := startLoad(t, c.front)
	e2eUntil(t, "uploads", func() bool { return l.stored.Load() > 50 })

	blobs, err := dir.Open(filepath.Join(c.dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	const orphans = 100
	names := map[string]bool{}
	for range orphans {
		var run [16]byte
		rand.Read(run[:])
		name := hex.EncodeToString(run[:])
		if _, err := blobs.Put(t.Context(), name+"/0", bytes.NewReader(e2eBytes()[:10]), 10); err != nil {
			t.Fatal(err)
		}
		names[name+".0"] = true
	}
	if err := blobs.Close(); err != nil {
		t.Fatal(err)
	}
	left := func() (some []string) {
		for _, path := range contentFiles(t, c.dir) {
			if names[filepath.Base(path)] {
				some = append(some, path)
			}
		}
		return some
	}
	swept := func() [2]int64 {
		return [2]int64{c.nodes[0].metric("fileshare_sweep_shards_total"), c.nodes[1].metric("fileshare_sweep_shards_total")}
	}
	young := left()
	if len(young) != orphans {
		t.Errorf("%d of %d young orphans are left", len(young), orphans)
	}

	// They become old, and so do the contents of files.
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range append(aged, young...) {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	begun := swept()
	e2eUntil(t, "the end of all orphans", func() bool { return len(left()) == 0 })
	e2eUntil(t, "work of both nodes", func() bool { now := swept(); return now[0] > begun[0] && now[1] > begun[1] })
	removed := func() int64 {
		return c.nodes[0].metric("fileshare_orphans_removed_total") + c.nodes[1].metric("fileshare_orphans_removed_total")
	}
	e2eUntil(t, "the count of all orphans", func() bool { return removed() >= orphans })
	if n := removed(); n != orphans {
		t.Errorf("%d orphans were removed of %d", n, orphans)
	}
	l.end(c.nodes[1])
	for _, path := range paths {
		c.nodes[0].want(path, e2eBytes()[:2000])
	}
	for _, d := range c.nodes {
		if failed := d.metric(`fileshare_sweep_runs_total{result="error"}`); failed != 0 || strings.Contains(d.log.String(), "level=ERROR") {
			t.Errorf("%d sweeps failed:\n%s", failed, d.log.String())
		}
	}
}

// contentFiles are the paths of all contents in a data directory.
func contentFiles(t *testing.T, data string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(data, "blobs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(path string) bool { return filepath.Base(path) == labelFile })
}
