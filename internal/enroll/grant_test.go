package enroll_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

var t0 = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

func TestTimes(t *testing.T) {
	t.Parallel()
	access, refreshToken := seal.NewSecret("a"), seal.NewSecret("r")
	never := provider.Refresh{DefaultLifetime: provider.Never}
	tests := []struct {
		name                           string
		policy                         provider.Refresh
		grant                          enroll.NewGrant
		issued, expires, grantExpires  time.Duration // from t0; noTime: zero
		earliestRefresh, latestRefresh time.Duration // noTime: never due
	}{
		{
			name:   "a token endpoint's answer counts from the start of the request",
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken, Lifetime: time.Hour, StartedAt: t0.Add(-2 * time.Second)},
			issued: -2 * time.Second, expires: time.Hour - 2*time.Second, grantExpires: noTime,
			earliestRefresh: 39*time.Minute - 2*time.Second, latestRefresh: 45*time.Minute - 2*time.Second,
		},
		{
			name:   "a refresh token with an end of its own",
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken, Lifetime: time.Hour, GrantLifetime: 24 * time.Hour},
			issued: 0, expires: time.Hour, grantExpires: 24 * time.Hour, earliestRefresh: 39 * time.Minute, latestRefresh: 45 * time.Minute,
		},
		{
			name:   "no lifetime named: the provider's default",
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken},
			issued: 0, expires: time.Hour, grantExpires: noTime, earliestRefresh: 39 * time.Minute, latestRefresh: 45 * time.Minute,
		},
		{
			name: "no lifetime named, and the provider's tokens have no end", policy: never,
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken},
			issued: 0, expires: noTime, grantExpires: noTime, earliestRefresh: noTime, latestRefresh: noTime,
		},
		{
			name:   "an absurd end is bounded",
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken, ExpiresAt: t0.Add(1000 * 24 * time.Hour)},
			issued: 0, expires: 90 * 24 * time.Hour, grantExpires: noTime,
			earliestRefresh: 80 * 24 * time.Hour, latestRefresh: 90 * 24 * time.Hour,
		},
		{
			name:   "imported with most of its life left",
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken, ExpiresAt: t0.Add(50 * time.Minute)},
			issued: 0, expires: 50 * time.Minute, grantExpires: noTime, earliestRefresh: 29 * time.Minute, latestRefresh: 35 * time.Minute,
		},
		{
			name:   "imported when it should have been refreshed already",
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken, ExpiresAt: t0.Add(10 * time.Minute)},
			issued: 0, expires: 10 * time.Minute, grantExpires: noTime, earliestRefresh: 5 * time.Minute, latestRefresh: 7 * time.Minute,
		},
		{
			name:   "imported after its end",
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken, ExpiresAt: t0.Add(-time.Minute)},
			issued: -time.Minute, expires: -time.Minute, grantExpires: noTime, earliestRefresh: 0, latestRefresh: 0,
		},
		{
			name: "imported at a provider that refuses early refreshes", policy: provider.Refresh{EarlyRefused: provider.Duration(time.Hour)},
			grant:  enroll.NewGrant{AccessToken: access, RefreshToken: refreshToken, ExpiresAt: t0.Add(30 * time.Minute)},
			issued: 0, expires: 30 * time.Minute, grantExpires: noTime, earliestRefresh: 0, latestRefresh: 0,
		},
		{
			name:   "a refresh token alone is due at once, with nothing to lose",
			grant:  enroll.NewGrant{RefreshToken: refreshToken, ExpiresAt: t0.Add(time.Hour)},
			issued: 0, expires: 0, grantExpires: noTime, earliestRefresh: 0, latestRefresh: 0,
		},
		{
			name:   "an access token alone is never due and ends the grant",
			grant:  enroll.NewGrant{AccessToken: access, Lifetime: time.Hour},
			issued: 0, expires: time.Hour, grantExpires: time.Hour, earliestRefresh: noTime, latestRefresh: noTime,
		},
		{
			name: "an access token alone without an end", policy: never,
			grant:  enroll.NewGrant{AccessToken: access},
			issued: 0, expires: noTime, grantExpires: noTime, earliestRefresh: noTime, latestRefresh: noTime,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := enroll.TimesOf("acme.alice", provider.Definition{Refresh: tt.policy}.WithDefaults().Refresh, tt.grant, t0)
			for i, want := range []time.Duration{tt.issued, tt.expires, noTime, tt.grantExpires} {
				if i != 2 && !got[i].Equal(at(want)) {
					t.Errorf("instant %d is %s, want %s", i, got[i], at(want))
				}
			}
			if due := got[2]; due.Before(at(tt.earliestRefresh)) || due.After(at(tt.latestRefresh)) {
				t.Errorf("due %s, want between %s and %s", due, at(tt.earliestRefresh), at(tt.latestRefresh))
			}
		})
	}
}

// noTime stands for the zero time.
const noTime = time.Duration(-1 << 63)

func at(d time.Duration) time.Time {
	if d == noTime {
		return time.Time{}
	}
	return t0.Add(d)
}

func TestBulkImportWithOneEndSpreads(t *testing.T) {
	t.Parallel()
	const accounts, buckets = 1000, 10
	for _, left := range []time.Duration{5 * time.Minute, 25 * time.Minute, time.Hour, 24 * time.Hour} {
		t.Run(left.String(), func(t *testing.T) {
			t.Parallel()
			g := enroll.NewGrant{AccessToken: seal.NewSecret("a"), RefreshToken: seal.NewSecret("r"), ExpiresAt: t0.Add(left)}
			first, last := t0.Add(left), t0
			var due []time.Time
			for i := range accounts {
				at := enroll.TimesOf(fmt.Sprint("acme.user", i), acme().Refresh, g, t0)[2]
				due = append(due, at)
				if at.Before(first) {
					first = at
				}
				if at.After(last) {
					last = at
				}
			}
			if span := last.Sub(first); span < left/11 {
				t.Fatalf("all due within %s", span)
			}
			var full [buckets]int
			for _, at := range due {
				full[min(int(at.Sub(first)*buckets/last.Sub(first)), buckets-1)]++
			}
			for i, n := range full {
				if n > 2*accounts/buckets {
					t.Errorf("%d of %d are due in tenth %d of the time", n, accounts, i)
				}
			}
		})
	}
}

// Whatever is imported is due between now and its end, or never.
func TestTimesProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := provider.Refresh{
			MinLead:      provider.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "min lead")),
			EarlyRefused: provider.Duration(rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(t, "early refused")),
		}
		p = provider.Definition{Refresh: p}.WithDefaults().Refresh
		g := enroll.NewGrant{
			AccessToken:  seal.NewSecret(rapid.SampledFrom([]string{"", "a"}).Draw(t, "access")),
			RefreshToken: seal.NewSecret(rapid.SampledFrom([]string{"r", "r", ""}).Draw(t, "refresh")),
			ExpiresAt:    t0.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(200*24*time.Hour)).Draw(t, "left"))),
		}
		got := enroll.TimesOf("acme.x", p, g, t0)
		issued, expires, due := got[0], got[1], got[2]
		switch {
		case issued.After(t0), expires.Before(issued), expires.After(t0.Add(p.MaxLifetime.Std())):
			t.Fatalf("issued %s, expires %s", issued, expires)
		case g.RefreshToken.IsZero() != due.IsZero() && !g.AccessToken.IsZero():
			t.Fatalf("due %s", due)
		case !due.IsZero() && due.Before(t0):
			t.Fatalf("due %s, before now", due)
		case !due.IsZero() && expires.After(t0) && due.After(expires):
			t.Fatalf("due %s, after its end %s", due, expires)
		}
	})
}
