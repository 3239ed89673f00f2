package refresh_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// facts of an attempt that began three seconds before its commit.
func facts(now time.Time) refresh.AttemptFacts {
	return refresh.AttemptFacts{ID: "a9", Worker: "w9", Reason: events.ReasonDemand, StartedAt: now.Add(-3 * time.Second), Now: now}
}

// success applies a reply to a record that holds rt-old, whose predecessor is rt-older.
func success(t *testing.T, edit func(*refresh.Record), d *provider.Definition, reply refresh.Reply) (refresh.Record, refresh.Grant) {
	t.Helper()
	r, keys := sealedRecord(t)
	if edit != nil {
		edit(&r)
	}
	held := refresh.Grant{RefreshToken: seal.NewSecret("rt-old"), Previous: seal.NewSecret("rt-older")}
	next, err := refresh.AfterSuccess(r, d, facts(noon.Add(50*time.Minute)), held, reply, keys)
	if err != nil {
		t.Fatal(err)
	}
	g, err := keys.OpenGrant(&next)
	if err != nil {
		t.Fatal(err)
	}
	access, err := keys.OpenAccess(&next)
	if err != nil || !access.Equal(reply.AccessToken) {
		t.Errorf("the access token is not the reply's (%v)", err)
	}
	return next, g
}

func TestSuccessClearsWhatWasBefore(t *testing.T) {
	t.Parallel()
	full := func(r *refresh.Record) {
		was := fullRecord()
		r.State, r.Claim, r.Doubt, r.Failure, r.Paused, r.Policy = was.State, was.Claim, was.Doubt, was.Failure, was.Paused, was.Policy
	}
	r, _ := success(t, full, definition(""), refresh.Reply{AccessToken: seal.NewSecret("at-new")})
	if r.State != refresh.StateActive || r.Version != 4 || r.Claim != nil || r.Doubt != nil || r.Failure != nil {
		t.Errorf("record %+v", r)
	}
	if r.Paused == nil || r.Policy == nil || r.Generation != 1 || r.GrantID != "g" {
		t.Errorf("something of somebody else's is changed: %+v", r)
	}
	if *r.Last != (refresh.Last{Attempt: "a9", Outcome: refresh.ClassOK, Reason: events.ReasonDemand}) {
		t.Errorf("last %+v", r.Last)
	}
}

// The predecessor of a refresh token is kept until its successor has worked once (RFC 6749 section 6).
func TestSuccessKeepsTheRefreshTokenThatWorks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ issued, token, previous string }{
		"none is issued":        {"", "rt-old", ""},
		"the same again":        {"rt-old", "rt-old", ""},
		"a new one":             {"rt-new", "rt-new", "rt-old"},
		"the one before it was": {"rt-older", "rt-older", "rt-old"},
	} {
		_, g := success(t, nil, definition(""), refresh.Reply{AccessToken: seal.NewSecret("a"), RefreshToken: seal.NewSecret(tt.issued)})
		if g.RefreshToken.Reveal() != tt.token || g.Previous.Reveal() != tt.previous {
			t.Errorf("%s: holds %s, before it %q", name, g.RefreshToken.Reveal(), g.Previous.Reveal())
		}
	}
}

func TestSuccessKeepsFactsThatTheReplyLeavesOut(t *testing.T) {
	t.Parallel()
	before := func(r *refresh.Record) {
		r.Meta, r.Scopes, r.TokenType, r.GrantExpiresAt = []byte(`{"a":1}`), []string{"read"}, "Bearer", noon.Add(24*time.Hour)
	}
	for name, tt := range map[string]struct {
		reply     refresh.Reply
		meta      string
		scopes    []string
		tokenType string
		grantEnds time.Time
	}{
		"it says nothing": {refresh.Reply{TokenType: "Bearer"}, `{"a":1}`, []string{"read"}, "Bearer", noon.Add(24 * time.Hour)},
		"it says all": {
			refresh.Reply{TokenType: "DPoP", Meta: []byte(`{"b":2}`), Scopes: []string{"x", "y"}, GrantLifetime: time.Hour},
			`{"b":2}`, []string{"x", "y"}, "DPoP", noon.Add(50*time.Minute - 3*time.Second + time.Hour),
		},
		"no scope is left": {refresh.Reply{TokenType: "Bearer", Scopes: []string{}}, `{"a":1}`, nil, "Bearer", noon.Add(24 * time.Hour)},
	} {
		tt.reply.AccessToken = seal.NewSecret("a")
		r, _ := success(t, before, definition(""), tt.reply)
		if string(r.Meta) != tt.meta || !slices.Equal(r.Scopes, tt.scopes) || r.TokenType != tt.tokenType || !r.GrantExpiresAt.Equal(tt.grantEnds) {
			t.Errorf("%s: meta %s, scopes %v, type %s, grant ends %v", name, r.Meta, r.Scopes, r.TokenType, r.GrantExpiresAt)
		}
	}
}

func TestSuccessCountsLifetimesFromTheStartOfTheRequest(t *testing.T) {
	t.Parallel()
	begun := noon.Add(50*time.Minute - 3*time.Second)
	for name, tt := range map[string]struct {
		named, byDefault, life time.Duration
	}{
		"named":                 {30 * time.Minute, 2 * time.Hour, 30 * time.Minute},
		"not named":             {0, 2 * time.Hour, 2 * time.Hour},
		"longer than may be":    {1000 * 24 * time.Hour, time.Hour, 90 * 24 * time.Hour},
		"not named, no end":     {0, provider.Never.Std(), 0},
		"named in spite of all": {10 * time.Minute, provider.Never.Std(), 10 * time.Minute},
	} {
		d := definition("")
		d.Refresh.DefaultLifetime = provider.Duration(tt.byDefault)
		r, _ := success(t, nil, d, refresh.Reply{AccessToken: seal.NewSecret("a"), Lifetime: tt.named})
		ends := begun.Add(tt.life)
		if tt.life == 0 {
			ends = time.Time{}
		}
		if !r.IssuedAt.Equal(begun) || !r.ExpiresAt.Equal(ends) {
			t.Errorf("%s: issued %v, ends %v; want %v, %v", name, r.IssuedAt, r.ExpiresAt, begun, ends)
		}
		if want := refresh.RefreshAt("acme.alice", d.Refresh, begun, ends); !r.RefreshAt.Equal(want) {
			t.Errorf("%s: due %v, want %v", name, r.RefreshAt, want)
		}
	}
}

// failedAt is when the failures below happen: 15 minutes before the token ends, 14 before nothing is left to lose.
var failedAt = noon.Add(45 * time.Minute)

// earlier doubts about the refresh token, and how long before a failure they began.
const (
	noDoubt  = time.Duration(-1)
	recent   = 10 * time.Second // within the grace of definition
	longPast = 30 * time.Minute
)

// after a failure: the state, and the bounds of the wait before the next try.
type next struct {
	state    refresh.State
	min, max time.Duration
}

var (
	soon       = next{refresh.StateRetrying, time.Second, 6 * time.Second}
	atOnce     = next{refresh.StateRetrying, time.Second, time.Second}
	lastMoment = next{refresh.StateUncertain, 14 * time.Minute, 14 * time.Minute}
	asked      = next{refresh.StateRetrying, 2 * time.Minute, 132 * time.Second}
	confirm    = next{refresh.StateRetrying, 15 * time.Minute / 2, 15*time.Minute/2 + 75*time.Second} // half of what is left
	unmarked   = next{refresh.StateActive, time.Second, 6 * time.Second}
)

func TestFailureByOutcomeAndRotationClass(t *testing.T) {
	t.Parallel()
	const none, overlap, grace, used, strict = provider.RotationNone, provider.RotationOverlap, provider.RotationGrace, provider.RotationUntilUsed, provider.RotationStrict
	all := []provider.Rotation{none, overlap, grace, used, strict}
	again, kept := []provider.Rotation{none, overlap, used}, []provider.Rotation{grace, strict}
	wait := refresh.Judgement{RetryAfter: 2 * time.Minute}
	for _, tt := range []struct {
		class    refresh.Class
		answer   refresh.Judgement
		doubt    time.Duration
		rotation []provider.Rotation
		want     next
	}{
		{refresh.ClassTransient, refresh.Judgement{}, noDoubt, all, soon},
		{refresh.ClassTransient, refresh.Judgement{}, longPast, again, soon},
		{refresh.ClassTransient, refresh.Judgement{}, longPast, kept, lastMoment},
		{refresh.ClassTransient, refresh.Judgement{}, recent, []provider.Rotation{grace}, soon},
		{refresh.ClassTransient, wait, noDoubt, all, asked},
		{refresh.ClassTransient, wait, longPast, again, asked},
		{refresh.ClassTransient, wait, recent, []provider.Rotation{grace}, atOnce}, // as asked, it would be too late
		{refresh.ClassTransient, wait, longPast, kept, lastMoment},
		{refresh.ClassThrottled, wait, noDoubt, all, asked},
		{refresh.ClassLocal, refresh.Judgement{}, noDoubt, all, soon},
		{refresh.ClassUnknown, refresh.Judgement{}, noDoubt, append(again, grace), soon},
		{refresh.ClassUnknown, refresh.Judgement{}, noDoubt, []provider.Rotation{strict}, lastMoment},
		{refresh.ClassUnknown, refresh.Judgement{}, recent, []provider.Rotation{grace}, soon},
		{refresh.ClassUnknown, refresh.Judgement{}, longPast, kept, lastMoment},
		{refresh.ClassUnknown, refresh.Judgement{}, longPast, again, soon},
		{refresh.ClassRejected, refresh.Judgement{}, noDoubt, all, confirm},
		{refresh.ClassRejected, refresh.Judgement{}, longPast, all, confirm},
		{refresh.ClassMisconfigured, refresh.Judgement{}, noDoubt, all, unmarked},
		{refresh.ClassMisconfigured, refresh.Judgement{}, longPast, all, unmarked},
	} {
		for _, class := range tt.rotation {
			s := healthy()
			if tt.doubt != noDoubt {
				s.Record.Doubt = &refresh.Doubt{Attempt: "a1", Worker: "w1", FirstSentAt: failedAt.Add(-tt.doubt)}
			}
			tt.answer.Class = tt.class
			r := refresh.AfterFailure(s.Record, definition(class), facts(failedAt), tt.answer, 0)
			if wait := r.RefreshAt.Sub(failedAt); r.State != tt.want.state || wait < tt.want.min || wait > tt.want.max {
				t.Errorf("%s, class %s, doubt since %v, retry after %v: %s, again after %v; want %+v",
					tt.class, class, tt.doubt, tt.answer.RetryAfter, r.State, wait, tt.want)
			}
		}
	}
}

// Whatever failed: the tokens stay, the claim ends, and the failure is counted.
func TestFailureTouchesNothingElse(t *testing.T) {
	t.Parallel()
	for _, class := range refresh.Classes() {
		if class == refresh.ClassOK || class == refresh.ClassFresh {
			continue
		}
		before := fullRecord()
		r := refresh.AfterFailure(before, definition(""), facts(failedAt), refresh.Judgement{Class: class, Code: "code"}, 418)
		want := refresh.Failure{Count: 3, Since: before.Failure.Since, Class: class, Code: "code", Status: 418, At: failedAt}
		if r.Claim != nil || *r.Failure != want || *r.Last != (refresh.Last{Attempt: "a9", Outcome: class, Reason: events.ReasonDemand}) {
			t.Errorf("%s: claim %+v, failure %+v, last %+v", class, r.Claim, r.Failure, r.Last)
		}
		if (r.Doubt.Attempt == "a9") != (class == refresh.ClassUnknown) || !r.Doubt.FirstSentAt.Equal(before.Doubt.FirstSentAt) {
			t.Errorf("%s: doubt %+v", class, r.Doubt)
		}
		r.Claim, r.Failure, r.Last, r.Doubt, r.State, r.RefreshAt = before.Claim, before.Failure, before.Last, before.Doubt, before.State, before.RefreshAt
		if !reflect.DeepEqual(r, before) {
			t.Errorf("%s: %+v, was %+v", class, r, before)
		}
	}
}

// The client's fault marks no credential, whatever its state.
func TestMisconfiguredMarksNobody(t *testing.T) {
	t.Parallel()
	for _, state := range []refresh.State{refresh.StateActive, refresh.StateRetrying, refresh.StateUncertain} {
		for _, class := range []provider.Rotation{provider.RotationNone, provider.RotationGrace, provider.RotationStrict} {
			s := healthy()
			s.Record.State = state
			s.Record.Failure = &refresh.Failure{Count: 9, Class: refresh.ClassRejected, At: noon}
			r := refresh.AfterFailure(s.Record, definition(class), facts(failedAt), refresh.Judgement{Class: refresh.ClassMisconfigured}, 401)
			if r.State != state || r.Doubt != nil || !r.RefreshAt.After(failedAt) {
				t.Errorf("%s, class %s: %s, doubt %+v, again at %v", state, class, r.State, r.Doubt, r.RefreshAt)
			}
		}
	}
}

func TestRejectionIsConfirmedBySecondWordAMinuteLater(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before    *refresh.Failure
		class     refresh.Class
		confirmed bool
	}{
		"the first word":                     {nil, refresh.ClassRejected, false},
		"a second one at once":               {&refresh.Failure{Class: refresh.ClassRejected, At: failedAt.Add(-time.Second)}, refresh.ClassRejected, false},
		"a second one 58 seconds later":      {&refresh.Failure{Class: refresh.ClassRejected, At: failedAt.Add(-58 * time.Second)}, refresh.ClassRejected, false},
		"a second one a minute later":        {&refresh.Failure{Class: refresh.ClassRejected, At: failedAt.Add(-time.Minute)}, refresh.ClassRejected, true},
		"a second one an hour later":         {&refresh.Failure{Class: refresh.ClassRejected, At: failedAt.Add(-time.Hour)}, refresh.ClassRejected, true},
		"after another failure":              {&refresh.Failure{Class: refresh.ClassUnknown, At: failedAt.Add(-time.Hour)}, refresh.ClassRejected, false},
		"another failure after the rejected": {&refresh.Failure{Class: refresh.ClassRejected, At: failedAt.Add(-time.Hour)}, refresh.ClassTransient, false},
	} {
		s := healthy()
		s.Record.Failure = tt.before
		r := refresh.AfterFailure(s.Record, definition(""), facts(failedAt), refresh.Judgement{Class: tt.class}, 400)
		if (r.State == refresh.StateReauthRequired) != tt.confirmed || r.RefreshAt.IsZero() != tt.confirmed {
			t.Errorf("%s: %s, due %v", name, r.State, r.RefreshAt)
		}
	}
}

// There is no hurry to ask again about a grant whose access token is good.
func TestRejectionIsAskedAboutAgainInGoodTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ left, wait time.Duration }{
		"good for long":   {time.Hour, 10 * time.Minute},
		"good for a bit":  {10 * time.Minute, 5 * time.Minute},
		"about to end":    {30 * time.Second, time.Minute},
		"over":            {-time.Hour, time.Minute},
		"without any end": {0, time.Minute},
	} {
		s := healthy()
		s.Record.ExpiresAt = failedAt.Add(tt.left)
		if tt.left == 0 {
			s.Record.ExpiresAt = time.Time{}
		}
		r := refresh.AfterFailure(s.Record, definition(""), facts(failedAt), refresh.Judgement{Class: refresh.ClassRejected}, 400)
		if wait := r.RefreshAt.Sub(failedAt); wait < tt.wait || wait > tt.wait*7/6 {
			t.Errorf("%s: asked again after %v, want %v and some", name, wait, tt.wait)
		}
	}
}

// Where the provider rejects everybody, its word about one grant counts for nothing, however often it says it.
func TestRejectionByASuspectIsNotConfirmed(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.Record.Failure = &refresh.Failure{Class: refresh.ClassRejected, At: failedAt.Add(-time.Hour)}
	f := facts(failedAt)
	f.Suspect = true
	r := refresh.AfterFailure(s.Record, definition(""), f, refresh.Judgement{Class: refresh.ClassRejected}, 400)
	if r.State != refresh.StateRetrying || r.RefreshAt.IsZero() {
		t.Errorf("%s, due %v", r.State, r.RefreshAt)
	}
}

func TestDeathLeavesADoubt(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.Record.Claim = &refresh.Claim{Attempt: "dead", Worker: "w1", TTL: provider.Duration(25 * time.Second), At: noon}
	doubt := &refresh.Doubt{Attempt: "dead", Worker: "w1", FirstSentAt: noon}
	r := refresh.AfterDeath(s.Record, definition(provider.RotationStrict), doubt, failedAt)
	if r.State != refresh.StateUncertain || r.Claim != nil || *r.Doubt != *doubt || !r.RefreshAt.Equal(noon.Add(59*time.Minute)) {
		t.Errorf("%s, claim %+v, doubt %+v, due %v", r.State, r.Claim, r.Doubt, r.RefreshAt)
	}
	if *r.Last != (refresh.Last{Attempt: "dead", Outcome: refresh.ClassUnknown}) || r.Failure.Code != "claim_died" || r.Failure.Count != 1 {
		t.Errorf("last %+v, failure %+v", r.Last, r.Failure)
	}
	s.Record.Last = &refresh.Last{Attempt: "before", Reason: events.ReasonCron}
	if r := refresh.AfterDeath(s.Record, definition(""), doubt, failedAt); r.Last.Reason != events.ReasonCron {
		t.Errorf("reason %q", r.Last.Reason)
	}
}

// A known outcome ends the doubt about its own attempt, and never that about an earlier one.
func TestAKnownOutcomeEndsNobodyElsesDoubt(t *testing.T) {
	t.Parallel()
	for name, earlier := range map[string]bool{"the only one": false, "one of two": true} {
		s := healthy()
		s.Record.Doubt = &refresh.Doubt{Attempt: facts(failedAt).ID, Worker: "w1", FirstSentAt: failedAt.Add(-time.Second), Earlier: earlier}
		r := refresh.AfterFailure(s.Record, definition(provider.RotationStrict), facts(failedAt), refresh.Judgement{Class: refresh.ClassThrottled}, 429)
		if (r.Doubt != nil) != earlier || (r.State == refresh.StateUncertain) != earlier {
			t.Errorf("%s: doubt %+v, %s", name, r.Doubt, r.State)
		}
	}
	claim := &refresh.Claim{Attempt: "a2", Worker: "w2", TTL: provider.Duration(25 * time.Second), At: noon.Add(time.Minute)}
	first := &refresh.Doubt{Attempt: "a1", Worker: "w1", FirstSentAt: noon}
	for name, doubt := range map[string]*refresh.Doubt{"after another": first, "alone": nil} {
		s := healthy()
		s.StoredAt, s.Record.Claim, s.Record.Doubt = noon.Add(time.Minute), claim, doubt
		d := refresh.Decide(refresh.Input{
			Job: refresh.Job{GrantID: "g", NewerThan: 3}, Stored: &s, Provider: definition(provider.RotationStrict), Now: noon.Add(10 * time.Minute),
		})
		if d.Doubt == nil || d.Doubt.Attempt != "a2" || d.Doubt.Earlier != (doubt != nil) {
			t.Errorf("a claim that died %s: %+v", name, d.Doubt)
		}
	}
}
