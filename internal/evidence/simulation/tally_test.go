package simulation_test

import (
	"fmt"
	"strings"
	"sync"
)

// tally adds up what many worlds went through. It may be used by any number of goroutines.
type tally struct {
	mu                                                    sync.Mutex
	seeds, steps, versions, lost, skipped, deaths, stands int
	faults                                                int
	requests, rotations, reused, replayed, concurrent     int64
	lastTries, damaged                                    int64
}

// add takes a world that has come to its end.
func (t *tally) add(w *world, steps int) {
	l := w.auth.Ledger()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seeds++
	t.steps += steps
	t.versions += len(w.judge.committed)
	t.lost += w.judge.lost
	t.skipped += w.judge.skipped
	for _, line := range w.judge.story {
		switch {
		case strings.Contains(line, "    dies, back after"):
			t.deaths++
		case strings.Contains(line, "    freezes at"):
			t.stands++
		case strings.Contains(line, string(lost)), strings.Contains(line, string(deaf)):
			t.faults++
		}
	}
	t.requests += l.Requests["token"]
	t.rotations += l.Rotations
	t.reused += l.Reused
	t.replayed += l.Replayed
	t.concurrent += l.Concurrent
	t.lastTries += l.LastTries
	t.damaged += l.Damaged + l.Abandoned
}

// String is the tally in a few lines.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf(`%d seeds, %d steps, %d versions; %d deaths, %d freezes, %d calls that failed, %d answers that did not arrive
             authorization server: %d token requests, %d rotations, %d reused, %d replayed, %d concurrent, %d last tries
             %d grants ended, each with its reason; %d versions that only their successors announced`,
		t.seeds, t.steps, t.versions, t.deaths, t.stands, t.faults, t.damaged,
		t.requests, t.rotations, t.reused, t.replayed, t.concurrent, t.lastTries, t.lost, t.skipped)
}
