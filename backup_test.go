package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// TestBackupUnderLoad backs a daemon up while it stores, hands out and deletes, and
// restores that elsewhere: what nobody touched is whole there, what could be
// downloaded once cannot, and nothing is half there.
func TestBackupUnderLoad(t *testing.T) {
	d := e2eStart(t, t.TempDir(), "REAPER_SCHEDULE=@every 1s", "LIMITS_AUTH_FAILURES=1000000")
	content := func(i int) []byte {
		n := []int{900, 40_000, 300_000, 2 << 20}[i%4]
		return e2eBytes()[i*1000:][:n]
	}
	kept, once := map[string][]byte{}, map[string][]byte{}
	for i := range 60 {
		kept[d.put("kept.bin", content(i))] = content(i)
		if i%3 == 0 {
			once[oneLink(d, content(i))] = content(i)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for w := range 4 {
		load.Go(func() {
			for i := w; ctx.Err() == nil; i++ {
				a, err := d.try(ctx, "PUT", "/uploads/"+strconv.Itoa(i), bytes.NewReader(content(i%100)))
				if err != nil || a.status != http.StatusCreated || i%2 == 0 {
					continue
				}
				_, _ = d.try(ctx, "DELETE", e2eID(a), nil)
			}
		})
	}
	load.Go(func() { // some are downloaded before, some while, some after
		for link, want := range once {
			if a, err := d.try(ctx, "GET", link, nil); ctx.Err() == nil && (err != nil || !bytes.Equal(a.body, want)) {
				t.Errorf("GET %s: %v, %v", link, a, err)
			}
		}
	})
	var archives []string
	for i := range 3 {
		path := filepath.Join(t.TempDir(), strconv.Itoa(i)+".tar")
		archives = append(archives, path)
		if err := fetchBackup(t.Context(), d, path); err != nil {
			t.Error(err)
		}
	}
	cancel()
	load.Wait()
	if t.Failed() {
		return
	}

	for i, archive := range archives {
		dir, file := t.TempDir(), filepath.Join(t.TempDir(), "restored.yaml")
		if err := os.WriteFile(file, []byte("store:\n  dir: "+dir+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", e2eRun(t, exitDone, "restore", archive, "--config", file))
		e2eRun(t, exitDone, "fsck", "--deep", "--config", file)
		r := e2eStart(t, dir)
		for path, want := range kept {
			r.want(path, want)
		}
		for link := range once {
			if a := r.do("GET", link, nil); a.status != http.StatusGone {
				t.Errorf("backup %d: a link that was good for one download: %v", i, a)
			}
		}
		all := r.list()
		if len(all) < len(kept) {
			t.Errorf("backup %d: %d files", i, len(all))
		}
		for range 20 { // what the load left is whole, too
			f := all[rand.IntN(len(all))]
			if a := r.do("GET", "/uploads/"+f.ID, nil); a.status != http.StatusOK || int64(len(a.body)) != f.Size {
				t.Errorf("backup %d: %s: %d and %d bytes of %d", i, f.Name, a.status, len(a.body), f.Size)
			}
		}
		r.stop()
	}
}

// fetchBackup downloads the backup of a daemon.
func fetchBackup(ctx context.Context, d *e2eDaemon, path string) error {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+d.addr+"/backup", nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(e2eUser, e2ePassword)
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, res.Body)
	return err
}
