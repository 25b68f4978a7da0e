package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// report is what a run found.
type report struct {
	Machine []fact
	Quick   bool
	Rounds  int
	Seconds float64
	Results []Result
}

// fact is one line about the machine.
type fact struct{ Name, Value string }

// Result is one line of the table.
type Result struct {
	Row       string
	Unit      string    `json:",omitempty"`
	Ours      []float64 `json:",omitempty"` // one value per round
	Reference []float64 `json:",omitempty"`
	Beside    string    `json:",omitempty"` // what the reference is
	Ratio     float64   `json:",omitempty"` // median of the rounds' ratios
	Target    string    `json:",omitempty"`
	Verdict   string    // met, missed by n %, failed: why, not measured (why), or – where there is no target
	Remark    string    `json:",omitempty"`
}

// series is what one contender reached in each round, or why it did not.
type series struct {
	values []float64
	err    error
}

func (r *report) add(x Result) { r.Results = append(r.Results, x) }

func (r *report) has(row string) bool {
	return slices.ContainsFunc(r.Results, func(x Result) bool { return x.Row == row })
}

// goal is a bound on a ratio or on a value itself.
type goal struct {
	bound float64
	most  bool // the bound is the most that is allowed; else the least
	value bool // of the value; else of the ratio to the reference
}

func leastRatio(x float64) goal { return goal{bound: x} }
func mostRatio(x float64) goal  { return goal{bound: x, most: true} }
func least(x float64) goal      { return goal{bound: x, value: true} }
func most(x float64) goal       { return goal{bound: x, value: true, most: true} }

func (g goal) text(unit string) string {
	sign := "≥ "
	if g.most {
		sign = "≤ "
	}
	if g.value {
		return sign + number(g.bound) + " " + unit
	}
	return sign + strconv.FormatFloat(g.bound, 'g', 3, 64) + " x"
}

func (g goal) verdict(got float64) string {
	miss := 1 - got/g.bound
	if g.most {
		miss = got/g.bound - 1
	}
	switch {
	case math.IsNaN(got):
		return "failed: no figure"
	case miss <= 0:
		return "met"
	}
	return fmt.Sprintf("missed by %.0f %%", max(1, math.Round(miss*100)))
}

// compare adds a row that is judged by its ratio to a reference (or, with a
// goal of a value, merely shown beside it).
func (r *report) compare(row, unit string, ours series, beside string, ref series, g goal, remark string) {
	x := Result{Row: row, Unit: unit, Ours: ours.values, Reference: ref.values, Beside: beside, Target: g.text(unit), Remark: remark}
	switch {
	case ours.err != nil:
		x.Verdict = "failed: " + oneLine(ours.err.Error())
	case ref.err != nil && !g.value:
		x.Verdict = "failed: reference: " + oneLine(ref.err.Error())
	default:
		x.Ratio = pairedRatio(ours.values, ref.values)
		if g.value {
			x.Verdict = g.verdict(median(ours.values))
		} else {
			x.Verdict = g.verdict(x.Ratio)
		}
	}
	if math.IsNaN(x.Ratio) {
		x.Ratio = 0
	}
	r.add(x)
}

// judge adds a row that has no reference.
func (r *report) judge(row, unit string, ours series, g goal, remark string) {
	r.compare(row, unit, ours, "", series{}, g, remark)
}

// showBeside adds a row beside a reference that nothing is demanded of.
func (r *report) showBeside(row, unit string, ours series, beside string, ref series) {
	r.compare(row, unit, ours, beside, ref, leastRatio(0), "")
	x := &r.Results[len(r.Results)-1]
	x.Target = ""
	if x.Verdict == "met" {
		x.Verdict = "–"
	}
}

// show adds a row that has no target.
func (r *report) show(row, unit string, ours series, remark string) {
	x := Result{Row: row, Unit: unit, Ours: ours.values, Verdict: "–", Remark: remark}
	if ours.err != nil {
		x.Verdict = "failed: " + oneLine(ours.err.Error())
	}
	r.add(x)
}

// pairedRatio is the median of the ratios within each round: a machine that
// drifts between rounds does not move it.
func pairedRatio(a, b []float64) float64 {
	var all []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			all = append(all, a[i]/b[i])
		}
	}
	return median(all)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v) / 2; len(v)%2 == 0 {
		return (v[n-1] + v[n]) / 2
	} else {
		return v[n]
	}
}

// percentile is the value below which the share p (0 to 1) of v lies.
func percentile[T cmp.Ordered](v []T, p float64) T {
	v = slices.Sorted(slices.Values(v))
	return v[min(int(float64(len(v))*p), len(v)-1)]
}

// number prints three or more significant digits, thousands separated.
func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "–"
	case math.Abs(x) < 1:
		return strconv.FormatFloat(x, 'g', 3, 64)
	case math.Abs(x) < 100:
		return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64)
	}
	s := strconv.FormatInt(int64(math.Round(x)), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (x Result) cells() []string {
	ours, ref, ratio := "–", "–", "–"
	if len(x.Ours) > 0 {
		ours = number(median(x.Ours)) + " " + x.Unit
	}
	if len(x.Reference) > 0 {
		ref = x.Beside + " " + number(median(x.Reference))
	}
	if x.Ratio != 0 {
		ratio = strconv.FormatFloat(x.Ratio, 'f', 2, 64)
	}
	target := cmp.Or(x.Target, "–")
	return []string{x.Row, ours, ref, ratio, target, x.Verdict, x.Remark}
}

func (r *report) table() [][]string {
	rows := [][]string{{"row", "ours", "reference", "ratio", "target", "verdict", "remark"}}
	for _, x := range r.Results {
		rows = append(rows, x.cells())
	}
	return rows
}

func (r *report) notes() []string {
	notes := []string{
		fmt.Sprintf("%d rounds in %.0f s; daemon and references take turns within each round; figures are medians of the rounds, ratios medians of the rounds' ratios.", r.Rounds, r.Seconds),
		"Small operations: one stock net/http client with as many idle connections as workers, the same for every server; it shares the cores with the server. Every status and length is checked.",
		"Large transfers: a bare TCP connection with a prepared header and one buffer of 1 MiB, the same for every server. MB and GB are powers of ten, sizes in KiB and GiB of two.",
		"The daemon is durable (content and record synced before the answer), nginx is not. Both log each request to a file.",
	}
	if r.Quick {
		notes = append([]string{"QUICK RUN: small sizes, short measurements. A smoke test, not a result."}, notes...)
	}
	return notes
}

// widest is the longest cell that others are aligned to: the story of a
// failure is longer.
const widest = 60

func (r *report) writeText(w io.Writer) {
	for _, f := range r.Machine {
		fmt.Fprintf(w, "%-12s %s\n", f.Name+":", f.Value)
	}
	fmt.Fprintln(w)
	rows := r.table()
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			if n := utf8.RuneCountInString(cell); n <= widest {
				width[i] = max(width[i], n)
			}
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", max(0, width[i]-utf8.RuneCountInString(cell)))
			if i >= 1 && i <= 3 {
				cell = pad + cell
			} else {
				cell += pad
			}
			line.WriteString(cell + "  ")
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
	fmt.Fprintln(w)
	for _, n := range r.notes() {
		fmt.Fprintln(w, n)
	}
}

func (r *report) writeMarkdown(w io.Writer) {
	for _, f := range r.Machine {
		fmt.Fprintf(w, "- %s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintln(w)
	for i, row := range r.table() {
		for j, cell := range row {
			row[j] = strings.ReplaceAll(cell, "|", `\|`)
		}
		fmt.Fprintln(w, "| "+strings.Join(row, " | ")+" |")
		if i == 0 {
			fmt.Fprintln(w, "| --- | ---: | ---: | ---: | --- | --- | --- |")
		}
	}
	fmt.Fprintln(w)
	for _, n := range r.notes() {
		fmt.Fprintln(w, "- "+n)
	}
}

// oneLine keeps a cell a cell.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > 200 {
		s = string([]rune(s)[:200]) + "…"
	}
	return s
}
