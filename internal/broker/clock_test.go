package broker_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
)

func TestNatsTimeIsLocalTimeHere(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if r := b.Clock(); !r.At.IsZero() || !r.Stale || b.Offset().Abs() > time.Second {
		t.Errorf("before the first measurement: %+v", r)
	}
	stop := run(t, b.RunClock)
	receive(t, b.ClockReady())
	r := b.Clock()
	if r.At.IsZero() || r.Stale || r.Err != nil || r.Offset.Abs() > r.Precision+100*time.Millisecond {
		t.Errorf("same machine, same clock: %+v", r)
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
	virtual(t, func(t *testing.T) {
		b, n := setUp(t)
		stop := run(t, b.RunClock)
		<-b.ClockReady()
		first := b.Clock().At
		time.Sleep(45 * time.Second)
		if second := b.Clock(); second.At.Sub(first) < 29*time.Second || second.Stale {
			t.Errorf("measured at %v, then %+v", first, second)
		}
		n.stop()
		before := b.Now()
		time.Sleep(3 * time.Minute)
		if r := b.Clock(); !r.Stale || r.Err == nil {
			t.Errorf("without a server: %+v", r)
		}
		if d := b.Now().Sub(before); d != 3*time.Minute {
			t.Errorf("NATS time went on by %v", d)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
