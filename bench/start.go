package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/bench/host"
)

// startUp measures the programs' sizes, and how long they take from their start until they are at work, beside an empty store.
func startUp(ctx context.Context, b *bench) error {
	b.Title("Sizes of the programs, and from their start to work")
	for name, path := range map[string]string{"worker": b.arena.programs.Worker, "scheduler": b.arena.programs.Scheduler} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		b.Say(figures.Figure{Experiment: "start", Name: name + ": size, stripped", Unit: "MB", Runs: []float64{megabytes(info.Size())}, Target: figures.AtMost(20)})
	}
	e, err := b.arena.enter(ctx, freshet(fresh.Variant{Name: rowFreshet}), strict, 64, 1)
	if err != nil {
		return err
	}
	f := e.Contestant.(*fresh.Fresh)
	var workers, schedulers []float64
	for range b.runs {
		if err := f.Kill(); err != nil {
			return errors.Join(err, e.Close())
		}
		began := time.Now()
		if err := f.Restart(ctx); err != nil {
			return errors.Join(err, e.Close())
		}
		workers = append(workers, milliseconds(time.Since(began)))
		took, p, err := timeScheduler(ctx, f)
		if err := errors.Join(err, p.Kill()); err != nil {
			return errors.Join(err, e.Close())
		}
		schedulers = append(schedulers, milliseconds(took))
	}
	b.Say(figures.Figure{Experiment: "start", Name: "worker: start to work", Unit: "ms", Runs: workers, Target: figures.AtMost(50)})
	b.Say(figures.Figure{Experiment: "start", Name: "scheduler: start to complete index", Unit: "ms", Runs: schedulers, Target: figures.AtMost(50)})
	return e.Close()
}

// timeScheduler starts a scheduler and waits until its index is complete.
func timeScheduler(ctx context.Context, f *fresh.Fresh) (time.Duration, *host.Process, error) {
	began := time.Now()
	p, err := f.Scheduler("scheduler-1")
	if err != nil {
		return 0, nil, err
	}
	err = p.Await(ctx, "index is complete")
	return time.Since(began), p, err
}
