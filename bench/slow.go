package main

import (
	"context"
	"errors"
	"time"

	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/bench/host"
)

// slowProvider is one worker before a provider that takes its time, with many requests in flight.
func slowProvider(ctx context.Context, b *bench) error {
	atOnce := 1024
	if b.quick {
		atOnce = 64
	}
	b.Title("One worker, a provider that takes %v, %d in flight", slowBy, atOnce)
	e, err := b.arena.enter(ctx, freshet(fresh.Variant{Name: rowFreshet}), slow, atOnce, b.size(40*atOnce))
	if err != nil {
		return err
	}
	best := float64(atOnce) / slowBy.Seconds()
	var share, memory []float64
	for run := range b.runs + 1 { // the first is to warm up
		r, err := b.arena.drain(ctx, e)
		if err != nil {
			return errors.Join(err, e.Close())
		}
		if run > 0 {
			share = append(share, r.rate()/best)
		}
		memory = append(memory, megabytes(host.PeakRSS(e.Self()[0])))
	}
	b.Say(figures.Figure{Experiment: "slow", Name: "refreshes/s ÷ requests in flight over latency", Runs: share, Target: figures.AtLeast(0.9)})
	b.Say(figures.Figure{Experiment: "slow", Name: "peak memory of the worker", Unit: "MB", Runs: memory[len(memory)-1:], Target: figures.AtMost(150)})
	return e.Close()
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// milliseconds of a duration.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
