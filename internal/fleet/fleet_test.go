package fleet_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// staggered makes the first access token of each account live two thirds to all of a lifetime, so that a fleet does
// not begin with one wave.
func staggered(life time.Duration) func(string, int) time.Duration {
	return func(account string, n int) time.Duration {
		if n > 1 {
			return 0
		}
		sum := 0
		for _, ch := range account {
			sum = sum*31 + int(ch)
		}
		return life*2/3 + life/3*time.Duration(sum%97)/96
	}
}

// strict is a provider that forgives nothing. Its tokens are renewed halfway through their lives. A timeout is far more
// than a request needs, so that a busy machine makes no outcome unknown, and a third of the time that a dead worker's
// job waits for the next one.
func strict(life, timeout time.Duration) fleet.Config {
	return fleet.Config{
		Auth: authserver.Config{
			Rotation: authserver.RotationStrict, AccessLifetime: life, Lifetime: staggered(life), Latency: 50 * time.Millisecond,
		},
		Refresh: provider.Refresh{MinLead: provider.Duration(life / 2)},
		Limits:  provider.Limits{Concurrency: 32, Timeout: provider.Duration(timeout)},
	}
}

// Two schedulers and three workers, of which one each is stopped and comes back. Nobody notices.
func TestRollingRestartCostsNothing(t *testing.T) {
	t.Parallel()
	const credentials = 500
	ctx := within(t, 80*time.Second)
	f := start(ctx, t, strict(24*time.Second, 10*time.Second))
	must(t, f.Enrol(ctx, credentials))
	w1, s1 := worker(ctx, t, f, "worker-1"), scheduler(ctx, t, f, "scheduler-1")
	w2, w3, s2 := worker(ctx, t, f, "worker-2"), worker(ctx, t, f, "worker-3"), scheduler(ctx, t, f, "scheduler-2")
	must(t, w1.Await(ctx, `"message":"refreshed"`, 20))
	stop(ctx, t, w1, workerStopped)
	stop(ctx, t, s1, schedulerStopped)
	must(t, f.AwaitRenewals(ctx, 1))
	w1, s1 = worker(ctx, t, f, "worker-1"), scheduler(ctx, t, f, "scheduler-1")
	must(t, f.AwaitRenewals(ctx, 1))
	must(t, w1.Await(ctx, `"message":"refreshed"`, 20))
	for _, s := range []*fleet.Process{s1, s2} {
		stop(ctx, t, s, schedulerStopped)
	}
	for _, w := range []*fleet.Process{w1, w2, w3} {
		stop(ctx, t, w, workerStopped)
	}
	v := judge(ctx, t, f)
	if v.Fewest < 3 {
		t.Errorf("some credential has %d versions only: the test is too short", v.Fewest)
	}
	wantEqual(t, "credentials that go on", v.States[refresh.StateActive]+v.States[refresh.StateRetrying], credentials)
	wantEqual(t, "access tokens that ended before their renewal", v.Heard.Late, 0)
	wantEqual(t, "last tries", v.Ledger.LastTries, 0)
	wantEqual(t, "refreshes answered", int(v.Ledger.Refreshes), v.Versions-credentials)
	wantEqual(t, "token requests", int(v.Ledger.Requests["token"]), v.Versions-credentials)
}

// Schedulers do not know of each other. However many there are, and even if one wakes up after a freeze with an old
// view, a credential that is due is refreshed once.
func TestManySchedulersCauseNoSecondAttempt(t *testing.T) {
	t.Parallel()
	const credentials = 100
	ctx := within(t, 60*time.Second)
	f := start(ctx, t, strict(12*time.Second, 10*time.Second))
	must(t, f.Enrol(ctx, credentials))
	w := worker(ctx, t, f, "worker-1")
	var schedulers []*fleet.Process
	for _, name := range []string{"scheduler-1", "scheduler-2", "scheduler-3"} {
		schedulers = append(schedulers, scheduler(ctx, t, f, name))
	}
	must(t, schedulers[0].Freeze())
	must(t, f.AwaitRenewals(ctx, 1))
	must(t, schedulers[0].Thaw())
	must(t, f.AwaitRenewals(ctx, 1))
	for _, s := range schedulers {
		must(t, s.Await(ctx, "job published", 1))
		stop(ctx, t, s, schedulerStopped)
	}
	stop(ctx, t, w, workerStopped)
	v := judge(ctx, t, f)
	wantEqual(t, "token requests", int(v.Ledger.Requests["token"]), v.Versions-credentials)
	wantEqual(t, "refreshes answered", int(v.Ledger.Refreshes), v.Versions-credentials)
}
