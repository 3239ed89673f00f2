package broker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
)

func TestNatsTimeIsLocalTimeHere(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if err := b.ClockFault(); err != nil || b.Offset().Abs() > time.Second {
		t.Errorf("before the first measurement: offset %v, %v", b.Offset(), err)
	}
	stop := run(t, b.RunClock)
	receive(t, b.ClockReady())
	if err := b.ClockFault(); err != nil || b.Offset().Abs() > time.Second {
		t.Errorf("same machine, same clock: offset %v, %v", b.Offset(), err)
	}
	if d := time.Until(b.Now()).Abs(); d > time.Second {
		t.Errorf("NATS time is %v off", d)
	}
	rev := mustPut(t, b, record("alice", 1), 0)
	s, err := b.Get(t.Context(), credential("alice"))
	if err != nil || s.Revision != rev || b.Now().Sub(s.StoredAt).Abs() > time.Second {
		t.Errorf("a record of now is %v old, %v", b.Now().Sub(s.StoredAt), err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestClockOffset(t *testing.T) {
	t.Parallel()
	local := time.Now()
	for _, tt := range []struct {
		name            string
		ahead, out, in  time.Duration // the server's clock; the way there; the way back
		wantOff, within time.Duration
	}{
		{"same clock", 0, time.Millisecond, time.Millisecond, 0, 0},
		{"server ahead", time.Minute, 5 * time.Millisecond, 5 * time.Millisecond, time.Minute, 0},
		{"server behind", -time.Hour, time.Millisecond, time.Millisecond, -time.Hour, 0},
		{"slow way back", time.Minute, time.Millisecond, 99 * time.Millisecond, time.Minute, 50 * time.Millisecond},
	} {
		s := broker.NewClockSample(local, local.Add(tt.out+tt.in), local.Add(tt.out+tt.ahead))
		if got := s.At(local).Sub(local); (got - tt.wantOff).Abs() > tt.within {
			t.Errorf("%s: offset %v, want %v", tt.name, got, tt.wantOff)
		}
	}
}

func TestClockTakesTheFastestSample(t *testing.T) {
	t.Parallel()
	local := time.Now()
	slow := broker.NewClockSample(local, local.Add(time.Second), local)
	fast := broker.NewClockSample(local, local.Add(time.Millisecond), local.Add(time.Hour))
	for _, samples := range [][]broker.ClockSample{{slow, fast}, {fast, slow}, {slow, slow, fast, slow}} {
		if got := broker.BestSample(samples); got != fast {
			t.Errorf("got %+v", got)
		}
	}
}

func TestClockIsMeasuredAgainAndTellsWhenItCannot(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, n := setUp(t)
		stop := run(t, b.RunClock)
		<-b.ClockReady()
		time.Sleep(time.Hour)
		if err := b.ClockFault(); err != nil {
			t.Errorf("an hour with a server: %v", err)
		}
		n.Stop()
		before := b.Now()
		time.Sleep(4 * time.Minute)
		if err := b.ClockFault(); err != nil {
			t.Errorf("four minutes without a server: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if err := b.ClockFault(); err == nil || !strings.Contains(err.Error(), "STREAM.INFO.KV_tokens") {
			t.Errorf("six minutes without a server: %v", err)
		}
		if d := b.Now().Sub(before); d != 6*time.Minute {
			t.Errorf("NATS time went on by %v", d)
		}
		n.start()
		time.Sleep(time.Minute)
		if err := b.ClockFault(); err != nil {
			t.Errorf("a minute after the server came back: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestClockThatWasNeverMeasured(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		n := startServer(t, natstest.Options{})
		b := newBroker(t, n.connect(), broker.Config{})
		stop := run(t, b.RunClock)
		time.Sleep(6 * time.Minute)
		if err := b.ClockFault(); err == nil || !strings.Contains(err.Error(), "stream not found") {
			t.Errorf("without the stream: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
