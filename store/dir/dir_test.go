package dir_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fileshare/store"
	"fileshare/store/dir"
	"fileshare/store/storetest"
)

func open(t testing.TB, path string) *dir.Dir {
	t.Helper()
	d, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func put(t *testing.T, b store.Blobs, key, content string) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

func get(t *testing.T, b store.Blobs, key string) string {
	t.Helper()
	r, err := b.Open(t.Context(), key, 0, 0)
	if err != nil {
		t.Fatalf("Open(%q): %v", key, err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// files lists every file below path, relative to it.
func files(t *testing.T, path string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(path, p)
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestBlobs(t *testing.T) {
	storetest.Blobs(t, func(t *testing.T) store.Blobs { return open(t, t.TempDir()) })
}

func TestLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "blobs")
	d := open(t, path)
	put(t, d, "run/key", "content")
	// Written down because another version must find it again.
	if diff := cmp.Diff([]string{"94/run.key"}, files(t, path)); diff != "" {
		t.Fatalf("files (-want +got):\n%s", diff)
	}
	for name, want := range map[string]fs.FileMode{".": fs.ModeDir | 0o700, "94": fs.ModeDir | 0o700, "94/run.key": 0o600} {
		fi, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != want {
			t.Errorf("mode of %s: %v, want %v", name, fi.Mode(), want)
		}
	}
	if got := get(t, open(t, path), "run/key"); got != "content" {
		t.Errorf("read after reopening: %q", got)
	}
}

func TestOpenIsAPositionedFile(t *testing.T) {
	d := open(t, t.TempDir())
	put(t, d, "run/key", "0123456789")
	r, err := d.Open(t.Context(), "run/key", 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, ok := r.(interface {
		io.Seeker
		syscall.Conn
	})
	if !ok {
		t.Fatalf("Open returns a %T; only a file can be sent by sendfile", r)
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 4 || err != nil {
		t.Errorf("positioned at %d, %v; want 4", at, err)
	}
}

func TestErrorsHideKeys(t *testing.T) {
	d := open(t, t.TempDir())
	put(t, d, "secretkey/0", "x")
	_, twice := d.Put(t.Context(), "secretkey/0", strings.NewReader("y"), 1)
	_, missing := d.Open(t.Context(), "secretkey/1", 0, 1)
	_, short := d.Put(t.Context(), "secretkey/2", strings.NewReader("y"), 2)
	_, bad := d.Put(t.Context(), "secretkey.", strings.NewReader("y"), 2)
	for _, err := range []error{twice, missing, short, bad} {
		if err == nil || strings.Contains(err.Error(), "secretkey") {
			t.Errorf("error %v; want one without the key", err)
		}
	}
}

func TestListPassesOverStrangers(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	put(t, d, "run/key", "content") // 94/run.key
	for _, name := range []string{"lost+found", "94/sub.dir", "aa"} {
		if err := os.Mkdir(filepath.Join(path, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A key's file in another shard could be neither opened nor deleted.
	for _, name := range []string{"README", "94/UPPER", "94/a.b.c", "94/x", "aa/run.key"} {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for info, err := range d.List(t.Context(), store.AllShards) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	if diff := cmp.Diff([]string{"run/key"}, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("reader") }

func TestPanicLeavesNothing(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		d.Put(t.Context(), "run/key", panicReader{}, -1)
	}()
	if diff := cmp.Diff([]string(nil), files(t, path)); diff != "" {
		t.Errorf("files left (-want +got):\n%s", diff)
	}
}

func TestSymlinkCannotEscape(t *testing.T) {
	for _, target := range []string{"absolute", "relative"} {
		t.Run(target, func(t *testing.T) {
			base := t.TempDir()
			path, outside := filepath.Join(base, "blobs"), filepath.Join(base, "outside")
			d := open(t, path)
			if err := os.MkdirAll(filepath.Join(outside, "94"), 0o700); err != nil {
				t.Fatal(err)
			}
			victim := filepath.Join(outside, "94", "run.key")
			if err := os.WriteFile(victim, []byte("victim"), 0o600); err != nil {
				t.Fatal(err)
			}
			link := func(to, at string) {
				if target == "relative" {
					to, _ = filepath.Rel(filepath.Dir(at), to)
				}
				if err := os.Symlink(to, at); err != nil {
					t.Fatal(err)
				}
			}
			check := func(what string) {
				t.Helper()
				if _, err := d.Put(t.Context(), "run/key", strings.NewReader("evil"), 4); err == nil {
					t.Errorf("%s: Put went through it", what)
				}
				if r, err := d.Open(t.Context(), "run/key", 0, 1); err == nil {
					r.Close()
					t.Errorf("%s: Open went through it", what)
				}
				for info, err := range d.List(t.Context(), store.AllShards) {
					if err == nil {
						t.Errorf("%s: List yields %q", what, info.Key)
					}
				}
				d.Delete(t.Context(), "run/key") // may remove the link, never its target
				got, err := os.ReadFile(victim)
				if err != nil || string(got) != "victim" {
					t.Errorf("%s: the file outside is %q, %v", what, got, err)
				}
				if diff := cmp.Diff([]string{"94/run.key"}, files(t, outside)); diff != "" {
					t.Errorf("%s: files outside (-want +got):\n%s", what, diff)
				}
			}
			shard := filepath.Join(path, "94")
			link(filepath.Join(outside, "94"), shard)
			check("shard")
			if err := os.Remove(shard); err != nil {
				t.Fatal(err)
			}
			put(t, d, "run/key", "x")
			if err := d.Delete(t.Context(), "run/key"); err != nil {
				t.Fatal(err)
			}
			link(victim, filepath.Join(shard, "run.key"))
			check("file")
		})
	}
}

// TestFreshShards lets many first Puts of a process meet in one directory.
func TestFreshShards(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			key := "run/" + strings.Repeat("x", 1+i)
			if _, err := d.Put(t.Context(), key, bytes.NewReader(nil), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(files(t, path)); n != 64 {
		t.Errorf("%d files, want 64", n)
	}
}
