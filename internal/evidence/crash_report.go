package evidence

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// printCrashes prints the matrix and the sums.
func printCrashes(r *report, results []crashResult) {
	words := make(map[crashCase]string, len(results))
	for _, res := range results {
		if words[res.crashCase] = res.saw().word(); res.err != nil {
			words[res.crashCase] = "FAILED"
		}
	}
	fmt.Fprintf(r.out, "\n%-11s %-9s", "class", "fault")
	for _, step := range refresh.Steps() {
		fmt.Fprintf(r.out, " %-9s", step)
	}
	fmt.Fprintln(r.out)
	for _, class := range authserver.Rotations() {
		for _, f := range faults() {
			printRow(r, words, crashCase{class: class, fault: f})
		}
	}
	fmt.Fprint(r.out, `
ok      one presentation, committed and told
again   a second presentation, which the class allows; nothing lost
doubt   uncertain and told; nothing was presented, nothing lost
late    uncertain and told; committed when its author came back
LOSS    uncertain and told; the answer went down with what was killed

`)
	printCrashSums(r, results)
}

// printRow leaves out a row that has no case.
func printRow(r *report, words map[crashCase]string, row crashCase) {
	var cells []string
	for _, step := range refresh.Steps() {
		row.step = step
		cells = append(cells, fmt.Sprintf("%-9s", words[row]))
	}
	if line := strings.Join(cells, " "); strings.TrimSpace(line) != "" {
		fmt.Fprintf(r.out, "%-11s %-9s %s\n", row.class, row.fault, strings.TrimRight(line, " "))
	}
}

func printCrashSums(r *report, results []crashResult) {
	var requests, rotations, reused, replayed, concurrent, lastTries int64
	var failed, lost, told, aside int
	var flagged []time.Duration
	for _, res := range results {
		l := res.verdict.Ledger
		requests, rotations, reused = requests+l.Requests["token"], rotations+l.Rotations, reused+l.Reused
		replayed, concurrent, lastTries = replayed+l.Replayed, concurrent+l.Concurrent, lastTries+l.LastTries
		lost, aside = lost+len(res.verdict.Lost), aside+res.aside
		if res.err != nil {
			failed++
		}
		if saw := res.saw(); saw.doubted {
			flagged = append(flagged, res.flagged)
			if saw.lost {
				told++
			}
		}
	}
	r.line("cases", "%d, %d not as designed", len(results), failed)
	r.line("authorization server", "%d token requests, %d rotations, %d reused as the class allows", requests, rotations, reused)
	r.line("", "%d replayed, %d concurrent, %d last tries, %d lost", replayed, concurrent, lastTries, lost)
	r.line("own count", "%d losses told, %d late replies kept sealed", told, aside)
	if len(flagged) > 0 {
		r.line("doubts", "%d, told after %s to %s", len(flagged),
			slices.Min(flagged).Round(100*time.Millisecond), slices.Max(flagged).Round(100*time.Millisecond))
	}
}
