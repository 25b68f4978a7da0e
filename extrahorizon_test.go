package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// extraHorizonConfig has the accounts and clients that testdata/js/extrahorizon.mjs
// knows.
const extraHorizonConfig = `
limits: {file_size: 24MiB}
auth:
  users:
    - {name: viewer@example.com, password: correct horse, permissions: [VIEW_FILES], api_key: the viewer has this key}
    - {name: plain@example.com, password: correct horse}
    - {name: boss, email: boss@example.com, password: correct horse, admin: true}
apis:
  extrahorizon:
    clients:
      - {id: app}
      - {id: safe, secret: client secret}
      - {consumer_key: consumer key, consumer_secret: consumer & secret}
`

// testExtraHorizon runs the SDK of Extra Horizon, unmodified, in Node.
func testExtraHorizon(t *testing.T, bin string) {
	url := extraHorizon(t, bin)
	for _, part := range []string{"login", "refresh", "files", "tokens", "streams", "ttl", "find", "pages", "permissions", "settings", "oauth1", "code", "proxy", "native"} {
		t.Run(part, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			if out, err := exec.CommandContext(ctx, "node", "testdata/js/extrahorizon.mjs", url, part).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// extraHorizon starts a daemon for the SDK and returns the address to give to it:
// of any host but localhost the SDK makes another.
func extraHorizon(t *testing.T, bin string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(extraHorizonConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	p, addr, err := startServe(bin, dir, "d", nil, []string{"--config", config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return "http://localhost:" + port
}

// testExtraHorizonPage runs the SDK in a page of another origin.
func testExtraHorizonPage(t *testing.T, bin string) {
	script := bundle(t, "testdata/js/extrahorizon-page.js")
	got := browse(t, extraHorizon(t, bin), `<script src="/extrahorizon.js"></script>`, map[string][]byte{"/extrahorizon.js": script})
	var seen map[string]any
	if err := json.Unmarshal([]byte(got), &seen); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	want := map[string]any{
		"anonymous": "UserNotAuthenticatedError", "wrong": "InvalidGrantError", "me": "viewer@example.com",
		"name": `größe "x".bin`, "size": true, "lifetime": 600_000.0, "progress": true, "same": true, "found": `größe "x".bin`, "all": 1.0, "text": "✓",
		"read": "UnauthorizedTokenError 2606", "settings": "NoPermissionError 10", "removed": 1.0, "gone": "InvalidTokenError 2605",
		"path": "ResourceUnknownError 16", "refreshed": 5.0, "proxy": "viewer@example.com",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// bundle returns a script with what it imports from testdata/js/node_modules,
// as a browser runs it.
func bundle(t *testing.T, file string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "node", "testdata/js/bundle.mjs", file).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("%v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return out
}
