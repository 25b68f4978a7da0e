package dir_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"fileshare/store"
)

// mount gives a tmpfs. It needs root, or a mount namespace of the test's own
// (unshare -Urm go test); without either the test fails rather than to say
// that a full disk is handled when nobody looked.
func mount(t *testing.T, options string) (path string) {
	t.Helper()
	path = t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, options); err != nil {
		t.Fatalf("mounting a tmpfs: %v (run as root, or below unshare -Urm)", err)
	}
	t.Cleanup(func() { // before TempDir's own, after Close of the Dir
		if err := unix.Unmount(path, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return path
}

func TestFullDisk(t *testing.T) {
	path := mount(t, "size=2m")
	d := open(t, path)
	put(t, d, "small/0", "small")
	free, err := d.Free()
	if err != nil || free <= 1<<20 || free >= 2<<20 {
		t.Fatalf("Free = %d, %v; want between 1 and 2 MiB", free, err)
	}
	big := bytes.Repeat([]byte("x"), 4<<20)
	for _, r := range []io.Reader{bytes.NewReader(big), io.MultiReader(bytes.NewReader(big))} {
		if _, err := d.Put(t.Context(), "big/0", r, int64(len(big))); !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("Put on a full disk: %v, want store.ErrNoSpace", err)
		}
	}
	if after, err := d.Free(); after != free || err != nil {
		t.Errorf("Free = %d, %v after the failed Puts; want %d again", after, err, free)
	}
	if got := get(t, d, "small/0"); got != "small" {
		t.Errorf("the blob from before is %q", got)
	}
	put(t, d, "small/1", string(big[:1<<20])) // what fits still fits
	if after, _ := d.Free(); free-after < 1<<20 {
		t.Errorf("Free fell from %d to %d; want at least 1 MiB less", free, after)
	}
}

func TestNoInodes(t *testing.T) {
	d := open(t, mount(t, "nr_inodes=4")) // the root, a shard, a file and one more
	put(t, d, "run/key", "x")
	_, first := d.Put(t.Context(), "run/other", bytes.NewReader(nil), 0)
	_, second := d.Put(t.Context(), "run/third", bytes.NewReader(nil), 0)
	if err := errors.Join(first, second); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Put without inodes: %v, want store.ErrNoSpace", err)
	}
	if err := d.Delete(t.Context(), "run/key"); err != nil {
		t.Fatal(err)
	}
	put(t, d, "run/key", "again")
}

func TestReadOnly(t *testing.T) {
	path := mount(t, "size=2m")
	d := open(t, path)
	put(t, d, "run/key", "content")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", path, "", unix.MS_REMOUNT|flags, "size=2m"); err != nil {
			t.Fatalf("remounting: %v", err)
		}
	}
	remount(unix.MS_RDONLY)
	// One in the shard that is open, many in shards that do not exist.
	for _, key := range []string{"run/key2", "aaa", "bbb", "ccc", "ddd"} {
		if _, err := d.Put(t.Context(), key, bytes.NewReader(nil), 0); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("Put(%q): %v, want store.ErrReadOnly", key, err)
		}
	}
	if err := d.Delete(t.Context(), "run/key"); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Delete: %v, want store.ErrReadOnly", err)
	}
	for _, b := range []store.Blobs{d, open(t, path)} { // a start must work, too: downloads go on
		if got := get(t, b, "run/key"); got != "content" {
			t.Errorf("read %q", got)
		}
	}
	remount(0)
	put(t, d, "aaa", "again")
	if err := d.Delete(t.Context(), "run/key"); err != nil {
		t.Error(err)
	}
}
