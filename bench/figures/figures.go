// Package figures holds what was measured: numbers with their spread, targets and verdicts, as tables for people and as JSON
// for programs, and plots as SVG.
//
// Concurrency: a Report belongs to one goroutine.
package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Figure is one number, measured once or several times.
type Figure struct {
	Experiment string    `json:"experiment"`
	Name       string    `json:"name"`
	Unit       string    `json:"unit"`
	Runs       []float64 `json:"runs"`
	Median     float64   `json:"median"`
	Low        float64   `json:"low"`
	High       float64   `json:"high"`
	Target     *Target   `json:"target,omitempty"`
	Pass       *bool     `json:"pass,omitempty"` // nil: there is no target, or the run was too small to judge
	Note       string    `json:"note,omitempty"`
}

// Target is what the median must reach.
type Target struct {
	Least *float64 `json:"least,omitempty"`
	Most  *float64 `json:"most,omitempty"`
}

// AtLeast and AtMost make targets.
func AtLeast(v float64) *Target { return &Target{Least: &v} }

// AtMost is met by v and what is below.
func AtMost(v float64) *Target { return &Target{Most: &v} }

func (t *Target) met(v float64) bool {
	return (t.Least == nil || v >= *t.Least) && (t.Most == nil || v <= *t.Most)
}

// String is the target as people write it.
func (t *Target) String() string {
	switch {
	case t == nil:
		return ""
	case t.Least != nil:
		return "≥ " + Number(*t.Least)
	default:
		return "≤ " + Number(*t.Most)
	}
}

// Report collects figures. Out gets each when it is there.
type Report struct {
	Out     io.Writer
	Quick   bool // figures of tiny runs are shown, and judged by nobody
	Machine Machine
	Figures []Figure
	Series  []Series
}

// Machine says where and with what the figures were made.
type Machine struct {
	When     time.Time         `json:"when"`
	Go       string            `json:"go"`
	OS       string            `json:"os"`
	CPU      string            `json:"cpu"`
	CPUs     int               `json:"cpus"`
	Commit   string            `json:"commit"`
	Versions map[string]string `json:"versions"`
}

// Add takes a figure: its experiment, name, unit and runs, and what else it has.
func (r *Report) Add(f Figure) Figure {
	f.Median, f.Low, f.High = Median(f.Runs), slices.Min(f.Runs), slices.Max(f.Runs)
	if f.Target != nil && !r.Quick {
		pass := f.Target.met(f.Median)
		f.Pass = &pass
	}
	r.Figures = append(r.Figures, f)
	return f
}

// Say adds a figure and prints it on a line.
func (r *Report) Say(f Figure) Figure {
	f = r.Add(f)
	spread := ""
	if len(f.Runs) > 1 {
		spread = fmt.Sprintf(" (%s–%s)", Number(f.Low), Number(f.High))
	}
	fmt.Fprintf(r.Out, "%-46s %9s %-9s%-14s %-12s %-5s %s\n", f.Name, Number(f.Median), f.Unit, spread, f.Target, f.verdict(), f.Note)
	return f
}

func (f Figure) verdict() string {
	switch {
	case f.Pass == nil:
		return ""
	case *f.Pass:
		return "pass"
	default:
		return "FAIL"
	}
}

// Title begins an experiment.
func (r *Report) Title(format string, args ...any) {
	fmt.Fprintf(r.Out, "\n## "+format+"\n\n", args...)
}

// Failed counts the targets that were missed.
func (r *Report) Failed() (n int) {
	for _, f := range r.Figures {
		if f.Pass != nil && !*f.Pass {
			n++
		}
	}
	return n
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Quick   bool     `json:"quick"`
		Machine Machine  `json:"machine"`
		Figures []Figure `json:"figures"`
		Series  []Series `json:"series,omitempty"`
	}{r.Quick, r.Machine, r.Figures, r.Series})
}

// Median of some numbers; NaN of none.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Quantile returns the q-th quantile of some numbers, 0 < q <= 1: the least that is not below a share of q. NaN of none.
func Quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return s[max(0, int(math.Ceil(q*float64(len(s))))-1)]
}

// Number prints a number with three digits that matter.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case v == math.Trunc(v) && a < 1e6:
		return fmt.Sprintf("%.0f", v)
	case a >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// Table prints rows as a Markdown table; the first row is the head.
func Table(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		fmt.Fprintln(w, "|")
	}
	line(rows[0])
	for _, n := range widths {
		fmt.Fprintf(w, "|%s", strings.Repeat("-", n+2))
	}
	fmt.Fprintln(w, "|")
	for _, row := range rows[1:] {
		line(row)
	}
}
