package refresh

import (
	"slices"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// attemptFacts is what a commit needs to know of the attempt behind it.
type attemptFacts struct {
	ID        string
	Worker    string
	Reason    events.Reason
	StartedAt time.Time // NATS time at which the request began
	Now       time.Time // NATS time of the commit
	Suspect   bool      // the provider rejects so many grants that its word about this one does not count
}

// afterSuccess brings the reply into the record: a new version, nothing claimed, nothing in doubt.
func afterSuccess(r *Record, d *provider.Definition, a attemptFacts, g Grant, reply *Reply, keys Keys) error {
	r.V = SchemaVersion
	r.Version++
	r.State, r.Claim, r.Doubt, r.Failure = StateActive, nil, nil, nil
	r.Last = &Last{Attempt: a.ID, Outcome: ClassOK, Reason: a.Reason}
	if len(reply.Meta) > 0 {
		r.Meta = reply.Meta // some facts, such as instance_url, come with the first answer only
	}
	if reply.Scopes != nil {
		asked := slices.Concat(r.Scopes, r.Narrowed) // RFC 6749 section 6: what the grant was given for
		if g.Mint != "" {
			asked = d.Scopes
		}
		r.Scopes, r.Narrowed = reply.Scopes, Narrowed(asked, reply.Scopes)
	}
	r.TokenType = reply.TokenType
	setTimes(r, d, a.StartedAt, reply)
	return keys.Seal(r, g.next(d, reply.RefreshToken), reply.AccessToken)
}

// setTimes counts every lifetime from the start of the request.
func setTimes(r *Record, d *provider.Definition, started time.Time, reply *Reply) {
	r.IssuedAt = started.UTC()
	r.ExpiresAt = time.Time{}
	if life := Lifetime(d.Refresh, reply.Lifetime); life > 0 {
		r.ExpiresAt = r.IssuedAt.Add(life)
	}
	if end := GrantEnd(d.RefreshLife, r.GrantedAt, r.IssuedAt, reply.GrantLifetime); !end.IsZero() {
		r.GrantExpiresAt = end // else what an earlier answer said stays
	}
	r.RefreshAt = RefreshAt(r.Credential().Key(), d.Refresh, r.IssuedAt, r.ExpiresAt)
}

// afterFailure brings a failed attempt into the record. The token it holds stays as it is.
func afterFailure(r *Record, d *provider.Definition, a attemptFacts, j *Judgement, status int) {
	r.V = SchemaVersion
	confirmed := j.Class == ClassRejected && !a.Suspect && rejectionConfirmed(r.Failure, a.Now)
	r.Claim = nil
	r.Last = &Last{Attempt: a.ID, Outcome: j.Class, Reason: a.Reason}
	r.Failure = nextFailure(r.Failure, j, status, a.Now)
	switch {
	case j.Class == ClassUnknown:
		r.Doubt = nextDoubt(r.Doubt, a)
	case r.Doubt != nil && r.Doubt.Attempt == a.ID && !r.Doubt.Earlier:
		r.Doubt = nil // it was about this attempt alone, whose outcome is known now
	}
	switch {
	case confirmed:
		r.State, r.RefreshAt = StateReauthRequired, time.Time{}
	default:
		r.State, r.RefreshAt = retryState(r, d, a, j)
	}
}

// retryState says in which state a failed attempt leaves the record and when the next one is due.
func retryState(r *Record, d *provider.Definition, a attemptFacts, j *Judgement) (State, time.Time) {
	key := r.Credential().Key()
	at := RetryAt(key, a.Now, r.ExpiresAt, r.Failure.Count)
	if j.RetryAfter > 0 {
		asked := j.RetryAfter + spread(key, r.Failure.Count, j.RetryAfter/10) // many were told the same moment
		at = laterOf(at, a.Now.Add(asked))
	}
	switch {
	case j.Class == ClassRejected:
		wait := confirmWait(r.ExpiresAt.Sub(a.Now))
		return StateRetrying, a.Now.Add(wait + spread(key, r.Failure.Count, wait/6))
	case j.Class == ClassMisconfigured:
		return r.State, at // the client's fault: no credential is marked
	case r.Doubt != nil && retryAllowed(d, r.Doubt, at):
		return StateRetrying, at
	case r.Doubt != nil && retryAllowed(d, r.Doubt, a.Now.Add(minBackoff)):
		return StateRetrying, a.Now.Add(minBackoff) // only an early second try fits the grace
	case r.Doubt != nil:
		return StateUncertain, uncertainUntil(r, d, a, at)
	}
	return StateRetrying, at
}

// uncertainUntil is when something can be done about a refresh token that must not be presented: the provider is asked, where
// it can be, once nothing of the attempt can be under way any more; else it is the last try.
func uncertainUntil(r *Record, d *provider.Definition, a attemptFacts, backoff time.Time) time.Time {
	last := LastTryAt(r.IssuedAt, r.ExpiresAt)
	if d.IntrospectURL == "" || r.Doubt.Inactive {
		return laterOf(backoff, last)
	}
	ask := laterOf(backoff, a.Now.Add(d.Timing().Quarantine))
	if last.After(a.Now) && last.Before(ask) {
		return last
	}
	return ask
}

// codeClaimDied stands for an outcome that nobody was there to write down. Its author may still have it.
const codeClaimDied = "claim_died"

// authorReturns is how long after a dead claim was found a last try waits. Where NATS was away the author is alive and has
// its answer, and needs this long to connect again and to go through its journal; a try meanwhile would cost the grant.
const authorReturns = 15 * time.Second

// afterDeath returns the record after a claim whose author did not come back, or an inquiry, at a provider that allows no
// second try now: the doubt is written down and nothing is presented.
func afterDeath(r Record, d *provider.Definition, doubt *Doubt, now time.Time) Record {
	a := attemptFacts{ID: doubt.Attempt, Worker: doubt.Worker, Now: now, StartedAt: doubt.FirstSentAt}
	found := r.Claim != nil
	if r.Last != nil {
		a.Reason = r.Last.Reason
	}
	j := Judgement{Class: ClassUnknown, Code: codeClaimDied}
	if r.Claim == nil && r.Failure != nil {
		j.Code = r.Failure.Code // its author has said what it was
	}
	r.Doubt = doubt
	afterFailure(&r, d, a, &j, 0)
	if last := LastTryAt(r.IssuedAt, r.ExpiresAt); found && r.State == StateUncertain && !r.RefreshAt.Before(last) {
		r.RefreshAt = laterOf(r.RefreshAt, now.Add(authorReturns))
	}
	if doubt.Inactive {
		r.Doubt, r.RefreshAt = doubt, laterOf(r.RefreshAt, LastTryAt(r.IssuedAt, r.ExpiresAt))
	}
	return r
}

// nextFailure counts the run of failures.
func nextFailure(f *Failure, j *Judgement, status int, now time.Time) *Failure {
	next := &Failure{Count: 1, Since: now, Class: j.Class, Code: j.Code, Status: status, At: now}
	if f != nil {
		next.Count, next.Since = f.Count+1, f.Since
	}
	return next
}

// nextDoubt keeps the earliest moment at which the refresh token may have been spent.
func nextDoubt(d *Doubt, a attemptFacts) *Doubt {
	next := &Doubt{Attempt: a.ID, Worker: a.Worker, FirstSentAt: a.StartedAt.UTC()}
	if d == nil {
		return next
	}
	next.Earlier, next.Restored = d.Earlier || d.Attempt != a.ID, d.Restored
	if d.FirstSentAt.Before(next.FirstSentAt) {
		next.FirstSentAt = d.FirstSentAt
	}
	return next
}

// confirmWait is how long to wait for a second word about a grant whose access token lives for left: there is no hurry, and
// a provider that rejects everybody by mistake is found out meanwhile.
func confirmWait(left time.Duration) time.Duration {
	return min(max(left/2, confirmRejection), maxConfirmWait)
}

// rejectionConfirmed reports whether the provider said the same a minute or more ago.
func rejectionConfirmed(f *Failure, now time.Time) bool {
	return f != nil && f.Class == ClassRejected && now.Sub(f.At) >= confirmRejection-dueSlack
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
