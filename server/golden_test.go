package server

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/store"
)

var update = flag.Bool("update", false, "write the answers into testdata/golden")

// TestGolden replays the transcripts of testdata/golden/DIALECT/*.txt. Each is a
// sequence of exchanges in one house:
//
//	== what this is about
//	POST /api/files
//	Content-Type: text/plain
//	As: alice
//
//	the body
//	-- 201
//	Content-Type: application/json
//
//	{"id":"${ID1}"}
//
// "As" is a user of the house, whose Basic credentials are sent, "Signed" one who
// signs as FileSender's clients do. A request may
// name what an answer before it had: see mask. All headers of an answer are
// there but those of the connection. -update writes the answers anew.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("../testdata/golden/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "../testdata/golden/"), ".txt")
		t.Run(name, func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h := newHouse(t, store.Options{}, goldenOptions())
			got := replay(t, h, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("other answers (-transcript +now):\n%s", diff)
			}
		})
	}
}

// goldenOptions is a house in which all dialects are spoken.
func goldenOptions() Options {
	return Options{
		Molgenis: true, ExtraHorizon: &ExtraHorizon{}, FileSender: &FileSender{},
		OpenTera: &OpenTera{
			Participants: []OpenTeraCaller{{Name: "paul", Token: "0123456789abcdef-participant"}},
			Devices:      []OpenTeraCaller{{Name: "sensor", Token: "0123456789abcdef-device"}},
			Passwords:    onlyPaul{},
		},
	}
}

// onlyPaul knows the participant paul by the password "pw".
type onlyPaul struct{}

func (onlyPaul) Authenticate(r *http.Request) (store.Caller, error) {
	name, password, ok := r.BasicAuth()
	switch {
	case !ok:
		return store.Caller{}, nil
	case name != "paul" || password != "pw":
		return store.Caller{}, store.Refuse(store.Unauthenticated, "wrong user name or password")
	}
	return store.Caller{Name: name}, nil
}

// replay sends the requests of a transcript and returns it with the answers.
func replay(t *testing.T, h *house, transcript string) string {
	t.Helper()
	var out strings.Builder
	m := masks{h: h, names: map[string]string{}, values: map[string]string{}, count: map[string]int{}}
	head, rest, _ := strings.Cut("\n"+transcript, "\n== ")
	out.WriteString(strings.TrimPrefix(head, "\n"))
	for i, exchange := range strings.Split(rest, "\n== ") {
		title, request, _ := strings.Cut(exchange, "\n")
		request, _, ok := strings.Cut(request, "\n-- ")
		if !ok {
			t.Fatalf("%s: no answer begins", title)
		}
		time.Sleep(2 * time.Millisecond) // what is made in one millisecond is listed in any order
		if i > 0 || head != "" {
			out.WriteString("\n\n")
		}
		fmt.Fprintf(&out, "== %s\n%s\n-- %s", title, request, m.mask(answerText(m.send(t, request), h.url)))
	}
	return out.String() + "\n"
}

// send sends a request as a transcript has it.
func (m *masks) send(t *testing.T, text string) answer {
	t.Helper()
	text = os.Expand(text, func(name string) string {
		value, ok := m.names[name]
		if !ok {
			t.Fatalf("nothing was called %s so far", name)
		}
		return value
	})
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	user, signer, headers := "", "", []string(nil)
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(key, "As"):
			user = value
		case strings.EqualFold(key, "Signed"):
			signer = value
		case strings.HasPrefix(value, "multipart/form-data"):
			body = strings.ReplaceAll(body, "\n", "\r\n")
			fallthrough
		default:
			headers = append(headers, key, value)
		}
	}
	var sent io.Reader
	if body != "" {
		sent = strings.NewReader(body)
	}
	return m.h.do(method, fileSenderSigned(m.h, signer, method, path, body), user, sent, headers...)
}

// answerText is an answer as a transcript has it. The length of one with our
// address in it depends on the port, that of a page on its style.
func answerText(a answer, url string) string {
	var b bytes.Buffer
	fmt.Fprintln(&b, a.StatusCode)
	for _, key := range slices.Sorted(maps.Keys(a.Header)) {
		if key == "Date" || key == "X-Request-Id" || key == "Content-Length" && (bytes.Contains(a.body, []byte(url)) || bytes.Contains(a.body, []byte("<style>"))) {
			continue
		}
		for _, v := range a.Header[key] {
			fmt.Fprintf(&b, "%s: %s\n", key, v)
		}
	}
	if len(a.body) > 0 {
		fmt.Fprintf(&b, "\n%s", bytes.TrimRight(a.body, "\n"))
	}
	return strings.TrimRight(b.String(), "\n")
}

// masks gives names to what differs from run to run: ${UUID1} is the first UUID
// that an answer had, and so on.
type masks struct {
	h      *house
	names  map[string]string // → value
	values map[string]string // → name
	count  map[string]int    // of names of a kind
}

func (m *masks) mask(text string) string {
	text = strings.ReplaceAll(text, m.h.url, "${URL}")
	for pattern, with := range map[string]string{
		`(?s)<(style|script)>.*?</(style|script)>`: "<$1>…</$2>", // their own tests look at them
		`'sha256-[A-Za-z0-9+/=]{44}'`:              "'sha256-$${SUM}'",
		`"uid":"[0-9a-f]{16}"`:                     `"uid":"$${REQUEST}"`,
		`"raw":\d{10},"formatted":"[^"]*"`:         `"raw":$${TIME},"formatted":"$${DAY}"`,
		`\d{1,2} [A-Z][a-z]+ \d{4}, \d\d:\d\d UTC`: "$${TIME}",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, with)
	}
	for _, kind := range []struct{ name, pattern string }{
		{"ACCESS", `[A-Za-z0-9_-]{119}`},
		{"UUID", `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{"TOKEN", `\b[0-9a-f]{40}\b`},
		{"MAC", `\b[0-9a-f]{32}\b`},
		{"SALT", `\b[A-Z2-7]{32}\b`},
		{"HEX", `\b[0-9a-f]{24}\b`},
		{"ID", `\b[a-z2-7]{26}\b`},
		{"", `\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)`},
		{"", `[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [0-9:]{8} GMT`},
		{"NUMBER", `\b[0-9]{8,}\b`},
	} {
		text = regexp.MustCompile(kind.pattern).ReplaceAllStringFunc(text, func(value string) string {
			if kind.name == "" {
				return "${TIME}"
			}
			same := value
			if kind.name == "ACCESS" {
				same = value[12:76] // the file and who may use it, without the time
			}
			name, ok := m.values[same]
			if !ok {
				m.count[kind.name]++
				name = fmt.Sprint(kind.name, m.count[kind.name])
				m.values[same], m.names[name] = name, value
			}
			return "${" + name + "}"
		})
	}
	return text
}

// TestMask makes sure that a transcript cannot hide a difference: what has a
// name is the same value every time.
func TestMask(t *testing.T) {
	m := masks{h: &house{url: "http://127.0.0.1:5"}, names: map[string]string{}, values: map[string]string{}, count: map[string]int{}}
	const a, b = "88e5905d-5d96-4750-ab3d-77a1ed26f569", "98e5905d-5d96-4750-ab3d-77a1ed26f569"
	got := m.mask("http://127.0.0.1:5/x " + a + " " + b + " " + a + " 2026-01-02T03:04:05.000Z Sat, 03 Jan 2026 11:12:13 GMT aaaac2mp6yoxgaavluayxfiaae")
	if want := "${URL}/x ${UUID1} ${UUID2} ${UUID1} ${TIME} ${TIME} ${ID1}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if m.names["UUID2"] != b {
		t.Errorf("%v", m.names)
	}
}
