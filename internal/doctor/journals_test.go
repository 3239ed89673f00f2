package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/doctor"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/probe"
)

func TestJournalsAreSeenFromOutside(t *testing.T) {
	t.Parallel()
	pending := func(j *journal.Journal) error {
		return j.Append(journal.Entry{ID: "a", Key: "acme.alice", Data: []byte(canary)})
	}
	for name, c := range map[string]struct {
		kind string
		fill func(*journal.Journal) error
		held bool
		late time.Duration // how much later it is looked at
		want string
	}{
		"empty":                       {"journal", nil, false, 0, "ok: 0 outcomes wait; nobody uses it"},
		"at work":                     {"journal", pending, true, 0, "ok: 1 outcomes wait; process "},
		"an outcome without a worker": {"journal", pending, false, 0, "fail: 1 outcomes are not stored yet"},
		"an exchanger's":              {"replies", pending, false, 0, "fail: 1 outcomes are not stored yet"},
		"a worker that cannot commit": {"journal", pending, true, time.Hour, "warn: 1 outcomes are not stored yet, the oldest for 1h0m"},
		"set aside": {"journal", func(j *journal.Journal) error {
			if err := pending(j); err != nil {
				return err
			}
			return j.SetAside("a", "too late")
		}, true, 0, "warn: 1 replies are set aside"},
	} {
		dir := t.TempDir()
		j, err := journal.Open(filepath.Join(dir, c.kind), journal.Config{})
		if err == nil && c.fill != nil {
			err = c.fill(j)
		}
		if err == nil && !c.held {
			err = j.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		wantLine(t, name, look(t, dir, c.late), c.want)
		if c.held {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestADamagedJournalIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(filepath.Join(dir, "journal"), journal.Config{})
	if err == nil {
		err = j.Close()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "journal", "journal.log"), []byte("damage"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	wantLine(t, "damage", look(t, dir, 0), "warn: 1 stretches cannot be read")
}

// look returns the lines about a state directory.
func look(t *testing.T, dir string, late time.Duration) (lines []string) {
	t.Helper()
	doctor.Journals([]string{dir}, time.Now().Add(late), func(c probe.Check) {
		if strings.Contains(c.Found, canary) || (c.Result == probe.OK) != (c.Advice == "") {
			t.Errorf("a line shows %+v", c)
		}
		lines = append(lines, string(c.Result)+": "+c.Found)
	})
	return lines
}

func wantLine(t *testing.T, name string, lines []string, begins string) {
	t.Helper()
	for _, line := range lines {
		if strings.HasPrefix(line, begins) {
			return
		}
	}
	t.Errorf("%s: got\n%s\nwant a line %s…", name, strings.Join(lines, "\n"), begins)
}
