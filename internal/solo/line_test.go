package solo_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/solo"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

var at = time.Date(2026, 3, 4, 12, 0, 46, 150_000_000, time.Local)

// about returns an event of this type about acme/alice, version 7.
func about(t events.Type, change func(*events.Data)) events.Event {
	e := events.Event{Type: t, Source: "freshet/worker/w1", Time: at, Data: events.Data{Provider: "acme", Account: "alice", Version: 7}}
	if t.AboutProvider() {
		e.Data = events.Data{Provider: "acme"}
	}
	if change != nil {
		change(&e.Data)
	}
	return e
}

func TestOneLineForEachEvent(t *testing.T) {
	t.Parallel()
	early := &refresh.Result{Worker: "w1", Before: 6, After: 7, Margin: 3 * time.Second, Total: 2500 * time.Microsecond}
	late := &refresh.Result{Worker: "w1", Before: 6, After: 7, Margin: -1200 * time.Millisecond, Total: time.Second}
	failed := func(d *events.Data) {
		d.Class, d.Code, d.NextAttemptAt = "rejected", "invalid_grant", at.Add(90*time.Second)
	}
	for name, c := range map[string]struct {
		event  events.Event
		result *refresh.Result
		layout solo.Layout
		want   string
	}{
		"renewed, seen by its worker": {about(events.TokenUpdated, nil), early, solo.Layout{},
			"12:00:46.150  token.updated          acme/alice        v6 → v7      3.0s before expiry  w1  2 ms"},
		"renewed too late": {about(events.TokenUpdated, nil), late, solo.Layout{NameWidth: 10},
			"12:00:46.150  token.updated          acme/alice  v6 → v7      1.2s AFTER expiry  w1  1000 ms"},
		"renewed, seen from outside": {about(events.TokenUpdated, func(d *events.Data) { d.Reason, d.ExpiresAt = events.ReasonScheduled, at.Add(time.Hour) }), nil, solo.Layout{},
			"12:00:46.150  token.updated          acme/alice        v6 → v7    scheduled  lives 1h0m  w1"},
		"with the day": {about(events.TokenUpdated, func(d *events.Data) { d.Reason = events.ReasonDemand }), nil, solo.Layout{Date: true},
			"2026-03-04 12:00:46.150  token.updated          acme/alice        v6 → v7    demand  lives on  w1"},
		"enrolled again: the version before may be another grant's": {about(events.TokenUpdated, func(d *events.Data) { d.Reason, d.ExpiresAt = events.ReasonEnrolled, at.Add(30*time.Second) }), nil, solo.Layout{},
			"12:00:46.150  token.updated          acme/alice        v7         enrolled  lives 30.0s  w1"},
		"failed": {about(events.TokenRefreshFailed, failed), early, solo.Layout{},
			"12:00:46.150  token.refresh_failed   acme/alice        v7         rejected invalid_grant  again in 2m  w1  2 ms"},
		"failed, without a code": {about(events.TokenRefreshFailed, func(d *events.Data) { d.Class = "unknown" }), nil, solo.Layout{},
			"12:00:46.150  token.refresh_failed   acme/alice        v7         unknown  w1"},
		"a person must act": {about(events.TokenReauthRequired, func(d *events.Data) { d.Class, d.Code = "rejected", "invalid_grant" }), nil, solo.Layout{},
			"12:00:46.150  token.reauth_required  acme/alice        v7         rejected invalid_grant  w1"},
		"about to end": {about(events.TokenExpiring, func(d *events.Data) { d.ExpiresAt = at.Add(1500 * time.Millisecond) }), nil, solo.Layout{},
			"12:00:46.150  token.expiring         acme/alice        v7         ends in 1.5s"},
		"about to end, who knows when": {about(events.TokenExpiring, nil), nil, solo.Layout{},
			"12:00:46.150  token.expiring         acme/alice        v7"},
		"a lane runs again, who knows why": {about(events.ProviderResumed, nil), nil, solo.Layout{},
			"12:00:46.150  provider.resumed       acme"},
		"has ended": {about(events.TokenExpiring, func(d *events.Data) { d.ExpiresAt = at.Add(-time.Second) }), nil, solo.Layout{},
			"12:00:46.150  token.expiring         acme/alice        v7         ended 1.0s ago"},
		"removed": {about(events.TokenDeleted, nil), nil, solo.Layout{},
			"12:00:46.150  token.deleted          acme/alice        v7"},
		"a lane is paused": {about(events.ProviderPaused, func(d *events.Data) { d.By, d.Reason, d.Until = "operator:ann", "maintenance", at.Add(time.Minute) }), nil, solo.Layout{},
			"12:00:46.150  provider.paused        acme              by operator:ann  maintenance  until 12:01:46"},
		"a lane runs again": {about(events.ProviderResumed, func(d *events.Data) { d.By = "operator:ann" }), nil, solo.Layout{},
			"12:00:46.150  provider.resumed       acme              by operator:ann"},
	} {
		if got := c.layout.Line(c.event, c.result); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

func TestDurationsForPeople(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0.0s", 1250 * time.Millisecond: "1.2s", 59 * time.Second: "59.0s", time.Minute: "1m", 90 * time.Second: "2m",
		time.Hour: "1h0m", 26*time.Hour + 20*time.Second: "26h0m",
	} {
		if got := solo.Tenths(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestAnEventAndItsAttemptMakeOneLineInEitherOrder(t *testing.T) {
	t.Parallel()
	attempted := about(events.TokenUpdated, func(d *events.Data) { d.Attempt = "a1"; d.Reason = events.ReasonScheduled })
	enrolled := about(events.TokenUpdated, func(d *events.Data) { d.Attempt = "a2"; d.Reason = events.ReasonEnrolled })
	result := refresh.Result{Attempt: "a1", Worker: "w1", Margin: time.Second}
	whole := solo.Layout{}.Line(attempted, &result) + "\n"
	for name, c := range map[string]struct {
		do   func(solo.Printer)
		want string
	}{
		"event first":                  {func(p solo.Printer) { p.Event(attempted); p.Result(result) }, whole},
		"result first":                 {func(p solo.Printer) { p.Result(result); p.Event(attempted) }, whole},
		"no attempt":                   {func(p solo.Printer) { p.Result(refresh.Result{}) }, ""},
		"enrolled by nobody's attempt": {func(p solo.Printer) { p.Event(enrolled) }, solo.Layout{}.Line(enrolled, nil) + "\n"},
		"about a lane":                 {func(p solo.Printer) { p.Event(about(events.ProviderPaused, nil)) }, solo.Layout{}.Line(about(events.ProviderPaused, nil), nil) + "\n"},
	} {
		var out bytes.Buffer
		p := solo.NewPrinter(&out)
		p.Event(enrolled) // before the start: no news
		p.Start()
		c.do(p)
		if out.String() != c.want {
			t.Errorf("%s: printed %q, want %q", name, out.String(), c.want)
		}
	}
}
