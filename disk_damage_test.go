package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fileshare/api"
)

// TestDiskDamagedRecords damages the database of a daemon that has stopped in
// order, or was killed. The daemon must refuse to start and say which file is
// damaged; or it starts, and a file is what it was or an error, never something
// else, and most of them are still there.
func TestDiskDamagedRecords(t *testing.T) {
	flip := func(at func(size int64) int64, n int) func(*testing.T, string) {
		return func(t *testing.T, path string) { e2eFlip(t, path, at, n) }
	}
	truncate := func(size func(int64) int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, size(info.Size())); err != nil {
				t.Fatal(err)
			}
		}
	}
	used := func(part int64) func(int64) int64 { // the tree lies at the beginning of the file
		return func(size int64) int64 { return min(size, 200<<10) * part / 16 }
	}
	damages := []struct {
		name   string
		damage func(*testing.T, string)
	}{
		{"zero length", truncate(func(int64) int64 { return 0 })},
		{"missing", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
		{"half", truncate(func(n int64) int64 { return n / 2 })},
		{"a few pages", truncate(func(int64) int64 { return 5 * 4096 })},
		{"100 bytes", truncate(func(int64) int64 { return 100 })},
		{"garbage head", flip(func(int64) int64 { return 0 }, 3*4096)},
		{"garbage everywhere", flip(func(int64) int64 { return 0 }, 1<<30)},
		{"zeros", func(t *testing.T, path string) {
			if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"text", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database\n"), 10_000), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for part := int64(1); part < 16; part++ {
		damages = append(damages, struct {
			name   string
			damage func(*testing.T, string)
		}{fmt.Sprintf("flipped at %d/16", part), flip(used(part), 64)})
	}
	for _, kind := range []string{"small and large", "large only"} {
		for _, end := range []string{"stopped", "killed"} {
			origin := t.TempDir()
			d := e2eStart(t, origin)
			kept := e2eKept{}
			for i := range 40 {
				if kind == "small and large" {
					small := e2eBytes()[i : i+100+i*1000]
					kept[d.put("small", small)] = small
				}
				if i%10 == 0 {
					large := e2eBytes()[i : i+100<<10]
					kept[d.put("large", large)] = large
				}
			}
			if end == "stopped" {
				d.stop()
			} else {
				d.kill()
			}
			for _, test := range damages {
				t.Run(kind+"/"+end+"/"+test.name, func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), "data")
					if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
						t.Fatal(err)
					}
					test.damage(t, filepath.Join(dir, "records.db"))
					e2eAfterDamage(t, dir, kept)
				})
			}
		}
	}
}

// e2eFlip inverts n bytes of a file.
func e2eFlip(t *testing.T, path string, at func(size int64) int64, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from := at(int64(len(b)))
	for i := from; i < min(from+int64(n), int64(len(b))); i++ {
		b[i] = ^b[i]
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// e2eAfterDamage starts a daemon over a damaged directory.
func e2eAfterDamage(t *testing.T, dir string, kept e2eKept) {
	t.Helper()
	blobs, _ := e2eBlobs(t, dir)
	d := e2eLaunch(t, dir)
	if !d.listening() {
		log := d.log.String()
		if d.state.ExitCode() != exitFailed || !strings.Contains(log, "records.db") {
			t.Errorf("exit code %d, want %d and the name of the file:\n%s", d.state.ExitCode(), exitFailed, log)
		}
		if n, _ := e2eBlobs(t, dir); n != blobs {
			t.Errorf("%d blobs of %d are left", n, blobs)
		}
		return
	}
	intact, faults, lost := 0, 0, 0
	for path, content := range kept {
		switch a := d.do("GET", path, nil); {
		case a.status == http.StatusOK && bytes.Equal(a.body, content):
			intact++
		case a.status == http.StatusInternalServerError:
			faults++
		case a.status == http.StatusNotFound:
			lost++ // a key in the tree is another one now
		default:
			t.Errorf("GET %s: %d and %d bytes, want the content or 500", path, a.status, len(a.body))
		}
	}
	if lost > len(kept)/2 {
		t.Errorf("%d files of %d are unknown and the daemon has started", lost, len(kept))
	}
	d.kill()
	if n, _ := e2eBlobs(t, dir); n != blobs {
		t.Errorf("%d blobs of %d are left", n, blobs)
	}
	t.Logf("the daemon runs: %d files intact, %d with errors, %d unknown", intact, faults, lost)
}

// TestDiskDamagedContent damages the contents of two files of four.
func TestDiskDamagedContent(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, path string, at int64)
	}{
		{"flipped", func(t *testing.T, path string, at int64) {
			e2eFlip(t, path, func(int64) int64 { return at + 50 }, 1)
		}},
		{"truncated", func(t *testing.T, path string, at int64) {
			if err := os.Truncate(path, at+50); err != nil {
				t.Fatal(err)
			}
		}},
		{"missing", func(t *testing.T, path string, _ int64) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, running := range []bool{true, false} {
			for _, size := range []int{40 << 10, 1 << 20} {
				// Flipped bytes of a large file are for the client to find, by its digest.
				if size > 64<<10 && test.name == "flipped" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%dKiB/running=%v", test.name, size>>10, running), func(t *testing.T) {
					dir := t.TempDir()
					d := e2eStart(t, dir)
					first, bad := e2eBytes()[:size], e2eBytes()[2<<20:2<<20+size]
					firstPath := d.put("first", first)
					badPath := d.put("bad", bad)
					if !running {
						d.stop()
					}
					path, at := e2eFindContent(t, dir, bad)
					test.damage(t, path, at)
					if !running {
						d = e2eLaunch(t, dir)
						if !d.listening() {
							if log := d.log.String(); d.state.ExitCode() != exitFailed || !strings.Contains(log, filepath.Base(path)) {
								t.Errorf("exit code %d, want %d and the name of the file:\n%s", d.state.ExitCode(), exitFailed, log)
							}
							return
						}
					}
					a, err := d.try(t.Context(), "GET", badPath, nil)
					switch {
					case a == nil && test.name == "truncated" && size > 64<<10:
						t.Logf("the connection breaks off: %v", err)
					case a == nil:
						t.Errorf("GET: %v, want 500 and a request_id", err)
					case a.status == http.StatusOK && err != nil && bytes.HasPrefix(bad, a.body) && test.name == "truncated":
						t.Logf("the answer breaks off after %d bytes", len(a.body))
					case a.status == http.StatusOK && bytes.Equal(a.body, bad) && running && test.name == "missing":
						t.Log("it is still open")
					default:
						var e api.Error
						if json.Unmarshal(a.body, &e) != nil || a.status != http.StatusInternalServerError || e.RequestID == "" || err != nil {
							t.Errorf("GET: %.200s %v, want 500 and a request_id", a, err)
						}
						e2eUntil(t, "the line of the log", func() bool { return strings.Contains(d.log.String(), e.RequestID) })
					}
					if size > 64<<10 || test.name == "flipped" { // small ones share a file
						d.want(firstPath, first)
					}
					d.want(d.put("after", first), first)
					d.stop()
				})
			}
		}
	}
}

// e2eFindContent finds the file, and the place in it, where a content is kept.
func e2eFindContent(t *testing.T, dir string, content []byte) (path string, at int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Base(p) == "records.db" {
			return err
		}
		b, err := os.ReadFile(p)
		if i := bytes.Index(b, content); i >= 0 {
			path, at = p, int64(i)
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatalf("no file below %s has the content: %v", dir, err)
	}
	return path, at
}
