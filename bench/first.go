package main

import (
	"context"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/contest/bare"
	"github.com/freshetdev/freshet/bench/contest/fresh"
)

func first(ctx context.Context, a *arena) error {
	var es []*entrant
	b, err := a.enter(ctx, func(ctx context.Context, env contest.Env) (contest.Contestant, error) { return bare.Start(ctx, env) }, strict, 64, 20000)
	if err != nil {
		return err
	}
	defer b.Close()
	f, err := a.enter(ctx, func(ctx context.Context, env contest.Env) (contest.Contestant, error) {
		return fresh.Start(ctx, env, fresh.Variant{Name: "freshet"})
	}, strict, 64, 10000)
	if err != nil {
		return err
	}
	defer f.Close()
	es = append(es, b, f)
	for range 4 {
		for _, e := range es {
			r, err := a.drain(ctx, e)
			if err != nil {
				return err
			}
			us := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(r.Refreshes) }
			fmt.Printf("%-10s %8.0f/s  self %4.0f µs  server %4.0f µs  authd %4.0f µs\n", e.Info().Name, r.rate(), us(r.Self), us(r.Server), us(r.Auth))
		}
	}
	return nil
}
