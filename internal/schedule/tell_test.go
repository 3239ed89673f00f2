package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// toldAbout returns what is in the events stream, as "type key vVERSION".
func (w *world) toldAbout() []string {
	w.t.Helper()
	var out []string
	for _, e := range w.told() {
		out = append(out, fmt.Sprintf("%s %s v%d", e.Type, e.Data.Credential().Key(), e.Data.Version))
	}
	slices.Sort(out)
	return out
}

func TestAnnouncedWritesAreToldUnderTheWritersID(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		enrolled := refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
		w.put(record("acme.before", time.Hour), enrolled) // its writer dies before it tells
		for i := range 3 {
			_, stop := w.schedule(fmt.Sprintf("s%d", i+1))
			defer stop()
		}
		time.Sleep(5 * time.Second)
		w.put(record("acme.after", time.Hour), enrolled)
		w.put(record("acme.quiet", time.Hour), refresh.Announcement{})
		revoked := record("acme.gone", 0)
		revoked.State, revoked.RefreshAt = refresh.StateRevoked, time.Time{}
		w.put(revoked, refresh.Announcement{Type: events.TokenRevoked})
		time.Sleep(5 * time.Second)
		want := []string{"token.revoked acme.gone v1", "token.updated acme.after v1", "token.updated acme.before v1"}
		if got := w.toldAbout(); !slices.Equal(got, want) {
			w.t.Errorf("told %v, want %v", got, want)
		}
		for _, e := range w.told() {
			s, err := w.Get(w.ctx, e.Data.Credential())
			w.must(err)
			if now := refresh.CurrentEvent(&s, "", time.Time{}); e.ID != now.ID {
				w.t.Errorf("id %s, the writer's is %s", e.ID, now.ID)
			}
			if e.Data.Revision != s.Revision || e.Data.GrantID != s.Record.GrantID || e.Data.State != string(s.Record.State) {
				w.t.Errorf("data %+v of record %+v", e.Data, s)
			}
		}
	})
}

func TestOldAnnouncementsAreNotToldAgain(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		age  time.Duration
		want []string
	}{
		{"a week", 7*day - time.Minute, []string{"token.updated acme.alice v1"}},
		{"more than a week", 7*day + time.Minute, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.put(record("acme.alice", 30*day), refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled})
				_, stop := w.scheduleWith("s1", func(c *schedule.Config) {
					c.Now = func() time.Time { return w.Now().Add(tt.age) }
				})
				defer stop()
				time.Sleep(5 * time.Second)
				if got := w.toldAbout(); !slices.Equal(got, tt.want) {
					w.t.Errorf("told %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestExpiringIsToldOncePerToken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.do2(w.PauseLane(w.ctx, "acme", provider.Pause{By: "operator"})) // so that nobody refreshes
		r := record("acme.alice", 50*time.Minute)
		w.put(r, refresh.Announcement{})
		for i := range 3 {
			_, stop := w.schedule(fmt.Sprintf("s%d", i+1))
			defer stop()
		}
		time.Sleep(59*time.Minute - time.Second)
		if got := w.toldAbout(); len(got) != 0 {
			w.t.Errorf("told early: %v", got)
		}
		time.Sleep(3 * time.Second)
		want := []string{"token.expiring acme.alice v1"}
		if got := w.toldAbout(); !slices.Equal(got, want) {
			w.t.Errorf("told %v, want %v", got, want)
		}
		_, stop := w.schedule("s4") // comes after the end
		time.Sleep(20 * time.Minute)
		stop()
		if got := w.toldAbout(); !slices.Equal(got, want) {
			w.t.Errorf("told again: %v", got)
		}
		next := record("acme.alice", 50*time.Minute)
		next.Version = 2
		w.put(next, refresh.Announcement{})
		time.Sleep(time.Hour)
		want = append(want, "token.expiring acme.alice v2")
		if got := w.toldAbout(); !slices.Equal(got, want) {
			w.t.Errorf("told %v, want %v", got, want)
		}
		for _, e := range w.told() {
			if !e.Data.ExpiresAt.IsZero() {
				w.t.Errorf("told the end %v, which is known to the second only", e.Data.ExpiresAt)
			}
		}
	})
}

// TestExpiringIsNotToldOfATokenThatIsRenewedInTheSameMoment: a scheduler that starts late finds both due at once.
func TestExpiringIsNotToldOfATokenThatIsRenewedInTheSameMoment(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		r := record("acme.alice", -time.Minute)
		r.ExpiresAt = w.Now().Add(20 * time.Second)
		w.put(r, refresh.Announcement{})
		stopWork := w.work("acme", 2, w.refreshed)
		defer stopWork()
		_, stop := w.schedule("s1")
		defer stop()
		time.Sleep(30 * time.Second)
		if v := w.record("acme.alice").Record.Version; v != 2 {
			w.t.Errorf("version %d, want a renewed token", v)
		}
		if got := w.toldAbout(); slices.Contains(got, "token.expiring acme.alice v1") {
			w.t.Errorf("told %v of a token that was renewed in time", got)
		}
	})
}

func TestEndOfAGrantIsToldAhead(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		r := record("acme.alice", 0)
		r.RefreshAt, r.ExpiresAt = time.Time{}, time.Time{}
		r.GrantExpiresAt = r.IssuedAt.Add(4 * time.Hour)
		w.put(r, refresh.Announcement{})
		_, stop := w.schedule("s1")
		defer stop()
		time.Sleep(2*time.Hour - time.Minute)
		if got := w.toldAbout(); len(got) != 0 {
			w.t.Errorf("told early: %v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := w.toldAbout(); !slices.Equal(got, []string{"token.reauth_required acme.alice v1"}) {
			w.t.Errorf("told %v", got)
		}
	})
}

// deaf is a teller that fails for a while.
type deaf struct {
	refresh.Teller
	until time.Time
}

func (d deaf) Publish(ctx context.Context, e events.Event) error {
	if time.Now().Before(d.until) {
		return errors.New("nobody listens")
	}
	return d.Teller.Publish(ctx, e)
}

func TestEventsThatCannotBeToldAreToldLater(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		const n = 3000 // more than wait at once
		for i := range n {
			r := record(fmt.Sprintf("acme.a%d", i), time.Hour)
			w.do2(w.Put(w.ctx, refresh.Write{
				Record: r, Announce: refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled},
			}))
		}
		l, stop := w.scheduleWith("s1", func(c *schedule.Config) {
			c.Teller = deaf{w.teller, time.Now().Add(time.Minute)}
		})
		defer stop()
		time.Sleep(2 * time.Minute)
		if got := len(w.told()); got != n {
			w.t.Errorf("told %d, want %d", got, n)
		}
		if errs := l.errors(); len(errs) != 1 {
			w.t.Errorf("reported %d times: %v", len(errs), errs[:min(len(errs), 3)])
		}
	})
}
