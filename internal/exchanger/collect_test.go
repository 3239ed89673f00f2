package exchanger_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// collector is a client that runs until the test ends. What it hears of the exchanger comes from the channel.
func (w *world) collector(take exchanger.Take) (*exchanger.Client, <-chan error) {
	w.t.Helper()
	reach := make(chan error, 1000)
	c := exchanger.NewClient(exchanger.ClientConfig{Socket: w.socket, Keys: w.keys, OnReach: func(err error) { reach <- err }})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx, take); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait(); c.Close() })
	return c, reach
}

// taken is a collected outcome.
type taken struct {
	refresh.Entry
	phase refresh.Phase
}

func (w *world) wantTaken(got taken, attempt string) {
	w.t.Helper()
	if got.ID != attempt || got.Key != "acme.alice" || got.phase != refresh.PhaseAnswered {
		w.t.Errorf("collected attempt %q of %q, %s", got.ID, got.Key, got.phase)
	}
	o, err := exchanger.OpenEntry(w.keys, got.Entry)
	w.must(err)
	w.wantAnswer(o)
}

func TestAKilledWorkersAnswerIsCollected(t *testing.T) {
	t.Parallel()
	for name, answeredFirst := range map[string]bool{"answered before": true, "answered while somebody waits": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s, _ := w.serve(w.config())
			worker := w.start(child{
				Role: "worker", Socket: w.socket, Keyset: w.keyset, Attempt: "a1", TokenURL: w.url, RefreshToken: w.token("alice"),
			})
			<-w.gate.taken
			worker.kill()
			if answeredFirst {
				w.letThrough()
			}
			got := make(chan taken, 10)
			c, reach := w.collector(func(e refresh.Entry, p refresh.Phase) error { got <- taken{e, p}; return nil })
			if err := <-reach; err != nil || c.Ready() != nil {
				t.Fatalf("reached with %v, ready %v", err, c.Ready())
			}
			w.letThrough()
			w.wantTaken(<-got, "a1")
			c.Close() // after the acknowledgement
			w.awaitHeld(s, 0)
			w.wantPosts(1)
			if l := w.auth.Ledger(); l.Abandoned != 0 {
				t.Errorf("%d answers found nobody listening", l.Abandoned)
			}
		})
	}
}

// awaitHeld waits until the server holds n outcomes.
func (w *world) awaitHeld(s *exchanger.Server, n int) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); s.Held() != n; <-tick.C {
		if time.Now().After(end) {
			w.t.Fatalf("%d outcomes held, want %d", s.Held(), n)
		}
	}
}

func TestAnOutcomeThatCannotBeTakenIsOfferedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, stop := w.serve(w.config())
	w.letThrough()
	w.wantAnswer(w.client().Exchange(t.Context(), w.request("a1", w.token("alice")))) // and never acknowledged
	var full atomic.Bool
	full.Store(true)
	got := make(chan taken, 10)
	_, reach := w.collector(func(e refresh.Entry, p refresh.Phase) error {
		if full.Load() {
			return errors.New("disk full")
		}
		got <- taken{e, p}
		return nil
	})
	for err := range reach {
		if errors.Is(err, exchanger.ErrUnreachable) {
			break
		}
	}
	full.Store(false)
	stop()
	s, _ := w.serve(w.config())
	w.wantTaken(<-got, "a1")
	w.awaitHeld(s, 0)
}

func TestWhatTheExchangerWasKilledInIsCollectedAsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.startExchanger()
	worker := w.start(child{
		Role: "worker", Socket: w.socket, Keyset: w.keyset, Attempt: "a1", TokenURL: w.url, RefreshToken: w.token("alice"),
	})
	<-w.gate.taken
	worker.kill()
	x.kill()
	w.startExchanger()
	got := make(chan taken, 10)
	w.collector(func(e refresh.Entry, p refresh.Phase) error { got <- taken{e, p}; return nil })
	if g := <-got; g.ID != "a1" || g.phase != refresh.PhaseSent {
		t.Errorf("collected %q, %s", g.ID, g.phase)
	}
	w.wantPosts(1)
}

func TestAClientThatWaitsIsNotRobbed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.serve(w.config())
	got := make(chan taken, 10)
	_, reach := w.collector(func(e refresh.Entry, p refresh.Phase) error { got <- taken{e, p}; return nil })
	<-reach
	c := w.client()
	out := async(c, w.request("a1", w.token("alice")))
	<-w.gate.taken
	w.letThrough()
	w.wantAnswer(<-out)
	c.Acknowledge("a1")
	c.Close()
	w.awaitHeld(s, 0)
	if len(got) != 0 {
		t.Errorf("the outcome was given away as well")
	}
}

func TestReadinessIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, reach := w.collector(func(refresh.Entry, refresh.Phase) error { return nil })
	if err := c.Ready(); !errors.Is(err, exchanger.ErrUnreachable) {
		t.Errorf("ready before the exchanger was reached: %v", err)
	}
	if err := <-reach; !errors.Is(err, exchanger.ErrUnreachable) {
		t.Errorf("told %v, want that it is not there", err)
	}
	x := w.startExchanger()
	if err := <-reach; err != nil {
		t.Errorf("told %v, want that it is there", err)
	}
	x.kill()
	if err := <-reach; !errors.Is(err, exchanger.ErrUnreachable) || !errors.Is(c.Ready(), exchanger.ErrUnreachable) {
		t.Errorf("told %v, ready %v; want that it is gone", err, c.Ready())
	}
	if len(reach) != 0 {
		t.Error("told more than once")
	}
}
