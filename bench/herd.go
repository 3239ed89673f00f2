package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/pkg/provider"
)

// herdStage is a lane that comes out of an outage with everything overdue, and beside it one in which a few tokens become due
// each second, as on any day.
type herdStage struct {
	*bench
	*entrant
	fresh  *fresh.Fresh
	calm   provider.Definition
	n      int           // of the herd
	spread time.Duration // of their deadlines
	perSec int           // of the calm lane
	calmN  int
	issued int
}

// herd measures whether a lane with everything overdue is drained in the order of the deadlines, and what another lane
// feels of it.
func herd(ctx context.Context, b *bench) error {
	s := &herdStage{bench: b, n: b.size(100_000), spread: time.Minute, perSec: 20, calmN: 400}
	if b.quick {
		s.spread, s.calmN = 2*time.Second, 20
	}
	b.Title("A herd: %d tokens whose ends lie within %v, all overdue, and %d/s of another lane", s.n, s.spread, s.perSec)
	var err error
	if s.entrant, err = b.arena.enter(ctx, freshet(fresh.Variant{Name: rowFreshet}), strict, 64, 1); err != nil {
		return err
	}
	s.fresh = s.Contestant.(*fresh.Fresh)
	s.calm = s.fresh.Definition
	s.calm.Name = "calm"
	err = s.fresh.Apply(ctx, s.calm)
	if err == nil {
		err = errors.Join(s.alone(ctx), s.together(ctx))
	}
	return errors.Join(err, s.Close())
}

// grants makes grants with other ends: those of the calm lane become due one after the other, those of the herd at once.
func (s *herdStage) grants(ctx context.Context, prefix string, n int, end func(i int) time.Time) ([]authd.Grant, error) {
	s.issued++
	grants, err := s.arena.auth.Issue(ctx, strict, fmt.Sprintf("%s-%s-%d", s.prefix, prefix, s.issued), 0, n)
	for i := range grants {
		grants[i].ExpiresAt = end(i)
	}
	return grants, err
}

// enrolCalm stores the calm lane's tokens, due from soon on, so many a second. A token that has so long to live is
// renewed after a bit less than half of it.
func (s *herdStage) enrolCalm(ctx context.Context, soon time.Duration) (due map[string]time.Time, err error) {
	begin := time.Now().Add(2 * soon)
	grants, err := s.grants(ctx, "calm", s.calmN, func(i int) time.Time {
		return begin.Add(2 * time.Duration(i) * time.Second / time.Duration(s.perSec))
	})
	if err != nil {
		return nil, err
	}
	return s.fresh.Enrol(ctx, s.calm, grants)
}

// heardAt notes when each account's renewal was heard, in order.
type heardAt struct {
	mu    sync.Mutex
	order []string
	at    map[string]time.Time
	more  chan struct{}
}

func (h *heardAt) hear(account string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.at[account]; ok {
		return // a second renewal
	}
	h.order, h.at[account] = append(h.order, account), time.Now()
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// all waits until each of these was heard.
func (h *heardAt) all(ctx context.Context, accounts map[string]time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	for {
		h.mu.Lock()
		missing := 0
		for a := range accounts {
			if h.at[a].IsZero() {
				missing++
			}
		}
		h.mu.Unlock()
		if missing == 0 {
			return nil
		}
		select {
		case <-h.more:
			select { // looking costs time: not more often than this
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return fmt.Errorf("%d renewals were not heard: %w", missing, ctx.Err())
		}
	}
}

// lags are how long after they were due the renewals were heard, in ms.
func (h *heardAt) lags(due map[string]time.Time) []float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lags []float64
	for a, at := range due {
		lags = append(lags, milliseconds(h.at[a].Sub(at)))
	}
	return lags
}

// run lets a scheduler and the worker work until everybody was renewed.
func (s *herdStage) run(ctx context.Context, accounts ...map[string]time.Time) (h *heardAt, took time.Duration, err error) {
	h = &heardAt{at: make(map[string]time.Time), more: make(chan struct{}, 1)}
	hear := h.hear
	s.ears.each.Store(&hear)
	defer s.ears.each.Store(nil)
	if err := s.fresh.Go(ctx); err != nil {
		return h, 0, err
	}
	_, p, err := timeScheduler(ctx, s.fresh)
	began := time.Now()
	for _, a := range accounts {
		err = errors.Join(err, h.all(ctx, a))
		if took == 0 {
			took = time.Since(began)
		}
	}
	return h, took, errors.Join(err, s.endScheduler(p))
}

func (s *herdStage) endScheduler(p *host.Process) error {
	if p == nil {
		return nil
	}
	return p.Kill()
}

// alone measures the calm lane by itself.
func (s *herdStage) alone(ctx context.Context) error {
	calm, err := s.enrolCalm(ctx, 2*time.Second)
	if err != nil {
		return err
	}
	h, _, err := s.run(ctx, calm)
	if err != nil {
		return err
	}
	s.sayCalm("the other lane alone", h.lags(calm), nil)
	return nil
}

func (s *herdStage) sayCalm(name string, lags []float64, target *figures.Target) {
	s.Say(figures.Figure{Experiment: "herd", Name: name + ": due to renewed, p50", Unit: "ms", Runs: []float64{figures.Quantile(lags, 0.5)}})
	s.Say(figures.Figure{Experiment: "herd", Name: name + ": due to renewed, p99", Unit: "ms", Runs: []float64{figures.Quantile(lags, 0.99)}, Target: target})
}

// together measures both.
func (s *herdStage) together(ctx context.Context) error {
	ends := make(map[string]time.Time, s.n)
	first := time.Now().Add(4 * time.Second)
	grants, err := s.grants(ctx, "herd", s.n, func(int) time.Time { return first.Add(rand.N(s.spread)) })
	if err != nil {
		return err
	}
	for _, g := range grants {
		ends[g.Account] = g.ExpiresAt
	}
	if err := s.fresh.Halt(ctx); err != nil {
		return err
	}
	if _, err := s.fresh.Enrol(ctx, s.fresh.Definition, grants); err != nil {
		return err
	}
	select { // until all have ended
	case <-time.After(time.Until(first.Add(s.spread))):
	case <-ctx.Done():
		return ctx.Err()
	}
	calm, err := s.enrolCalm(ctx, 2*time.Second)
	if err != nil {
		return err
	}
	h, took, err := s.run(ctx, ends, calm)
	if err != nil {
		return err
	}
	s.Say(figures.Figure{Experiment: "herd", Name: "the herd is drained at", Unit: "/s", Runs: []float64{float64(s.n) / took.Seconds()}})
	s.Say(figures.Figure{
		Experiment: "herd", Name: "behind a later deadline, p99", Unit: "s", Runs: []float64{figures.Quantile(outOfOrder(h.order, ends), 0.99)},
		Target: figures.AtMost(s.spread.Seconds() / 20), Note: fmt.Sprintf("of deadlines spread over %v", s.spread),
	})
	// A second of it is the scheduler's tick.
	s.sayCalm("the other lane beside the herd", h.lags(calm), figures.AtMost(2000))
	return nil
}

// outOfOrder returns, for each account in the order heard, by how many seconds the latest deadline heard before is later
// than its own.
func outOfOrder(order []string, ends map[string]time.Time) (behind []float64) {
	var latest time.Time
	for _, a := range order {
		end, ok := ends[a]
		if !ok {
			continue // the calm lane's
		}
		behind = append(behind, max(0, latest.Sub(end).Seconds()))
		if end.After(latest) {
			latest = end
		}
	}
	return behind
}
