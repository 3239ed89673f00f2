package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/contest/asynqjobs"
	"github.com/freshetdev/freshet/bench/contest/bare"
	"github.com/freshetdev/freshet/bench/contest/casloop"
	"github.com/freshetdev/freshet/bench/contest/floor"
	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/contest/redislock"
	"github.com/freshetdev/freshet/bench/contest/riverjobs"
	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/pkg/provider"
)

// competitor is a row of the comparison.
type competitor struct {
	name     string
	endpoint string
	size     int // credentials, so that a round takes about a second or two
	start    starter
}

// The names of rows that others are compared with.
const (
	rowBare      = "bare"
	rowFreshet   = "freshet"
	rowSync      = "freshet fsync"
	rowRedis     = "redis-lock"
	rowAsynq     = "asynq"
	rowRiver     = "river"
	rowRiverAsIs = "river as it comes"
	rowCAS       = "jetstream"
	rowCASSync   = "jetstream fsync"
	fetchOften   = 5 * time.Millisecond // river's FetchCooldown, tuned for throughput
	checkOften   = 5 * time.Millisecond // asynq's TaskCheckInterval, tuned for latency
)

func freshet(v fresh.Variant) starter {
	return func(ctx context.Context, env contest.Env) (contest.Contestant, error) {
		return fresh.Start(ctx, env, v)
	}
}

func asynq(v asynqjobs.Variant) starter {
	return func(ctx context.Context, env contest.Env) (contest.Contestant, error) {
		return asynqjobs.Start(ctx, env, v)
	}
}

func river(v riverjobs.Variant) starter {
	return func(ctx context.Context, env contest.Env) (contest.Contestant, error) {
		return riverjobs.Start(ctx, env, v)
	}
}

func cas(name string, syncAll bool) starter {
	return func(ctx context.Context, env contest.Env) (contest.Contestant, error) {
		return casloop.Start(ctx, env, name, syncAll)
	}
}

func startBare(ctx context.Context, env contest.Env) (contest.Contestant, error) {
	return bare.Start(ctx, env)
}

func startFloor(ctx context.Context, env contest.Env) (contest.Contestant, error) {
	return floor.Start(ctx, env)
}

func startRedisLock(ctx context.Context, env contest.Env) (contest.Contestant, error) {
	return redislock.Start(ctx, env)
}

// competitors are the rows of the comparison.
func (b *bench) competitors() []competitor {
	return []competitor{
		{rowBare, strict, 20_000, startBare},
		{rowFreshet, strict, 10_000, freshet(fresh.Variant{Name: rowFreshet})},
		{"freshet embedded", strict, 10_000, freshet(fresh.Variant{Name: "freshet embedded", Embedded: true, Profile: b.profile})},
		{rowSync, strict, 4_000, freshet(fresh.Variant{Name: rowSync, SyncAll: true})},
		{"freshet class none", static, 10_000, freshet(fresh.Variant{Name: "freshet class none", Rotation: provider.RotationNone})},
		{"freshet exchanger", strict, 8_000, freshet(fresh.Variant{Name: "freshet exchanger", Exchanger: true})},
		{floor.Name, strict, 10_000, startFloor},
		{rowRedis, strict, 8_000, startRedisLock},
		{rowAsynq, strict, 5_000, asynq(asynqjobs.Variant{Name: rowAsynq})},
		{rowRiver, strict, 4_000, river(riverjobs.Variant{Name: rowRiver, FetchCooldown: fetchOften})},
		{rowRiverAsIs, strict, 3_000, river(riverjobs.Variant{Name: rowRiverAsIs})},
		{rowCAS, strict, 30_000, cas(rowCAS, false)},
		{rowCASSync, strict, 8_000, cas(rowCASSync, true)},
	}
}

// compare measures everybody in interleaved rounds, at 64 and at 256 at once.
func compare(ctx context.Context, b *bench) error {
	for _, atOnce := range b.pick(b.atOnce, []int{64}) {
		if err := compareAt(ctx, b, atOnce); err != nil {
			return err
		}
	}
	return nil
}

func compareAt(ctx context.Context, b *bench, atOnce int) error {
	b.Title("Refreshes per second, %d at once, %d interleaved rounds", atOnce, b.runs)
	var rows []competitor
	for _, c := range b.competitors() {
		if b.wanted(c.name) {
			rows = append(rows, c)
		}
	}
	entrants, closeAll, err := b.enterAll(ctx, rows, atOnce)
	if err != nil {
		return errors.Join(err, closeAll())
	}
	rounds := make([][]round, len(rows))
	for i := range b.runs + 1 { // the first is to warm up
		for j, e := range entrants {
			r, err := b.arena.drain(ctx, e)
			if err != nil {
				return errors.Join(err, closeAll())
			}
			if i > 0 {
				rounds[j] = append(rounds[j], r)
			}
		}
	}
	b.compareTable(entrants, rounds, atOnce)
	return closeAll()
}

// enterAll starts a contestant for each row. closeAll ends those that were started, also after an error.
func (b *bench) enterAll(ctx context.Context, rows []competitor, atOnce int) (entrants []*entrant, closeAll func() error, err error) {
	closeAll = func() error {
		var errs []error
		for _, e := range entrants {
			errs = append(errs, e.Close())
		}
		return errors.Join(errs...)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	started := make([]*entrant, len(rows))
	for i, c := range rows {
		g.Go(func() (err error) {
			if started[i], err = b.arena.enter(ctx, c.start, c.endpoint, atOnce, b.size(c.size)); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			return nil
		})
	}
	err = g.Wait()
	for _, e := range started {
		if e != nil {
			entrants = append(entrants, e)
		}
	}
	return entrants, closeAll, err
}

// ratios divides run by run: what the machine did meanwhile touches both.
func ratios(a, b []round) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		out = append(out, a[i].rate()/b[i].rate())
	}
	return out
}

func micros(of func(round) time.Duration, rounds []round) []float64 {
	var out []float64
	for _, r := range rounds {
		out = append(out, float64(of(r).Nanoseconds())/1e3/float64(r.Refreshes))
	}
	return out
}

func rates(rounds []round) []float64 {
	var out []float64
	for _, r := range rounds {
		out = append(out, r.rate())
	}
	return out
}

// compareTable prints the table and judges the targets.
func (b *bench) compareTable(entrants []*entrant, rounds [][]round, atOnce int) {
	experiment := fmt.Sprintf("compare %d", atOnce)
	byName := make(map[string][]round)
	for i, e := range entrants {
		byName[e.Info().Name] = rounds[i]
	}
	table := [][]string{{"contestant", "refreshes/s", "spread", "÷ bare", "CPU µs self", "CPU µs server", "durability", "against loss and replay"}}
	for i, e := range entrants {
		info := e.Info()
		add := func(what, unit string, runs []float64) figures.Figure {
			return b.Add(figures.Figure{Experiment: experiment, Name: info.Name + ": " + what, Unit: unit, Runs: runs})
		}
		rate := add("rate", "/s", rates(rounds[i]))
		self := add("CPU of the worker", "µs", micros(func(r round) time.Duration { return r.Self }, rounds[i]))
		server := add("CPU of its servers", "µs", micros(func(r round) time.Duration { return r.Server }, rounds[i]))
		ratio := "–"
		if base := byName[rowBare]; base != nil && info.Name != rowCAS && info.Name != rowCASSync {
			ratio = figures.Number(add("÷ bare", "", ratios(rounds[i], base)).Median)
		}
		table = append(table, []string{
			info.Name, figures.Number(rate.Median), figures.Number(rate.Low) + "–" + figures.Number(rate.High), ratio,
			figures.Number(self.Median), figures.Number(server.Median), info.Durability, info.Promise,
		})
	}
	figures.Table(b.Out, table)
	fmt.Fprintln(b.Out)
	if atOnce == 64 {
		b.compareTargets(experiment, byName)
	}
}

// faster names the row with the higher rate: a peer is compared with at its best.
func faster(byName map[string][]round, a, b string) string {
	if figures.Median(rates(byName[b])) > figures.Median(rates(byName[a])) {
		return b
	}
	return a
}

// compareTargets says how Freshet stands against the others.
func (b *bench) compareTargets(experiment string, byName map[string][]round) {
	for _, t := range []struct {
		a, b   string
		target *figures.Target
	}{
		{rowFreshet, rowBare, figures.AtLeast(0.65)},
		{rowFreshet, rowAsynq, figures.AtLeast(3)},
		{rowFreshet, faster(byName, rowRiver, rowRiverAsIs), figures.AtLeast(8)},
		{rowFreshet, rowRedis, figures.AtLeast(1.5)},
		{rowFreshet, floor.Name, nil},
		{floor.Name, rowBare, nil},
	} {
		if byName[t.a] != nil && byName[t.b] != nil {
			b.Say(figures.Figure{Experiment: experiment, Name: t.a + " ÷ " + t.b, Runs: ratios(byName[t.a], byName[t.b]), Target: t.target})
		}
	}
	for _, pair := range [][2]string{{rowSync, rowCASSync}, {rowFreshet, rowCAS}} {
		if byName[pair[0]] == nil || byName[pair[1]] == nil {
			continue
		}
		halved := ratios(byName[pair[0]], byName[pair[1]])
		for i := range halved {
			halved[i] *= 2
		}
		f := figures.Figure{Experiment: experiment, Name: pair[0] + " ÷ half of " + pair[1], Runs: halved}
		if pair[0] == rowSync {
			f.Target = figures.AtLeast(0.85)
		}
		b.Say(f)
	}
}

// wanted reports whether a row is asked for.
func (b *bench) wanted(name string) bool {
	return len(b.only) == 0 || slices.Contains(b.only, name)
}
