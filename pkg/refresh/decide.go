package refresh

import (
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// Action is what a worker does with a job.
type Action string

// The actions.
const (
	ActionAttempt Action = "attempt" // claim, then present the refresh token
	ActionFresh   Action = "fresh"   // the record has what the job asks for
	ActionNotDue  Action = "not_due" // not now: the scheduler comes back
	ActionBusy    Action = "busy"    // another attempt's claim stands
	ActionAsk     Action = "ask"     // ask whether the refresh token is still good; present it if it is
	ActionResolve Action = "resolve" // a dead claim: write down the doubt, present nothing
)

// Why names the rule that decided.
type Why string

// The rules, in the order in which they are asked.
const (
	WhyWithdrawn     Why = "withdrawn"       // the record is a tombstone
	WhyOtherGrant    Why = "other_grant"     // the job was for an earlier or later grant
	WhyPaused        Why = "paused"          // the credential is paused
	WhyHasNewer      Why = "has_newer"       // the version is above what the job asks for
	WhyIssuedSince   Why = "issued_since"    // the token was issued after the job's instant
	WhyClaimed       Why = "claimed"         // a live claim, or a dead one in quarantine
	WhyReauth        Why = "reauth_required" // only a person can help
	WhyBackoff       Why = "backoff"         // a failure is recent
	WhyBeforeRefresh Why = "before_refresh"  // refresh_at is still ahead
	WhyTooSoon       Why = "too_soon"        // a demand right after a success
	WhyDoubtHolds    Why = "doubt_holds"     // a second try could cost the grant, and there is still something to lose
	WhyDeadClaim     Why = "dead_claim"      // somebody died; by rotation class nothing may be presented yet
	WhyRetryAllowed  Why = "retry_allowed"   // an outcome is unknown and the rotation class allows a second try
	WhyInquiry       Why = "inquiry"         // an outcome is unknown and the provider can be asked
	WhyActive        Why = "active"          // an outcome is unknown, and the provider calls the refresh token good
	WhyLastTry       Why = "last_try"        // an outcome is unknown and nothing is left to lose
	WhyDue           Why = "due"             // refresh_at has come, or the policy's instant
	WhyDemanded      Why = "demanded"        // somebody needs a newer token
)

// dueSlack forgives the difference between two processes' idea of NATS time.
const dueSlack = time.Second

// Input is all that a decision depends on.
type Input struct {
	Job      Job
	Stored   *Stored
	Provider *provider.Definition
	Now      time.Time // NATS time
	CanAsk   bool      // introspection is possible
}

// Decision is what to do, by which rule, and what the record must remember of earlier attempts.
type Decision struct {
	Action Action
	Why    Why
	// Doubt goes into the record with the claim, or alone when the action is ActionResolve. Nil: no doubt.
	Doubt *Doubt
}

// Decide says what a worker does with a job. It is pure: the first rule that applies decides.
func Decide(in Input) Decision {
	for _, rule := range []func(Input) (Decision, bool){gone, done, claimed, waiting} {
		if d, ok := rule(in); ok {
			return d
		}
	}
	return attempt(in)
}

// gone: there is nothing this job could refresh.
func gone(in Input) (Decision, bool) {
	r := &in.Stored.Record
	switch {
	case r.State.Withdrawn():
		return decide(ActionNotDue, WhyWithdrawn)
	case in.Job.GrantID != "" && in.Job.GrantID != r.GrantID:
		return decide(ActionFresh, WhyOtherGrant)
	case r.Paused != nil:
		return decide(ActionNotDue, WhyPaused)
	}
	return Decision{}, false
}

// done: somebody was faster.
func done(in Input) (Decision, bool) {
	r := &in.Stored.Record
	switch {
	case r.Version > in.Job.NewerThan:
		return decide(ActionFresh, WhyHasNewer)
	case !in.Job.IssuedAfter.IsZero() && !r.IssuedAt.Before(in.Job.IssuedAfter):
		return decide(ActionFresh, WhyIssuedSince)
	}
	return Decision{}, false
}

// claimed: somebody is at it, or died at it a moment ago. The claim's age is NATS time minus the timestamp
// NATS gave the record; a later write by somebody else only makes the claim look younger, which is safe.
func claimed(in Input) (Decision, bool) {
	c := in.Stored.Record.Claim
	if c == nil {
		return Decision{}, false
	}
	ends := in.Stored.StoredAt.Add(c.TTL.Std() + in.Provider.Timing().Quarantine)
	if in.Now.Before(ends) {
		return decide(ActionBusy, WhyClaimed)
	}
	return Decision{}, false
}

// waiting: the time has not come.
func waiting(in Input) (Decision, bool) {
	r, job := &in.Stored.Record, in.Job
	if r.State == StateReauthRequired {
		return decide(ActionNotDue, WhyReauth)
	}
	if r.Claim != nil || r.Doubt != nil {
		return Decision{}, false // decided by rotation class below
	}
	early := in.Now.Before(r.RefreshAt.Add(-dueSlack))
	asked := job.Reason == events.ReasonDemand || !job.IssuedAfter.IsZero()
	switch {
	case r.Failure != nil && early && !secondWord(in):
		return decide(ActionNotDue, WhyBackoff)
	case job.Reason == events.ReasonDemand && in.Now.Before(r.IssuedAt.Add(minAgeOf(lifetimeOf(r)))):
		return decide(ActionNotDue, WhyTooSoon)
	case !asked && (early || r.RefreshAt.IsZero()):
		return decide(ActionNotDue, WhyBeforeRefresh)
	}
	return Decision{}, false
}

// secondWord reports whether the provider may be asked again whether a grant is dead: somebody finds that its access token is,
// so there is nothing to wait for.
func secondWord(in Input) bool {
	f := in.Stored.Record.Failure
	return in.Job.Refused && f.Class == ClassRejected && !in.Now.Before(f.At.Add(confirmRejection))
}

// attempt: nothing stands against it, except what an earlier attempt of unknown outcome may have done.
func attempt(in Input) Decision {
	r := &in.Stored.Record
	doubt := doubtOf(in.Stored)
	if doubt == nil {
		return Decision{Action: ActionAttempt, Why: whyAsked(in.Job)}
	}
	early := in.Now.Before(r.RefreshAt.Add(-dueSlack))
	switch {
	case retryAllowed(in.Provider, doubt, in.Now):
		if r.Claim == nil && early && r.Failure != nil {
			return Decision{Action: ActionNotDue, Why: WhyBackoff, Doubt: doubt}
		}
		return Decision{Action: ActionAttempt, Why: WhyRetryAllowed, Doubt: doubt}
	case in.CanAsk && !doubt.Inactive && !nothingLeft(in):
		if r.Claim == nil && backingOff(in) {
			return Decision{Action: ActionNotDue, Why: WhyBackoff, Doubt: doubt}
		}
		return Decision{Action: ActionAsk, Why: WhyInquiry, Doubt: doubt}
	case r.Claim != nil:
		return Decision{Action: ActionResolve, Why: WhyDeadClaim, Doubt: doubt}
	case !nothingLeft(in):
		return Decision{Action: ActionNotDue, Why: WhyDoubtHolds, Doubt: doubt}
	case backingOff(in):
		return Decision{Action: ActionNotDue, Why: WhyBackoff, Doubt: doubt}
	}
	return Decision{Action: ActionAttempt, Why: WhyLastTry, Doubt: doubt}
}

func decide(a Action, w Why) (Decision, bool) { return Decision{Action: a, Why: w}, true }

func whyAsked(job Job) Why {
	if job.Reason == events.ReasonDemand {
		return WhyDemanded
	}
	return WhyDue
}

// doubtOf is what is unknown about the record: its doubt, and a dead claim taken over into it.
func doubtOf(s *Stored) *Doubt {
	c, d := s.Record.Claim, s.Record.Doubt
	if c == nil {
		return d
	}
	sent := s.StoredAt
	if !c.At.IsZero() && c.At.Before(sent) {
		sent = c.At
	}
	if d != nil && d.FirstSentAt.Before(sent) {
		sent = d.FirstSentAt
	}
	return &Doubt{Attempt: c.Attempt, Worker: c.Worker, FirstSentAt: sent, Earlier: d != nil, Restored: d != nil && d.Restored}
}

// retryAllowed reports whether the provider's rotation class lets a refresh token of unknown fate be presented again.
func retryAllowed(d *provider.Definition, doubt *Doubt, now time.Time) bool {
	if mistaken(mistakeBlindRetry) {
		return true
	}
	switch d.Rotation {
	case provider.RotationNone, provider.RotationOverlap:
		return true
	case provider.RotationUntilUsed:
		return !doubt.Restored // a successor that is lost may have been used before it was
	case provider.RotationGrace:
		// The whole request must end inside the grace.
		ends := doubt.FirstSentAt.Add(d.RotationGrace.Std())
		return d.GraceUsable() && now.Add(d.Timing().Timeout+time.Second).Before(ends)
	default:
		return false
	}
}

// nothingLeft reports whether the access token is at its end, or known to be dead.
func nothingLeft(in Input) bool {
	r := &in.Stored.Record
	if in.Job.Refused {
		return true
	}
	last := LastTryAt(r.IssuedAt, r.ExpiresAt)
	return !last.IsZero() && !in.Now.Before(last)
}

// backingOff reports whether a last try was made a moment ago. refresh_at says so, except for a refused token,
// whose refresh_at may be an end that nobody waits for any more.
func backingOff(in Input) bool {
	r := &in.Stored.Record
	switch {
	case r.Failure == nil:
		return false
	case in.Job.Refused && r.Failure.Code == codeClaimDied:
		return in.Now.Before(r.Failure.At.Add(authorReturns))
	case in.Job.Refused:
		return in.Now.Before(RetryAt(r.Credential().Key(), r.Failure.At, time.Time{}, r.Failure.Count))
	default:
		return in.Now.Before(r.RefreshAt.Add(-dueSlack))
	}
}

func lifetimeOf(r *Record) time.Duration {
	if r.ExpiresAt.IsZero() {
		return 0
	}
	return r.ExpiresAt.Sub(r.IssuedAt)
}
