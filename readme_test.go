package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// block is a fenced block of README.md.
type block struct{ language, text string }

// testREADME does what README.md says: starts the daemon, runs every block of
// shell commands one after the other in one shell, and looks at the rest with
// the eyes of who has to read it.
func testREADME(t *testing.T, bin string) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllSubmatch(readme, -1) {
		blocks = append(blocks, block{string(m[1]), string(m[2])})
	}
	var commands, scripts []string
	for _, b := range blocks {
		switch b.language {
		case "sh":
			commands = append(commands, b.text)
		case "yaml":
			if _, err := parseConfig("README.md", []byte(b.text), nil); err != nil {
				t.Errorf("%v in:\n%s", err, b.text)
			}
		case "nginx":
			checkNginx(t, b.text)
		case "js":
			scripts = append(scripts, b.text)
		case "ini", "text":
		default:
			t.Errorf("what is to be done with a block of %s?", b.language)
		}
	}
	if len(commands) == 0 || commands[0] != "make run\n" {
		t.Fatal("make run is expected to come first")
	}
	metrics := runCommands(t, bin, commands[1:], scripts)
	checkKeys(t, string(readme))
	for _, name := range regexp.MustCompile("`(fileshare_[a-z_]+)`").FindAllSubmatch(readme, -1) {
		if !regexp.MustCompile(`(?m)^` + string(name[1]) + `\b`).MatchString(metrics) {
			t.Errorf("there is no metric %s", name[1])
		}
	}
}

// runCommands starts the program as make run does, with no configuration, and
// runs the blocks with the password that was printed, then the scripts. It
// returns /metrics.
func runCommands(t *testing.T, bin string, blocks, scripts []string) (metrics string) {
	recipe, err := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-n", "run").Output()
	if err != nil {
		t.Fatalf("make -n run: %v", err)
	}
	if lines := strings.Split(strings.TrimSpace(string(recipe)), "\n"); lines[len(lines)-1] != "./fileshare serve" {
		t.Fatalf("make run does not end with ./fileshare serve:\n%s", recipe)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(bin, "fileshare"), filepath.Join(dir, "fileshare")); err != nil {
		t.Fatal(err)
	}
	p, addr, err := startServe(bin, dir, "readme", []string{"FILESHARE_REAPER_SCHEDULE=@every 1s", "FILESHARE_EVENTS_KEEP=7d"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ +curl --user admin:(\S+) --form file=@/etc/hosts http://` + regexp.QuoteMeta(addr) + `/uploads$`).FindStringSubmatch(p.output())
	if m == nil {
		t.Fatalf("no line with curl in:\n%s", p.output())
	}

	// A mark goes to stderr before every block, so that a failure tells where.
	var script strings.Builder
	for _, b := range blocks {
		script.WriteString("echo; echo; cat >&2 <<'MARK'\n> " + strings.ReplaceAll(strings.TrimSpace(b), "\n", "\n> ") + "\nMARK\n" + b)
	}
	text := strings.NewReplacer("127.0.0.1:8080", addr, "PASSWORD", m[1]).Replace(script.String())
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"message":"upload used"`, `"status":"ok"`, "a few words", "$argon2id$", "format: json"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in the output:\n%s", want, out)
		}
	}
	for _, script := range scripts {
		_, port, _ := strings.Cut(addr, ":")
		cmd := exec.CommandContext(t.Context(), "node", "--input-type=module")
		cmd.Dir = "testdata/js" // where the clients are
		cmd.Stdin = strings.NewReader(strings.NewReplacer("localhost:8080", "localhost:"+port, "PASSWORD", m[1]).Replace(script))
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "a few words") {
			t.Errorf("%v\n%s\n%s", err, script, out)
		}
	}
	url := "http://" + addr + "/metrics"
	err = retry(t.Context(), func() (bool, string) {
		out, _ := exec.CommandContext(t.Context(), "curl", "-q", "-s", url).CombinedOutput()
		metrics = string(out)
		return strings.Contains(metrics, "fileshare_purge_runs_total"), "no run of the reaper yet"
	})
	if err != nil {
		t.Error(err)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// curl is content with any answer: the log tells what was refused.
	var refused []string
	for _, m := range regexp.MustCompile(`msg=request .* status=([45]\d\d)`).FindAllStringSubmatch(p.output(), -1) {
		refused = append(refused, m[1])
	}
	if diff := cmp.Diff([]string{"410"}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s\n%s", diff, p.output())
	}
	return metrics
}

// checkNginx expects a server of the README to be one that is tested, and lets
// nginx look at it.
func checkNginx(t *testing.T, server string) {
	t.Helper()
	const file = "deploy/nginx/kept.conf"
	tested, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(tested), server); diff != "" {
		t.Errorf("not %s (-tested +README):\n%s", file, diff)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx.conf")
	// Even -t takes the port.
	server = strings.Replace(server, nginxListens, "listen unix:"+dir+"/s;", 1)
	if err := os.WriteFile(path, []byte(nginxConfig(dir, server)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "nginx", "-t", "-e", "stderr", "-p", dir, "-c", path).CombinedOutput(); err != nil {
		t.Errorf("nginx -t: %v\n%s", err, out)
	}
}

// checkKeys compares the defaults in the table of keys with the real ones, by
// setting them.
func checkKeys(t *testing.T, readme string) {
	t.Helper()
	_, table, _ := strings.Cut(readme, "| key | default | meaning |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	code := regexp.MustCompile("`([^`]*)`")
	want := mustLoad(t, "")
	rows := 0
	for _, line := range strings.Split(table, "\n")[1:] {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			t.Fatalf("not a row: %s", line)
		}
		keys, defaults := code.FindAllStringSubmatch(cells[1], -1), code.FindAllStringSubmatch(cells[2], -1)
		if len(defaults) > 0 && len(defaults) != len(keys) {
			t.Errorf("%d keys and %d defaults: %s", len(keys), len(defaults), line)
			continue
		}
		for i, key := range keys {
			value := ""
			if len(defaults) > 0 {
				value = defaults[i][1]
			}
			got, err := load(t, "", "FILESHARE_"+strings.ToUpper(strings.ReplaceAll(key[1], ".", "_"))+"="+value)
			if err != nil {
				t.Errorf("%s: %v", key[1], err)
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s is not %q (-default +README):\n%s", key[1], value, diff)
			}
			rows++
		}
	}
	if rows == 0 {
		t.Error("no keys found")
	}
}
