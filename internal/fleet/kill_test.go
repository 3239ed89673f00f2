package fleet_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// A worker is killed again and again while its requests are under way, and comes back with its state directory. The
// provider forgives a second try within its grace; nobody needs more than that.
func TestAKilledWorkerLosesNothing(t *testing.T) {
	t.Parallel()
	const (
		credentials = 150
		life        = 12 * time.Second
		latency     = 60 * time.Millisecond
		killing     = 10 * time.Second
	)
	ctx := within(t, 90*time.Second)
	requests := make(chan struct{}, 1<<16)
	f := start(ctx, t, fleet.Config{
		Auth: authserver.Config{
			Rotation: authserver.RotationGrace, Grace: time.Minute, AccessLifetime: life, Lifetime: staggered(life),
			LatencyFunc: func(string) time.Duration {
				requests <- struct{}{}
				return latency
			},
		},
		Refresh: provider.Refresh{MinLead: provider.Duration(5 * time.Second)},
		Limits:  provider.Limits{Concurrency: credentials, Timeout: provider.Duration(2 * time.Second)},
	})
	must(t, f.Enrol(ctx, credentials))
	s := scheduler(ctx, t, f, "scheduler-1")
	kills := 0
	for begun := time.Now(); time.Since(begun) < killing; kills++ {
		w := worker(ctx, t, f, "worker-1", "--hands", "8") // of the lane's many slots: a death must not block them all
		for range 1 + rand.N(16) {
			<-requests
		}
		<-time.After(rand.N(latency * 5 / 4)) // before, while and after the answer is on its way
		must(t, w.Kill())
	}
	w := worker(ctx, t, f, "worker-1")
	must(t, f.AwaitRenewals(ctx, 1))
	must(t, f.AwaitFresh(ctx, 3*time.Second))
	stop(ctx, t, s, schedulerStopped)
	stop(ctx, t, w, workerStopped)
	v := judge(ctx, t, f)
	t.Logf("%d kills", kills)
	if v.Ledger.Reused == 0 {
		t.Error("no request was ever repeated: the kills hit nothing")
	}
	wantEqual(t, "credentials that go on", v.States[refresh.StateActive]+v.States[refresh.StateRetrying], credentials)
	wantEqual(t, "access tokens that have ended", v.Expired, 0)
}
