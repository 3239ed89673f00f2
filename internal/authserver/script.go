package authserver

import (
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"
)

// script is a list of faults at work. mu guards the runs.
type script struct {
	seed  uint64
	start time.Time
	mu    sync.Mutex
	runs  []faultRun
}

// faultRun is one fault and what became of it so far.
type faultRun struct {
	Fault
	at      endpoint
	matched int // requests let through up to Nth
	done    int // times carried out
}

// plan is what a script has in store for one request.
type plan struct {
	before, after         *Fault
	waitBefore, waitAfter time.Duration
	faults                []*Fault // all of them, delays included
}

// SetFaults replaces the script of faults; none means that all is well again.
// The times of the faults count from now. All faults that are not valid are
// reported, and then nothing changes.
//
// For one request the delays add up; of the other faults the first that matches
// happens, those before the effect first. A fault does not see the requests that
// an earlier one in the list has ended.
func (s *Server) SetFaults(faults []Fault) error {
	sc := &script{seed: s.mint.familyID("faults", 0), start: time.Now()}
	var errs []error
	for i, f := range faults {
		if err := f.validate(); err != nil {
			errs = append(errs, fmt.Errorf("fault %d: %w", i+1, err))
		}
		at, _ := f.endpoint()
		sc.runs = append(sc.runs, faultRun{Fault: f, at: at})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(faults) == 0 {
		sc = nil
	}
	s.script.Store(sc)
	return nil
}

// request is one request as a script sees it: the n-th of its kind about its
// account.
type request struct {
	subject
	n   int64
	now time.Time
}

// plan decides what happens to a request.
func (sc *script) plan(req request) plan {
	var p plan
	if sc == nil {
		return p
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	p.before, p.waitBefore = sc.stage(&p, false, req)
	if p.before == nil {
		p.after, p.waitAfter = sc.stage(&p, true, req)
	}
	return p
}

// stage is plan for the faults on one side of the effect.
func (sc *script) stage(p *plan, after bool, req request) (*Fault, time.Duration) {
	var delay time.Duration
	for i := range sc.runs {
		run := &sc.runs[i]
		if run.After != after || !run.meets(req, sc.start) || !sc.happens(i, req) {
			continue
		}
		p.faults = append(p.faults, &run.Fault)
		if run.Kind != FaultDelay {
			return &run.Fault, delay
		}
		delay += run.Delay
	}
	return nil, delay
}

// meets tells whether the fault is about such requests at all.
func (r *faultRun) meets(req request, start time.Time) bool {
	since := req.now.Sub(start)
	return r.at == req.at &&
		(r.Grant == "" || r.Grant == req.grant) &&
		(r.Account == "" || req.account != nil && r.Account == req.account.name) &&
		(r.Client == "" || r.Client == req.client) &&
		since >= r.From && (r.Until == 0 || since < r.Until)
}

// happens draws whether the i-th fault happens to a request it meets.
func (sc *script) happens(i int, req request) bool {
	r := &sc.runs[i]
	r.matched++
	switch {
	case r.Nth > 0 && r.matched != r.Nth:
		return false
	case r.Count > 0 && r.done >= r.Count:
		return false
	case r.Probability > 0 && sc.draw(i, req) >= r.Probability:
		return false
	}
	r.done++
	return true
}

// draw returns a number from 0 to below 1 that depends on nothing but its
// arguments and the seed.
func (sc *script) draw(i int, req request) float64 {
	h := fnv.New64a()
	name := ""
	if req.account != nil {
		name = req.account.name
	}
	fmt.Fprintf(h, "%d/%d/%d/%d/%s", sc.seed, i, req.at, req.n, name)
	x := h.Sum64()
	// FNV's high bits mix badly on short input; this is the finish of SplitMix64.
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}
