package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/bench/host"
)

// growth measures how cost grows with credentials, lanes, workers, schedulers and replicas, and plots it.
func growth(ctx context.Context, b *bench) error {
	for _, series := range []func(context.Context, *bench) error{byCredentials, byLanes, byWorkers, bySchedulers, byReplicas} {
		if err := series(ctx, b); err != nil {
			return err
		}
	}
	return b.plot()
}

// point is one place on a series: the runs at x.
type point struct {
	x    int
	runs []float64
}

// series prints and keeps a series.
func (b *bench) series(plot, name, x, y string, points []point) {
	s := figures.Series{Plot: plot, Name: name, XName: x, YName: y}
	for _, p := range points {
		f := b.Say(figures.Figure{Experiment: "growth", Name: fmt.Sprintf("%s, %s %d", name, x, p.x), Unit: y, Runs: p.runs})
		s.X, s.Y = append(s.X, float64(p.x)), append(s.Y, f.Median)
		s.Low, s.High = append(s.Low, f.Low), append(s.High, f.High)
	}
	b.Series = append(b.Series, s)
}

// drains warms a contestant up and returns the rates of the rounds that count.
func (b *bench) drains(ctx context.Context, e *entrant) ([]float64, error) {
	var rounds []round
	for run := range b.runs + 1 {
		r, err := b.arena.drain(ctx, e)
		if err != nil {
			return nil, err
		}
		if run > 0 {
			rounds = append(rounds, r)
		}
	}
	return rates(rounds), nil
}

// dueOfMany is how many of the credentials stored are due in a round, at most.
const dueOfMany = 5000

// byCredentials stores ever more and renews a few thousand of them.
func byCredentials(ctx context.Context, b *bench) error {
	b.Title("Growth: credentials stored, of which at most %d are renewed", dueOfMany)
	e, err := b.arena.enter(ctx, freshet(fresh.Variant{Name: rowFreshet}), strict, 64, 1)
	if err != nil {
		return err
	}
	f := e.Contestant.(*fresh.Fresh)
	var rate, bytes, memory []point
	for _, n := range b.sizes([]int{1_000, 10_000, 100_000, 1_000_000}, []int{100}) {
		if err := b.arena.load(ctx, e, strict, n-e.stored); err != nil {
			return errors.Join(err, e.Close())
		}
		f.Most, e.most = dueOfMany, dueOfMany
		runs, err := b.drains(ctx, e)
		if err != nil {
			return errors.Join(err, e.Close())
		}
		records, stored, err := f.Stored(ctx)
		if err != nil {
			return errors.Join(err, e.Close())
		}
		rate = append(rate, point{n, runs})
		bytes = append(bytes, point{n, []float64{float64(stored) / float64(records)}})
		memory = append(memory, point{n, []float64{megabytes(host.RSS(f.Servers()[0]))}})
	}
	b.series("Refreshes per second by credentials stored", "one worker", "credentials", "/s", rate)
	b.series("Bytes stored per credential", "record with headers", "credentials", "bytes", bytes)
	b.series("Memory of nats-server by credentials stored", "nats-server", "credentials", "MB", memory)
	return e.Close()
}

// sizes scales what is long by --size.
func (b *bench) sizes(usual, quick []int) []int {
	if b.quick {
		return quick
	}
	var scaled []int
	for _, n := range usual {
		if n = int(float64(n) * min(1, b.factor)); n > 0 {
			scaled = append(scaled, n)
		}
	}
	return scaled
}

// byLanes spreads the same number of credentials over ever more providers.
func byLanes(ctx context.Context, b *bench) error {
	b.Title("Growth: providers (lanes)")
	var points []point
	for _, n := range b.pick([]int{1, 10, 100, 1000}, []int{10}) {
		runs, err := b.oneSeries(ctx, fresh.Variant{Name: rowFreshet, Lanes: n}, max(b.size(dueOfMany), n))
		if err != nil {
			return err
		}
		points = append(points, point{n, runs})
	}
	b.series("Refreshes per second by providers", "one worker", "providers", "/s", points)
	return nil
}

// oneSeries measures one variant.
func (b *bench) oneSeries(ctx context.Context, v fresh.Variant, n int) ([]float64, error) {
	e, err := b.arena.enter(ctx, freshet(v), strict, 64, n)
	if err != nil {
		return nil, err
	}
	runs, err := b.drains(ctx, e)
	return runs, errors.Join(err, e.Close())
}

// byWorkers lets ever more workers share a lane, before a provider that answers at once and before one that takes its time.
func byWorkers(ctx context.Context, b *bench) error {
	b.Title("Growth: workers")
	var points []point
	for _, n := range b.pick([]int{1, 2, 4, 8, 16}, []int{2}) {
		runs, err := b.oneSeries(ctx, fresh.Variant{Name: rowFreshet, Workers: n}, b.size(dueOfMany))
		if err != nil {
			return err
		}
		points = append(points, point{n, runs})
	}
	b.series("Refreshes per second by workers", "one lane of 64, one machine", "workers", "/s", points)
	return nil
}

// bySchedulers lets schedulers publish what is due, instead of the harness.
func bySchedulers(ctx context.Context, b *bench) error {
	b.Title("Growth: schedulers, of which each publishes everything that is due")
	var points []point
	for _, n := range b.pick([]int{1, 2, 3}, []int{2}) {
		var runs []float64
		for range b.runs {
			rate, err := b.scheduled(ctx, n, b.size(dueOfMany))
			if err != nil {
				return err
			}
			runs = append(runs, rate)
		}
		points = append(points, point{n, runs})
	}
	b.series("Refreshes per second by schedulers", "one worker", "schedulers", "/s", points)
	return nil
}

// scheduled starts so many schedulers beside credentials that are all overdue.
func (b *bench) scheduled(ctx context.Context, schedulers, n int) (rate float64, err error) {
	e, err := b.arena.enter(ctx, freshet(fresh.Variant{Name: rowFreshet}), strict, 64, 1)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	f := e.Contestant.(*fresh.Fresh)
	grants, err := b.arena.auth.Issue(ctx, strict, e.prefix+"-due", 0, n)
	for i := range grants {
		grants[i].ExpiresAt = time.Now()
	}
	if err != nil {
		return 0, err
	}
	if _, err := f.Enrol(ctx, f.Definition, grants); err != nil {
		return 0, err
	}
	e.ears.expect(n)
	if err := f.Go(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	for i := range schedulers {
		p, startErr := f.Scheduler(fmt.Sprintf("scheduler-%d", i+1))
		if startErr != nil {
			return 0, startErr
		}
		defer func() { err = errors.Join(err, p.Kill()) }()
	}
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	ended, err := e.ears.wait(ctx)
	return float64(n) / ended.Sub(began).Seconds(), err
}

// byReplicas compares one server with a cluster of three, on which every asset has three replicas.
func byReplicas(ctx context.Context, b *bench) error {
	b.Title("Growth: replicas")
	var points []point
	for _, n := range b.pick([]int{1, 3}, []int{3}) {
		runs, err := b.oneSeries(ctx, fresh.Variant{Name: rowFreshet, Nodes: n}, b.size(dueOfMany/2))
		if err != nil {
			return err
		}
		points = append(points, point{n, runs})
	}
	b.series("Refreshes per second by replicas", "one worker, all servers on one machine", "replicas", "/s", points)
	return nil
}

// plot writes an SVG for each plot.
func (b *bench) plot() error {
	byPlot := make(map[string][]figures.Series)
	for _, s := range b.Series {
		byPlot[s.Plot] = append(byPlot[s.Plot], s)
	}
	for plot, series := range byPlot {
		file, err := os.Create(filepath.Join(b.plots, fileName(plot)))
		if err != nil {
			return err
		}
		figures.WriteSVG(file, series)
		if err := file.Close(); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.Out, "\n%d plots are in %s\n", len(byPlot), b.plots)
	return nil
}

// fileName makes a file's name of a title.
func fileName(title string) string {
	name := []byte(title)
	for i, c := range name {
		switch {
		case c == ' ':
			name[i] = '-'
		case c >= 'A' && c <= 'Z':
			name[i] = c + 'a' - 'A'
		}
	}
	return string(name) + ".svg"
}
