package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// counting runs a Reads until the test, or stop, ends it.
func (w *world) counting(keys *seal.Keyset) (r *audit.Reads, stop func()) {
	r = audit.NewReads(w.log(), keys)
	ctx, cancel := context.WithCancel(w.Context())
	over := make(chan error, 1)
	go func() { over <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			<-over
		}
	}
	w.Cleanup(stop)
	return r, stop
}

func (w *world) wantCounts(when, want string) {
	w.Helper()
	synctest.Wait()
	var got []string
	for _, e := range w.entries(audit.Filter{Action: audit.TokenRead}) {
		got = append(got, fmt.Sprint(e.Data.Caller.Name, "×", e.Data.Count))
	}
	if strings.Join(got, " ") != want {
		w.Errorf("%s: entries %v, want %s", when, got, want)
	}
}

func given(caller, token string) audit.Given {
	return audit.Given{Credential: alice, Token: seal.NewSecret(token), Via: "http", Caller: audit.Caller{Name: caller}}
}

func TestTheFirstReadIsWrittenAtOnceAndTheRestTogether(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w, k := newWorld(t), natstest.Keyset(t)
		r, stop := w.counting(k)
		r.Add(given("git", "t1"))
		time.Sleep(time.Second)
		w.wantCounts("at once", "git×1")
		for range 100 {
			r.Add(given("git", "t1"))
		}
		r.Add(given("curl", "t1"))
		time.Sleep(time.Second)
		w.wantCounts("another caller", "git×1 curl×1")
		time.Sleep(time.Minute)
		w.wantCounts("after a minute", "git×1 curl×1 git×100")
		r.Add(given("git", "t2"))
		time.Sleep(time.Second)
		w.wantCounts("another token", "git×1 curl×1 git×100 git×1")
		time.Sleep(10 * time.Minute)
		w.wantCounts("silence", "git×1 curl×1 git×100 git×1")
		r.Add(given("git", "t2"))
		stop()
		w.wantCounts("the end", "git×1 curl×1 git×100 git×1 git×1")
		last := w.entries(audit.Filter{Refs: k.References(seal.NewSecret("t1"))})
		if len(last) != 3 || last[2].Data.Last.Before(last[2].Data.First) || last[2].Data.First.IsZero() {
			t.Errorf("entries of a token: %+v", last)
		}
		if len(w.warnings()) > 0 {
			t.Errorf("warnings: %v", w.warnings())
		}
	})
}

func TestReadsAreKeptWhileNATSIsAway(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		r, _ := w.counting(natstest.Keyset(t))
		w.setBroken(errAway)
		for range 5 {
			r.Add(given("git", "t1"))
			time.Sleep(20 * time.Second)
		}
		w.wantCounts("away", "")
		w.setBroken(nil)
		time.Sleep(time.Minute)
		w.wantCounts("back", "git×1 git×4")
		if all := w.warnings(); len(all) == 0 || !errors.Is(all[0], errAway) || !strings.Contains(all[0].Error(), "1 reads wait for their entries, 0 are dropped") {
			t.Errorf("warnings: %v", all)
		}
	})
}

func TestWhatIsKeptIsBoundedAndTheRestIsCounted(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.counting(nil)
		w.setBroken(errAway)
		for i := range audit.MaxTallies + 7 {
			g := given("git", "")
			g.Credential = events.Credential{Provider: "acme", Account: fmt.Sprint(i)}
			r.Add(g)
		}
		time.Sleep(2 * time.Minute)
		all := w.warnings()
		var waiting, dropped int
		_, text, _ := strings.Cut(all[len(all)-1].Error(), "away; ")
		if n, err := fmt.Sscanf(text, "%d reads wait for their entries, %d are dropped", &waiting, &dropped); n != 2 || waiting > audit.MaxTallies+1 || dropped < 6 {
			t.Errorf("%d of %d reads wait, %d are dropped: %v", waiting, audit.MaxTallies+7, dropped, err)
		}
		if len(all) > 3 {
			t.Errorf("%d warnings in two minutes", len(all))
		}
		stop()
		all = w.warnings()
		if text := all[len(all)-1].Error(); !strings.Contains(text, fmt.Sprintf("%d tokens were handed out that no audit entry tells of", audit.MaxTallies+7)) {
			t.Errorf("last warning: %s", text)
		}
	})
}

func TestDroppedReadsAreInTheNextEntry(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setBroken(errAway)
		r := audit.NewReads(w.log(), nil)
		for i := range audit.MaxTallies + 3 {
			g := given("git", "")
			g.Credential = events.Credential{Provider: "acme", Account: fmt.Sprint(i)}
			r.Add(g)
		}
		w.setBroken(nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = r.Run(ctx) // the end writes what it has the time for
		dropped := 0
		for _, e := range w.entries(audit.Filter{}) {
			dropped += e.Data.Dropped
		}
		if dropped != 3 {
			t.Errorf("%d dropped reads are told, want 3", dropped)
		}
	})
}

func TestWithoutAStreamReadsAreNotKept(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.loseStream()
		r, stop := w.counting(nil)
		for range 4 {
			r.Add(given("git", "t1"))
			time.Sleep(time.Minute)
		}
		stop()
		if all := w.warnings(); len(all) != 1 {
			t.Errorf("warnings: %v", all)
		}
	})
}

func TestNobodyCounts(t *testing.T) {
	t.Parallel()
	var r *audit.Reads
	r.Add(given("git", "t1"))
}
