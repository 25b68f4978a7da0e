package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"fileshare/api"
)

// testPutCut is testTusCut for put, in one part and in several, and for get.
func testPutCut(t *testing.T, bin string) {
	_, addr := serveFor(t, bin, `FILESHARE_AUTH_USERS=[{"name":"foo","password":"bar"}]`)
	size, after := cutSizes(t)
	after *= 2 // each cut costs a pause
	file, sum := randomFile(t, size)
	line := newCutter(t, addr, after+12345)
	run := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "fileshare"), args...)
		cmd.Env = append(os.Environ(), "FILESHARE_URL=http://"+line.addr, "FILESHARE_USER=foo", "FILESHARE_PASSWORD=bar", "XDG_CONFIG_HOME="+t.TempDir())
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, stderrOf(err))
		}
		return out
	}
	for _, parallel := range []string{"1", "3"} {
		sent, cuts := line.sent.Load(), line.cuts.Load()
		var f api.File
		if err := json.Unmarshal(run("put", "--json", "-j", parallel, file), &f); err != nil {
			t.Fatal(err)
		}
		sent, cuts = line.sent.Load()-sent, line.cuts.Load()-cuts
		twice := sent - size
		t.Logf("-j %s: %d cuts, %d bytes sent twice (%.3f %%)", parallel, cuts, twice, 100*float64(twice)/float64(size))
		if f.SHA256 == nil || *f.SHA256 != sum || cuts < 10 || twice > size/100+cuts*(4<<20) {
			t.Errorf("%+v, %d cuts, %d bytes sent twice", f, cuts, twice)
		}
		got := filepath.Join(t.TempDir(), "got")
		cuts = line.cuts.Load()
		run("get", "-j", parallel, "-o", got, "http://"+line.addr+"/uploads/"+f.ID)
		if cuts = line.cuts.Load() - cuts; fileSum(t, got) != sum || cuts < 10 {
			t.Errorf("another content after %d cuts", cuts)
		}
	}
}

// fileSum is the SHA-256 of a file.
func fileSum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
