package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// hands is a handler whose calls can be watched, held and let go.
type hands struct {
	started chan *broker.Delivery
	release chan struct{}
	busy    atomic.Int32
	most    atomic.Int32
	done    atomic.Int32
}

func newHands() *hands {
	return &hands{started: make(chan *broker.Delivery, 10_000), release: make(chan struct{}, 10_000)}
}

func (h *hands) handle(_ context.Context, d *broker.Delivery) {
	n := h.busy.Add(1)
	for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
	}
	h.started <- d
	<-h.release
	h.busy.Add(-1)
	h.done.Add(1)
	_ = d.Ack()
}

func runLane(tb testing.TB, l *broker.Lane, n int, handle broker.HandleFunc) (stop func() error) {
	tb.Helper()
	return run(tb, func(ctx context.Context) error { return l.Run(ctx, broker.NewHands(n), handle) })
}

func TestLaneHoldsNoJobWithoutAFreeHand(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	d := acme()
	d.Limits.Concurrency = 100
	lane := mustLane(t, b, d)
	for i := range 20 {
		mustQueue(t, b, fmt.Sprintf("user%d", i))
	}
	h := newHands()
	runLane(t, lane, 3, h.handle)
	for range 3 {
		receive(t, h.started)
	}
	info := eventually(t, func() broker.LaneInfo { return laneInfo(t, b) }, func(i broker.LaneInfo) bool { return i.Pending == 17 })
	if info.AckPending != 3 || info.Pending != 17 || info.Waiting != 0 {
		t.Errorf("with three busy hands: %+v", info)
	}
	h.release <- struct{}{}
	receive(t, h.started)
	for range 19 {
		h.release <- struct{}{}
	}
	for range 16 {
		receive(t, h.started)
	}
	if h.most.Load() != 3 {
		t.Errorf("%d hands at once", h.most.Load())
	}
}

func TestConcurrencyHoldsOverTheFleet(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	d := acme()
	d.Limits.Concurrency = 4
	lane := mustLane(t, b, d)
	for i := range 12 {
		mustQueue(t, b, fmt.Sprintf("user%d", i))
	}
	h := newHands()
	for range 3 {
		runLane(t, lane, 4, h.handle)
	}
	for range 4 {
		receive(t, h.started)
	}
	for range 12 {
		h.release <- struct{}{}
	}
	for range 8 {
		receive(t, h.started)
	}
	if h.most.Load() > 4 {
		t.Errorf("%d calls at once over the fleet", h.most.Load())
	}
}

func TestShutdownWaitsForRunningHandlers(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	lane := mustLane(t, b, acme())
	mustQueue(t, b, "alice")
	ctx, cancel := context.WithCancel(t.Context())
	started, release := make(chan struct{}), make(chan struct{})
	var cancelled atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- lane.Run(ctx, broker.NewHands(2), func(ctx context.Context, d *broker.Delivery) {
			close(started)
			<-release
			cancelled.Store(ctx.Err() != nil)
			if err := d.Ack(); err != nil {
				t.Error(err)
			}
		})
	}()
	receive(t, started)
	cancel()
	info := eventually(t, func() broker.LaneInfo { return laneInfo(t, b) }, func(i broker.LaneInfo) bool { return i.Waiting == 0 })
	if info.Waiting != 0 {
		t.Errorf("a stopping lane still pulls: %+v", info)
	}
	h := newHands()
	runLane(t, lane, 1, h.handle)
	mustQueue(t, b, "bob")
	if d := receive(t, h.started); d.Key != "acme.bob" {
		t.Errorf("got %s", d.Key)
	}
	h.release <- struct{}{}
	select {
	case err := <-ended:
		t.Fatalf("ended before its handler: %v", err)
	default:
	}
	close(release)
	if err := receive(t, ended); err != nil || cancelled.Load() {
		t.Errorf("%v, handler's context cancelled: %t", err, cancelled.Load())
	}
}

// TestStoppedLaneLosesNothing stops a lane again and again while jobs pour in: each job must be carried out without waiting
// for AckWait.
func TestStoppedLaneLosesNothing(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	lane := mustLane(t, b, acme())
	const jobs = 300
	done := make(chan string, jobs)
	handle := func(_ context.Context, d *broker.Delivery) {
		if err := d.Ack(); err == nil {
			done <- d.Key
		}
	}
	var feed sync.WaitGroup
	feed.Go(func() {
		for i := range jobs {
			mustQueue(t, b, fmt.Sprintf("user%d", i))
		}
	})
	seen := map[string]bool{}
	for len(seen) < jobs {
		stop := runLane(t, lane, 8, handle)
		for range min(20, jobs-len(seen)) {
			seen[receive(t, done)] = true
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for len(done) > 0 {
			seen[<-done] = true
		}
	}
	feed.Wait()
}

func TestUnansweredJobComesBackAfterAckWait(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		lane := mustLane(t, b, acme())
		mustQueue(t, b, "alice")
		type call struct {
			at        time.Time
			delivered uint64
		}
		calls := make(chan call, 10)
		runLane(t, lane, 4, func(_ context.Context, d *broker.Delivery) {
			calls <- call{time.Now(), d.Delivered}
			if d.Delivered == 3 {
				if err := d.Ack(); err != nil {
					t.Error(err)
				}
			}
		})
		d := acme().WithDefaults()
		wait := d.Timing().AckWait
		before := <-calls
		for n := uint64(2); n <= 3; n++ {
			c := <-calls
			if gap := c.at.Sub(before.at); c.delivered != n || gap < wait || gap > wait+time.Second {
				t.Errorf("delivery %d after %v, want %v", c.delivered, gap, wait)
			}
			before = c
		}
		time.Sleep(10 * wait)
		if len(calls) != 0 {
			t.Error("delivered again after the acknowledgement")
		}
	})
}

func TestNakHandsBack(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		lane := mustLane(t, b, acme())
		mustQueue(t, b, "alice")
		at := make(chan time.Time, 10)
		runLane(t, lane, 1, func(_ context.Context, d *broker.Delivery) {
			at <- time.Now()
			answer := map[uint64]func() error{
				1: func() error { return d.Nak(0) }, 2: func() error { return d.Nak(3 * time.Second) }, 3: d.Ack,
			}[d.Delivered]
			if err := answer(); err != nil {
				t.Error(err)
			}
		})
		first, second, third := <-at, <-at, <-at
		if d := second.Sub(first); d > 100*time.Millisecond {
			t.Errorf("handed back at once: came after %v", d)
		}
		if d := third.Sub(second); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("handed back for 3s: came after %v", d)
		}
	})
}

func TestIdleLaneLasts(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		lane := mustLane(t, b, acme())
		lane.Trouble = func(err error) { t.Errorf("interrupted: %v", err) }
		h := newHands()
		stop := runLane(t, lane, 8, h.handle)
		time.Sleep(time.Hour)
		mustQueue(t, b, "alice")
		begin := time.Now()
		<-h.started
		if d := time.Since(begin); d > time.Second {
			t.Errorf("came after %v", d)
		}
		if info := laneInfo(t, b); info.Waiting == 0 || info.Waiting > 8 {
			t.Errorf("%d requests wait", info.Waiting)
		}
		h.release <- struct{}{}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestBusyLaneLasts(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		lane := mustLane(t, b, acme())
		lane.Trouble = func(err error) { t.Errorf("interrupted: %v", err) }
		h := newHands()
		runLane(t, lane, 1, h.handle)
		mustQueue(t, b, "alice")
		<-h.started
		time.Sleep(40 * time.Second) // all hands busy: no requests, no heartbeats
		mustQueue(t, b, "bob")
		h.release <- struct{}{}
		if d := <-h.started; d.Key != "acme.bob" {
			t.Errorf("got %s", d.Key)
		}
		h.release <- struct{}{}
	})
}

// TestIdleLaneAsksWithOneRequest: every job leaves a request beside the one it came by. Each costs heartbeats and renewals
// for as long as it stands, so that on a quiet lane they must become one again.
func TestIdleLaneAsksWithOneRequest(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		d := acme()
		d.Limits.Concurrency = 64
		lane := mustLane(t, b, d)
		lane.Trouble = func(err error) { t.Errorf("interrupted: %v", err) }
		h := newHands()
		runLane(t, lane, 64, h.handle)
		for i := range 200 {
			burst := 1 + i%5
			for j := range burst {
				mustQueue(t, b, fmt.Sprintf("user%d", j))
			}
			for range burst {
				<-h.started
				time.Sleep(700 * time.Millisecond)
				h.release <- struct{}{}
			}
			time.Sleep(time.Duration(60+i%37) * time.Second)
		}
		if info := laneInfo(t, b); info.Waiting != 1 {
			t.Errorf("%d requests wait on an idle lane", info.Waiting)
		}
	})
}

// TestRestingLaneTakesABurst: while old requests expire one by one, most hands have asked for nothing. A burst finds them all.
func TestRestingLaneTakesABurst(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		d := acme()
		d.Limits.Concurrency = 64
		h := newHands()
		runLane(t, mustLane(t, b, d), 64, h.handle)
		time.Sleep(20 * time.Second)
		mustQueue(t, b, "first")
		<-h.started
		h.release <- struct{}{} // leaves a request for one, which outlives the one for the others
		time.Sleep(15 * time.Second)
		begin := time.Now()
		for i := range 64 {
			mustQueue(t, b, fmt.Sprintf("user%d", i))
		}
		for range 64 {
			<-h.started
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the burst waited %v for hands", took)
		}
		for range 64 {
			h.release <- struct{}{}
		}
	})
}

func TestHandsChangeWhileTheLaneRuns(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		d := acme()
		d.Limits.Concurrency = 100
		lane := mustLane(t, b, d)
		lane.Trouble = func(err error) { t.Errorf("interrupted: %v", err) }
		h, hands := newHands(), broker.NewHands(2)
		run(t, func(ctx context.Context) error { return lane.Run(ctx, hands, h.handle) })
		for i := range 60 {
			mustQueue(t, b, fmt.Sprintf("user%d", i))
		}
		busy := func(step string, want int32) {
			t.Helper()
			time.Sleep(time.Second)
			if got := h.busy.Load(); got != want {
				t.Fatalf("%s: %d hands are busy, want %d", step, got, want)
			}
		}
		release := func(n int) {
			for range n {
				h.release <- struct{}{}
			}
		}
		busy("two hands", 2)
		hands.Set(16)
		busy("sixteen", 16)
		hands.Set(3)
		busy("three, while sixteen are under way", 16)
		release(12)
		busy("when twelve have ended", 4)
		release(1)
		busy("when thirteen have", 3)
		release(30)
		busy("three at work", 3)
		release(100)
		busy("when all is done", 0)
		if n := h.done.Load(); n != 60 {
			t.Errorf("%d of 60 were carried out", n)
		}
		hands.Set(5)
		time.Sleep(50 * time.Second)
		hands.Set(2) // idle: the request for five must not bring more than two
		time.Sleep(time.Second)
		for len(h.started) > 0 {
			<-h.started
		}
		for len(h.release) > 0 {
			<-h.release
		}
		for i := range 5 {
			mustQueue(t, b, fmt.Sprintf("user%d", i))
		}
		busy("two of five", 2)
		if info := laneInfo(t, b); info.AckPending != 2 || info.Pending != 3 {
			t.Errorf("two hands hold %+v", info)
		}
		release(5)
		for range 5 {
			if d := <-h.started; d.Delivered != 1 {
				t.Errorf("%s was delivered %d times: it came when there was no hand for it", d.Key, d.Delivered)
			}
		}
		busy("at the end", 0)
	})
}

func TestPausedLaneHolds(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := applied(t)
		lane, err := b.Lane(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		h := newHands()
		runLane(t, lane, 2, h.handle)
		until := time.Now().Add(10 * time.Minute)
		if _, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "w1", Until: until}); err != nil {
			t.Fatal(err)
		}
		mustQueue(t, b, "alice")
		<-h.started
		if late := time.Since(until); late < 0 || late > 7*time.Second {
			t.Errorf("the job came %v after the end of the pause", late)
		}
		h.release <- struct{}{}
		if _, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator"}); err != nil {
			t.Fatal(err)
		}
		mustQueue(t, b, "bob")
		time.Sleep(3 * time.Hour)
		if len(h.started) != 0 {
			t.Fatal("a paused lane gave out a job")
		}
		if _, _, err := b.ResumeLane(t.Context(), "acme", "operator"); err != nil {
			t.Fatal(err)
		}
		mustQueue(t, b, "bob") // whoever wants it asks again: what waited is gone
		begin := time.Now()
		<-h.started
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the job came %v after the resume", d)
		}
		h.release <- struct{}{}
	})
}

func TestLaneSurvivesServerRestart(t *testing.T) {
	t.Parallel()
	b, n := setUp(t)
	lane := mustLane(t, b, acme())
	trouble := make(chan error, 100)
	lane.Trouble = func(err error) { trouble <- err }
	h := newHands()
	stop := runLane(t, lane, 2, h.handle)
	for i := range 3 {
		connected := b.Conn().StatusChanged(nats.CONNECTED)
		n.Stop()
		receive(t, trouble)
		n.start()
		receive(t, connected)
		mustQueue(t, b, fmt.Sprintf("user%d", i))
		receive(t, h.started)
		h.release <- struct{}{}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestLaneThatIsGoneEndsRun(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		lane := mustLane(t, b, acme())
		ended := make(chan error, 1)
		go func() { ended <- lane.Run(t.Context(), broker.NewHands(2), newHands().handle) }()
		time.Sleep(time.Minute)
		deleteLane(t, b)
		if err := <-ended; !errors.Is(err, broker.ErrNoLane) {
			t.Errorf("want ErrNoLane, got %v", err)
		}
	})
}

func TestLaneThatIsMadeAgainGoesOn(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	lane := mustLane(t, b, acme())
	h := newHands()
	stop := runLane(t, lane, 2, h.handle)
	mustQueue(t, b, "alice")
	receive(t, h.started)
	h.release <- struct{}{}
	eventually(t, func() broker.LaneInfo { return laneInfo(t, b) }, func(i broker.LaneInfo) bool { return i.AckPending == 0 })
	deleteLane(t, b)
	mustLane(t, b, acme())
	mustQueue(t, b, "bob")
	receive(t, h.started)
	h.release <- struct{}{}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestClosedConnectionEndsRun(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	lane := mustLane(t, b, acme())
	ended := make(chan error, 1)
	go func() { ended <- lane.Run(t.Context(), broker.NewHands(2), newHands().handle) }()
	natstest.Close(b.Conn())
	if err := receive(t, ended); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("want ErrConnectionClosed, got %v", err)
	}
}

func TestPoisonIsHandedOverAsSuch(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	lane := mustLane(t, b, acme())
	if _, err := b.JetStream().Publish(t.Context(), "refresh.jobs.acme.a=zz", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), "refresh.jobs.acme.bob", []byte("?")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), "refresh.jobs.acme.carol", nil); err != nil {
		t.Fatal(err)
	}
	got := make(chan *broker.Delivery, 10)
	stop := runLane(t, lane, 1, func(_ context.Context, d *broker.Delivery) {
		if err := d.Term("poison"); err != nil {
			t.Error(err)
		}
		got <- d
	})
	d := receive(t, got)
	if !errors.Is(d.Err, events.ErrName) || d.Key != "acme.a=zz" {
		t.Errorf("a subject that is no key: %+v", d)
	}
	for _, key := range []string{"acme.bob", "acme.carol"} {
		if d := receive(t, got); d.Err == nil || d.Key != key || d.Delivered != 1 {
			t.Errorf("a job that is none: %+v", d)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	info := eventually(t, func() broker.LaneInfo { return laneInfo(t, b) }, func(i broker.LaneInfo) bool { return i.AckPending == 0 })
	if info.Pending+uint64(info.AckPending) != 0 {
		t.Errorf("poison stays: %+v", info)
	}
}

// TestSlowLaneDelaysNoOther is the shape of a worker: one slow provider must not hold another's jobs.
func TestSlowLaneDelaysNoOther(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	slow, fast := newHands(), newHands()
	for name, h := range map[string]*hands{"slow": slow, "fast": fast} {
		d := acme()
		d.Name = name
		runLane(t, mustLane(t, b, d), 2, h.handle)
	}
	for i := range 4 {
		for _, name := range []string{"slow", "fast"} {
			key := events.Credential{Provider: name, Account: fmt.Sprintf("user%d", i)}.Key()
			if err := b.PublishJob(t.Context(), key, job(1), ""); err != nil {
				t.Fatal(err)
			}
		}
		fast.release <- struct{}{}
	}
	for range 4 {
		receive(t, fast.started)
	}
	for range 2 {
		receive(t, slow.started)
	}
	for range 4 {
		slow.release <- struct{}{}
	}
}

func TestLaneConsumerLimitsAreGenerous(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	mustLane(t, b, acme())
	cons, err := b.JetStream().Consumer(t.Context(), "REFRESH_JOBS", "acme")
	if err != nil {
		t.Fatal(err)
	}
	cfg := cons.CachedInfo().Config
	if cfg.MaxWaiting < 10_000 || cfg.InactiveThreshold != 0 || cfg.Replicas != 0 {
		t.Errorf("%+v", cfg)
	}
}
