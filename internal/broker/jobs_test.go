package broker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

func TestOneJobPerCredentialQueuedOrInFlight(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	lane := mustLane(t, b, acme())
	mustQueue(t, b, "alice")
	again := func() error { return b.PublishJob(t.Context(), "acme.alice", job(2), "") }
	if err := again(); !errors.Is(err, broker.ErrQueued) {
		t.Errorf("while queued: %v", err)
	}
	mustQueue(t, b, "bob")
	got, ack, acked := make(chan *broker.Delivery), make(chan struct{}, 10), make(chan error, 10)
	run(t, func(ctx context.Context) error {
		return lane.Run(ctx, broker.NewHands(1), func(_ context.Context, d *broker.Delivery) {
			got <- d
			<-ack
			acked <- d.Ack()
		})
	})
	d := receive(t, got)
	if d.Key != "acme.alice" || d.Credential != credential("alice") || d.Job != job(1) || d.Delivered != 1 || d.Err != nil || d.Published.IsZero() {
		t.Errorf("delivery %+v", d)
	}
	if err := again(); !errors.Is(err, broker.ErrQueued) {
		t.Errorf("while in flight: %v", err)
	}
	ack <- struct{}{}
	if err := receive(t, acked); err != nil {
		t.Fatal(err)
	}
	receive(t, got) // bob's: the consumer has seen the acknowledgement; the stream removes the job a moment later
	eventually(t, again, func(err error) bool { return err == nil })
	ack <- struct{}{}
	ack <- struct{}{}
	receive(t, got)
}

func TestSlotIsSpentOnce(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if err := b.PublishJob(t.Context(), "acme.alice", job(1), "acme:1"); err != nil {
		t.Fatal(err)
	}
	if err := b.PublishJob(t.Context(), "acme.bob", job(1), "acme:1"); !errors.Is(err, broker.ErrSlotTaken) {
		t.Errorf("want ErrSlotTaken, got %v", err)
	}
	if err := b.PublishJob(t.Context(), "acme.alice", job(1), "acme:2"); !errors.Is(err, broker.ErrQueued) {
		t.Errorf("want ErrQueued, got %v", err)
	}
	if err := b.PublishJob(t.Context(), "acme.bob", job(1), "acme:2"); err != nil {
		t.Errorf("a refused job must not spend its slot: %v", err)
	}
}

func TestDemandsKeepTheRate(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		const rate = provider.Rate(10)
		published := make(chan time.Time, 30)
		for i := range 30 {
			go func() {
				c := credential(string(rune('a'+i%26)) + strings.Repeat("x", i/26))
				if err := b.Demand(t.Context(), c, job(1), rate); err != nil {
					t.Error(err)
				}
				published <- time.Now()
			}()
		}
		var times []time.Time
		for range 30 {
			times = append(times, <-published)
		}
		for i := range times[:20] {
			if d := times[i+10].Sub(times[i]); d < 900*time.Millisecond {
				t.Errorf("11 jobs within %v", d)
			}
		}
		if total := times[29].Sub(times[0]); total > 3500*time.Millisecond {
			t.Errorf("30 jobs at 10/s took %v", total)
		}
	})
}

func TestDemandEnds(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if err := b.Demand(t.Context(), credential("alice"), job(1), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Demand(t.Context(), credential("alice"), job(1), 1000); !errors.Is(err, broker.ErrQueued) {
		t.Errorf("want ErrQueued, got %v", err)
	}
	if err := b.Demand(t.Context(), events.Credential{Provider: "acme"}, job(1), 0); !errors.Is(err, events.ErrName) {
		t.Errorf("want ErrName, got %v", err)
	}
	slot, _ := provider.Rate(1e-6).Slot("acme", b.Now())
	if err := b.PublishJob(t.Context(), "acme.bob", job(1), slot); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Demand(ctx, credential("carol"), job(1), 1e-6); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want the context's end, got %v", err)
	}
}

func TestRefusedByTheQueueAcrossRestart(t *testing.T) {
	t.Parallel()
	b, n := setUp(t)
	mustQueue(t, b, "alice")
	connected := b.Conn().StatusChanged(nats.CONNECTED)
	n.Stop()
	n.start()
	receive(t, connected)
	if err := b.PublishJob(t.Context(), "acme.alice", job(1), ""); !errors.Is(err, broker.ErrQueued) {
		t.Errorf("want ErrQueued, got %v", err)
	}
}
