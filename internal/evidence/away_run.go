package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// perform starts everybody, lets NATS be away, lets everybody recover, ends everybody and judges.
func (a *absence) perform(ctx context.Context) error {
	if err := a.Enrol(ctx, a.cfg.Credentials); err != nil {
		return err
	}
	var err error
	if a.enrolled, err = a.lastWrite(ctx); err != nil {
		return err
	}
	if err := a.cast.enter(ctx); err != nil {
		return err
	}
	err = a.part.run(a, ctx)
	if err == nil {
		err = a.recover(ctx)
	}
	if left := a.cast.leave(ctx); left != nil {
		err = errors.Join(err, left)
	}
	last, failed := a.lastWrite(ctx)
	if failed != nil {
		return errors.Join(err, failed)
	}
	a.writes = last - a.enrolled
	if a.verdict, failed = a.Verdict(ctx); failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, a.judge())
}

// lastWrite is the sequence number of the last write of a record: with one message a write, as many as there were.
func (a *absence) lastWrite(ctx context.Context) (uint64, error) {
	var info struct {
		State struct {
			Last uint64 `json:"last_seq"`
		} `json:"state"`
	}
	err := a.about(ctx, &info)
	return info.State.Last, err
}

// about asks for the stream of records.
func (a *absence) about(ctx context.Context, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := a.Broker.Conn().RequestWithContext(ctx, "$JS.API.STREAM.INFO."+a.Broker.Names().TokensStream(), nil)
	if err != nil {
		return fmt.Errorf("ask for the stream of records: %w", err)
	}
	return json.Unmarshal(reply.Data, into)
}

// spare is how many writes of records were neither the claim of a token request nor its commit; negative: requests went out
// without a claim. Each new version is a commit, each enrolment was one.
func (a *absence) spare() int64 {
	commits := int64(a.verdict.Versions - a.verdict.Enrolled)
	return int64(a.writes) - commits - a.verdict.Ledger.Requests["token"]
}

// judge says which guarantee did not hold. Every worker lived, so every answer was there to be committed: no refresh token
// had to be tried again, whatever there was to lose.
func (a *absence) judge() error {
	v := a.verdict
	errs := []error{v.Err()}
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	must(a.without == 0, "%d token requests came while nobody could claim", a.without)
	must(a.spare() >= 0, "%d token requests came without a claim", -a.spare())
	must(v.Ledger.LastTries == 0, "%d refresh tokens were tried again though their worker had the answer", v.Ledger.LastTries)
	must(v.States[refresh.StateReauthRequired] == 0, "%d accounts need a person", v.States[refresh.StateReauthRequired])
	var issued uint64
	for _, account := range a.Accounts() {
		issued += a.issued(account)
	}
	must(issued == uint64(v.Versions), "%d tokens were issued, the records have %d", issued, v.Versions)
	for _, p := range a.cast.actors[:2] {
		must(p.life.Log.Count("nothing left in its journal") == 1, "%s ended and left: %s", p.name, p.life.Log.Tail(1))
	}
	return errors.Join(errs...)
}

// recover waits until everybody has a token that lives for a while. NATS is back.
func (a *absence) recover(ctx context.Context) error {
	back := time.Now()
	limited, cancel := context.WithTimeout(ctx, a.cfg.Within)
	defer cancel()
	err := a.AwaitFresh(limited, a.cfg.Life/6)
	a.fresh = time.Since(back)
	return err
}

// killed lets the one server die under load and come back much later.
func (a *absence) killed(ctx context.Context) error {
	return a.sitOut(ctx, a.NATS.Kill, func() error { return a.NATS.Start(ctx) })
}

// frozen lets it stand still instead: connections stand, and what is sent arrives when it goes on.
func (a *absence) frozen(ctx context.Context) error {
	return a.sitOut(ctx, a.NATS.Process.Freeze, a.NATS.Process.Thaw)
}

func (a *absence) awayFor() time.Duration {
	if a.part.name == "frozen" {
		return max(a.cfg.Away/5, 10*time.Second) // longer than anybody waits for an answer
	}
	return a.cfg.Away
}

// busy is how many requests are under way when NATS goes.
const busy = 32

// sitOut takes NATS away while requests are under way, and brings it back.
func (a *absence) sitOut(ctx context.Context, take, giveBack func() error) error {
	if err := a.AwaitRenewals(ctx, 1); err != nil {
		return err
	}
	for _, account := range a.Accounts() {
		a.ask(ctx, account)
		if a.Auth.Ledger().InFlight >= busy {
			break
		}
	}
	if err := take(); err != nil {
		return err
	}
	a.harms[a.part.name]++
	taken := a.requests()
	// A request may still begin until its claim is about to end, and is answered within its timeout.
	if err := wait(ctx, a.Fleet.Definition.Timing().ClaimTTL+a.cfg.Timeout); err != nil {
		return err
	}
	settled := a.requests()
	a.after, a.inHand = settled-taken, a.missing()
	if err := wait(ctx, a.awayFor()-a.Fleet.Definition.Timing().ClaimTTL-a.cfg.Timeout); err != nil {
		return err
	}
	a.without = a.requests() - settled
	back := time.Now()
	if err := giveBack(); err != nil {
		return err
	}
	defer func() { a.kept = time.Since(back) }()
	return a.untilKept(ctx)
}

func (a *absence) requests() int64 { return a.Auth.Ledger().Requests["token"] }

// missing counts the tokens that the provider has issued and nobody has heard of.
func (a *absence) missing() (n int) {
	for _, account := range a.Accounts() {
		n += int(a.issued(account) - min(a.heard.version(account), a.issued(account)))
	}
	return n
}

// untilKept waits until every reply that was in hand is in its record, and told.
func (a *absence) untilKept(ctx context.Context) error {
	issued := make(map[string]uint64)
	for _, account := range a.Accounts() {
		issued[account] = a.issued(account)
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Within)
	defer cancel()
	for {
		open := 0
		for account, n := range issued {
			if a.heard.version(account) < n {
				open++
			}
		}
		if open == 0 {
			return nil
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d replies in hand were not committed within %v: %w", open, a.inHand, a.cfg.Within, err)
		}
	}
}

// wait waits, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	if !sleep.For(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// monitor is a user who may do anything in the account of our processes: end a leader's term, which none of them may.
func (a *absence) monitor() (*nats.Conn, error) {
	return nats.Connect(a.NATS.URLs(), nats.UserInfo(monitorName, monitorName), nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond), nats.CustomInboxPrefix("_INBOX_"+monitorName))
}
