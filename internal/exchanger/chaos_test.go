package exchanger_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// TestKillsAtRandom kills the exchanger again and again while four chains of refreshes go on at a strict provider. Each
// goes on with the same refresh token only when it is told that nothing was sent: were that ever wrong, or a request
// repeated, the provider would see a token for the second time. What is lost is at most what was in flight, and is known.
func TestKillsAtRandom(t *testing.T) {
	t.Parallel()
	const chains, kills = 4, 15
	w := newWorld(t)
	w.auth = authserver.New(authserver.Config{Latency: 4 * time.Millisecond})
	w.gate.auth = w.auth
	w.letThrough()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, stop := context.WithCancel(t.Context())
	sums := tally{answers: make(chan struct{}, 1<<16)}
	var wg sync.WaitGroup
	first := w.startExchanger()
	for i := range chains {
		wg.Go(func() { w.chain(ctx, string(rune('a'+i)), &sums) })
	}
	chance := rand.New(rand.NewPCG(seed, 0))
	for x := first; sums.kills < kills; sums.kills++ {
		for range 1 + chance.IntN(12) {
			<-sums.answers
		}
		<-time.After(time.Duration(chance.IntN(8)) * time.Millisecond) // before, while and after an answer is on its way
		x.kill()
		<-time.After(time.Duration(chance.IntN(60)) * time.Millisecond)
		x = w.startExchanger()
	}
	stop()
	wg.Wait()
	l := w.auth.Ledger()
	t.Logf("%d kills, %d answered, %d unknown, %d not sent", sums.kills, sums.answered.Load(), sums.unknown.Load(), sums.notSent.Load())
	if l.Replayed != 0 || l.Concurrent != 0 || l.LastTries != 0 {
		t.Errorf("replayed %d, concurrent %d, last tries %d: want none; %+v", l.Replayed, l.Concurrent, l.LastTries, l.Anomalies)
	}
	if n := sums.unknown.Load(); n > chains*kills {
		t.Errorf("%d outcomes unknown after %d kills with %d in flight", n, kills, chains)
	}
	if got := l.Rotations; got < sums.answered.Load() || got > sums.answered.Load()+sums.unknown.Load() {
		t.Errorf("%d rotations, %d answered, %d unknown: something is counted nowhere", got, sums.answered.Load(), sums.unknown.Load())
	}
}

// tally counts outcomes.
type tally struct {
	answers                    chan struct{} // one for each answer
	kills                      int
	answered, unknown, notSent atomic.Int64
}

// chain refreshes one account's token until ctx ends, and begins a new grant after an unknown outcome.
func (w *world) chain(ctx context.Context, account string, sums *tally) {
	c := w.client()
	token := w.token(account)
	for ctx.Err() == nil {
		id := refresh.NewAttemptID()
		r := w.request(id, token)
		r.Fence = func() time.Duration { return 40 * time.Millisecond } // a restart takes about as long
		switch o := c.Exchange(context.Background(), r); o.Phase {
		case refresh.PhaseAnswered:
			reply, err := refresh.ParseReply(o.ContentType, o.Body)
			if err != nil {
				w.t.Errorf("answer: %v", err)
				return
			}
			token = reply.RefreshToken.Reveal()
			sums.answered.Add(1)
			sums.answers <- struct{}{}
			c.Acknowledge(id)
		case refresh.PhaseSent:
			token = w.token(account)
			sums.unknown.Add(1)
		default:
			sums.notSent.Add(1)
		}
	}
}
