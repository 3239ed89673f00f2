package authserver

import (
	"slices"
	"sync"
	"time"
)

// EndReason says why a grant ended.
type EndReason string

// The reasons. A grant that lives has none.
const (
	// EndReuse: a spent refresh token was used outside its class's allowance.
	EndReuse EndReason = "reuse"
	// EndCodeReuse: its authorization code was presented again.
	EndCodeReuse EndReason = "code_reuse"
	// EndWithdrawn: by Server.Revoke, or by its client at /revoke.
	EndWithdrawn EndReason = "withdrawn"
	// EndIdle: not refreshed for Config.IdleLifetime.
	EndIdle EndReason = "idle"
	// EndAge: older than Config.GrantLifetime.
	EndAge EndReason = "age"
	// EndLimit: pushed out by newer grants of its account.
	EndLimit EndReason = "limit"
)

// policy is the part of the configuration that families obey.
type policy struct {
	rules
	kills     bool // a refresh kills earlier access tokens
	idle, age time.Duration
	lifetime  func(account string, n int) time.Duration
}

// family is one grant. mu guards everything below it; what is above never
// changes.
type family struct {
	id      uint64
	client  *client
	holder  *account
	created time.Time
	forever bool // outlives Config's limits: the grant of a client to itself

	mu            sync.Mutex
	scopes        []string
	tokens        []tokenState // the newest, oldest first
	seq, version  uint32       // the newest refresh and access token
	accessFrom    uint32       // access tokens of an earlier version are dead
	inFlight      []uint32     // refresh tokens being presented right now
	presentations int
	lost          int // rotations whose answer was damaged or had no reader
	used          time.Time
	ended         EndReason
	endedAt       time.Time
}

// pair is what an exchange hands out. Without a new refresh token, refresh is
// the zero claims.
type pair struct {
	access, refresh claims
	scope           string
	grantEnd        time.Time // zero: none
}

// outcome is what a presented refresh token got.
type outcome struct {
	verdict  verdict
	ended    EndReason // refused because the grant is over, though the token is not spent
	badScope bool
	again    bool // accepted although it had been used before
	lastTry  bool // refused as spent, but its holder had nothing left to lose
	killed   bool // this presentation ended the family
	pair     pair
}

// exchange decides about a refresh token and carries the decision out.
func (f *family) exchange(now time.Time, p *policy, c claims, scope string) outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.find(c.seq)
	out := f.verdict(now, p, t, c)
	if out.verdict == reuse {
		out.killed = f.end(EndReuse, now)
		return out
	}
	if out.ended = f.over(now, p); out.ended != "" {
		return out
	}
	mask, ok := f.mask(scope)
	if !ok {
		out.badScope = true
		return out
	}
	out.again = p.class != RotationNone && (t == nil || t.spentAt != 0)
	f.used = now
	if out.verdict == keep {
		out.pair = f.renew(now, p, mask)
	} else {
		f.spend(t, now)
		out.pair = f.issue(now, p, c.seq, mask)
	}
	if p.kills {
		f.accessFrom = f.version
	}
	return out
}

// look decides about a refresh token without carrying the decision out.
func (f *family) look(now time.Time, p *policy, c claims) outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.verdict(now, p, f.find(c.seq), c)
}

// verdict decides about a refresh token; t is what is remembered of it.
func (f *family) verdict(now time.Time, p *policy, t *tokenState, c claims) outcome {
	out := outcome{verdict: p.judge(t.presented(), now)}
	if out.verdict == reuse {
		out.lastTry = f.lastTry(now, p, t, c)
	}
	return out
}

// issue makes a refresh token, the child of parent, and its access token.
func (f *family) issue(now time.Time, p *policy, parent, mask uint32) pair {
	f.seq++
	a := f.access(now, p, mask)
	f.tokens = forget(append(f.tokens, tokenState{
		seq: f.seq, parent: parent,
		issued: a.issued, end: a.end,
		accessIssued: a.issued, accessEnd: a.end,
	}), parent, p.rules, now)
	return f.pair(p, a, true)
}

// renew makes an access token beside the newest refresh token. The refresh
// token is told again only where the caller may not hold it.
func (f *family) renew(now time.Time, p *policy, mask uint32) pair {
	a := f.access(now, p, mask)
	t := f.find(f.seq)
	t.accessIssued, t.accessEnd = a.issued, a.end
	return f.pair(p, a, p.class != RotationNone)
}

func (f *family) pair(p *policy, a claims, withRefresh bool) pair {
	out := pair{access: a, scope: f.scopeOf(a.scopes), grantEnd: f.grantEnd(p)}
	if withRefresh {
		t := f.find(f.seq)
		out.refresh = claims{kind: kindRefresh, family: f.id, seq: t.seq, issued: t.issued, end: t.end}
	}
	return out
}

func (f *family) access(now time.Time, p *policy, mask uint32) claims {
	f.version++
	life := p.lifetime(f.holder.name, int(f.version))
	return claims{
		kind: kindAccess, family: f.id, seq: f.seq, version: f.version, scopes: mask,
		issued: now.UnixNano(), end: now.Add(life).UnixNano(),
	}
}

// enter notes that a refresh token is being presented, and tells whether it
// already was.
func (f *family) enter(seq uint32) (concurrent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	concurrent = slices.Contains(f.inFlight, seq)
	f.inFlight = append(f.inFlight, seq)
	f.presentations++
	return concurrent
}

// leave ends what enter began.
func (f *family) leave(seq uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.inFlight, seq)
	f.inFlight = slices.Delete(f.inFlight, i, i+1)
}

// finish ends the family, unless it has ended before.
func (f *family) finish(why EndReason, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end(why, now)
}

// lastTry judges a spent token. A forgotten one is judged by what it says of
// itself.
func (f *family) lastTry(now time.Time, p *policy, t *tokenState, c claims) bool {
	if t == nil {
		return p.nothingLeft(time.Unix(0, c.issued), time.Unix(0, c.end), false, now)
	}
	return p.nothingLeft(time.Unix(0, t.accessIssued), time.Unix(0, t.accessEnd), t.refused, now)
}

// acceptable tells what a presentation of the refresh token would get, without
// presenting it: "" is a token, "spent" or an EndReason is why not.
func (f *family) acceptable(now time.Time, p *policy, c claims) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ended := f.over(now, p); ended != "" {
		return string(ended)
	}
	if p.judge(f.find(c.seq).presented(), now) == reuse {
		return LossSpent
	}
	return ""
}

// end ends the family, unless it has ended before.
func (f *family) end(why EndReason, now time.Time) bool {
	if f.ended != "" {
		return false
	}
	f.ended, f.endedAt = why, now
	return true
}

// over returns why the family has ended. Running out is noticed here.
func (f *family) over(now time.Time, p *policy) EndReason {
	if f.forever || f.ended != "" {
		return f.ended
	}
	if p.age > 0 && !now.Before(f.created.Add(p.age)) {
		f.end(EndAge, now)
	} else if p.idle > 0 && !now.Before(f.used.Add(p.idle)) {
		f.end(EndIdle, now)
	}
	return f.ended
}

// grantEnd is when the family ends if it is not refreshed.
func (f *family) grantEnd(p *policy) time.Time {
	var end time.Time
	if p.age > 0 {
		end = f.created.Add(p.age)
	}
	if p.idle > 0 {
		if idle := f.used.Add(p.idle); end.IsZero() || idle.Before(end) {
			end = idle
		}
	}
	return end
}
