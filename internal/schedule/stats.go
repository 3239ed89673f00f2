package schedule

import "github.com/freshetdev/freshet/pkg/refresh"

// Stats is a scheduler in numbers.
type Stats struct {
	Live      bool // all records have been read, and changes follow
	Providers map[string]ProviderStats
}

// ProviderStats is one provider in numbers.
type ProviderStats struct {
	Known  bool                  // somebody has applied it
	States map[refresh.State]int // credentials by state; "": without readable headers, or of a newer version's state
	Due    int                   // jobs that wait for room in the lane; some may have been overtaken by a change
}

// Stats counts. It takes as long as there are providers, whatever the number of credentials. Before Run it is empty.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil {
		return Stats{}
	}
	st := Stats{Live: s.live && s.read, Providers: make(map[string]ProviderStats, len(s.lanes))}
	for name, l := range s.lanes {
		st.Providers[name] = ProviderStats{Known: l.known, Due: len(l.queue), States: s.index.States(name)}
	}
	return st
}

// tally counts the entries of each provider by state. An odd state counts as none.
type tally map[string]*[7]int

func (t tally) add(provider []byte, state, n int) {
	c := t[string(provider)]
	if c == nil {
		c = new([7]int)
		t[string(provider)] = c
	}
	c[state] += n
}

// States returns how many entries of a provider there are in each state.
func (x *Index) States(provider string) map[refresh.State]int {
	counts := make(map[refresh.State]int)
	c := x.tally[provider]
	if c == nil {
		return counts
	}
	for i, state := range states() {
		if c[i] != 0 {
			counts[state] = c[i]
		}
	}
	return counts
}
