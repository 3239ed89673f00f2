package refresh_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestLead(t *testing.T) {
	t.Parallel()
	p := definition(provider.RotationStrict).Refresh // min 1m, max 15m
	for _, tt := range []struct{ lifetime, want time.Duration }{
		{time.Hour, 15 * time.Minute},
		{30 * time.Minute, 10 * time.Minute},
		{2 * time.Minute, time.Minute},
		{30 * time.Second, 15 * time.Second},
		{24 * time.Hour, 15 * time.Minute},
	} {
		if got := refresh.Lead(p, tt.lifetime); got != tt.want {
			t.Errorf("lead of a token that lives %s: %s, want %s", tt.lifetime, got, tt.want)
		}
	}
}

func TestRefreshAtLiesInTheTokensLife(t *testing.T) {
	t.Parallel()
	p := definition(provider.RotationStrict).Refresh
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(1, int64(90*24*time.Hour)).Draw(t, "lifetime"))
		at := refresh.RefreshAt(rapid.String().Draw(t, "key"), p, noon, noon.Add(life))
		latest := noon.Add(life - refresh.Lead(p, life))
		if floor := noon.Add(min(5*time.Second, life/10)); at.Before(floor) || at.After(latest) && at.After(floor) {
			t.Fatalf("a token that lives %s is due after %s", life, at.Sub(noon))
		}
	})
}

func TestRefreshAtSpreadsAnImport(t *testing.T) {
	t.Parallel()
	p := definition(provider.RotationStrict).Refresh
	minutes := make(map[int]int)
	for i := range 1000 {
		minutes[int(refresh.RefreshAt(fmt.Sprint("acme.user-", i), p, noon, noon.Add(time.Hour)).Sub(noon)/time.Minute)]++
	}
	for m, n := range minutes {
		if n > 300 {
			t.Errorf("%d of 1000 are due in minute %d", n, m)
		}
	}
	if len(minutes) < 6 {
		t.Errorf("1000 tokens with one end are due in %d minutes, want 6", len(minutes))
	}
}

func TestRefreshAtWithoutAnEnd(t *testing.T) {
	t.Parallel()
	if at := refresh.RefreshAt("acme.alice", provider.Refresh{}, noon, time.Time{}); !at.IsZero() {
		t.Errorf("due at %s", at)
	}
}

func TestEarlyRefusedHasNoJitter(t *testing.T) {
	t.Parallel()
	p := provider.Refresh{EarlyRefused: provider.Duration(30 * time.Second)}
	want := noon.Add(10*time.Minute - 30*time.Second + refresh.Early)
	if at := refresh.RefreshAt("acme.alice", p, noon, noon.Add(10*time.Minute)); !at.Equal(want) {
		t.Errorf("due at %s, want %s", at, want)
	}
}

func TestRetryAtBacksOffAndStillFitsTheToken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 1_000_000).Draw(t, "count")
		left := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "left"))
		wait := refresh.RetryAt(rapid.String().Draw(t, "key"), noon, noon.Add(left), count).Sub(noon)
		if wait < time.Second || wait > 5*time.Minute {
			t.Fatalf("failure %d is followed by a try after %s", count, wait)
		}
		share := left / 2
		if count < 3 {
			share = left / 4
		}
		if left > 8*time.Second && wait > share+time.Second {
			t.Fatalf("failure %d: with %s left the next try comes after %s", count, left, wait)
		}
	})
}

func TestLifetimeIsBounded(t *testing.T) {
	t.Parallel()
	p := definition(provider.RotationStrict).Refresh
	for _, tt := range []struct{ named, want time.Duration }{
		{0, time.Hour}, {30 * time.Minute, 30 * time.Minute}, {68 * 365 * 24 * time.Hour, 90 * 24 * time.Hour},
	} {
		if got := refresh.Lifetime(p, tt.named); got != tt.want {
			t.Errorf("expires_in %s counts as %s, want %s", tt.named, got, tt.want)
		}
	}
	p.DefaultLifetime = provider.Never
	if got := refresh.Lifetime(p, 0); got != 0 {
		t.Errorf("a token without an end lives %s", got)
	}
}
