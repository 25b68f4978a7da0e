package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// e2eDisk is a small file system of its own. It needs root.
type e2eDisk struct {
	name  string
	image string // of an ext4
}

const e2eDiskSize = 96 << 20

func e2eDisks(t *testing.T) []e2eDisk { return []e2eDisk{{name: "tmpfs"}, e2eExt4(t)} }

func e2eExt4(t *testing.T) e2eDisk {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, e2eDiskSize); err != nil {
		t.Fatal(err)
	}
	e2eCommand(t, "mkfs.ext4", "-q", "-F", "-m", "0", image)
	return e2eDisk{"ext4", image}
}

func (k e2eDisk) mount(t *testing.T, at string) {
	t.Helper()
	if k.image != "" {
		e2eCommand(t, "mount", "-o", "loop,errors=remount-ro", k.image, at)
	} else if err := syscall.Mount("tmpfs", at, "tmpfs", 0, fmt.Sprintf("size=%d", e2eDiskSize)); err != nil {
		t.Fatalf("mount of a tmpfs, which needs root: %v", err)
	}
}

func e2eCommand(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// e2eMount mounts a disk until the end of the test and returns where.
func e2eMount(t *testing.T, disk e2eDisk) string {
	at := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	disk.mount(t, at)
	t.Cleanup(func() {
		if err := syscall.Unmount(at, 0); err != nil { // after all daemons, whose cleanups come first
			t.Errorf("unmount: %v", err)
			_ = syscall.Unmount(at, syscall.MNT_DETACH)
		}
	})
	return at
}

// refused checks that something was refused in the right way.
func (d *e2eDaemon) refused(what string, a *e2eAnswer, status ...int) {
	d.t.Helper()
	for _, s := range status {
		if a.status == s && a.message() != "" && a.message() != "internal error" {
			return
		}
	}
	d.t.Errorf("%s: %v, want one of %d and a message that says why", what, a, status)
}

// e2eKept is what was acknowledged: path → content.
type e2eKept map[string][]byte

func (k e2eKept) check(d *e2eDaemon) {
	d.t.Helper()
	for path, content := range k {
		d.want(path, content)
	}
	if n := len(d.list()); n != len(k) {
		d.t.Errorf("%d files in the list, want %d", n, len(k))
	}
}

// fill uploads until the disk is full, and by forms, too.
func (k e2eKept) fill(d *e2eDaemon, size int) {
	d.t.Helper()
	var next atomic.Int64
	var mu sync.Mutex // guards k
	// put reports whether there was room.
	put := func() bool {
		n := int(next.Add(1))
		content := e2eBytes()[n : n+size]
		method, path, kind := "PUT", "/uploads/fill", "text/plain"
		body := bytes.NewReader(content)
		if n%2 == 0 {
			method, path = "POST", "/uploads"
			body, kind = e2eForm("fill", content)
		}
		a, err := d.try(context.Background(), method, path, body, "Content-Type", kind)
		if err != nil {
			d.t.Errorf("%s on a full disk: %v", method, err)
			return false
		}
		if a.status != http.StatusCreated {
			d.refused(method+" on a full disk", a, http.StatusInsufficientStorage)
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		k[e2eID(a)] = content
		return true
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for put() {
			}
		})
	}
	all.Wait()
	// The last ones were refused while others still held room.
	for refused := 0; refused < 4 && !d.t.Failed(); {
		if refused++; put() {
			refused = 0
		}
	}
}

// empty deletes three quarters of the files.
func (k e2eKept) empty(d *e2eDaemon) {
	d.t.Helper()
	for rest := len(k) / 4; rest < len(k); {
		var path string
		for path = range k { // any
			break
		}
		if a := d.do("DELETE", path, nil); a.status != http.StatusNoContent {
			d.t.Fatalf("DELETE on a full disk: %v", a)
		}
		delete(k, path)
	}
}

// TestDiskFull fills the disk with files large and small.
func TestDiskFull(t *testing.T) {
	for _, size := range []int{3 << 20, 60 << 10} {
		for _, disk := range e2eDisks(t) { // used up by the test
			t.Run(fmt.Sprintf("%s/%dKiB", disk.name, size>>10), func(t *testing.T) {
				dir := filepath.Join(e2eMount(t, disk), "data")
				env := []string{"REAPER_SCHEDULE=@every 1s", "REAPER_SWEEP=@every 1s", "LOG_LEVEL=error"}
				d := e2eStart(t, dir, env...)
				kept := e2eKept{}
				small := e2eBytes()[:100]
				kept[d.put("small", small)] = small
				kept.fill(d, size)
				t.Logf("%d files fit", len(kept))
				kept.check(d)
				// A full disk must not keep the daemon from ending and starting.
				d.stop()
				d = e2eStart(t, dir, env...)
				kept.check(d)
				d.kill()
				d = e2eStart(t, dir, env...)
				kept.check(d)
				kept.empty(d)
				content := e2eBytes()[7 : 7+size]
				e2eUntil(t, "uploads work again", func() bool {
					a := d.do("PUT", "/uploads/again", bytes.NewReader(content))
					if a.status == http.StatusCreated {
						kept[e2eID(a)] = content
						return true
					}
					d.refused("PUT while the disk is still full", a, http.StatusInsufficientStorage)
					return false
				})
				kept.check(d)
				d.stop()
				d = e2eStart(t, dir, env...)
				kept.check(d)
				d.stop()
			})
		}
	}
}

// TestDiskFilledByOthers has somebody else take the space, and give it back.
func TestDiskFilledByOthers(t *testing.T) {
	for _, disk := range e2eDisks(t) {
		t.Run(disk.name, func(t *testing.T) {
			at := e2eMount(t, disk)
			d := e2eStart(t, filepath.Join(at, "data"))
			small, large := e2eBytes()[:100], e2eBytes()[:1<<20]
			kept := e2eKept{d.put("small", small): small, d.put("large", large): large}
			other := filepath.Join(at, "other")
			f, err := os.Create(other)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil { // to the last byte
				_, err = f.Write(e2eBytes()[:1<<20])
			}
			for err = nil; err == nil; {
				_, err = f.Write([]byte("x"))
			}
			f.Close()
			d.refused("large upload", d.do("PUT", "/uploads/a", bytes.NewReader(large)), http.StatusInsufficientStorage)
			kept.fill(d, 60<<10) // there may be blocks in reserve
			kept.check(d)
			kept.empty(d)
			kept.check(d)
			if err := os.Remove(other); err != nil {
				t.Fatal(err)
			}
			kept[d.put("large", large)] = large
			kept[d.put("small", small)] = small
			kept.check(d)
			d.kill()
			d = e2eStart(t, d.dir)
			kept.check(d)
			d.stop()
		})
	}
}

// TestDiskReserve keeps limits.free_space free.
func TestDiskReserve(t *testing.T) {
	at := e2eMount(t, e2eDisk{name: "tmpfs"})
	d := e2eStart(t, filepath.Join(at, "data"), "LIMITS_FREE_SPACE=20MiB")
	kept := e2eKept{}
	for large := e2eBytes()[:3<<20]; ; {
		a := d.do("PUT", "/uploads/large", bytes.NewReader(large))
		if a.status != http.StatusCreated {
			d.refused("PUT into the reserve", a, http.StatusInsufficientStorage)
			break
		}
		kept[e2eID(a)] = large
	}
	form, kind := e2eForm("large", e2eBytes()[:7<<20])
	d.refused("form into the reserve", d.do("POST", "/uploads", form, "Content-Type", kind), http.StatusInsufficientStorage)
	var s syscall.Statfs_t
	if err := syscall.Statfs(at, &s); err != nil {
		t.Fatal(err)
	}
	if free := int64(s.Bavail) * s.Bsize; free < 18<<20 {
		t.Errorf("%d bytes are left", free)
	}
	kept.check(d)
	d.stop()
}

// TestDiskReadOnly makes an ext4 read-only under the running daemon, as the
// kernel does when it meets an error.
func TestDiskReadOnly(t *testing.T) {
	disk := e2eExt4(t)
	at := e2eMount(t, disk)
	dir := filepath.Join(at, "data")
	d := e2eStart(t, dir, "REAPER_SCHEDULE=@every 1s")
	small, large := e2eBytes()[:100], e2eBytes()[:1<<20]
	kept := e2eKept{d.put("small", small): small, d.put("large", large): large}
	d.readiness(http.StatusOK)
	device := e2eCommand(t, "findmnt", "-n", "-o", "SOURCE", at)
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	e2eUntil(t, "the disk is read-only", func() bool {
		return strings.HasPrefix(e2eCommand(t, "findmnt", "-n", "-o", "FS-OPTIONS", at), "ro") || os.WriteFile(filepath.Join(at, "x"), nil, 0o600) != nil
	})
	for range 2 {
		for name, content := range map[string][]byte{"small": small, "large": large} {
			form, kind := e2eForm(name, content)
			d.refused(name+" form", d.do("POST", "/uploads", form, "Content-Type", kind), 503, 507)
			d.refused(name+" PUT", d.do("PUT", "/uploads/"+name, bytes.NewReader(content)), 503, 507)
		}
		d.refused("session", d.do("POST", "/sessions", nil), 503, 507)
		for path := range kept {
			d.refused("deletion", d.do("DELETE", path, nil), 503, 507)
		}
		kept.check(d)
	}
	d.readiness(http.StatusServiceUnavailable)
	if a := d.do("GET", "/health", nil); a.status != http.StatusOK {
		t.Errorf("/health: %v, want 200", a)
	}
	d.kill()

	// It does not start there, and says why.
	d = e2eLaunch(t, dir)
	if d.listening() {
		t.Error("the daemon starts on a read-only disk")
		d.stop()
	} else if log := d.log.String(); d.state.ExitCode() != exitFailed || !strings.Contains(log, "read-only file system") || !strings.Contains(log, dir) {
		t.Errorf("exit code %d, said:\n%s", d.state.ExitCode(), log)
	}

	// Only a new mount makes such a disk writable.
	if err := syscall.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	_ = exec.Command("e2fsck", "-f", "-y", disk.image).Run() // 1: it has repaired something
	disk.mount(t, at)
	d = e2eStart(t, dir)
	kept.check(d)
	kept[d.put("large", large)] = large
	kept[d.put("small", small)] = small
	kept.check(d)
	d.stop()
}

// TestDiskUnwritableBlobs forbids to write the blobs of a running daemon
// (chattr +i) and allows it again.
func TestDiskUnwritableBlobs(t *testing.T) {
	dir := filepath.Join(e2eMount(t, e2eExt4(t)), "data")
	d := e2eStart(t, dir)
	small, large := e2eBytes()[:100], e2eBytes()[:1<<20]
	kept := e2eKept{d.put("small", small): small, d.put("large", large): large}
	e2eCommand(t, "chattr", "-R", "+i", filepath.Join(dir, "blobs"))
	for range 2 {
		form, kind := e2eForm("large", large)
		d.refused("form", d.do("POST", "/uploads", form, "Content-Type", kind), 503, 507)
		d.refused("PUT", d.do("PUT", "/uploads/large", bytes.NewReader(large)), 503, 507)
		kept.check(d)
	}
	d.readiness(http.StatusServiceUnavailable)
	e2eCommand(t, "chattr", "-R", "-i", filepath.Join(dir, "blobs"))
	kept[d.put("large", large)] = large // without a restart
	kept.check(d)
	d.readiness(http.StatusOK)
	d.stop()
}

// readiness waits for that status of /ready, which remembers for a few seconds
// what it has found out.
func (d *e2eDaemon) readiness(want int) {
	d.t.Helper()
	var a *e2eAnswer
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if a = d.do("GET", "/ready", nil); a.status == want {
			return
		}
	}
	d.t.Errorf("/ready: %v, want %d", a, want)
}
