package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"fileshare/store/postgres/pgtest"
)

// e2eProgram prepares a command of the program with nothing in its environment
// that configures it.
func e2eProgram(t testing.TB, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	binary, err := e2eBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), binary, args...)
	cmd.Dir = os.TempDir() // there is a config.yaml in ours
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// e2eRun runs a command to its end and expects an exit code.
func e2eRun(t testing.TB, code int, args ...string) string {
	t.Helper()
	cmd, out := e2eProgram(t, args...)
	_ = cmd.Run() // the state tells
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("fileshare %s ends with %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	return out.String()
}

// scaleout writes a configuration file with the records in PostgreSQL.
func scaleout(t testing.TB, db *pgtest.Server) (path, dir string, env []string) {
	t.Helper()
	url, dir := db.Schema(t), t.TempDir()
	path = filepath.Join(t.TempDir(), "scaleout.yaml")
	text := "store:\n  dir: " + dir + "\n  records: " + strconv.Quote(url) + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, dir, []string{"STORE_RECORDS=" + url}
}

// TestMigrate moves what a daemon has from a directory to PostgreSQL and back,
// kills the migration, and expects the same of the same links.
func TestMigrate(t *testing.T) {
	db, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	first, last := t.TempDir(), filepath.Join(t.TempDir(), "made")
	file, shared, env := scaleout(t, db)

	d := e2eStart(t, first)
	contents := map[string][]byte{}
	for i := range 24 {
		content := e2eBytes()[i<<10:]
		contents[d.put("large.bin", content)] = content
	}
	for i := range 300 {
		content := e2eBytes()[i : i+1000*(i%7)]
		contents[d.put("small.bin", content)] = content
	}
	thrice := e2eID(d.do("PUT", "/uploads/thrice.bin", bytes.NewReader(e2eBytes()[:70_000]), "X-Fileshare-Max-Downloads", "3"))
	d.want(thrice, e2eBytes()[:70_000])
	e2eRun(t, exitFailed, "migrate", "--from", first, "--to", file) // in use
	d.stop()

	for try := 1; ; try++ {
		cmd, out := e2eProgram(t, "migrate", "--from", first, "--to", file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		e2eUntil(t, "a content that is moved", func() bool { n, _ := e2eBlobs(t, shared); return n > 0 })
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			break
		}
		if try == 5 { // it was done before it was killed
			t.Fatalf("the migration is too fast for the test:\n%s", out)
		}
		e2eRun(t, exitDone, "migrate", "--release", "--from", first)
		file, shared, env = scaleout(t, db)
	}
	for _, e := range [][]string{nil, env} { // neither end can be used
		dir := first
		if e != nil {
			dir = shared
		}
		if d := e2eLaunch(t, dir, e...); d.listening() {
			t.Error("a daemon begins over records that are being moved")
		}
	}
	e2eRun(t, exitDone, "migrate", "--from", first, "--to", file)

	d = e2eStart(t, shared, env...)
	for path, content := range contents {
		d.want(path, content)
	}
	d.want(thrice, e2eBytes()[:70_000])
	e2eRun(t, exitFailed, "migrate", "--from", file, "--to", last) // a daemon is at work
	d.stop()
	e2eRun(t, exitDone, "migrate", "--from", file, "--to", last)

	d = e2eStart(t, last)
	for path, content := range contents {
		d.want(path, content)
	}
	d.want(thrice, e2eBytes()[:70_000])
	if a := d.do("GET", thrice, nil); a.status != http.StatusGone {
		t.Errorf("a fourth download of three: %v", a)
	}
	d.stop()

	// A backup goes wherever it is to.
	plain, archive := filepath.Join(t.TempDir(), "last.yaml"), filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(plain, []byte("store: {dir: "+strconv.Quote(last)+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e2eRun(t, exitDone, "backup", "--config", plain, "--output", archive)
	file, shared, env = scaleout(t, db)
	e2eRun(t, exitDone, "restore", archive, "--config", file)
	e2eRun(t, exitDone, "fsck", "--deep", "--config", file)
	d = e2eStart(t, shared, env...)
	for path, content := range contents {
		d.want(path, content)
	}
	if a := d.do("GET", thrice, nil); a.status != http.StatusGone {
		t.Errorf("a link that was used up is back: %v", a)
	}
	d.stop()
}
