package schedule_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// issued is when the token of every test summary was issued: a Monday.
var issued = time.Date(2026, 3, 2, 10, 15, 0, 0, time.UTC)

// token is the summary of an hour's token that is renewed after 45 minutes.
func token(change func(*refresh.Summary)) refresh.Summary {
	s := refresh.Summary{
		State: refresh.StateActive, GrantID: "abcdefghijklmnop", Generation: 1, Version: 7,
		IssuedAt: issued, RefreshAt: issued.Add(45 * time.Minute), ExpiresAt: issued.Add(time.Hour),
	}
	if change != nil {
		change(&s)
	}
	return s
}

func policy(t testing.TB, cron string, keepAlive time.Duration) schedule.Policy {
	t.Helper()
	p := schedule.Policy{KeepAlive: keepAlive}
	if cron != "" {
		var err error
		if p.Cron, err = provider.ParseCron(cron); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestNext(t *testing.T) {
	t.Parallel()
	refreshAt, none := issued.Add(45*time.Minute), time.Time{}
	for _, tt := range []struct {
		name      string
		summary   refresh.Summary
		cron      string
		keepAlive time.Duration
		at        time.Time
		reason    events.Reason
	}{
		{"a healthy token is due at refresh_at", token(nil), "", 0, refreshAt, events.ReasonScheduled},
		{"a retry is due at its backoff", token(func(s *refresh.Summary) { s.State = refresh.StateRetrying }), "", 0, refreshAt, events.ReasonScheduled},
		{"a doubt is due at refresh_at", token(func(s *refresh.Summary) { s.State = refresh.StateUncertain }), "", 0, refreshAt, events.ReasonScheduled},
		{"an earlier cron instant wins", token(nil), "30 10 * * *", 0, issued.Add(15 * time.Minute), events.ReasonCron},
		{"a later cron instant does not", token(nil), "30 11 * * *", 0, refreshAt, events.ReasonScheduled},
		{"an instant is served once", token(func(s *refresh.Summary) { s.IssuedAt = issued.Add(15*time.Minute - time.Second) }), "30 10 * * *", 0, refreshAt, events.ReasonScheduled},
		{"cron knows time zones", token(nil), "CRON_TZ=Asia/Tokyo 30 19 * * *", 0, issued.Add(15 * time.Minute), events.ReasonCron},
		{"an earlier keep-alive wins", token(nil), "", 20 * time.Minute, issued.Add(20 * time.Minute), events.ReasonKeepAlive},
		{"the earliest of three wins", token(nil), "30 10 * * *", 10 * time.Minute, issued.Add(10 * time.Minute), events.ReasonKeepAlive},
		{"never keeps nothing alive", token(nil), "", provider.Never.Std(), refreshAt, events.ReasonScheduled},
		{"a retry obeys its backoff whatever the policy", token(func(s *refresh.Summary) { s.State = refresh.StateRetrying }), "30 10 * * *", time.Minute, refreshAt, events.ReasonScheduled},
		{"a doubt likewise", token(func(s *refresh.Summary) { s.State = refresh.StateUncertain }), "30 10 * * *", time.Minute, refreshAt, events.ReasonScheduled},
		{"a failure that marks nobody likewise", token(func(s *refresh.Summary) { s.FailureClass = refresh.ClassMisconfigured }), "30 10 * * *", time.Minute, refreshAt, events.ReasonScheduled},
		{"a token without an end lives by policy", token(func(s *refresh.Summary) { s.RefreshAt, s.ExpiresAt = none, none }), "", 24 * time.Hour, issued.Add(24 * time.Hour), events.ReasonKeepAlive},
		{"without refresh_at and policy it is never due", token(func(s *refresh.Summary) { s.RefreshAt = none }), "", 0, none, ""},
		{"no policy without a token", token(func(s *refresh.Summary) { s.IssuedAt = none }), "30 10 * * *", time.Minute, refreshAt, events.ReasonScheduled},
		{"a paused one is never due", token(func(s *refresh.Summary) { s.Paused = true }), "30 10 * * *", time.Minute, none, ""},
		{"nor one that waits for a person", token(func(s *refresh.Summary) { s.State = refresh.StateReauthRequired }), "30 10 * * *", time.Minute, none, ""},
		{"nor a revoked one", token(func(s *refresh.Summary) { s.State = refresh.StateRevoked }), "30 10 * * *", time.Minute, none, ""},
		{"nor a deleted one", token(func(s *refresh.Summary) { s.State = refresh.StateDeleted }), "30 10 * * *", time.Minute, none, ""},
		{"nor one in a state of a newer version", token(func(s *refresh.Summary) { s.State = "resting" }), "30 10 * * *", time.Minute, none, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, reason := schedule.Next(tt.summary, policy(t, tt.cron, tt.keepAlive))
			if !at.Equal(tt.at) || reason != tt.reason {
				t.Errorf("due at %v (%s), want %v (%s)", at, reason, tt.at, tt.reason)
			}
		})
	}
}

// TestNextHoldsForAll: whatever the record, a job is due at one of its instants, the earliest; and once a token was
// issued at that instant, the next one is later.
func TestNextHoldsForAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		minutes := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(1, 5000).Draw(rt, name)) * time.Minute
		}
		s := token(func(s *refresh.Summary) { s.RefreshAt = issued.Add(minutes("refresh")) })
		p := policy(t, rapid.SampledFrom([]string{"", "*/7 * * * *", "@daily", "@every 90m"}).Draw(rt, "cron"), 0)
		if rapid.Bool().Draw(rt, "keep alive") {
			p.KeepAlive = minutes("keep alive for")
		}
		at, reason := schedule.Next(s, p)
		if at.After(s.RefreshAt) || at.IsZero() {
			rt.Fatalf("due at %v, after refresh_at %v", at, s.RefreshAt)
		}
		if p.KeepAlive > 0 && at.After(issued.Add(p.KeepAlive)) {
			rt.Fatalf("due at %v, after the keep-alive", at)
		}
		if reason == events.ReasonScheduled && !at.Equal(s.RefreshAt) {
			rt.Fatalf("scheduled at %v, want refresh_at %v", at, s.RefreshAt)
		}
		s.IssuedAt, s.RefreshAt = at.Add(-time.Second), at.Add(minutes("next refresh")) // the worker's clock is a second behind
		if next, _ := schedule.Next(s, p); !next.After(at) {
			rt.Fatalf("due at %v again (%v)", at, next)
		}
	})
}

func TestEffectivePolicyIsTheCredentialsFieldByField(t *testing.T) {
	t.Parallel()
	of := provider.Refresh{Cron: "@daily", KeepAlive: provider.Duration(time.Hour)}
	for _, tt := range []struct {
		name      string
		own, want refresh.Policy
	}{
		{"none of its own", refresh.Policy{}, refresh.Policy{Cron: "@daily", KeepAlive: of.KeepAlive}},
		{"its own cron", refresh.Policy{Cron: "@weekly"}, refresh.Policy{Cron: "@weekly", KeepAlive: of.KeepAlive}},
		{"its own keep-alive", refresh.Policy{KeepAlive: provider.Never}, refresh.Policy{Cron: "@daily", KeepAlive: provider.Never}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := schedule.Effective(tt.own, of); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAnnouncementsAhead(t *testing.T) {
	t.Parallel()
	life := func(d time.Duration) refresh.Summary {
		return token(func(s *refresh.Summary) { s.ExpiresAt = issued.Add(d) })
	}
	grant := func(d time.Duration) refresh.Summary {
		return token(func(s *refresh.Summary) { s.GrantExpiresAt = issued.Add(d) })
	}
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name  string
		at    func(refresh.Summary) time.Time
		of    refresh.Summary
		want  time.Duration // after issued
		never bool
	}{
		{"expiring: a minute ahead at most", schedule.ExpiringAt, life(time.Hour), 59 * time.Minute, false},
		{"expiring: a twentieth of the lifetime", schedule.ExpiringAt, life(10 * time.Minute), 9*time.Minute + 30*time.Second, false},
		{"expiring: a second at least", schedule.ExpiringAt, life(10 * time.Second), 9 * time.Second, false},
		{"expiring: a token without an end", schedule.ExpiringAt, token(func(s *refresh.Summary) { s.ExpiresAt = time.Time{} }), 0, true},
		{"expiring: paused ones too", schedule.ExpiringAt, token(func(s *refresh.Summary) { s.Paused = true }), 59 * time.Minute, false},
		{"expiring: not when a person was asked already", schedule.ExpiringAt, token(func(s *refresh.Summary) { s.State = refresh.StateReauthRequired }), 0, true},
		{"expiring: a minute when the issue is not known", schedule.ExpiringAt, token(func(s *refresh.Summary) { s.IssuedAt = time.Time{} }), 59 * time.Minute, false},
		{"reauth: seven days ahead", schedule.ReauthAt, grant(30 * day), 23 * day, false},
		{"reauth: half of what is left", schedule.ReauthAt, grant(30 * time.Minute), 15 * time.Minute, false},
		{"reauth: a grant without an end", schedule.ReauthAt, token(nil), 0, true},
		{"reauth: not for a tombstone", schedule.ReauthAt, token(func(s *refresh.Summary) {
			s.State, s.GrantExpiresAt = refresh.StateRevoked, issued.Add(day)
		}), 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := issued.Add(tt.want)
			if tt.never {
				want = time.Time{}
			}
			if got := tt.at(tt.of); !got.Equal(want) {
				t.Errorf("told at %v, want %v", got, want)
			}
		})
	}
}

func TestJobSaysWhatIsWanted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cron string
		want refresh.Job
	}{
		{"a newer version", "", refresh.Job{Reason: events.ReasonScheduled, GrantID: "abcdefghijklmnop", NewerThan: 7}},
		{"a token issued after the instant", "30 10 * * *", refresh.Job{
			Reason: events.ReasonCron, GrantID: "abcdefghijklmnop", NewerThan: 7, IssuedAfter: issued.Add(15 * time.Minute),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := schedule.Plan(token(nil), 42, policy(t, tt.cron, 0)).Job(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	if got := schedule.PlanHeaderless(issued, 3); got.Job().GrantID != "" || !got.Due.Equal(issued) {
		t.Errorf("a record without headers is planned as %+v", got)
	}
}
