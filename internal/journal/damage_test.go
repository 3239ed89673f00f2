package journal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/journal"
)

const logName = "journal.log"

// sample returns a log with two pending entries, a recent one between them and a retired one at the end.
func sample(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Config{})
	for _, id := range []string{"a", "b", "c", "d"} {
		must(t, j.Append(entry(id)))
		if id == "b" {
			must(t, j.Committed(id, 7))
		}
	}
	must(t, j.Retire("d"))
	mustClose(t, j)
	log, err := os.ReadFile(filepath.Join(dir, logName))
	must(t, err)
	if journal.Whole(log) != 6 {
		t.Fatalf("the sample has %d records", journal.Whole(log))
	}
	return log
}

// openDamaged opens a journal with this log, on a disk that saves the time of syncing.
func openDamaged(t *testing.T, log []byte, onError func(error)) (*journal.Journal, string) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, logName), log, 0o600))
	j, err := journal.OpenOn(newTestDisk(t, dir), dir, journal.Config{OnError: onError})
	must(t, err)
	return j, dir
}

// live returns the ids of all live entries.
func live(t *testing.T, j *journal.Journal) []string {
	t.Helper()
	all := slices.Sorted(slices.Values(ids(t, append(j.Pending(), slices.Collect(j.Recent())...))))
	return all
}

// checkRecovery opens a log that holds the wanted entries beside damage, and checks that damage is kept, told and gone
// from the log, that the journal works, and that the next start finds everything in order.
func checkRecovery(t *testing.T, log []byte, want []string) {
	t.Helper()
	var told []error
	j, dir := openDamaged(t, log, func(err error) { told = append(told, err) })
	if got := live(t, j); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	_, stretches := aside(t, j)
	for _, s := range stretches {
		if !bytes.Contains(log, s) {
			t.Fatalf("%q is not of the log", s)
		}
	}
	if len(told) != len(stretches) || j.Stats().Unreadable != len(stretches) {
		t.Fatalf("%d stretches, told of %v, counted %d", len(stretches), told, j.Stats().Unreadable)
	}
	must(t, j.Append(entry("new")))
	mustClose(t, j)
	checkOrder(t, dir, append(want, "new"), len(stretches))
}

func checkOrder(t *testing.T, dir string, want []string, stretches int) {
	t.Helper()
	j, err := journal.OpenOn(newTestDisk(t, dir), dir, journal.Config{OnError: func(err error) { t.Errorf("second start: %v", err) }})
	must(t, err)
	defer mustClose(t, j)
	if got := live(t, j); !slices.Equal(got, want) {
		t.Fatalf("second start: got %q, want %q", got, want)
	}
	if got := j.Stats().Unreadable; got != stretches {
		t.Fatalf("second start: %d stretches, want %d", got, stretches)
	}
}

func TestALogCutAnywhereKeepsItsWholeRecords(t *testing.T) {
	t.Parallel()
	log := sample(t)
	for size := range len(log) + 1 {
		cut := log[:size]
		checkRecovery(t, cut, [][]string{
			{}, {"a"}, {"a", "b"}, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d"}, {"a", "b", "c"},
		}[journal.Whole(cut)])
	}
}

func TestAFlippedBitCostsOneRecord(t *testing.T) {
	t.Parallel()
	log := sample(t)
	all := []string{"a", "b", "c"}
	starts := recordStarts(log)
	for at := range log {
		flipped := bytes.Clone(log)
		flipped[at] ^= 1 << (at % 8)
		var want []string
		switch record := sortedIndex(starts, at); record {
		case 0, 1, 3: // an entry: a, b, c
			lost := all[min(record, 2)]
			want = slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == lost })
		case 2, 4: // the mark on b, the entry d that is retired anyway
			want = all
		case 5: // the retirement of d
			want = []string{"a", "b", "c", "d"}
		}
		checkRecovery(t, flipped, want)
	}
}

// recordStarts returns where the records of an undamaged log begin.
func recordStarts(log []byte) []int {
	var starts []int
	for at := range log {
		if journal.Whole(log[:at]) == len(starts) && journal.Whole(log[at:]) == journal.Whole(log)-len(starts) &&
			bytes.HasPrefix(log[at:], log[:4]) {
			starts = append(starts, at)
		}
	}
	return starts
}

// sortedIndex returns which record a byte belongs to.
func sortedIndex(starts []int, at int) int {
	i, found := slices.BinarySearch(starts, at)
	if !found {
		i--
	}
	return i
}

func TestStrangeContents(t *testing.T) {
	t.Parallel()
	log := sample(t)
	future := bytes.Clone(log[:recordStarts(log)[1]])
	future = journal.AsVersion(future, 2)
	all := []string{"a", "b", "c"}
	for name, c := range map[string]struct {
		log       []byte
		want      []string
		stretches int
		reason    string
	}{
		"nothing":                        {nil, []string{}, 0, ""},
		"zeros at the end":               {append(bytes.Clone(log), make([]byte, 5000)...), all, 0, ""},
		"text at the end":                {append(bytes.Clone(log), "hello"...), all, 1, "cut short"},
		"text in front":                  {append([]byte("hello"), log...), all, 1, "malformed"},
		"everything twice":               {append(bytes.Clone(log), log...), all, 0, ""},
		"a record of a later version":    {append(bytes.Clone(future), log...), all, 1, "version 2"},
		"another file":                   {bytes.Repeat([]byte("0123456789"), 100), []string{}, 1, "cut short"},
		"more damage than one record":    {append(bytes.Repeat([]byte("x"), 3<<20), log...), all, 3, "malformed"},
		"magic, over and over":           {bytes.Repeat(log[:4], 1000), []string{}, 1, "cut short"},
		"a length beyond all bounds":     {append(append(bytes.Clone(log[:6]), "\xff\xff\xff\xff...."...), log...), all, 1, "malformed"},
		"a torn record with whole after": {append(bytes.Clone(log[:30]), log...), all, 1, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkRecovery(t, c.log, c.want)
			var told []string
			j, _ := openDamaged(t, c.log, func(err error) { told = append(told, err.Error()) })
			defer mustClose(t, j)
			if len(told) != c.stretches || !strings.Contains(fmt.Sprint(told), c.reason) {
				t.Errorf("told %q", told)
			}
		})
	}
}

func TestDamageInTheAsideFileStopsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Config{})
	for _, id := range []string{"a", "b", "c"} {
		must(t, j.Append(entry(id)))
		must(t, j.SetAside(id, "late"))
	}
	mustClose(t, j)
	name := filepath.Join(dir, "aside.log")
	file, err := os.ReadFile(name)
	must(t, err)
	starts := recordStarts(file)
	for at := starts[1]; at < starts[2]; at++ {
		file[at] ^= 1
		must(t, os.WriteFile(name, file, 0o600))
		file[at] ^= 1
		j, err := journal.OpenOn(newTestDisk(t, dir), dir, journal.Config{})
		must(t, err)
		if entries, stretches := aside(t, j); !slices.Equal(entries, []string{"a", "c"}) || len(stretches) != 1 {
			t.Fatalf("byte %d: got %q and %d stretches", at, entries, len(stretches))
		}
		wantIDs(t, "pending", j.Pending(), []string{}...)
		mustClose(t, j)
	}
}

// FuzzOpen feeds arbitrary files to Open: it must start, and what it returns must survive another start.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte("\xF5FJ\xC1\x01\x01\x00\x00\x00\x00...."), []byte("\xF5FJ\xC1"))
	f.Fuzz(func(t *testing.T, log, asideLog []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, logName), log, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "aside.log"), asideLog, 0o600))
		count := func() (int, int, int) {
			j, err := journal.OpenOn(newTestDisk(t, dir), dir, journal.Config{})
			must(t, err)
			defer mustClose(t, j)
			_, err = j.Aside()
			must(t, err)
			return len(j.Pending()), len(slices.Collect(j.Recent())), j.Stats().Unreadable
		}
		p, r, u := count()
		if p2, r2, u2 := count(); p != p2 || r != r2 || u != u2 {
			t.Errorf("first %d %d %d, then %d %d %d", p, r, u, p2, r2, u2)
		}
	})
}
