package dir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const content = "0123456789"

// kept makes a directory with a blob that has been read.
func kept(t *testing.T) (d *Dir, path string, file *os.File) {
	t.Helper()
	path = t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), "run/key", strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	return d, path, read(t, d, 0, content)
}

// read reads from an offset to the end and returns the file that was used.
func read(t *testing.T, d *Dir, offset int64, want string) *os.File {
	t.Helper()
	r, err := d.Open(t.Context(), "run/key", offset, int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if string(got) != want || err != nil {
		t.Errorf("read from %d: %q, %v; want %q", offset, got, err, want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return r.(*reader).File
}

func isClosed(f *os.File) bool {
	_, err := f.Stat()
	return errors.Is(err, os.ErrClosed)
}

func TestFilesAreKept(t *testing.T) {
	d, _, first := kept(t)
	if second := read(t, d, 4, content[4:]); second != first {
		t.Error("opened again")
	}
	r, err := d.Open(t.Context(), "run/key", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if at := read(t, d, 7, content[7:]); at == first {
		t.Error("two readers share a file")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil || !isClosed(first) {
		t.Errorf("given back after the end: %v; closed: %v", err, isClosed(first))
	}
}

func TestKeptFilesAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, first := kept(t)
		time.Sleep(idleFor / 2)
		if second := read(t, d, 0, content); second != first {
			t.Error("opened again")
		}
		time.Sleep(idleFor / 2)
		synctest.Wait()
		if isClosed(first) {
			t.Error("closed too early")
		}
		time.Sleep(idleFor / 2)
		synctest.Wait()
		if !isClosed(first) {
			t.Error("still open")
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFewAreKept(t *testing.T) {
	d, _, first := kept(t)
	var readers []io.Closer
	for range mostIdle + 1 {
		r, err := d.Open(t.Context(), "run/key", 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	for _, r := range readers { // the first one has the file that was kept
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if !isClosed(first) {
		t.Error("the oldest is still open")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A file that takes long to be closed, as a large one does that was deleted, holds
// up nobody else.
func TestKeptFilesAreClosedAside(t *testing.T) {
	for name, end := range map[string]func(i *idle){
		"old":        (*idle).sweep,
		"at the end": (*idle).close,
		"one too many": func(i *idle) {
			i.files = slices.Repeat(i.files, mostIdle)
			if err := i.put("other", nil); err != nil {
				t.Error(err)
			}
			i.timer.Stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe() // whose end waits for who uses it
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			raw, err := r.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			using, done := make(chan bool), make(chan bool)
			var all sync.WaitGroup
			all.Go(func() { raw.Control(func(uintptr) { using <- true; <-done }) })
			<-using
			i := &idle{files: []idleFile{{name: "key", file: r}}}
			all.Go(func() { end(i) })
			for !isClosed(r) { // it is being closed
				runtime.Gosched()
			}
			if !i.mu.TryLock() {
				t.Error("others have to wait")
			} else {
				i.mu.Unlock()
			}
			close(done)
			all.Wait()
		})
	}
}

// What is deleted is not read any more, whoever deletes it.
func TestKeptFilesOfTheDeleted(t *testing.T) {
	for name, remove := range map[string]func(d *Dir, path string) error{
		"by us":          func(d *Dir, _ string) error { return d.Delete(t.Context(), "run/key") },
		"by another one": func(_ *Dir, path string) error { return os.Remove(filepath.Join(path, "94", "run.key")) },
	} {
		t.Run(name, func(t *testing.T) {
			d, path, first := kept(t)
			if err := remove(d, path); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Open(t.Context(), "run/key", 0, 1); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("opened: %v", err)
			}
			if !isClosed(first) {
				t.Error("still open")
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A kept file that cannot be asked any more is opened anew: of one that another
// node has deleted, a file system of the net says so.
func TestKeptFilesGoStale(t *testing.T) {
	d, path, first := kept(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if again := read(t, d, 4, content[4:]); again == first {
		t.Error("the same file")
	}
	d.idle.files[0].file.Close()
	if err := os.Remove(filepath.Join(path, "94", "run.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(t.Context(), "run/key", 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
