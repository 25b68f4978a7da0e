package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const tusUser = "foo:bar"

// randomFile makes a file of pseudo-random bytes and tells its SHA-256.
func randomFile(t testing.TB, size int64) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "random file.bin")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{byte(size)}), size); err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("%x", h.Sum(nil))
}

// tusCommand is a client with its time limit.
func tusCommand(t *testing.T, limit time.Duration, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "FILESHARE_USER="+tusUser)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// tusResult is the last line that a client prints.
func tusResult(t *testing.T, out []byte) map[string]any {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var got map[string]any
	if err := json.Unmarshal(lines[len(lines)-1], &got); err != nil {
		t.Fatalf("%v in:\n%s", err, out)
	}
	return got
}

// testTus runs tus-js-client and tuspy, unmodified.
func testTus(t *testing.T, bin string) {
	env := []string{`FILESHARE_AUTH_USERS=[{"name":"foo","password":"bar"}]`}
	_, addr := serveFor(t, bin, env...)
	const size = 5<<20 + 17
	file, sum := randomFile(t, size)
	for _, endpoint := range []string{"http://" + addr + "/tus/", "http://" + addr + "/rtc/fileshare/tus/"} {
		for _, mode := range []string{"whole", "buffer", "withdata", "parallel", "deferred", "override", "resume"} {
			if mode != "whole" && strings.Contains(endpoint, "rtc") {
				continue
			}
			t.Run(mode, func(t *testing.T) {
				out, err := tusCommand(t, 2*patience, "node", "testdata/js/tus.mjs", mode, endpoint, file).Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, stderrOf(err))
				}
				got := tusResult(t, out)
				if got["sha256"] != sum || got["size"] != float64(size) || got["type"] != "application/x-test" || !strings.Contains(fmt.Sprint(got["name"]), `"random file.bin"`) {
					t.Errorf("%v", got)
				}
				if at, ok := got["resumedAt"].(float64); ok && (at < 2<<20 || at >= size) {
					t.Errorf("resumed at %v", at)
				}
			})
		}
	}
	endpoint := "http://" + addr + "/tus/"
	for mode, want := range map[string]map[string]any{
		"draft":     {"status": 200.0, "sha256": sum, "resumedAt": float64(2 << 20)},
		"terminate": {"head": 404.0, "link": 404.0},
		"refused":   {"large": 413.0, "password": 401.0, "unknown": 404.0},
	} {
		t.Run(mode, func(t *testing.T) {
			out, err := tusCommand(t, 2*patience, "node", "testdata/js/tus.mjs", mode, endpoint, file).Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderrOf(err))
			}
			if d := cmp.Diff(want, tusResult(t, out)); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("tuspy", func(t *testing.T) {
		out, err := tusCommand(t, 2*patience, "/usr/bin/python3", "testdata/tus.py", endpoint, file).Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, stderrOf(err))
		}
		want := map[string]any{"whole": sum, "checksum": sum, "offset": float64(2 << 20), "resumed": sum, "wrong": 409.0, "unknown": 404.0, "large": 413.0}
		if d := cmp.Diff(want, tusResult(t, out)); d != "" {
			t.Error(d)
		}
	})
	t.Run("expired", func(t *testing.T) {
		_, addr := serveFor(t, bin, append(env, "FILESHARE_MODELS_UNFINISHED_TTL=1s")...)
		out, err := tusCommand(t, 2*patience, "node", "testdata/js/tus.mjs", "expired", "http://"+addr+"/tus/", file).Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, stderrOf(err))
		}
		if d := cmp.Diff(map[string]any{"expired": 410.0}, tusResult(t, out)); d != "" {
			t.Error(d)
		}
	})
	t.Run("killed", func(t *testing.T) { testTusKilled(t, bin, env, "node", "testdata/js/tus.mjs", "whole") })
	t.Run("killed tuspy", func(t *testing.T) { testTusKilled(t, bin, env, "/usr/bin/python3", "testdata/tus.py") })
	t.Run("cut", func(t *testing.T) { testTusCut(t, addr) })
}

// testTusPage runs Uppy and tus-js-client in a page of another origin.
func testTusPage(t *testing.T, bin string) {
	_, addr := serveFor(t, bin, `FILESHARE_AUTH_USERS=[{"name":"foo","password":"bar"}]`)
	got := browse(t, "http://"+addr, `<script src="/tus.js"></script>`, map[string][]byte{"/tus.js": bundle(t, "testdata/js/tus-page.js")})
	if want := `{"uppy":[0,1,true],"found":1,"resumed":true,"parallel":true}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func stderrOf(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}

// The daemon is killed in the middle of an upload and started again: the client
// goes on.
func testTusKilled(t *testing.T, bin string, env []string, client ...string) {
	const size = 64 << 20
	file, sum := randomFile(t, size)
	dir := t.TempDir()
	p, addr, err := startServe(bin, dir, "killed", env, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	cmd := tusCommand(t, 4*patience, client[0], append(client[1:], "http://"+addr+"/tus/", file, strconv.Itoa(4<<20))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	kills := 0
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		all.Write(buf[:n])
		reached := int64(0)
		if m := regexp.MustCompile(`progress (\d+)\n`).FindAllStringSubmatch(all.String(), -1); m != nil {
			reached, _ = strconv.ParseInt(m[len(m)-1][1], 10, 64)
		}
		if reached > int64(kills+1)*size/4 && kills < 2 {
			kills++
			p.end(syscall.SIGKILL)
			again, _, serr := startServe(bin, dir, "killed", append(env, "FILESHARE_SERVER_LISTEN="+addr), nil)
			if serr != nil {
				t.Fatal(serr)
			}
			p = again
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if got := tusResult(t, all.Bytes()); got["sha256"] != sum || kills == 0 {
		t.Errorf("%v after %d kills", got, kills)
	}
}

// cutSizes are the size of the file that goes over the bad line, and after how
// many bytes the line is cut: 2 GiB and 64 MiB with FILESHARE_CUT_MB=2048.
func cutSizes(t testing.TB) (size, after int64) {
	mb := int64(256)
	if s := os.Getenv("FILESHARE_CUT_MB"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		mb = n
	}
	return mb << 20, mb << 20 / 32
}

// A line that is cut again and again costs less than a hundredth of what is
// sent, beyond what was on its way and got lost.
func testTusCut(t *testing.T, addr string) {
	size, after := cutSizes(t)
	file, sum := randomFile(t, size)
	line, before := newCutter(t, addr, after+12345), bytesIn(t, addr)
	cmd := tusCommand(t, 20*patience, "node", "testdata/js/tus.mjs", "whole", "http://"+line.addr+"/tus/", file)
	cmd.Env = append(cmd.Env, "FILESHARE_DIRECT=http://"+addr)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderrOf(err))
	}
	got := tusResult(t, out)
	cuts, lost := line.cuts.Load(), line.sent.Load()-size
	// What was lost on the line never reached the daemon. What reached it is not
	// asked for again.
	twice := bytesIn(t, addr) - before - size
	t.Logf("%d cuts, %d bytes lost on the line, %d bytes that had arrived sent again (%.3f %%)", cuts, lost, twice, 100*float64(twice)/float64(size))
	if got["sha256"] != sum || cuts < 20 || twice > size/100 {
		t.Errorf("%v", got)
	}
}

// bytesIn is how many bytes of bodies a daemon has read.
func bytesIn(t *testing.T, addr string) int64 {
	t.Helper()
	answer, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^fileshare_bytes_in_total (\S+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no such metric in:\n%s", text)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(n)
}
