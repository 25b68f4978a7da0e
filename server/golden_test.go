package server

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
// signs as FileSender's clients do: "alice async", "alice old", or "alice new", as
// which alice alone is taken. A request may name what an answer before it had (see
// mask), and the time, in UNIX seconds: ${NOW}, ${NOW-60}. "Until" asks again until
// the answer has that text, for what is written down a moment later. All headers of
// an answer are there but those of the connection. "House: small", before the first
// exchange, is another house: see goldenHouse. -update writes the answers anew.
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
			got := replay(t, goldenHouse(t, string(want)), string(want))
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

// goldenHouse is the house of a transcript: a small one has low limits and keeps
// no events, one with mail tells people of what happens.
func goldenHouse(t *testing.T, transcript string) *house {
	t.Helper()
	so, o := store.Options{EventKeep: time.Hour, Audit: time.Hour}, goldenOptions()
	head, _, _ := strings.Cut(transcript, "\n")
	switch kind, ok := strings.CutPrefix(head, "House: "); {
	case !ok:
	case kind == "small":
		so = store.Options{FileSize: 160, UserQuota: 180}
		o.FileSender = &FileSender{ChunkSize: 16, Files: 3, Recipients: 2, Size: 200, Banned: []string{"exe"}}
	case kind == "mail":
		so.Notices = Notices(NoticesOptions{Base: "https://share.example/", Channel: "mail", Accounts: namesOnly{}})
		o.FileSender = &FileSender{Extensions: 1}
	default:
		t.Fatalf("no house is called %s", kind)
	}
	return newHouse(t, so, o)
}

// goldenOptions is a house in which all dialects are spoken.
func goldenOptions() Options {
	return Options{
		Molgenis: true, ExtraHorizon: &ExtraHorizon{}, FileSender: &FileSender{}, Addresses: true,
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
	head = strings.Trim(head, "\n")
	out.WriteString(head)
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
		fmt.Fprintf(&out, "== %s\n%s\n-- %s", title, request, m.mask(answerText(t, m.send(t, title, request), h.url)))
	}
	return out.String() + "\n"
}

// send sends a request as a transcript has it.
func (m *masks) send(t *testing.T, title, text string) answer {
	t.Helper()
	text = os.Expand(text, func(name string) string {
		if later, ok := strings.CutPrefix(name, "NOW"); ok {
			if later == "" {
				later = "0"
			}
			seconds, err := strconv.ParseInt(later, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return strconv.FormatInt(time.Now().Unix()+seconds, 10)
		}
		value, ok := m.names[name]
		if !ok {
			t.Fatalf("nothing was called %s so far", name)
		}
		return value
	})
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	user, signer, until, headers := "", "", "", []string(nil)
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(key, "As"):
			user = value
		case strings.EqualFold(key, "Signed"):
			signer = value
		case strings.EqualFold(key, "Until"):
			until = value
		case strings.HasPrefix(value, "multipart/form-data"):
			body = strings.ReplaceAll(body, "\n", "\r\n")
			fallthrough
		default:
			headers = append(headers, key, value)
		}
	}
	var a answer
	eventually(t, title, func() bool {
		if signer != "" {
			a = m.signed(t, signer, method, path, body, headers)
		} else {
			var sent io.Reader
			if body != "" {
				sent = strings.NewReader(body)
			}
			a = m.h.do(method, path, user, sent, headers...)
		}
		return bytes.Contains(a.body, []byte(until))
	})
	return a
}

// signed sends a request that somebody signs: "alice", "alice async".
func (m *masks) signed(t *testing.T, signer, method, path, body string, headers []string) answer {
	t.Helper()
	user, client, _ := strings.Cut(signer, " ")
	how, ok := map[string]int{"": signNew, "new": signNew, "old": signOld, "async": signAsync}[client]
	path, query, _ := strings.Cut(path, "?")
	said, err := url.ParseQuery(query)
	if err != nil || !ok {
		t.Fatalf("%s signs %s: %v", signer, query, err)
	}
	args := map[string]string{}
	for name := range said {
		args[name] = said.Get(name)
	}
	r := fsRequest(t, how, method, m.h.url+path, user, args, []byte(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return m.h.roundTrip(r)
}

// answerText is an answer as a transcript has it. The length of one with our
// address in it depends on the port, that of a page on its style, and the validator
// of an archive on its times; of an archive its list is shown.
func answerText(t *testing.T, a answer, url string) string {
	t.Helper()
	var b bytes.Buffer
	typ := a.Header.Get("Content-Type")
	archived := (typ == "application/zip" || typ == "application/x-tar") && a.Header.Get("Repr-Digest") == "" // not a file of that type
	fmt.Fprintln(&b, a.StatusCode)
	for _, key := range slices.Sorted(maps.Keys(a.Header)) {
		if key == "Date" || key == "X-Request-Id" || key == "Content-Length" && (bytes.Contains(a.body, []byte(url)) || bytes.Contains(a.body, []byte("<style>"))) {
			continue
		}
		for _, v := range a.Header[key] {
			if archived && key == "Etag" {
				v = "${ETAG}"
			}
			fmt.Fprintf(&b, "%s: %s\n", key, v)
		}
	}
	body := a.body
	if archived && a.StatusCode == http.StatusOK && len(body) > 0 {
		body = archiveText(t, typ, body)
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "\n%s", bytes.TrimRight(body, "\n"))
	}
	return strings.TrimRight(b.String(), "\n")
}

// archiveText lists an archive: a line for each file, with all that is in it.
func archiveText(t *testing.T, typ string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	list := func(name string, r io.Reader) {
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s in an archive: %v", name, err)
		}
		fmt.Fprintf(&b, "%s: %q\n", name, content)
	}
	if typ == "application/zip" {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			list(f.Name, r)
			_ = r.Close()
		}
		return b.Bytes()
	}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		f, err := r.Next()
		if err == io.EOF {
			return b.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		list(f.Name, r)
	}
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
		`"raw":\d,"formatted":"\ds"`:               `"raw":$${SECONDS},"formatted":"$${SECONDS}s"`,
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
