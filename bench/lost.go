package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/bench/contest/asynqjobs"
	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/contest/riverjobs"
	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/pkg/provider"
)

// loss is what the witnesses say after all kills.
type loss struct {
	refreshes, replayed, revoked int64 // the authorization server's ledger
	lost                         int   // accounts whose stored refresh token is dead
	known                        int   // of these, how many the store itself calls in doubt; -1: it has no way to
}

// lossRow is one whose worker is killed.
type lossRow struct {
	name  string
	start starter
	// patience is how long nothing must be heard until nothing more is to come: redelivery, or the end of a lock.
	patience time.Duration
	note     string
}

func (b *bench) lossRows() []lossRow {
	// A short timeout lets the jobs of a dead worker come back soon: AckWait is a bit more than twice as long.
	timeout := provider.Duration(time.Second)
	exchanger := "freshet exchanger"
	return []lossRow{
		{rowFreshet, freshet(fresh.Variant{Name: rowFreshet, Timeout: timeout}), 9 * time.Second, "lost: answers that the worker's death cut off"},
		{exchanger, freshet(fresh.Variant{Name: exchanger, Timeout: timeout, Exchanger: true}), 9 * time.Second, "answers outlive the worker"},
		{rowRedis, startRedisLock, 12 * time.Second, ""},
		{rowAsynq, asynq(asynqjobs.Variant{Name: rowAsynq}), 100 * time.Second, "its lease is 30 s, looked at once a minute"},
		{rowRiver, river(riverjobs.Variant{Name: rowRiver, FetchCooldown: fetchOften}), 5 * time.Second, "jobs of a dead worker come back after an hour, by default"},
	}
}

// lost kills each worker in the middle of its work, again and again, and counts what that cost. All rows run at once:
// nothing is timed.
func lost(ctx context.Context, b *bench) error {
	kills, n := 5, b.size(2000)
	if b.quick {
		kills = 1
	}
	b.Title("What is lost when the worker is killed: %d kills, %d credentials, strict provider that takes %v", kills, n, lossyBy)
	rows := slices.DeleteFunc(b.lossRows(), func(r lossRow) bool { return !b.wanted(r.name) })
	losses := make([]loss, len(rows))
	g, ctx := errgroup.WithContext(ctx)
	for i, row := range rows {
		if b.quick {
			row.patience = min(row.patience, 2*time.Second)
		}
		g.Go(func() (err error) {
			if losses[i], err = b.lose(ctx, row, lossy(i), kills, n); err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.lossTable(rows, losses)
	return nil
}

func (b *bench) lossTable(rows []lossRow, losses []loss) {
	table := [][]string{{"contestant", "refreshes", "grants lost", "of these known from the store", "refresh tokens replayed", "families revoked", "note"}}
	for i, l := range losses {
		known := "no way to tell"
		if l.known >= 0 {
			known = strconv.Itoa(l.known)
		}
		table = append(table, []string{
			rows[i].name, fmt.Sprint(l.refreshes), fmt.Sprint(l.lost), known, fmt.Sprint(l.replayed), fmt.Sprint(l.revoked), rows[i].note,
		})
		add := func(what string, v float64, t *figures.Target) {
			b.Add(figures.Figure{Experiment: "lost", Name: rows[i].name + ": " + what, Runs: []float64{v}, Target: t})
		}
		var none, allKnown *figures.Target
		if l.known >= 0 {
			none, allKnown = figures.AtMost(0), figures.AtLeast(float64(l.lost))
		}
		add("refresh tokens replayed", float64(l.replayed), none)
		add("families revoked", float64(l.revoked), none)
		if rows[i].name == "freshet exchanger" {
			add("grants lost", float64(l.lost), none)
		} else {
			add("grants lost", float64(l.lost), nil)
		}
		if l.known >= 0 {
			add("lost and known from the store", float64(l.known), allKnown)
		}
	}
	figures.Table(b.Out, table)
}

// lose does it to one contestant.
func (b *bench) lose(ctx context.Context, row lossRow, endpoint string, kills, n int) (loss, error) {
	e, err := b.arena.enter(ctx, row.start, endpoint, 64, n)
	if err != nil {
		return loss{}, err
	}
	for range kills {
		if err := b.killOnce(ctx, e, row.patience); err != nil {
			return loss{}, errors.Join(err, e.Close())
		}
	}
	if err := b.renewal(ctx, e, row.patience, func() error { return nil }); err != nil { // whoever will replay, does it now
		return loss{}, errors.Join(err, e.Close())
	}
	l, err := b.judge(ctx, e, endpoint)
	return l, errors.Join(err, e.Close())
}

// killOnce makes everything due and kills the worker in the midst of it.
func (b *bench) killOnce(ctx context.Context, e *entrant, patience time.Duration) error {
	return b.renewal(ctx, e, patience, func() error {
		enough := e.ears.heard.Load() + int64(float64(e.stored)*(0.2+0.6*rand.Float64()))
		quiet(ctx, e, patience, enough)
		if err := e.Kill(); err != nil {
			return err
		}
		return e.Restart(ctx)
	})
}

// renewal makes everything due, lets meanwhile happen, and waits until no more comes.
func (b *bench) renewal(ctx context.Context, e *entrant, patience time.Duration, meanwhile func() error) error {
	if err := e.Fill(ctx); err != nil {
		return err
	}
	all := e.ears.heard.Load() + int64(e.stored)
	if err := e.Go(ctx); err != nil {
		return err
	}
	if err := meanwhile(); err != nil {
		return err
	}
	quiet(ctx, e, patience, all)
	return e.Halt(ctx)
}

// quiet waits until so much was heard, or nothing more for as long as patience lasts.
func quiet(ctx context.Context, e *entrant, patience time.Duration, enough int64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	heard, since := int64(-1), time.Now()
	for {
		switch now := e.ears.heard.Load(); {
		case now >= enough:
			return
		case now != heard:
			heard, since = now, time.Now()
		case time.Since(since) > patience:
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return // what follows fails
		}
	}
}

// judge asks the authorization server and the store.
func (b *bench) judge(ctx context.Context, e *entrant, endpoint string) (loss, error) {
	ledger, err1 := b.arena.auth.Ledger(ctx, endpoint)
	held, err2 := e.Held(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return loss{}, err
	}
	dead, err := b.arena.auth.Lost(ctx, endpoint, held)
	l := loss{refreshes: ledger.Refreshes, replayed: ledger.Replayed, revoked: ledger.Revoked, lost: len(dead), known: -1}
	f, ok := e.Contestant.(*fresh.Fresh)
	if err != nil || !ok {
		return l, err
	}
	flagged, err := f.Flagged(ctx)
	l.known = 0
	for _, d := range dead {
		if flagged[d.Account] {
			l.known++
		}
	}
	return l, err
}
