package refresh_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// noon is when these tests take place; the token under test was issued an hour's lifetime before and ends at one.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func healthy() refresh.Stored {
	return refresh.Stored{Revision: 7, StoredAt: noon, Record: refresh.Record{
		V: 1, Provider: "acme", Account: "alice", GrantID: "g", Generation: 1, Version: 3, State: refresh.StateActive,
		IssuedAt: noon, ExpiresAt: noon.Add(time.Hour), RefreshAt: noon.Add(40 * time.Minute),
	}}
}

func definition(r provider.Rotation) *provider.Definition {
	d := provider.Definition{Name: "acme", TokenURL: "https://acme.example/token", ClientID: "c", Rotation: r}
	if r == provider.RotationGrace {
		d.RotationGrace = provider.Duration(2 * time.Minute)
	}
	d = d.WithDefaults()
	return &d
}

func TestDecide(t *testing.T) {
	t.Parallel()
	scheduled := refresh.Job{Reason: events.ReasonScheduled, GrantID: "g", NewerThan: 3}
	demand := refresh.Job{Reason: events.ReasonDemand, GrantID: "g", NewerThan: 3}
	refused := refresh.Job{Reason: events.ReasonDemand, GrantID: "g", NewerThan: 3, Refused: true}
	cron := refresh.Job{Reason: events.ReasonCron, GrantID: "g", NewerThan: 3, IssuedAfter: noon.Add(10 * time.Minute)}
	claim := func(s *refresh.Stored) {
		s.Record.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", TTL: provider.Duration(25 * time.Second), At: noon}
	}
	doubt := func(s *refresh.Stored) {
		s.Record.State = refresh.StateUncertain
		s.Record.Doubt = &refresh.Doubt{Attempt: "a1", Worker: "w1", FirstSentAt: noon.Add(10 * time.Minute)}
		s.Record.Failure = &refresh.Failure{Count: 1, Class: refresh.ClassUnknown, At: noon.Add(10 * time.Minute)}
		s.Record.RefreshAt = noon.Add(59 * time.Minute)
	}
	rejected := func(s *refresh.Stored) {
		s.Record.State = refresh.StateRetrying
		s.Record.Failure = &refresh.Failure{Count: 1, Class: refresh.ClassRejected, At: noon.Add(40 * time.Minute)}
		s.Record.RefreshAt = noon.Add(50 * time.Minute)
	}
	failed := func(s *refresh.Stored) {
		s.Record.State = refresh.StateRetrying
		s.Record.Failure = &refresh.Failure{Count: 1, Class: refresh.ClassTransient, At: noon.Add(40 * time.Minute)}
		s.Record.RefreshAt = noon.Add(41 * time.Minute)
	}
	for _, tt := range []struct {
		name     string
		job      refresh.Job
		edit     func(*refresh.Stored)
		rotation provider.Rotation
		after    time.Duration
		action   refresh.Action
		why      refresh.Why
	}{
		{"due", scheduled, nil, "", 40 * time.Minute, refresh.ActionAttempt, refresh.WhyDue},
		{"due by a clock that is a little ahead", scheduled, nil, "", 40*time.Minute - 900*time.Millisecond, refresh.ActionAttempt, refresh.WhyDue},
		{"not due", scheduled, nil, "", 30 * time.Minute, refresh.ActionNotDue, refresh.WhyBeforeRefresh},
		{"never due", scheduled, func(s *refresh.Stored) { s.Record.RefreshAt = time.Time{} }, "", 24 * time.Hour, refresh.ActionNotDue, refresh.WhyBeforeRefresh},
		{"somebody was faster", scheduled, func(s *refresh.Stored) { s.Record.Version = 4 }, "", 40 * time.Minute, refresh.ActionFresh, refresh.WhyHasNewer},
		{"another grant", scheduled, func(s *refresh.Stored) { s.Record.GrantID = "h" }, "", 40 * time.Minute, refresh.ActionFresh, refresh.WhyOtherGrant},
		{"withdrawn", scheduled, func(s *refresh.Stored) { s.Record.State = refresh.StateRevoked }, "", 40 * time.Minute, refresh.ActionNotDue, refresh.WhyWithdrawn},
		{"paused", demand, func(s *refresh.Stored) { s.Record.Paused = &provider.Pause{By: "operator"} }, "", 40 * time.Minute, refresh.ActionNotDue, refresh.WhyPaused},
		{"needs a person", demand, func(s *refresh.Stored) { s.Record.State = refresh.StateReauthRequired }, "", 40 * time.Minute, refresh.ActionNotDue, refresh.WhyReauth},

		{"a demand does not wait for refresh_at", demand, nil, "", time.Minute, refresh.ActionAttempt, refresh.WhyDemanded},
		{"a demand right after a success", demand, nil, "", 4 * time.Second, refresh.ActionNotDue, refresh.WhyTooSoon},
		{"a demand obeys backoff", demand, failed, "", 40*time.Minute + 30*time.Second, refresh.ActionNotDue, refresh.WhyBackoff},
		{"backoff is over", scheduled, failed, "", 41 * time.Minute, refresh.ActionAttempt, refresh.WhyDue},
		{"a dead token does not wait for the second word", refused, rejected, "", 41 * time.Minute, refresh.ActionAttempt, refresh.WhyDemanded},
		{"a second word in the same minute is none", refused, rejected, "", 40*time.Minute + 50*time.Second, refresh.ActionNotDue, refresh.WhyBackoff},
		{"a live token waits for the second word", demand, rejected, "", 41 * time.Minute, refresh.ActionNotDue, refresh.WhyBackoff},
		{"cron before refresh_at", cron, nil, "", 10 * time.Minute, refresh.ActionAttempt, refresh.WhyDue},
		{"cron, issued since", cron, func(s *refresh.Stored) { s.Record.IssuedAt = noon.Add(11 * time.Minute) }, "", 12 * time.Minute, refresh.ActionFresh, refresh.WhyIssuedSince},
		{"cron obeys backoff", cron, failed, "", 40 * time.Minute, refresh.ActionNotDue, refresh.WhyBackoff},

		{"a live claim", demand, claim, provider.RotationNone, 24 * time.Second, refresh.ActionBusy, refresh.WhyClaimed},
		{"a dead claim in quarantine", demand, claim, provider.RotationNone, 44 * time.Second, refresh.ActionBusy, refresh.WhyClaimed},
		{"a dead claim, class none", demand, claim, provider.RotationNone, time.Minute, refresh.ActionAttempt, refresh.WhyRetryAllowed},
		{"a dead claim, class overlap", demand, claim, provider.RotationOverlap, time.Minute, refresh.ActionAttempt, refresh.WhyRetryAllowed},
		{"a dead claim, class until_used", demand, claim, provider.RotationUntilUsed, time.Minute, refresh.ActionAttempt, refresh.WhyRetryAllowed},
		{"a dead claim within grace", demand, claim, provider.RotationGrace, time.Minute, refresh.ActionAttempt, refresh.WhyRetryAllowed},
		{"a dead claim after grace", demand, claim, provider.RotationGrace, 3 * time.Minute, refresh.ActionResolve, refresh.WhyDeadClaim},
		{"a dead claim whose second try would end after grace", demand, claim, provider.RotationGrace, 2*time.Minute - 20*time.Second, refresh.ActionResolve, refresh.WhyDeadClaim},
		{"a dead claim, class strict", demand, claim, provider.RotationStrict, time.Minute, refresh.ActionResolve, refresh.WhyDeadClaim},

		{"doubt, strict, token alive", scheduled, doubt, provider.RotationStrict, 40 * time.Minute, refresh.ActionNotDue, refresh.WhyDoubtHolds},
		{"doubt, strict, a demand without a refusal", demand, doubt, provider.RotationStrict, 40 * time.Minute, refresh.ActionNotDue, refresh.WhyDoubtHolds},
		{"doubt, strict, token refused", refused, doubt, provider.RotationStrict, 40 * time.Minute, refresh.ActionAttempt, refresh.WhyLastTry},
		{"doubt, strict, token at its end", scheduled, doubt, provider.RotationStrict, 59 * time.Minute, refresh.ActionAttempt, refresh.WhyLastTry},
		{"doubt, strict, token without an end", scheduled, func(s *refresh.Stored) { doubt(s); s.Record.ExpiresAt = time.Time{} }, provider.RotationStrict, 240 * time.Hour, refresh.ActionNotDue, refresh.WhyDoubtHolds},
		{"doubt, strict, a last try was made a moment ago", scheduled, func(s *refresh.Stored) {
			doubt(s)
			s.Record.Failure = &refresh.Failure{Count: 2, Class: refresh.ClassUnknown, At: noon.Add(59 * time.Minute)}
			s.Record.RefreshAt = noon.Add(59*time.Minute + 20*time.Second)
		}, provider.RotationStrict, 59*time.Minute + 10*time.Second, refresh.ActionNotDue, refresh.WhyBackoff},
		{"doubt, class none", scheduled, func(s *refresh.Stored) { doubt(s); s.Record.RefreshAt = noon.Add(11 * time.Minute) }, provider.RotationNone, 11 * time.Minute, refresh.ActionAttempt, refresh.WhyRetryAllowed},
		{"doubt, class none, backing off", demand, doubt, provider.RotationNone, 11 * time.Minute, refresh.ActionNotDue, refresh.WhyBackoff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			if tt.edit != nil {
				tt.edit(&s)
			}
			got := refresh.Decide(refresh.Input{Job: tt.job, Stored: &s, Provider: definition(tt.rotation), Now: noon.Add(tt.after)})
			if got.Action != tt.action || got.Why != tt.why {
				t.Errorf("got %s because %s, want %s because %s", got.Action, got.Why, tt.action, tt.why)
			}
		})
	}
}

func TestDoubtKeepsTheFirstSending(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.StoredAt = noon.Add(20 * time.Second) // rewritten since, by a pause
	s.Record.Claim = &refresh.Claim{Attempt: "a2", Worker: "w2", TTL: provider.Duration(25 * time.Second), At: noon.Add(time.Second)}
	job := refresh.Job{Reason: events.ReasonDemand, NewerThan: 3}
	in := refresh.Input{Job: job, Stored: &s, Provider: definition(provider.RotationStrict), Now: noon.Add(2 * time.Minute)}
	if got := refresh.Decide(in).Doubt; got == nil || got.Attempt != "a2" || !got.FirstSentAt.Equal(noon.Add(time.Second)) {
		t.Errorf("a dead claim gives doubt %+v", got)
	}
	in.Stored.Record.Doubt = &refresh.Doubt{Attempt: "a1", Worker: "w1", FirstSentAt: noon.Add(-time.Minute)}
	if got := refresh.Decide(in).Doubt; got == nil || got.Attempt != "a2" || !got.FirstSentAt.Equal(noon.Add(-time.Minute)) {
		t.Errorf("a second dead claim gives doubt %+v", got)
	}
}
