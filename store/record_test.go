package store

import (
	"mime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var unexported = cmp.AllowUnexported(fileRec{}, unfinished{}, run{}, sessionRec{}, summaries{}, remains{}, tokenRec{}, loginRec{}, usageRec{}, usesRec{}, use{}, flight{})

func TestRecords(t *testing.T) {
	at := time.UnixMilli(1_790_000_000_123).UTC()
	k := newKey(at)
	file := &fileRec{reason: usedUp, owner: "a@b", session: k, name: "n", original: "o", mime: "text/plain", size: 1 << 40,
		sha: []byte{1, 2, 3}, crc: 0x89abcdef, stored: true, inline: true, audit: true, open: &unfinished{length: 7, got: 6, pieces: 5, epoch: 4, writing: true, mode: inOrder, part: true, tail: true, hash: []byte{1}, wait: time.Hour}, runs: []run{{k, 3, 8 << 20, 20 << 20}, {k, 1, 5, 5}}, tags: []string{"x", "y"},
		max: 9, ttl: time.Hour, created: at, updated: at.Add(1e6), expires: at.Add(time.Hour), managers: 3,
		attrs: map[string]string{"a.b": "c", "a.d": ""}, sequence: "a.seq", number: 7}
	if got, err := decodeFile(file.encode()); err != nil || cmp.Diff(file, got, unexported) != "" {
		t.Errorf("file: %v %s", err, cmp.Diff(file, got, unexported))
	}
	session := &sessionRec{reason: deleted, owner: "o", name: "n", ttl: time.Minute, created: at, updated: at, expires: at, members: []string{"a", "b"},
		attrs: map[string]string{"a.b": "c"}, sequence: "a.seq", number: 1 << 40, told: summaries{time.Hour, at, at}, audit: true, remains: &remains{at, [][]byte{append(k[:], 1), k[:]}, true}}
	if got, err := decodeSession(session.encode()); err != nil || cmp.Diff(session, got, unexported) != "" {
		t.Errorf("session: %v %s", err, cmp.Diff(session, got, unexported))
	}
	token := &tokenRec{k, 3, at, at, 2}
	if got, err := decodeToken(token.encode()); err != nil || cmp.Diff(token, got, unexported) != "" {
		t.Errorf("token: %v %s", err, cmp.Diff(token, got, unexported))
	}
	login := &loginRec{account: "a", expires: at, pair: []byte{1}, attrs: map[string]string{"a": "", "b": "c"}, used: true, created: at, listed: true}
	if got, err := decodeLogin(login.encode()); err != nil || cmp.Diff(login, got, unexported) != "" {
		t.Errorf("login: %v %s", err, cmp.Diff(login, got, unexported))
	}
	uses := &usesRec{complete: 2, open: []use{{at, []Span{{0, 5}, {9, 1 << 50}}, []Span{{5, 7}}, []flight{{77, k, Span{7, 9}}}}, {touched: at}}}
	if got, err := decodeUses(uses.encode()); err != nil || cmp.Diff(uses, got, unexported, cmpopts.EquateEmpty()) != "" {
		t.Errorf("uses: %v %s", err, cmp.Diff(uses, got, unexported))
	}
}

func FuzzRecords(f *testing.F) {
	at := time.UnixMilli(1_790_000_000_123)
	f.Add((&fileRec{owner: "a", runs: []run{{Key{1}, 1, 2, 2}}, tags: []string{"t"}, created: at}).encode())
	f.Add((&usesRec{open: []use{{at, []Span{{0, 5}}, nil, []flight{{1, Key{}, Span{1, 2}}}}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) { // damaged records are errors, never panics
		if r, err := decodeFile(b); err == nil {
			if _, err := decodeFile(r.encode()); err != nil {
				t.Error(err)
			}
		}
		if u, err := decodeUses(b); err == nil {
			if _, err := decodeUses(u.encode()); err != nil {
				t.Error(err)
			}
		}
		decodeSession(b)
		decodeToken(b)
		decodeLogin(b)
		decodeUsage(b)
	})
}

func TestCleanName(t *testing.T) {
	long := ""
	for range 100 {
		long += "größe"
	}
	for in, want := range map[string]string{
		"test.txt":               "test.txt",
		"":                       "unnamed",
		"..":                     "unnamed",
		"../../etc/passwd":       "passwd",
		`C:\Users\x\evil.exe`:    "evil.exe",
		"a/":                     "unnamed",
		"tab\there\r\nand\x00.a": "tabhereand.a",
		`quo"te's.txt`:           `quo"te's.txt`,
		"😀 file.txt":             "😀 file.txt",
		"photo\u202egnp.exe":     "photognp.exe",
		"bad\xffutf8":            "bad\ufffdutf8",
		"  spaced  ":             "spaced",
		".bashrc":                ".bashrc",
	} {
		if got := CleanName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := CleanName(long + ".tar"); len(got) > maxName || got[len(got)-4:] != ".tar" || CleanName(got) != got {
		t.Errorf("long name: %d bytes %q", len(got), got)
	}
}

func TestTypeOf(t *testing.T) {
	for _, c := range []struct{ said, name, head, want string }{
		{"image/png", "x.txt", "", "image/png"},
		{"text/html; charset=utf-8", "x", "", "text/html; charset=utf-8"},
		{"nonsense", "x.json", "", "application/json"},
		{"", "x", "plain\n", "text/plain; charset=utf-8"},
		{"", "x", "\x00\x01", "application/octet-stream"},
		{"text/plain\r\nX-Evil: 1", "x", "\x00", "application/octet-stream"},
		{"", "x", "", "application/octet-stream"},
	} {
		if got := typeOf(c.said, c.name, []byte(c.head)); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// What is taken as it is, is what the parser would make of it.
func TestMediaType(t *testing.T) {
	for said, want := range map[string]string{
		"image/png": "image/png", "application/vnd.api+json": "application/vnd.api+json", "a/b-c.d+e1": "a/b-c.d+e1",
		"Image/PNG": "image/png", " text/plain ": "text/plain", "text/html;charset=utf-8": "text/html; charset=utf-8", "a/b;": "a/b",
		"text": "", "text/": "", "/plain": "", "a/b/c": "", "a /b": "", "a/b c": "", "": "", "a/" + strings.Repeat("b", 254): "",
	} {
		if got := MediaType(said); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
		if media, params, err := mime.ParseMediaType(said); isTidyType(said) && (err != nil || mime.FormatMediaType(media, params) != said) {
			t.Errorf("%q is not tidy", said)
		}
	}
}

func TestClockGuard(t *testing.T) {
	year := 365 * 24 * time.Hour
	start := time.Now()
	for _, c := range []struct {
		name string
		off  []time.Duration // of the wall clock, at ten-second steps
		held []bool
	}{
		{"even", []time.Duration{0, 0, time.Second, -time.Second}, []bool{false, false, false, false}},
		{"forward and back", []time.Duration{0, year, year, 0, 0}, []bool{false, true, true, false, false}},
		{"back", []time.Duration{0, -year, -year}, []bool{false, false, false}},
		{"drift", []time.Duration{0, 4 * time.Minute, 8 * time.Minute, 12 * time.Minute}, []bool{false, false, false, false}},
	} {
		var g clockGuard
		for i, off := range c.off {
			mono := time.Duration(i) * 10 * time.Second
			if held := g.check(start.Add(mono+off), mono) > 0; held != c.held[i] {
				t.Errorf("%s: step %d: held %v", c.name, i, held)
			}
		}
	}
	var g clockGuard // a jump that stays is believed in the end
	g.check(start, 0)
	for i := 1; ; i++ {
		mono := time.Duration(i) * 10 * time.Second
		if g.check(start.Add(mono+year), mono) > 0 {
			continue
		}
		if mono < clockHold || mono > clockHold+time.Minute {
			t.Errorf("believed after %v", mono)
		}
		break
	}
}
