package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browserPage is what every page of [browse] begins with: report, which ends
// the visit, and a report of what goes wrong.
const browserPage = `<!DOCTYPE html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script>
const daemon = %s
const report = value => fetch('/report', {method: 'POST', body: JSON.stringify(value === undefined ? null : value)})
addEventListener('error', e => report({error: String(e.message)}))
addEventListener('unhandledrejection', e => report({error: String(e.reason && e.reason.stack || e.reason)}))
</script>
`

// browse opens a page in Chromium and returns the JSON of what its script
// reports. html is what comes after browserPage. The page is /page of an origin
// all other paths of which are the daemon's, as behind a proxy, but for files
// (path → content); the constant daemon is the daemon's own URL, another origin.
func browse(t *testing.T, daemonURL, html string, files map[string][]byte) string {
	t.Helper()
	quoted, err := json.Marshal(daemonURL)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(daemonURL)
	if err != nil {
		t.Fatal(err)
	}
	reported := make(chan string, 1)
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { // pages may break off
		r.SetURL(target)
		r.SetXForwarded()
	}})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, browserPage, quoted)
		_, _ = io.WriteString(w, html)
	})
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		select {
		case reported <- string(body):
		default: // the first one counts
		}
		w.WriteHeader(http.StatusNoContent)
	})
	for path, content := range files {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			if strings.HasSuffix(path, ".js") || strings.HasSuffix(path, ".mjs") {
				w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			}
			_, _ = w.Write(content)
		})
	}
	site := httptest.NewServer(mux)
	defer site.Close()

	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: a helper that dies a moment later may still write there.
	defer os.RemoveAll(dir)
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-popup-blocking", "--disable-component-update", "--disable-breakpad", "--user-data-dir="+filepath.Join(dir, "profile"), site.URL+"/page")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its helpers end with it
	p, err := startProcess(cmd, filepath.Join(dir, "chromium.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}()
	select {
	case said := <-reported:
		return said
	case <-p.exited:
		t.Fatalf("chromium ended (%v) and said:\n%s", p.err, p.output())
	case <-time.After(patience):
		t.Fatalf("the page reported nothing; chromium said:\n%s", p.output())
	}
	return ""
}

// testBrowsers runs the scripts that web pages have, in a browser.
func testBrowsers(t *testing.T, bin string) {
	t.Run("extrahorizon", func(t *testing.T) { testExtraHorizonPage(t, bin) })
	t.Run("helper", func(t *testing.T) {
		_, addr := serveFor(t, bin)
		got := browse(t, "http://"+addr, `<script>
Promise.all(['/health', daemon + '/health'].map(u => fetch(u, {mode: 'no-cors'}).then(a => a.type + a.status))).then(report)
</script>`, nil)
		if got != `["basic200","opaque0"]` {
			t.Errorf("got %s", got)
		}
	})
	t.Run("tus", func(t *testing.T) { testTusPage(t, bin) })
	t.Run("MOLGENIS", func(t *testing.T) { testMolgenisPage(t, bin) })
	t.Run("FileSender guest", testGuestPage)
	t.Run("invitation", testInvitePage)
}

// molgenisUpload is the example of MOLGENIS' documentation, as it is printed
// there.
const molgenisUpload = `
var file = document.getElementById('my-file-input').files[0]
var request = new XMLHttpRequest()
request.open('post', '/api/files', true)
request.setRequestHeader("Content-Type", file.type)
request.setRequestHeader("Content-Length", file.size)
request.setRequestHeader("x-molgenis-filename", file.name)
request.send(file)
`

// testMolgenisPage runs that example in a page whose user has logged in: for a
// type that the browser knows and for one that it does not.
func testMolgenisPage(t *testing.T, bin string) {
	_, addr := serveFor(t, bin, `FILESHARE_AUTH_USERS=[{"name":"foo","password":"bar"}]`)
	got := browse(t, "http://"+addr, `<input type="file" id="my-file-input">
<script>
function choose(file) {
	const chosen = new DataTransfer()
	chosen.items.add(file)
	document.getElementById('my-file-input').files = chosen.files
}
async function upload(file) {
	choose(file)
`+molgenisUpload+`
	await new Promise(done => request.onloadend = done)
	const answer = JSON.parse(request.responseText)
	const location = request.getResponseHeader('Location')
	const back = await fetch(location)
	return [request.status, answer.filename, answer.contentType, answer.size, new URL(location).origin === window.origin, await back.text()]
}
async function main() {
	const stranger = (await upload(new File(['x'], 'x.txt', {type: 'text/plain'})).catch(e => 'refused'))
	await fetch('/api/v1/login', {method: 'POST', body: JSON.stringify({username: 'foo', password: 'bar'})})
	return [
		stranger,
		await upload(new File(['<svg/>'], 'logo.svg', {type: 'image/svg+xml'})),
		await upload(new File(['bytes'], 'caf\u00e9.unknown', {type: ''})),
	]
}
main().then(report)
</script>`, nil)
	want := `["refused",[201,"logo.svg","image/svg+xml",6,true,"<svg/>"],[201,"café.unknown","application/octet-stream",5,true,"bytes"]]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// serveFor starts the daemon for one test.
func serveFor(t *testing.T, bin string, env ...string) (*process, string) {
	t.Helper()
	p, addr, err := startServe(bin, t.TempDir(), "d", env, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	return p, addr
}
