package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"fileshare/client"
)

func TestNetrc(t *testing.T) {
	const text = `# comment
machine a.example login ann password secret
macdef init
machine b.example login wrong password wrong

machine b.example # comment
	account x login bob
	password pw2
machine c.example password only
machine d.example
default login anybody password any
machine e.example login late password late`
	for host, want := range map[string][2]string{
		"a.example": {"ann", "secret"},
		"A.Example": {"ann", "secret"},
		"b.example": {"bob", "pw2"},
		"c.example": {},
		"d.example": {},
		"e.example": {"late", "late"},
		"x.example": {},
		"":          {},
	} {
		if user, password := netrc(text, host); user != want[0] || password != want[1] {
			t.Errorf("%q: %q %q, want %q", host, user, password, want)
		}
	}
}

// FuzzNetrc never finds an account for a host that is not named.
func FuzzNetrc(f *testing.F) {
	f.Add("machine a login b password c", "a")
	f.Add("macdef x\nmachine a login b\n\ndefault login c password", "b")
	f.Fuzz(func(t *testing.T, text, host string) {
		user, password := netrc(text, host)
		if user+password != "" && !strings.Contains(strings.ToLower(text), strings.ToLower(host)) {
			t.Errorf("%q %q for %q", user, password, host)
		}
	})
}

func TestTTL(t *testing.T) {
	for s, want := range map[string]time.Duration{"1": time.Second, "90": 90 * time.Second, "30m": 30 * time.Minute, "7d": 168 * time.Hour, "1h30m": 90 * time.Minute} {
		var got ttl
		if err := got.Set(s); err != nil || time.Duration(got) != want {
			t.Errorf("%s: %v, %v", s, got.String(), err)
		}
	}
	for _, s := range []string{"", "0", "-1", "d", "1w", "500ms", "-2h", "99999999999", "99999d"} {
		var got ttl
		if err := got.Set(s); err == nil {
			t.Errorf("%q is %v", s, got.String())
		}
	}
}

func TestWords(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{-1: "over", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 90 * time.Minute: "1h30m", 49 * time.Hour: "2d01h"} {
		if got := left(now.Add(d), now); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536 << 20: "1.5 GiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for path, want := range map[string]string{"a/b-c.txt": "a/b-c.txt", "it's": `'it'\''s'`, "a b": "'a b'", "$x": "'$x'"} {
		if got := quoted(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// TestSaved keeps the newest uploads, forgets what is over, and what is no state.
func TestSaved(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	path := filepath.Join(home, "film")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-time.Hour)
	for i := range mostSaved + 5 {
		s, err := newSaved("http://h", filepath.Join(home, strings.Repeat("x", i+1)), info, client.UploadSpec{})
		if err != nil {
			t.Fatal(err)
		}
		s.Begun = begin.Add(time.Duration(i) * time.Second)
		if i == mostSaved+4 {
			s.Path = path
		}
		if i == 3 {
			s.Begun = begin.Add(-savedFor)
		}
		if err := s.save(); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := savedDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := savedUploads()
	if err != nil || len(all) != mostSaved || all[0].Path != path || !all[0].fits(info) {
		t.Fatalf("%d, %v", len(all), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != mostSaved {
		t.Errorf("%d files, %v", len(entries), err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if info, err = os.Stat(path); err != nil || all[0].fits(info) {
		t.Errorf("a changed file is taken for the same: %v", err)
	}
	if err := all[0].remove(); err != nil {
		t.Error(err)
	}
}

func TestQR(t *testing.T) {
	for _, colours := range []bool{true, false} {
		var b bytes.Buffer
		if err := writeQR(&b, "https://files.example.com/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569", colours); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
		for _, line := range lines {
			line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[38;5;16;48;5;231m"), "\x1b[0m")
			if n := len([]rune(line)); n != 2*len(lines) && n != 2*len(lines)-1 {
				t.Errorf("%d characters in one of %d lines", n, len(lines))
			}
		}
	}
}

func TestMan(t *testing.T) {
	root := &cobra.Command{Use: "fileshare", Short: "Share", Long: "One.\n\n.two -x"}
	root.AddGroup(&cobra.Group{ID: Group})
	root.AddCommand(Commands("1")...)
	var b bytes.Buffer
	if err := WriteMan(&b, root, "1.2-3"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".TH FILESHARE 1 \"\" \"fileshare 1.2\\-3\"", "\\&.two \\-x", "\n.SS \\fBsession archive SESSION [flags]\\fR\n", "\\fB\\-j\\fR, \\fB\\-\\-parallel\\fR \\fIint\\fR"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}
