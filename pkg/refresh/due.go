package refresh

import (
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

const (
	// minAge: no refresh sooner than this after a success, or than a tenth of the lifetime if that is shorter.
	minAge = 5 * time.Second
	// firstBackoff and maxBackoff bound the wait after failures; it doubles in between.
	firstBackoff = 5 * time.Second
	maxBackoff   = 5 * time.Minute
	// minBackoff keeps a token about to expire from being tried in a tight loop.
	minBackoff = time.Second
	// confirmRejection is how long after the provider's first word that a grant is dead it is asked again.
	confirmRejection = time.Minute
	// maxConfirmWait bounds how much longer that may take where the access token is still good.
	maxConfirmWait = 10 * time.Minute
	// minLastTry and maxLastTry bound how long before the end of an access token nothing counts as left to lose.
	minLastTry = time.Second
	maxLastTry = time.Minute
)

// Lead is how long before its end a token of this lifetime is renewed:
// min(clamp(lifetime/3, min_lead, max_lead), lifetime/2).
func Lead(p provider.Refresh, lifetime time.Duration) time.Duration {
	lead := min(max(lifetime/3, p.MinLead.Std()), p.MaxLead.Std())
	return min(lead, lifetime/2)
}

// Early is how much before a healthy record's refresh_at its job may be published, so that a scheduler that counts whole seconds can
// be in time. Whatever must not come too soon is counted from there.
const Early = 250 * time.Millisecond

// RefreshAt is when a token issued at issuedAt is renewed. It is zero, never, for a token without an end.
// Jitter depends on the key alone and only makes it earlier, up to a tenth of the lifetime, so that a bulk import
// does not come back as one spike.
func RefreshAt(key string, p provider.Refresh, issuedAt, expiresAt time.Time) time.Time {
	if expiresAt.IsZero() {
		return time.Time{}
	}
	if p.EarlyRefused > 0 {
		return expiresAt.Add(Early - p.EarlyRefused.Std())
	}
	lifetime := expiresAt.Sub(issuedAt)
	at := expiresAt.Add(-Lead(p, lifetime) - spread(key, 0, lifetime/10))
	if earliest := issuedAt.Add(minAgeOf(lifetime)); at.Before(earliest) {
		return earliest
	}
	return at
}

// Lifetime is what a reply's expires_in comes to under the provider's policy; 0 stands for "no end".
func Lifetime(p provider.Refresh, named time.Duration) time.Duration {
	switch {
	case named > 0:
		return min(named, p.MaxLifetime.Std())
	case p.DefaultLifetime == provider.Never:
		return 0
	default:
		return p.DefaultLifetime.Std()
	}
}

// RetryAt is when the count-th failure in a row is followed by another try: exponential backoff with full jitter,
// shortened so that several tries fit before the token ends, but less and less with each failure: a provider that is down
// has nothing from many.
func RetryAt(key string, now, expiresAt time.Time, count int) time.Time {
	wait := min(firstBackoff<<min(max(count-1, 0), 10), maxBackoff)
	if left := expiresAt.Sub(now); left > 0 {
		patience := minBackoff << min(max(count-1, 0), 10)
		wait = min(wait, max(left/4, min(patience, left/2)))
	}
	wait = max(wait, minBackoff)
	return now.Add(minBackoff + spread(key, count, wait-minBackoff))
}

// LastTryAt is when nothing is left to lose for a token: shortly before its end. Zero: it has no end.
func LastTryAt(issuedAt, expiresAt time.Time) time.Time {
	if expiresAt.IsZero() {
		return time.Time{}
	}
	lead := min(max(expiresAt.Sub(issuedAt)/20, minLastTry), maxLastTry)
	return expiresAt.Add(-lead)
}

func minAgeOf(lifetime time.Duration) time.Duration {
	if lifetime <= 0 {
		return minAge
	}
	return min(minAge, lifetime/10)
}

// spread maps (key, n) to a duration in [0, span), evenly and the same each time (FNV-1a, then mixed).
func spread(key string, n int, span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= uint64(n) * 0x9E3779B97F4A7C15
	h ^= h >> 33
	h *= 0xFF51AFD7ED558CCD
	h ^= h >> 33
	return time.Duration(h % uint64(span))
}
