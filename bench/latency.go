package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/freshetdev/freshet/bench/contest/asynqjobs"
	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/contest/riverjobs"
	"github.com/freshetdev/freshet/bench/figures"
)

// perSecond is how many jobs are published each second, whatever becomes of those before.
const perSecond = 200

func (b *bench) latencyRows() []competitor {
	const n = 2000
	embedded := "freshet embedded"
	return []competitor{
		{rowFreshet, strict, n, freshet(fresh.Variant{Name: rowFreshet})},
		{embedded, strict, n, freshet(fresh.Variant{Name: embedded, Embedded: true})},
		{rowRedis, strict, n, startRedisLock},
		{rowAsynq, strict, n, asynq(asynqjobs.Variant{Name: rowAsynq})},
		{"asynq, looks every 5 ms", strict, n, asynq(asynqjobs.Variant{Name: "asynq, looks every 5 ms", CheckInterval: checkOften})},
		{rowRiver, strict, n, river(riverjobs.Variant{Name: rowRiver, FetchCooldown: fetchOften})},
		{rowRiverAsIs, strict, n, river(riverjobs.Variant{Name: rowRiverAsIs})},
	}
}

// latency measures how long after its publication a job's result is known in another process.
func latency(ctx context.Context, b *bench) error {
	b.Title("From a job's publication to the event in another process, %d/s open loop, ms", perSecond)
	var rows []competitor
	for _, c := range b.latencyRows() {
		if b.wanted(c.name) {
			rows = append(rows, c)
		}
	}
	entrants, closeAll, err := b.enterAll(ctx, rows, 64)
	if err != nil {
		return errors.Join(err, closeAll())
	}
	delays := make([][2][]float64, len(rows)) // p50 and p99 of each run
	for run := range b.runs + 1 {             // the first is to warm up
		for i, e := range entrants {
			d, err := openLoop(ctx, e)
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", rows[i].name, err), closeAll())
			}
			if run == 0 {
				continue
			}
			delays[i][0] = append(delays[i][0], figures.Quantile(d, 0.5))
			delays[i][1] = append(delays[i][1], figures.Quantile(d, 0.99))
		}
	}
	for i, e := range entrants {
		p50 := figures.Figure{Experiment: "latency", Name: e.Info().Name + ": p50", Unit: "ms", Runs: delays[i][0]}
		p99 := figures.Figure{Experiment: "latency", Name: e.Info().Name + ": p99", Unit: "ms", Runs: delays[i][1]}
		if e.Info().Name == rowFreshet {
			p50.Target, p99.Target = figures.AtMost(3), figures.AtMost(15)
		}
		b.Say(p50)
		b.Say(p99)
	}
	return closeAll()
}

// stopwatch times the way of each account from its publication to the first that is heard of it.
type stopwatch struct {
	mu     sync.Mutex
	begun  map[string]time.Time
	delays []float64 // ms
}

func (s *stopwatch) start(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun[account] = time.Now()
}

func (s *stopwatch) stop(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.begun[account]; ok {
		s.delays = append(s.delays, float64(time.Since(at).Microseconds())/1e3)
		delete(s.begun, account)
	}
}

// openLoop publishes a job for each account, so many a second, and returns the delays in ms.
func openLoop(ctx context.Context, e *entrant) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	watch := &stopwatch{begun: make(map[string]time.Time)}
	stop := watch.stop
	e.ears.each.Store(&stop)
	defer e.ears.each.Store(nil)
	e.ears.expect(e.stored)
	if err := e.Go(ctx); err != nil {
		return nil, err
	}
	errs := make([]error, e.stored)
	var publishing sync.WaitGroup
	began := time.Now()
	for i := range e.stored {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / perSecond)))
		account := e.account(i)
		publishing.Go(func() {
			watch.start(account)
			errs[i] = e.Publish(ctx, account)
		})
	}
	publishing.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if _, err := e.ears.wait(ctx); err != nil {
		return nil, err
	}
	watch.mu.Lock()
	defer watch.mu.Unlock()
	return watch.delays, e.Halt(ctx)
}
