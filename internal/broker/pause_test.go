package broker_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestMergePause(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	pause := func(by string, until time.Time) *provider.Pause { return &provider.Pause{By: by, Until: until} }
	var forever time.Time
	for _, tt := range []struct {
		name       string
		have, want *provider.Pause
		changes    bool
	}{
		{"worker on a running lane", nil, pause("w1", in(time.Minute)), true},
		{"worker extends a worker's", pause("w1", in(time.Minute)), pause("w2", in(2*time.Minute)), true},
		{"worker does not shorten", pause("w1", in(2*time.Minute)), pause("w2", in(time.Minute)), false},
		{"the same end is no extension", pause("w1", in(time.Minute)), pause("w2", in(time.Minute)), false},
		{"no end is later than any", pause("w1", in(time.Minute)), pause("w2", forever), true},
		{"nothing is later than no end", pause("w1", forever), pause("w2", in(time.Hour)), false},
		{"worker leaves an operator's", pause("operator", in(time.Minute)), pause("w1", in(time.Hour)), false},
		{"worker leaves a named operator's", pause("operator:ann", forever), pause("w1", in(time.Hour)), false},
		{"an operator's that is over is free", pause("operator", in(-time.Second)), pause("w1", in(time.Minute)), true},
		{"a pause of the past is none", nil, pause("w1", in(-time.Second)), false},
		{"operator shortens a worker's", pause("w1", in(time.Hour)), pause("operator", in(time.Minute)), true},
		{"operator replaces an operator's", pause("operator", forever), pause("operator:ann", in(time.Minute)), true},
		{"a name that only begins alike is no operator", pause("operator", forever), pause("operatorX", in(time.Minute)), false},
	} {
		got := broker.MergePause(now, tt.have, *tt.want)
		if want := map[bool]*provider.Pause{true: tt.want, false: tt.have}[tt.changes]; got != want && (got == nil || want == nil || *got != *want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, want)
		}
		if !tt.changes && got != tt.have {
			t.Errorf("%s: the pause that stays must be the very one", tt.name)
		}
	}
}

func TestMayResume(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		have, by string
		may      bool
	}{
		{"w1", "w2", true}, {"w1", "operator", true}, {"operator", "operator:ann", true}, {"operator:ann", "operator", true},
		{"operator", "w1", false}, {"operator:ann", "scheduler", false},
	} {
		if got := broker.MayResume(&provider.Pause{By: tt.have}, tt.by); got != tt.may {
			t.Errorf("%s lifts %s's: %t", tt.by, tt.have, got)
		}
	}
	if broker.MayResume(nil, "operator") {
		t.Error("there is nothing to lift")
	}
}

// applied returns a Broker with acme applied and its lane.
func applied(tb testing.TB) *broker.Broker {
	tb.Helper()
	b, _ := setUp(tb)
	if _, err := b.PutProvider(tb.Context(), "acme", provider.Entry{Definition: acme()}, 0); err != nil {
		tb.Fatal(err)
	}
	mustLane(tb, b, acme())
	return b
}

func laneInfo(tb testing.TB, b *broker.Broker) broker.LaneInfo {
	tb.Helper()
	info, err := b.LaneInfo(tb.Context(), "acme")
	if err != nil {
		tb.Fatal(err)
	}
	return info
}

func TestPauseAndResumeLane(t *testing.T) {
	t.Parallel()
	b := applied(t)
	until := time.Now().Add(time.Hour).UTC()
	rev, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "w1", Until: until, Reason: "429"})
	if err != nil {
		t.Fatal(err)
	}
	e, at, err := b.Provider(t.Context(), "acme")
	if err != nil || at != rev || e.Pause == nil || e.Pause.By != "w1" || e.TokenURL != acme().TokenURL {
		t.Fatalf("entry %+v at %d, %v", e, at, err)
	}
	if info := laneInfo(t, b); !info.Paused || !info.PausedUntil.Equal(until.Add(broker.LiftWithin)) {
		t.Errorf("lane %+v", info)
	}
	again, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "w2", Until: until.Add(-time.Minute)})
	if err != nil || again != rev {
		t.Errorf("a shorter pause must leave the entry: revision %d, want %d, %v", again, rev, err)
	}
	forever, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator:ann"})
	if err != nil || forever <= rev {
		t.Fatalf("operator's pause: %d, %v", forever, err)
	}
	if info := laneInfo(t, b); !info.Paused || info.PausedUntil.Before(time.Now().AddDate(50, 0, 0)) {
		t.Errorf("lane %+v", info)
	}
	if _, resumed, err := b.ResumeLane(t.Context(), "acme", "w1"); resumed || err != nil {
		t.Errorf("a worker lifted an operator's pause: %v", err)
	}
	rev, resumed, err := b.ResumeLane(t.Context(), "acme", "operator")
	if err != nil || !resumed || rev <= forever {
		t.Errorf("resume: %d, %t, %v", rev, resumed, err)
	}
	if info := laneInfo(t, b); info.Paused || !info.PausedUntil.IsZero() {
		t.Errorf("lane %+v", info)
	}
	if _, resumed, err := b.ResumeLane(t.Context(), "acme", "operator"); resumed || err != nil {
		t.Errorf("resumed twice: %v", err)
	}
}

func TestExpiredPauseEndsOnce(t *testing.T) {
	t.Parallel()
	b := applied(t)
	now := time.Now()
	if _, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator", Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, ended, err := b.EndExpiredPause(t.Context(), "acme", now); ended || err != nil {
		t.Fatalf("ended early: %v", err)
	}
	var ended atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, ok, err := b.EndExpiredPause(t.Context(), "acme", now.Add(time.Hour))
			if err != nil {
				t.Error(err)
			}
			if ok {
				ended.Add(1)
			}
		})
	}
	wg.Wait()
	if ended.Load() != 1 || laneInfo(t, b).Paused {
		t.Errorf("ended %d times, lane %+v", ended.Load(), laneInfo(t, b))
	}
	if _, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.EndExpiredPause(t.Context(), "acme", now.AddDate(80, 0, 0)); ok || err != nil {
		t.Errorf("a pause without end has no end: %v", err)
	}
}

func TestContendedPausesKeepTheLongest(t *testing.T) {
	t.Parallel()
	b := applied(t)
	now := time.Now().UTC()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			p := provider.Pause{By: "w", Until: now.Add(time.Duration(i+1) * time.Minute)}
			if _, err := b.PauseLane(t.Context(), "acme", p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	e, _, err := b.Provider(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	want := now.Add(16 * time.Minute)
	if !e.Pause.Until.Equal(want) || !laneInfo(t, b).PausedUntil.Equal(want.Add(broker.LiftWithin)) {
		t.Errorf("entry until %v, lane until %v, want %v", e.Pause.Until, laneInfo(t, b).PausedUntil, want)
	}
}

func TestPauseAndResumeRaceLeavesLaneAsTheEntrySays(t *testing.T) {
	t.Parallel()
	b := applied(t)
	for range 10 {
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				var err error
				if i%2 == 0 {
					_, err = b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator"})
				} else {
					_, _, err = b.ResumeLane(t.Context(), "acme", "operator")
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		e, _, err := b.Provider(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		if info := laneInfo(t, b); info.Paused != (e.Pause != nil) {
			t.Fatalf("entry %+v, lane %+v", e.Pause, info)
		}
	}
}

func TestNewLaneTakesTheEntrysPause(t *testing.T) {
	t.Parallel()
	b := applied(t)
	deleteLane(t, b)
	if _, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator"}); err != nil {
		t.Fatalf("a provider without a lane can be paused: %v", err)
	}
	mustLane(t, b, acme())
	if !laneInfo(t, b).Paused {
		t.Error("the new lane runs")
	}
}

func TestLaneUpdateKeepsThePause(t *testing.T) {
	t.Parallel()
	b := applied(t)
	if _, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	d := acme()
	d.Limits.Concurrency = 9
	c, err := b.EnsureLane(t.Context(), d, false)
	if err != nil || c.Action != broker.ActionUpdate {
		t.Fatalf("%+v, %v", c, err)
	}
	if info := laneInfo(t, b); !info.Paused || info.MaxAckPending != 9 {
		t.Errorf("lane %+v", info)
	}
}

func TestUnknownProvider(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	_, _, err := b.Provider(t.Context(), "acme")
	if !errors.Is(err, broker.ErrUnknownProvider) {
		t.Errorf("read: %v", err)
	}
	if _, err = b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator"}); !errors.Is(err, broker.ErrUnknownProvider) {
		t.Errorf("pause: %v", err)
	}
	if _, _, err = b.Provider(t.Context(), "*"); !errors.Is(err, events.ErrName) {
		t.Errorf("wildcard: %v", err)
	}
	if _, err = b.PutProvider(t.Context(), "a.b", provider.Entry{}, 0); !errors.Is(err, events.ErrName) {
		t.Errorf("two tokens: %v", err)
	}
}

func TestProviderIsWrittenByCompareAndSet(t *testing.T) {
	t.Parallel()
	b := applied(t)
	e, rev, err := b.Provider(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	e.Scopes = []string{"a"}
	if _, err := b.PutProvider(t.Context(), "acme", e, rev+1); !errors.Is(err, refresh.ErrConflict) {
		t.Errorf("want ErrConflict, got %v", err)
	}
	if _, err := b.PutProvider(t.Context(), "acme", e, 0); !errors.Is(err, refresh.ErrConflict) {
		t.Errorf("want ErrConflict, got %v", err)
	}
	next, err := b.PutProvider(t.Context(), "acme", e, rev)
	if err != nil || next <= rev {
		t.Fatalf("%d, %v", next, err)
	}
	all, err := b.Providers(t.Context())
	if err != nil || len(all) != 1 || all["acme"].Revision != next || len(all["acme"].Entry.Scopes) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}
