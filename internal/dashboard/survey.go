package dashboard

import (
	"bytes"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// bins is how many bars a histogram has; every horizon is whole seconds of them.
	bins = 60
	// horizons is how many there are.
	horizons = 5
	// needsShown is how many of those who need a person a Survey names.
	needsShown = 8
)

// Horizons are how far the histograms of a Survey look ahead, the shortest first.
func Horizons() [horizons]time.Duration {
	return [...]time.Duration{time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
}

// Tally counts credentials.
type Tally struct {
	Total   int
	States  [7]int // by their place in the list of states; 0: headers that cannot be read
	Paused  int
	Expired int // to be refreshed, and the token has ended
}

// In returns how many are in a state.
func (t Tally) In(s refresh.State) int { return t.States[stateNumber(s)] }

// Survey is what can be said about all rows at once.
type Survey struct {
	Tally
	Providers map[string]*Tally
	Needs     []Row // the first of those in which only a person can help
	Ahead     [horizons][bins]int
	Overdue   int // their time has come, and they still have the old token
}

// Survey runs through all rows once.
func (x *Index) Survey(now time.Time) Survey {
	s := Survey{Providers: make(map[string]*Tally)}
	var head []byte // of the keys of the provider that we are in
	var t *Tally
	at := seconds(now)
	for _, l := range x.leaves {
		for n, p := range l.rows {
			key := l.key(n)
			if t == nil || !bytes.HasPrefix(key, head) {
				head = key[:bytes.IndexByte(key, '.')+1]
				t = new(Tally)
				s.Providers[string(bytes.TrimSuffix(head, []byte(".")))] = t
			}
			t.add(p, at)
			if s.plan(p, at); p.flags&stateMask == numberReauth && len(s.Needs) < needsShown {
				s.Needs = append(s.Needs, p.row(key))
			}
		}
	}
	for _, t := range s.Providers {
		s.merge(*t)
	}
	return s
}

// live reports whether it is refreshed by itself.
func (p packed) live() bool {
	n := p.flags & stateMask
	return p.flags&flagPaused == 0 && n != 0 && n < numberReauth
}

func (t *Tally) add(p packed, now uint32) {
	t.Total++
	t.States[p.flags&stateMask]++
	if p.flags&flagPaused != 0 {
		t.Paused++
	}
	if p.live() && p.expires != 0 && p.expires <= now {
		t.Expired++
	}
}

func (t *Tally) merge(o Tally) {
	t.Total += o.Total
	t.Paused += o.Paused
	t.Expired += o.Expired
	for i, n := range o.States {
		t.States[i] += n
	}
}

// plan puts a row into the histograms.
func (s *Survey) plan(p packed, now uint32) {
	if !p.live() || p.refresh == 0 {
		return
	}
	if p.refresh < now {
		s.Overdue++
		return
	}
	for i, h := range Horizons() {
		if bin := int64(p.refresh-now) * bins / int64(h/time.Second); bin < bins {
			s.Ahead[i][bin]++
		}
	}
}

// Horizon returns the shortest histogram that shows nearly all of what the longest shows: tokens that live half a minute
// and such that live a day want different ones.
func (s Survey) Horizon() (ahead time.Duration, bars [bins]int) {
	all := sum(s.Ahead[len(s.Ahead)-1])
	for i, h := range Horizons() {
		if sum(s.Ahead[i])*50 >= all*49 {
			return h, s.Ahead[i]
		}
	}
	return Horizons()[len(s.Ahead)-1], s.Ahead[len(s.Ahead)-1]
}

func sum(bars [bins]int) (n int) {
	for _, b := range bars {
		n += b
	}
	return n
}
