package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// container is what deploy/Containerfile says of the image: instructions of
// its last stage.
type container struct {
	env        []string
	user       uint32
	entrypoint []string
}

// TestContainerfile does what deploy/Containerfile says, as far as that goes
// without an engine: its commands run in a copy of the tree, and the program
// runs with what the last stage has, and nothing else, as its root.
func TestContainerfile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("another root directory needs root")
	}
	text, err := os.ReadFile("deploy/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	source, root := t.TempDir(), t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	e2eCommand(t, "sh", "-c", "git ls-files -z | tar --null --files-from=- --create | tar --extract --directory="+source)
	ignored, err := os.ReadFile(".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(ignored)) {
		if err := os.RemoveAll(filepath.Join(source, name)); err != nil {
			t.Fatal(err)
		}
	}
	var c container
	var stage string
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		switch word {
		case "", "#":
		case "FROM":
			stage = rest
		case "WORKDIR":
			if rest != "/src" {
				t.Fatalf("%s: /src is expected", line)
			}
		case "ARG":
			if rest != "VERSION=devel" {
				t.Fatalf("%s: what is that for?", line)
			}
		case "RUN":
			cmd := exec.Command("sh", "-euc", rest)
			cmd.Dir, cmd.Env = source, append(os.Environ(), "VERSION=contained")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", rest, err, out)
			}
		case "COPY":
			if stage == "scratch" {
				copyFromBuild(t, strings.Fields(rest), source, root)
			}
		case "USER":
			uid, gid, _ := strings.Cut(rest, ":")
			n, err := strconv.ParseUint(uid, 10, 32)
			if err != nil || n == 0 || gid != uid {
				t.Fatalf("%s: numbers of somebody who is not root are expected", line)
			}
			c.user = uint32(n)
		case "ENV":
			c.env = append(c.env, strings.Fields(rest)...)
		case "ENTRYPOINT", "CMD":
			var words []string
			if err := json.Unmarshal([]byte(rest), &words); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			c.entrypoint = append(c.entrypoint, words...)
		case "VOLUME", "EXPOSE", "STOPSIGNAL": // for the engine
		default:
			t.Fatalf("%s: unknown instruction", line)
		}
	}
	if stage != "scratch" {
		t.Fatalf("the last stage is from %s", stage)
	}
	c.run(t, root)
}

// copyFromBuild does COPY --from=build [--chown=UID:GID] [--chmod=MODE] FROM TO.
func copyFromBuild(t *testing.T, args []string, source, root string) {
	t.Helper()
	var owner, group, mode string
	for len(args) > 2 {
		name, value, _ := strings.Cut(args[0], "=")
		switch name {
		case "--from":
			if value != "build" {
				t.Fatalf("there is no stage %s", value)
			}
		case "--chown":
			owner, group, _ = strings.Cut(value, ":")
		case "--chmod":
			mode = value
		default:
			t.Fatalf("unknown flag %s of COPY", name)
		}
		args = args[1:]
	}
	from, to := args[0], filepath.Join(root, args[1])
	if path, ok := strings.CutPrefix(from, "/src/"); ok {
		from = filepath.Join(source, path)
	}
	e2eCommand(t, "mkdir", "-p", filepath.Dir(to))
	e2eCommand(t, "cp", "--recursive", "--dereference", "--no-target-directory", from, to)
	if owner != "" {
		e2eCommand(t, "chown", owner+":"+group, to)
	}
	if mode != "" {
		e2eCommand(t, "chmod", mode, to)
	}
}

// run starts what is in root as the engine would, but on a port of its own.
func (c container) run(t *testing.T, root string) {
	t.Helper()
	if !slices.Contains(c.env, "FILESHARE_SERVER_LISTEN=:8080") {
		t.Errorf("it would not be reached from outside: %v", c.env)
	}
	cmd := exec.Command(c.entrypoint[0], c.entrypoint[1:]...)
	cmd.Dir, cmd.Env = "/", append(c.env, "FILESHARE_SERVER_LISTEN=127.0.0.1:0", "FILESHARE_LIMITS_FREE_SPACE=1MiB")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: c.user, Gid: c.user}}
	p, err := startProcess(cmd, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}()
	addr, err := p.wait(regexp.MustCompile(`msg=listening addr=(\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	password, err := p.wait(regexp.MustCompile(`--user admin:(\w+) `))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := upload(t, "http://"+addr, "admin", password, nil); status != http.StatusCreated {
		t.Errorf("upload: %d %s", status, body)
	}
	info, err := os.Stat(filepath.Join(root, "var/lib/fileshare/records.db"))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != c.user {
		t.Errorf("the records are not in the volume, or not the user's: %v", err)
	}
	if out := e2eCommand(t, "chroot", root, c.entrypoint[0], "version"); !strings.HasPrefix(out, "fileshare contained ") {
		t.Errorf("the version is %q", out)
	}
}
