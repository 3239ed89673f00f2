package evidence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func duration(d time.Duration) provider.Duration { return provider.Duration(d) }

// Between two kills.
const (
	killAfter = 150 * time.Millisecond
	killUntil = 450 * time.Millisecond
)

// pause waits as chance has it, and reports false when ctx ended first.
func pause(ctx context.Context, chance *rand.Rand, least, most time.Duration) bool {
	t := time.NewTimer(least + time.Duration(chance.Int64N(int64(most-least))))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// underWay waits for the first renewal: before that there is nothing to hit, because new tokens are not renewed at once.
func (k *killing) underWay(ctx context.Context) error {
	if k.part.name == "reply" {
		return nil // it waits in each round
	}
	return k.until(ctx, func() bool { return k.Auth.Ledger().Rotations > 0 })
}

// strike kills one of the victims and starts it again.
func (k *killing) strike(ctx context.Context) error {
	from, to := k.part.between()
	if !pause(ctx, k.chance, from, to) {
		return ctx.Err()
	}
	a := k.cast.actor(k.part.victims[k.chance.IntN(len(k.part.victims))])
	if err := a.kill(); err != nil {
		return err
	}
	k.kills[a.name]++
	if k.part.loses {
		if err := k.takeStock(ctx, time.Now()); err != nil {
			return err
		}
	}
	return a.start(ctx)
}

// takeStock notes the attempts that are under way: their claims stand. A claim outlives its attempt, so it counts once.
func (k *killing) takeStock(ctx context.Context, now time.Time) error {
	return k.records(ctx, func(r *refresh.Record) {
		if r.Claim == nil {
			return
		}
		if _, known := k.seen[r.Claim.Attempt]; !known {
			k.seen[r.Claim.Attempt] = struck{r.Account, now}
		}
	})
}

// untilRotated kills until there were enough rotations.
func (k *killing) untilRotated(ctx context.Context) error {
	for k.Auth.Ledger().Rotations < int64(k.cfg.Rotations) {
		if err := k.strike(ctx); err != nil {
			return err
		}
	}
	return nil
}

// untilKilled kills often enough.
func (k *killing) untilKilled(ctx context.Context) error {
	for k.total() < k.cfg.Kills {
		if err := k.strike(ctx); err != nil {
			return err
		}
	}
	return nil
}

// recoveredWithin is how long a busy machine may take until every token is fresh again.
const recoveredWithin = 2 * time.Minute

// recover waits until the records have all that the provider has issued, or what is missing has been said.
func (k *killing) recover(ctx context.Context) error {
	if err := errors.Join(k.cast.ready(ctx), k.reconnected(ctx)); err != nil {
		return err
	}
	if k.part.loses || k.part.demands {
		return k.settle(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, recoveredWithin)
	defer cancel()
	return errors.Join(k.catchUp(ctx), k.AwaitFresh(ctx, shortLead/3))
}

// judge says which guarantee did not hold.
func (k *killing) judge() error {
	v := k.verdict
	if !k.part.loses {
		errs := []error{v.Err()}
		for _, l := range v.Lost {
			errs = append(errs, fmt.Errorf("what was said about %s:%s", l.Account, k.story(l.Account)))
		}
		return errors.Join(errs...)
	}
	lost := v.Lost
	v.Lost = nil // judged here
	errs := []error{v.Err()}
	if v.Ledger.LastTries > 0 {
		errs = append(errs, fmt.Errorf("%d refresh tokens were tried again though there was something to lose", v.Ledger.LastTries))
	}
	if len(lost) > len(k.seen) {
		errs = append(errs, fmt.Errorf("%d grants are lost, and only %d attempts were under way at the kills", len(lost), len(k.seen)))
	}
	for _, l := range lost {
		errs = append(errs, k.judgeLoss(l.Account))
	}
	return errors.Join(errs...)
}

// judgeLoss wants a lost account to have been under way at a kill, and that to have been said in time.
func (k *killing) judgeLoss(account string) error {
	flags, _ := k.heard.said()
	struckAt, said := false, false
	for attempt, s := range k.seen {
		if s.account != account {
			continue
		}
		struckAt = true
		if w, ok := flags[attempt]; ok {
			took := w.at.Sub(s.at)
			said = said || took <= flaggedWithin
			k.slowest = max(k.slowest, took)
		}
	}
	switch {
	case !struckAt:
		return fmt.Errorf("%s is lost and was not under way at any kill%s", account, k.story(account))
	case !said:
		return fmt.Errorf("%s is lost and nothing was said within %v%s", account, flaggedWithin, k.story(account))
	}
	return nil
}

// story is what all processes have said about an account.
func (s *stage) story(account string) string {
	c := events.Credential{Provider: fleet.Provider, Account: account}
	var lines []string
	for _, p := range s.Processes() {
		for _, line := range p.Log.Lines() {
			if strings.Contains(line, `"`+c.Key()+`"`) || strings.Contains(line, `"`+c.String()+`"`) {
				lines = append(lines, "\n    "+line)
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(saidAt(a), saidAt(b)) })
	return strings.Join(lines, "")
}

// saidAt is the time in a line of a log.
func saidAt(line string) string {
	_, after, _ := strings.Cut(line, `"time":"`)
	at, _, _ := strings.Cut(after, `"`)
	return at
}

// withRepliesInHand lets requests be answered while NATS is away, and then kills the worker: the replies are in its journal
// and nowhere else.
func (k *killing) withRepliesInHand(ctx context.Context) error {
	for range max(k.cfg.Kills/10, 1) {
		if err := k.replyRound(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inHand is how many renewals are asked for at once.
const inHand = 16

func (k *killing) replyRound(ctx context.Context) error {
	ask, stop := context.WithCancel(ctx)
	asked := make(chan struct{})
	defer func() { stop(); <-asked }()
	before, some := k.Auth.Ledger().Requests["token"], k.some()
	go func() {
		defer close(asked)
		k.askMany(ask, some)
	}()
	if err := k.until(ctx, func() bool { return k.Auth.Ledger().Requests["token"] >= before+inHand/2 }); err != nil {
		return err
	}
	server, worker := k.cast.actor(natsName), k.cast.actor("worker-1")
	if err := server.kill(); err != nil {
		return err
	}
	if err := k.untilAnswered(ctx); err != nil {
		return err
	}
	if err := errors.Join(worker.kill(), server.start(ctx), k.reconnected(ctx)); err != nil {
		return err
	}
	k.kills[server.name]++
	k.kills[worker.name]++
	if err := k.takeStock(ctx, time.Now()); err != nil {
		return err
	}
	if err := worker.start(ctx); err != nil {
		return err
	}
	return k.recover(ctx)
}

// some returns a few accounts as chance has it.
func (k *killing) some() []string {
	accounts := slices.Sorted(slices.Values(k.Accounts()))
	k.chance.Shuffle(len(accounts), func(i, j int) { accounts[i], accounts[j] = accounts[j], accounts[i] })
	return accounts[:min(inHand, len(accounts))]
}

// askMany asks for renewals again and again, as whoever needs one does, until ctx ends.
func (k *killing) askMany(ctx context.Context, accounts []string) {
	for tick := time.Tick(200 * time.Millisecond); ; {
		for _, a := range accounts {
			k.ask(ctx, a)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}

// untilAnswered returns when the provider has answered all and has been left alone for a while, so that the last answer
// has reached the worker.
func (k *killing) untilAnswered(ctx context.Context) error {
	const quiet = 500 * time.Millisecond
	last, since := int64(-1), time.Now()
	return k.until(ctx, func() bool {
		l := k.Auth.Ledger()
		if n := l.Requests["token"]; n != last || l.InFlight > 0 {
			last, since = n, time.Now()
		}
		return time.Since(since) > quiet
	})
}

// until polls.
func (k *killing) until(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, flaggedWithin)
	defer cancel()
	for !done() {
		if !pause(ctx, k.chance, time.Millisecond, 2*time.Millisecond) {
			return fmt.Errorf("wait for the provider: %w", ctx.Err())
		}
	}
	return nil
}
