package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain makes the test binary play the daemon and the reference servers,
// which the bench starts as processes.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = serveStandIn(os.Args[3])
	case len(os.Args) > 1 && isRole(os.Args[1]):
		err = runRole(context.Background(), os.Args[1], os.Args[2:])
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// newBench is a bench over the stand-in with tiny sizes.
func newBench(t *testing.T, rows string) *bench {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLogin()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{
		bin: program, dir: t.TempDir(), rows: regexp.MustCompile(rows), rounds: 2, login: l, client: newClient(),
		sizes: sizes{large: 4 << 20, records: 2000, few: 1000, tokens: 100, measure: 50 * time.Millisecond, warm: 10 * time.Millisecond},
	}
}

func TestRowsOverTheStandIn(t *testing.T) {
	b := newBench(t, "")
	var want []string
	for _, g := range b.groups() {
		if slices.Contains([]string{"many records", "purge", "resumable", "chunks", "scale-out", "many records in PostgreSQL"}, g.name) {
			continue // they need the real program
		}
		want = append(want, g.rows...)
		b.runGroup(t.Context(), g)
	}
	var got []string
	for _, x := range b.report.Results {
		got = append(got, x.Row)
		if strings.HasPrefix(x.Verdict, "failed") {
			if _, err := findNginx(); err != nil && x.Verdict == "failed: reference: "+err.Error() {
				continue
			}
			t.Errorf("%s: %s", x.Row, x.Verdict)
			continue
		}
		// The processor time of a tiny transfer may be less than a tick.
		if len(x.Ours) == 0 || median(x.Ours) <= 0 && x.Unit != "s/GB" {
			t.Errorf("%s: figures %v", x.Row, x.Ours)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if left, err := os.ReadDir(b.dir); err != nil {
		t.Error(err)
	} else {
		for _, e := range left {
			if e.IsDir() && !strings.HasPrefix(e.Name(), "nginx-small") { // see bench.nginx
				t.Errorf("%s is left behind", e.Name())
			}
		}
	}
}

func TestWrongAnswersFailTheRow(t *testing.T) {
	t.Setenv(standInEnv, "broken")
	b := newBench(t, "^upload 1 (KiB c=16|GiB PUT)$")
	for _, g := range b.groups() {
		b.runGroup(t.Context(), g)
	}
	if len(b.report.Results) != 2 {
		t.Fatalf("results: %+v", b.report.Results)
	}
	for _, x := range b.report.Results {
		if !strings.HasPrefix(x.Verdict, "failed: ") || !strings.Contains(x.Verdict, "status 500, expected 201: broken") {
			t.Errorf("%s: verdict %q", x.Row, x.Verdict)
		}
	}
}

func TestDaemonThatDoesNotStart(t *testing.T) {
	b := newBench(t, regexp.QuoteMeta(rowCycle))
	b.bin = "/bin/false"
	for _, g := range b.groups() {
		b.runGroup(t.Context(), g)
	}
	if len(b.report.Results) != 1 || !strings.HasPrefix(b.report.Results[0].Verdict, "failed: the daemon ended at once") {
		t.Errorf("results: %+v", b.report.Results)
	}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		goal goal
		got  float64
		text string
		want string
	}{
		{leastRatio(0.8), 0.8, "≥ 0.8 x", "met"},
		{leastRatio(0.8), 0.6, "≥ 0.8 x", "missed by 25 %"},
		{mostRatio(3), 2, "≤ 3 x", "met"},
		{mostRatio(3), 6, "≤ 3 x", "missed by 100 %"},
		{least(5000), 4999, "≥ 5,000 u", "missed by 1 %"},
		{most(0.7), 0.7, "≤ 0.7 u", "met"},
		{most(60), 61, "≤ 60 u", "missed by 2 %"},
		{least(1), math.NaN(), "≥ 1 u", "failed: no figure"},
	} {
		if got := test.goal.verdict(test.got); got != test.want {
			t.Errorf("%s: verdict of %v is %q, want %q", test.text, test.got, got, test.want)
		}
		if got := test.goal.text("u"); got != test.text {
			t.Errorf("text %q, want %q", got, test.text)
		}
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{
		0.123456: "0.123", 5.678: "5.68", 12: "12", 99.999: "100", 123.4: "123", 999: "999",
		1000: "1,000", 1234567.8: "1,234,568", 0: "0",
	} {
		if got := number(x); got != want {
			t.Errorf("number(%v) = %q, want %q", x, got, want)
		}
	}
}

func TestPairedRatio(t *testing.T) {
	// The machine became twice as fast in the middle: no ratio changes.
	if got := pairedRatio([]float64{1, 2, 2}, []float64{2, 4, 4}); got != 0.5 {
		t.Errorf("ratio %v, want 0.5", got)
	}
	if got := pairedRatio([]float64{1}, nil); !math.IsNaN(got) {
		t.Errorf("ratio without reference %v, want NaN", got)
	}
}

func TestTables(t *testing.T) {
	var r report
	r.compare("a | b", "/s", series{values: []float64{10, 30, 20}}, "ref", series{values: []float64{10, 10, 10}}, leastRatio(1.2), "why")
	r.compare("no reference", "/s", series{values: []float64{1}}, "ref", series{err: fmt.Errorf("gone\naway")}, leastRatio(1), "")
	r.show("shown", "MB", series{values: []float64{1}}, "")
	var text, md strings.Builder
	r.writeText(&text)
	r.writeMarkdown(&md)
	for _, want := range []string{
		"a | b         20 /s     ref 10   2.00  ≥ 1.2 x  met                           why\n",
		"no reference   1 /s          –      –  ≥ 1 x    failed: reference: gone away\n",
		"shown          1 MB          –      –  –        –\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text lacks %q:\n%s", want, text.String())
		}
	}
	if want := `| a \| b | 20 /s | ref 10 | 2.00 | ≥ 1.2 x | met | why |` + "\n"; !strings.Contains(md.String(), want) {
		t.Errorf("Markdown lacks %q:\n%s", want, md.String())
	}
}
