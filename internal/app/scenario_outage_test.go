package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// maxBackoff is the longest wait between two tries.
const maxBackoff = 5 * time.Minute

// outage is one way in which a provider can be away.
type outage struct {
	name       string
	begin, end func(f *fleet)
	class      refresh.Class
	asks       time.Duration // the provider asks to be left alone for so long
}

func outages() []outage {
	faults := func(list ...authserver.Fault) func(*fleet) { return func(f *fleet) { f.must(f.auth.SetFaults(list)) } }
	refuse := func(on bool) func(*fleet) { return func(f *fleet) { f.refusing.Store(on) } }
	const asks = 30 * time.Second
	busy := authserver.Fault{Kind: authserver.FaultStatus, Status: 503, RetryAfter: asks}
	return []outage{
		{"connections refused", refuse(true), refuse(false), refresh.ClassTransient, 0},
		{"503 with Retry-After", faults(busy), faults(), refresh.ClassTransient, asks},
		{"500 without a word", faults(authserver.Fault{Kind: authserver.FaultStatus}), faults(), refresh.ClassUnknown, 0},
	}
}

// TestProviderIsDownForAnHour: whatever the provider's absence looks like, everybody waits longer and longer, nobody is
// given up, and the return is no herd.
func TestProviderIsDownForAnHour(t *testing.T) {
	for _, o := range outages() {
		t.Run(o.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				const n, rate, hands = 30, 2, 4
				f := newFleet(t, fleetConfig{
					Schedulers: 2, Workers: 2,
					Auth:     authserver.Config{Lifetime: staggered(n), Latency: 200 * time.Millisecond},
					Provider: func(d *provider.Definition) { d.Limits = provider.Limits{Concurrency: hands, Rate: rate} },
				})
				for i := range n {
					f.enrol(fmt.Sprintf("user-%04d", i))
				}
				time.Sleep(time.Minute)
				o.begin(f)
				time.Sleep(time.Hour)
				f.wantPatience(f.ended(), o)
				o.end(f)
				ended := time.Now()
				time.Sleep(2*maxBackoff + time.Minute)
				f.wantAllFresh(n)
				f.wantNoHerd(ended, rate, hands)
			})
		})
	}
}

// staggered lets the first access tokens of n accounts live from 20 minutes to an hour, all others an hour.
func staggered(n int) func(account string, nth int) time.Duration {
	return func(account string, nth int) time.Duration {
		var i int
		if _, err := fmt.Sscanf(account, "user-%d", &i); err != nil || nth > 1 {
			return time.Hour
		}
		return 20*time.Minute + time.Duration(i)*40*time.Minute/time.Duration(n)
	}
}

// wait is the time between two tries: how many failures went before, and whether the token had ended by then, so that
// nothing cut the backoff short.
type wait struct {
	failures int
	ended    bool
	took     time.Duration
}

// wantPatience judges the tries of an outage: no wait is longer than the backoff allows or shorter than the provider
// asks, they grow, and they differ from one credential to the other.
func (f *fleet) wantPatience(ends []result, o outage) {
	f.t.Helper()
	waits := f.waits(ends, o.class)
	if o.class != refresh.ClassTransient {
		return // by rotation class, which is not what this is about
	}
	var first, third, late []time.Duration
	for _, w := range waits {
		if w.took < o.asks || w.took > maxBackoff+10*time.Second {
			f.t.Errorf("waited %v after failure %d", w.took, w.failures)
		}
		switch {
		case w.failures == 1:
			first = append(first, w.took)
		case w.failures == 3:
			third = append(third, w.took)
		case w.failures > 8 && w.ended:
			late = append(late, w.took)
		}
	}
	f.t.Logf("waits after the first failure: median %v; late: %v", median(first), median(late))
	if len(late) == 0 || median(late) < 2*median(first) {
		f.t.Errorf("waits grew from %v to %v", median(first), median(late))
	}
	if slices.Max(third)-slices.Min(third) < slices.Max(third)/20 {
		f.t.Errorf("after the third failure all waited from %v to %v", slices.Min(third), slices.Max(third))
	}
}

// waits returns the times between the tries.
func (f *fleet) waits(ends []result, class refresh.Class) (waits []wait) {
	f.t.Helper()
	last := make(map[events.Credential]result)
	tries := make(map[events.Credential]int)
	most := 0
	for _, e := range ends {
		if e.Attempt == "" {
			continue
		}
		if e.Class != class {
			f.t.Errorf("%s: class %s, want %s: %s", e.Credential, e.Class, class, e.Detail)
		}
		if n := tries[e.Credential]; n > 0 {
			before := last[e.Credential]
			waits = append(waits, wait{n, before.Margin < 0, e.At.Sub(before.At)})
		}
		tries[e.Credential]++
		last[e.Credential] = e
		most = max(most, tries[e.Credential])
	}
	f.t.Logf("%d credentials were tried, at most %d times", len(tries), most)
	return waits
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// wantAllFresh fails the test unless n credentials are healthy and nobody was ever asked to log in again.
func (f *fleet) wantAllFresh(n int) {
	f.t.Helper()
	records := f.records()
	for key, s := range records {
		if r := s.Record; r.State != refresh.StateActive || !r.ExpiresAt.After(time.Now()) || r.Failure != nil || r.Doubt != nil {
			f.t.Errorf("%s is %s, its token ends at %v, failure %+v, doubt %+v", key, r.State, r.ExpiresAt, r.Failure, r.Doubt)
		}
	}
	if len(records) != n {
		f.t.Errorf("%d records, want %d", len(records), n)
	}
	if told := f.toldOf(events.TokenReauthRequired); len(told) > 0 {
		f.t.Errorf("%d were asked to log in again", len(told))
	}
	f.wantCleanLedger()
}

// wantNoHerd judges the requests since an outage ended.
func (f *fleet) wantNoHerd(since time.Time, rate, hands int) {
	f.t.Helper()
	seconds := make(map[int64]int)
	for _, at := range f.asked() {
		if at.After(since) {
			seconds[at.Unix()]++
		}
	}
	for s, count := range seconds {
		if count > rate {
			f.t.Errorf("%d requests in second %d after the outage, the rate is %d", count, s-since.Unix(), rate)
		}
	}
	if l := f.auth.Ledger(); int(l.MaxInFlight) > hands {
		f.t.Errorf("%d requests in flight, want %d at most", l.MaxInFlight, hands)
	}
}
