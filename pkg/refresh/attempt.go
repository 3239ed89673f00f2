package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// presentation is one attempt between its claim and its commit.
type presentation struct {
	job      Job
	provider *provider.Definition
	claimed  Stored // the record with our claim in it
	grant    Grant
	decision Decision
	sending  time.Time // local time, both clocks, at which we began to send the claim
}

// attempt claims the record and presents its refresh token once; again is true when the claim lost to another
// write.
func (e *Engine) attempt(ctx context.Context, job Job, s *Stored, dec Decision, d *provider.Definition) (res Result, again bool) {
	g, res, ok := e.openGrant(s, d)
	if !ok {
		res.Decision = dec
		return res, false
	}
	if e.cfg.Ready != nil {
		if err := e.cfg.Ready(); err != nil {
			return Result{Verdict: VerdictNak, Class: ClassLocal, Decision: dec, Err: fmt.Errorf("no attempt may start: %w", err)}, false
		}
	}
	if ctx.Err() != nil {
		return Result{Verdict: VerdictNak, Class: ClassFresh, Decision: dec, Err: ctx.Err()}, false
	}
	p := &presentation{job: job, provider: d, grant: g, decision: dec}
	err := e.claim(ctx, p, s)
	switch {
	case err == nil:
		return e.fly(context.WithoutCancel(ctx), p), false
	case errors.Is(err, ErrConflict), errors.Is(err, ErrTooLarge):
		return unsettled(Result{Class: ClassFresh, Decision: dec, Before: s.Record.Version, After: s.Record.Version}, err)
	default:
		e.fenceOff(context.WithoutCancel(ctx), s)
		return e.release(context.WithoutCancel(ctx), p, err), false
	}
}

// claim writes that we are about to present this record's refresh token. When the write's outcome is unknown only the
// leader can tell.
func (e *Engine) claim(ctx context.Context, p *presentation, s *Stored) error {
	p.claimed.Record = s.Record
	rec := &p.claimed.Record
	rec.Doubt = p.decision.Doubt
	p.sending = time.Now()
	rec.Claim = &Claim{
		Attempt: NewAttemptID(), Worker: e.cfg.Worker,
		TTL: provider.Duration(p.provider.Timing().ClaimTTL), At: e.cfg.Now().UTC(),
	}
	e.at(StepClaim)
	if mistaken(mistakeNoClaim) {
		p.claimed.Revision = s.Revision
		return nil
	}
	rev, err := e.put(ctx, rec, s.Revision)
	if err == nil {
		p.claimed.Revision = rev
		return nil
	}
	if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrTooLarge) {
		now, readErr := e.cfg.Store.Get(ctx, rec.Credential())
		if readErr == nil && now.Record.Claim != nil && now.Record.Claim.Attempt == rec.Claim.Attempt {
			p.claimed = now
			return nil
		}
	}
	return fmt.Errorf("claim %s: %w", rec.Credential(), err)
}

// fenceOff keeps a claim whose write was given up from landing late, where it has not landed yet: it would be found dead and
// cast a false doubt. Failing is harmless.
func (e *Engine) fenceOff(ctx context.Context, before *Stored) {
	now, err := e.cfg.Store.Get(ctx, before.Record.Credential())
	if err == nil && now.Revision == before.Revision {
		_, _ = e.put(ctx, &now.Record, now.Revision)
	}
}

// release ends an attempt whose claim may or may not stand. Nothing was presented; the journal says so, and so does
// the record as soon as it can be reached. Otherwise the claim, found dead later, would cast a false doubt.
func (e *Engine) release(ctx context.Context, p *presentation, cause error) Result {
	now := time.Now()
	res := e.land(ctx, p, &Outcome{Phase: PhaseNotSent, StartedAt: now, EndedAt: now, Err: "the claim's fate was unknown"})
	res.Err = errors.Join(cause, res.Err)
	return res
}

// fence says for how long the first byte may still be written: later the claim may end before the answer is here. Both
// clocks are asked: the monotonic one may stand still while the machine sleeps, the wall clock may be set.
func (p *presentation) fence() time.Duration {
	t := p.provider.Timing()
	limit := t.ClaimTTL - t.Timeout
	now := time.Now()
	monotonic, wall := now.Sub(p.sending), now.Round(0).Sub(p.sending.Round(0))
	if wall < -limit {
		return 0
	}
	return limit - max(monotonic, wall)
}

// fly presents the refresh token. Nothing cancels it.
func (e *Engine) fly(ctx context.Context, p *presentation) Result {
	e.at(StepClaimed)
	secret, index := e.secrets.pick(p.provider)
	out := e.exchange(ctx, p, secret)
	e.at(StepAnswered)
	res := e.land(ctx, p, &out)
	res.Exchange = out.EndedAt.Sub(out.StartedAt)
	if aboutClient(res) && e.secrets.refused(p.provider, index) {
		res.Class, res.Detail = ClassTransient, "client secret refused; the next one is tried"
	}
	return res
}

// land journals what came of an attempt, and only then reads it, commits and tells.
func (e *Engine) land(ctx context.Context, p *presentation, out *Outcome) Result {
	st := e.settle(p, out)
	attempt := st.outcome.Attempt
	e.flying.Store(attempt, true)
	defer e.flying.Delete(attempt)
	var err error
	if !mistaken(mistakeLateJournal) {
		err = st.keep()
		e.at(StepJournal)
	}
	// A journal that failed is no reason to lose the reply in hand: commit all the same.
	st.run(ctx, &p.claimed)
	st.result.Decision = p.decision
	if err != nil {
		st.result.Err = errors.Join(st.result.Err, fmt.Errorf("journal: %w", err))
	}
	return st.result
}

// settle returns what carries an attempt's outcome into the store.
func (e *Engine) settle(p *presentation, out *Outcome) *settlement {
	return &settlement{engine: e, provider: p.provider, outcome: journalled{Ticket: e.ticket(p), Outcome: *out}, grant: &p.grant}
}

// exchange makes the attempt's one request.
func (e *Engine) exchange(ctx context.Context, p *presentation, secret seal.Secret) Outcome {
	start := time.Now()
	deadline := start.Add(p.provider.Timing().Timeout)
	var asked atomic.Int32 // once before there is a connection, then before the first byte
	fence := func() time.Duration {
		left := p.fence()
		if asked.Add(1) > 1 && left > 0 {
			e.at(StepSend)
		}
		return left
	}
	return e.cfg.Exchange.Exchange(ctx, Request{
		Ticket: e.ticket(p), Provider: p.provider, ClientSecret: secret,
		RefreshToken: p.grant.RefreshToken, Subject: p.grant.Subject, Deadline: deadline, Fence: fence,
	})
}

// aboutClient reports whether the provider refused the client's authentication (RFC 6749 section 5.2), by its code or by
// a 401 that says no more.
func aboutClient(r Result) bool {
	return r.Class == ClassMisconfigured && (r.Code == "invalid_client" || r.Code == "")
}

func (e *Engine) ticket(p *presentation) Ticket {
	r := &p.claimed.Record
	return Ticket{
		Attempt: r.Claim.Attempt, Worker: e.cfg.Worker, Key: r.Credential().Key(),
		GrantID: r.GrantID, Generation: r.Generation, Version: r.Version, Reason: p.job.Reason,
		Skew: int64(time.Until(e.cfg.Now())),
	}
}
