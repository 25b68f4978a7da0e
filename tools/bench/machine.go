package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	rowFsync   = "4 KiB append + fsync"
	rowWrite   = "write 1 GiB + fsync"
	rowDiscard = "upload 1 KiB c=64 to a handler that throws it away"
)

// machine describes what the figures were measured on.
func machine(dir string) []fact {
	return []fact{
		{"machine", fmt.Sprintf("%d cores (%s), %s", runtime.NumCPU(), cpuModel(), memory())},
		{"kernel", kernel()},
		{"file system", fileSystem(dir)},
		{"go", runtime.Version()},
	}
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func memory() string {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%.1f GiB of memory", float64(info.Totalram)*float64(info.Unit)/(1<<30))
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown"
	}
	names := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", 0x2fc12fc1: "zfs"}
	name, ok := names[int64(st.Type)]
	if !ok {
		name = fmt.Sprintf("type %#x", st.Type)
	}
	return fmt.Sprintf("%s, %d GB free", name, st.Bavail*uint64(st.Bsize)/1e9)
}

// workDir makes the directory of this run: below parent if it is given, else
// below the system's temporary directory where that is on the same disk as
// the current directory, else below the current directory.
func workDir(parent string) (string, error) {
	if parent != "" {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return "", err
		}
		parent, err := filepath.Abs(parent)
		if err != nil {
			return "", err
		}
		return os.MkdirTemp(parent, "bench-")
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	var a, b unix.Stat_t
	if unix.Stat(here, &a) == nil && unix.Stat(os.TempDir(), &b) == nil && a.Dev == b.Dev {
		return os.MkdirTemp("", "fileshare-bench-")
	}
	return os.MkdirTemp(here, ".bench-")
}

// spread asks ext4 to place the directories below dir far from each other (as
// chattr +T does), so that they do not share their inodes' neighbourhood with
// files that an earlier run has just deleted. Other file systems do without.
func spread(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	flags, err := unix.IoctlGetUint32(int(d.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return
	}
	const topDir = 0x00020000 // FS_TOPDIR_FL of linux/fs.h
	_ = unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, int(flags|topDir))
}

// settle waits until everything written to the bench's file system is on the
// disk, so that one measurement does not pay for the one before.
func (b *bench) settle() error {
	d, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncing the file system: %w", err)
	}
	return nil
}

// noise returns n bytes that nothing can compress, the same in every run.
func noise(n int) []byte {
	buf := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(buf) // never fails
	return buf
}

// machineRows measures what the disk and a server without any work can do.
func (b *bench) machineRows(ctx context.Context) error {
	if b.want(rowFsync) {
		s := b.compete(ctx, only(b.fsyncRate))
		b.report.show(rowFsync, "/s", s[0], "one writer")
	}
	if b.want(rowWrite) {
		s := b.compete(ctx, only(b.writeRate))
		b.report.show(rowWrite, "MB/s", s[0], "pieces of 1 MiB")
	}
	if !b.want(rowDiscard) {
		return nil
	}
	server, err := b.self(ctx, roleDiscard, "")
	if err != nil {
		return err
	}
	defer server.stop()
	body, contentType, err := form(noise(1 << 10))
	if err != nil {
		return err
	}
	q := call{method: "POST", url: server.url, header: map[string][]string{"Content-Type": {contentType}}, body: body, want: 201, length: 0}
	s := b.compete(ctx, b.small(64, func(ctx context.Context, _ int) error { return b.client.do(ctx, q) }))
	b.report.show(rowDiscard, "/s", s[0], "what client and net/http allow")
	return nil
}

func (b *bench) fsyncRate(ctx context.Context) (float64, error) {
	f, err := os.CreateTemp(b.dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := noise(4 << 10)
	s, err := load{workers: 1, during: b.sizes.measure}.run(ctx, func(context.Context, int) error {
		if _, err := f.Write(page); err != nil {
			return err
		}
		return f.Sync()
	})
	return s.rate(), err
}

func (b *bench) writeRate(context.Context) (float64, error) {
	f, err := os.CreateTemp(b.dir, "write-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	piece := noise(1 << 20)
	begun := time.Now()
	for range b.sizes.large >> 20 {
		if _, err := f.Write(piece); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return megabytes(b.sizes.large, time.Since(begun)), nil
}

// hashRate is SHA-256 on one core, in MB/s.
func (b *bench) hashRate(context.Context) (float64, error) {
	piece := noise(1 << 20)
	h := sha256.New()
	begun := time.Now()
	for range b.sizes.large >> 20 {
		h.Write(piece)
	}
	h.Sum(nil)
	return megabytes(b.sizes.large, time.Since(begun)), nil
}

func megabytes(n int64, took time.Duration) float64 { return float64(n) / 1e6 / took.Seconds() }

// touchMemory makes the machine's free memory warm: in a virtual machine the
// first write to a page that the host has not backed yet costs several times
// the write itself, and would be charged to whoever happens to fill the page
// cache first.
func touchMemory(n int64) error {
	const page = 4096
	n += 256 << 20
	memory, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("touching memory: %w", err)
	}
	for i := int64(0); i < n; i += page {
		memory[i] = 1
	}
	return unix.Munmap(memory)
}
