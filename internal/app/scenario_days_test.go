package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// after is how late a refresh may come: the scheduler ticks each second, and the rest takes no virtual time.
const after = 3 * time.Second

// due judges one refresh: prev told of the token before it, at is when the new one was told. It returns the span in which
// the refresh had to come.
type due func(prev events.Event) (from, to time.Time)

// beforeEnd is the span of a token that ends: the lead, and a tenth of its lifetime of jitter before that.
func beforeEnd(lead time.Duration, jitter bool) due {
	return func(prev events.Event) (from, to time.Time) {
		to = prev.Data.ExpiresAt.Add(-lead)
		if from = to; jitter {
			from = to.Add(-prev.Data.ExpiresAt.Sub(prev.Time) / 10)
		}
		return from.Add(-time.Second), to.Add(after) // a job is due when less than a second is missing
	}
}

// daily is the span of a cron that fires once a day by the clocks of a place.
func daily(hour int, zone string) due {
	return func(prev events.Event) (from, to time.Time) {
		place, err := time.LoadLocation(zone)
		if err != nil {
			panic(err)
		}
		local := prev.Time.In(place)
		for day := 0; !from.After(prev.Time.Add(2 * time.Second)); day++ {
			from = time.Date(local.Year(), local.Month(), local.Day()+day, hour, 0, 0, 0, place)
		}
		return from, from.Add(after)
	}
}

// idle is the span of a keep-alive.
func idle(d time.Duration) due {
	return func(prev events.Event) (from, to time.Time) {
		return prev.Time.Add(d - time.Second), prev.Time.Add(d + after)
	}
}

// never says that there is to be no refresh.
func never(events.Event) (from, to time.Time) { return time.Time{}, time.Time{} }

// life is a credential's: how long its tokens live and when they are to be renewed. A lifetime of 0 is one that the token
// endpoint does not tell.
type life struct {
	lifetime time.Duration
	due      due
	least    int // refreshes at least
}

// livesOf is every kind of credential, 20 in all, by provider and account.
func livesOf(days int) map[string]map[string]life {
	lead := beforeEnd(15*time.Minute, true)
	hours := func(h int) life { return life{time.Duration(h) * time.Hour, lead, days * 24 / (h + 1)} }
	kept := life{30 * 24 * time.Hour, idle(36 * time.Hour), days * 24 / 37}
	nightly := life{10 * 24 * time.Hour, daily(4, "Europe/Berlin"), days}
	return map[string]map[string]life{
		"acme": {
			"1h": hours(1), "2h": hours(2), "3h": hours(3), "6h": hours(6), "12h": hours(12), "24h": hours(24), "48h": hours(48),
			"90d": {90 * 24 * time.Hour, never, 0},
		},
		"silent":  {"a": {0, lead, days * 24 / 9}, "b": {0, lead, days * 24 / 9}, "c": {0, lead, days * 24 / 9}},
		"forever": {"a": {0, never, 0}, "b": {0, never, 0}},
		"nightly": {"n1": nightly, "n2": nightly, "n3": nightly},
		"alive":   {"k1": kept, "k2": kept},
		"late": {
			"l1": {6 * time.Hour, beforeEnd(5*time.Minute, false), days * 4}, "l2": {6 * time.Hour, beforeEnd(5*time.Minute, false), days * 4},
		},
	}
}

// lifePolicies are what makes the providers of livesOf different.
func lifePolicies() map[string]func(*provider.Definition) {
	silent := func(d *provider.Definition) { d.TokenURL = "http://127.0.0.1:10/token" }
	return map[string]func(*provider.Definition){
		"acme":    nil,
		"silent":  func(d *provider.Definition) { silent(d); d.Refresh.DefaultLifetime = provider.Duration(8 * time.Hour) },
		"forever": func(d *provider.Definition) { silent(d); d.Refresh.DefaultLifetime = provider.Never },
		"nightly": func(d *provider.Definition) { d.Refresh.Cron = "CRON_TZ=Europe/Berlin 0 4 * * *" },
		"alive":   func(d *provider.Definition) { d.Refresh.KeepAlive = provider.Duration(36 * time.Hour) },
		"late":    func(d *provider.Definition) { d.Refresh.EarlyRefused = provider.Duration(5 * time.Minute) },
	}
}

// TestAWeekInTheLife: every kind of credential is renewed when it must be and at no other time. The clocks of Berlin go
// forward on the second night. Each day costs about seven seconds of real time, and some forty under the race detector,
// which gets the first two days.
func TestAWeekInTheLife(t *testing.T) {
	days := 7
	if raceDetector {
		days = 2
	}
	natstest.Bubble(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2000, time.March, 24, 20, 0, 0, 0, time.UTC)))
		lives := livesOf(days)
		lifetime := func(account string, _ int) time.Duration {
			for _, of := range lives {
				if l := of[account]; l.lifetime > 0 {
					return l.lifetime
				}
			}
			return 8 * time.Hour
		}
		silent := authserver.New(authserver.Config{Lifetime: lifetime, OmitExpiresIn: true})
		f := newFleet(t, fleetConfig{
			Auth: authserver.Config{Lifetime: lifetime}, Schedulers: 1, Workers: 1, Hands: 1, EventsMaxAge: 30 * 24 * time.Hour,
			Wrap: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Host == "127.0.0.1:10" {
						silent.ServeHTTP(w, r)
						return
					}
					h.ServeHTTP(w, r)
				})
			},
		})
		f.enrolAll(lives, silent)
		time.Sleep(time.Duration(days) * 24 * time.Hour)
		f.judgeAll(lives, silent)
	})
}

// enrolAll enrols everybody, a minute after each other.
func (f *fleet) enrolAll(lives map[string]map[string]life, silent *authserver.Server) {
	f.t.Helper()
	for name, policy := range lifePolicies() {
		d := f.definition(name, policy)
		f.apply(d)
		for account, l := range lives[name] {
			time.Sleep(time.Minute)
			if l.lifetime > 0 {
				f.enrolAt(d, account)
				continue
			}
			f.enrolFrom(silent, d, account, func(g *enroll.NewGrant) { g.Lifetime = 0 })
		}
	}
}

func (f *fleet) judgeAll(lives map[string]map[string]life, silent *authserver.Server) {
	f.t.Helper()
	told := make(map[events.Credential][]events.Event)
	all := f.told()
	for _, e := range all {
		if e.Type != events.TokenUpdated {
			f.t.Errorf("told %s of %s", e.Type, e.Data.Credential())
		}
		told[e.Data.Credential()] = append(told[e.Data.Credential()], e)
	}
	credentials, versions := 0, 0
	for name, of := range lives {
		for account, l := range of {
			c := events.Credential{Provider: name, Account: account}
			f.judgeLife(c, l, told[c])
			credentials++
			versions += int(f.record(c).Record.Version)
		}
	}
	a, b := f.auth.Ledger(), silent.Ledger()
	refreshes := int(a.Refreshes + b.Refreshes)
	if versions != credentials+refreshes || versions != len(all) {
		f.t.Errorf("%d versions, %d enrolments and %d refreshes, %d events", versions, credentials, refreshes, len(all))
	}
	for _, l := range []authserver.Ledger{a, b} {
		if l.Replayed+l.LastTries+l.Concurrent+l.Revoked+l.Abandoned != 0 {
			f.t.Errorf("ledger: %+v", l)
		}
	}
	f.t.Logf("%d credentials, %d refreshes", credentials, refreshes)
}

// judgeLife holds a credential's history against what was wanted.
func (f *fleet) judgeLife(c events.Credential, l life, told []events.Event) {
	f.t.Helper()
	if len(told) <= l.least {
		f.t.Errorf("%s: %d versions told, want more than %d", c, len(told), l.least)
	}
	for i, e := range told {
		if e.Data.Version != uint64(i+1) {
			f.t.Errorf("%s: version %d was told as number %d", c, e.Data.Version, i+1)
		}
		if i == 0 {
			continue
		}
		if from, to := l.due(told[i-1]); e.Time.Before(from) || e.Time.After(to) {
			f.t.Errorf("%s: version %d (%s) at %v, want between %v and %v", c, e.Data.Version, e.Data.Reason, e.Time, from, to)
		}
		if end := told[i-1].Data.ExpiresAt; !end.IsZero() && !e.Time.Before(end) {
			f.t.Errorf("%s: version %d came at %v, the one before ended at %v", c, e.Data.Version, e.Time, end)
		}
	}
	if end := f.record(c).Record.ExpiresAt; !end.IsZero() && !end.After(time.Now()) {
		f.t.Errorf("%s: the token ended at %v", c, end)
	}
}
