package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/probe"
)

// pendingAfter is how long an outcome may wait for its commit while its worker runs.
const pendingAfter = 2 * time.Minute

// Journals looks at the journals below the state directories of workers and exchangers, which may be at work. It needs no NATS.
func Journals(dirs []string, now time.Time, report Report) {
	for _, dir := range dirs {
		found := false
		for _, kind := range []string{"journal", "replies"} { // a worker's, an exchanger's
			path := filepath.Join(dir, kind)
			s, err := journal.Read(path, nil)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			found = true
			for _, c := range judge(s, err, now) {
				c.Name = "journal " + path
				report(c)
			}
		}
		if !found {
			report(probe.Check{Name: "journal " + dir, Result: probe.Fail, Found: "no worker or exchanger has worked here",
				Advice: "give the --state-dir of one"})
		}
	}
}

// judge says what is to be said of a journal.
func judge(s journal.Sight, err error, now time.Time) (lines []probe.Check) {
	if err != nil {
		return []probe.Check{{Result: probe.Fail, Found: oneLine(err), Advice: "run doctor as the user that the worker runs as"}}
	}
	age := now.Sub(s.Oldest)
	waiting := fmt.Sprintf("%d outcomes are not stored yet, the oldest for %v", s.Pending, age.Round(time.Second))
	switch {
	case s.Pending > 0 && s.Holder == "":
		lines = append(lines, probe.Check{Result: probe.Fail, Found: waiting + ", and nobody uses the journal",
			Advice: "start the worker or exchanger with this --state-dir: tokens may lie here alone"})
	case s.Pending > 0 && age > pendingAfter:
		lines = append(lines, probe.Check{Result: probe.Warn, Found: waiting, Advice: "look into the log of " + s.Holder + ": it cannot commit"})
	default:
		lines = append(lines, probe.Check{Result: probe.OK, Found: fmt.Sprintf("%d outcomes wait", s.Pending) + usedBy(s.Holder)})
	}
	if n := len(s.Aside); n > 0 {
		lines = append(lines, probe.Check{Result: probe.Warn, Found: fmt.Sprintf("%d replies are set aside, sealed", n),
			Advice: "they may be the only copies of their refresh tokens: compare them with their credentials (freshet show). After a restore, start the worker anew: it looks at them once more. Then remove aside.log while nobody uses the journal"})
	}
	if s.Unreadable > 0 {
		lines = append(lines, probe.Check{Result: probe.Warn, Found: fmt.Sprintf("%d stretches cannot be read", s.Unreadable),
			Advice: "check the disk; outcomes may be lost: freshet ls shows credentials that are uncertain"})
	}
	return lines
}

func usedBy(holder string) string {
	if holder == "" {
		return "; nobody uses it"
	}
	return "; " + holder + " uses it"
}
