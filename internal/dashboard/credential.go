package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// credentialView is one credential.
type credentialView struct {
	rowView
	Advice  string // what to do, or what will happen
	Facts   []fact
	CanLink bool
	Urgent  bool // only a person can help
}

type fact struct {
	Name, Text string
	When       moment
}

// credential shows one: ?name=PROVIDER/ACCOUNT.
func (d *Dashboard) credential(ctx context.Context, q url.Values) (page, error) {
	c, err := events.ParseCredential(q.Get("name"))
	if err != nil {
		return page{}, err
	}
	s, err := d.cfg.Broker.Get(ctx, c)
	if err != nil {
		return page{}, err
	}
	now := d.cfg.Broker.Now()
	past, err := d.eventsOf(ctx, c)
	history := eventsView{Rows: viewEvents(past, now), Empty: "No event of the last days is kept."}
	if err != nil {
		history.Empty = "The events cannot be read: " + err.Error()
	}
	return page{Title: c.String(), Nav: "/credentials", Parts: []part{
		{ID: "facts", Heading: "State", Template: "credential", Class: "all", Live: true, Data: d.viewCredential(&s.Record, now)},
		{ID: "history", Heading: "Events", Template: "events", Class: "all", Live: true, Data: history},
	}}, nil
}

// viewCredential shows what a record says openly. Its sealed members are not looked at.
func (d *Dashboard) viewCredential(r *refresh.Record, now time.Time) credentialView {
	row := Row{
		Key: r.Credential().Key(), State: r.State, Paused: r.Paused != nil, Generation: r.Generation, Version: r.Version,
		IssuedAt: r.IssuedAt, ExpiresAt: r.ExpiresAt, RefreshAt: r.RefreshAt, GrantExpiresAt: r.GrantExpiresAt,
	}
	v := credentialView{rowView: viewRow(row, now), Advice: advice(r), CanLink: d.cfg.Link != nil && d.takesPeople(r.Provider), Urgent: r.State == refresh.StateReauthRequired}
	add := func(name, text string) {
		if text != "" {
			v.Facts = append(v.Facts, fact{Name: name, Text: text})
		}
	}
	when := func(name string, t time.Time) {
		if !t.IsZero() {
			v.Facts = append(v.Facts, fact{Name: name, When: relative(t, now)})
		}
	}
	add("Version", fmt.Sprintf("%d of generation %d", r.Version, r.Generation))
	when("Issued", r.IssuedAt)
	when("Connected", r.GrantedAt)
	when("Grant ends", r.GrantExpiresAt)
	add("Scopes", strings.Join(r.Scopes, " "))
	add("Not granted", strings.Join(r.Narrowed, " "))
	add("Token type", r.TokenType)
	add("Grant", r.GrantID)
	if r.Policy != nil {
		add("Cron", r.Policy.Cron)
		if r.Policy.KeepAlive != 0 {
			add("Keep alive", r.Policy.KeepAlive.Std().String())
		}
	}
	if r.Paused != nil {
		add("Paused by", strings.TrimSuffix(r.Paused.By+": "+r.Paused.Reason, ": "))
	}
	if r.Last != nil {
		add("Last attempt", strings.TrimSpace(string(r.Last.Outcome)+" "+string(r.Last.Reason)))
	}
	if f := r.Failure; f != nil {
		add("Failing", strings.TrimSpace(fmt.Sprintf("%d times: %s %s", f.Count, f.Class, f.Code)))
		when("Failing since", f.Since)
	}
	if r.Claim != nil {
		add("Being refreshed by", r.Claim.Worker)
	}
	if r.Doubt != nil {
		when("In doubt since", r.Doubt.FirstSentAt)
	}
	return v
}

// takesPeople reports whether somebody can agree at the provider.
func (d *Dashboard) takesPeople(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	l, ok := d.providers[name]
	return ok && l.err == nil && l.definition.Grant == provider.GrantAuthorizationCode && l.definition.AuthURL != ""
}

func advice(r *refresh.Record) string {
	switch {
	case r.State == refresh.StateReauthRequired:
		return "Only a person can help: whoever owns the account has to agree at the provider again."
	case r.Paused != nil:
		return "It is not refreshed while it is paused: freshet resume " + r.Credential().String() + " ends that."
	case r.State == refresh.StateUncertain:
		return "An attempt was sent and its outcome is not known. The provider forbids a second try, so the next one comes shortly before the token ends."
	case r.State == refresh.StateRetrying:
		return "The last attempt failed. It is tried again by itself."
	case r.State.Withdrawn():
		return "It was withdrawn: there is no token any more."
	default:
		return "It is refreshed by itself."
	}
}

const (
	// credentialEvents is how many events of a credential are shown.
	credentialEvents = 50
	// readEventsWithin bounds the reading of them.
	readEventsWithin = 2 * time.Second
	// longestHistory is how long events are kept by default.
	longestHistory = 7 * 24 * time.Hour
)

// eventsOf returns the newest events of a credential, the newest first: those that the stream kept, and those that came since.
func (d *Dashboard) eventsOf(ctx context.Context, c events.Credential) ([]events.Event, error) {
	kept, err := d.kept.of(ctx, d, c)
	var all []events.Event
	seen := make(map[string]bool)
	for _, e := range append(d.past.recent(credentialEvents, func(e events.Event) bool { return e.Data.Credential() == c }), kept...) {
		if !seen[e.ID] && len(all) < credentialEvents {
			seen[e.ID] = true
			all = append(all, e)
		}
	}
	return all, err
}

// firstPart is which part of the time that is looked back over is read first, and how much more each time after.
const firstPart = 64

// readEvents reads what the stream kept, the newest first. How far back it looks depends on how long tokens live: not hundreds
// of thousands of events for a page of them. A stream is read forwards, so it looks a little way back first, and then further: when
// the time is up it has the newest.
func (d *Dashboard) readEvents(ctx context.Context, c events.Credential) (newest []events.Event, err error) {
	ctx, cancel := context.WithTimeout(ctx, readEventsWithin)
	defer cancel()
	d.mu.RLock()
	r, _ := d.index.Get(c.Key())
	d.mu.RUnlock()
	all := longestHistory
	if life := r.ExpiresAt.Sub(r.IssuedAt); !r.ExpiresAt.IsZero() && life > 0 {
		all = min(max(2*credentialEvents*life, outcomeWindow), longestHistory)
	}
	for back := all / firstPart; ; back = min(back*firstPart, all) {
		found, err := d.readEventsSince(ctx, c, d.cfg.Broker.Now().Add(-back))
		if errors.Is(err, context.DeadlineExceeded) && newest != nil {
			return newest, nil // those of a shorter time, but all of them
		}
		newest = newestOf(found)
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil // what was found so far
		}
		if err != nil || ctx.Err() != nil || len(newest) == credentialEvents || back == all {
			return newest, err
		}
	}
}

// readEventsSince returns what the stream kept of a credential, the oldest first. With an error it is what was found until then.
func (d *Dashboard) readEventsSince(ctx context.Context, c events.Credential, since time.Time) (found []events.Event, err error) {
	err = events.Replay(ctx, d.cfg.Broker.JetStream(), events.SubscribeConfig{
		Names: d.cfg.Broker.Names(), Since: since, Filter: events.Filter{Provider: c.Provider, Account: c.Account},
	}, func(_ context.Context, e events.Event) error {
		if e.Data.Credential() == c { // the filter takes those below it as well
			found = append(found, e)
		}
		return nil
	})
	return found, err
}

// newestOf turns events around and leaves out the oldest; never nil.
func newestOf(found []events.Event) []events.Event {
	newest := make([]events.Event, 0, credentialEvents)
	for i := len(found) - 1; i >= 0 && len(newest) < credentialEvents; i-- {
		newest = append(newest, found[i])
	}
	return newest
}

// eventsView is a list of events.
type eventsView struct {
	Rows  []eventRow
	Empty string // what to say when there are none
}

type eventRow struct {
	At           moment
	Type, Class  string
	About, Href  string
	What, Source string
	ID           string
}

func (d *Dashboard) recent(limit int, match func(events.Event) bool) eventsView {
	return eventsView{Rows: viewEvents(d.past.recent(limit, match), d.cfg.Broker.Now()), Empty: "No event within the last hour."}
}

func viewEvents(all []events.Event, now time.Time) (rows []eventRow) {
	for _, e := range all {
		r := eventRow{At: absolute(e.Time), Type: string(e.Type), Class: eventClass(e.Type), What: eventText(e, now), Source: e.Source, ID: e.ID}
		if now.Sub(e.Time) > 12*time.Hour {
			r.At.Text = e.Time.UTC().Format("2 Jan 15:04 UTC")
		}
		r.About, r.Href = e.Data.Provider, "/providers#lane-"+e.Data.Provider
		if !e.Type.AboutProvider() {
			r.About = e.Data.Credential().String()
			r.Href = credentialHref(r.About)
		}
		rows = append(rows, r)
	}
	return rows
}

func eventClass(t events.Type) string {
	switch t {
	case events.TokenUpdated, events.ProviderResumed:
		return "ok"
	case events.TokenRefreshFailed, events.TokenExpiring, events.ProviderPaused:
		return "warn"
	case events.TokenReauthRequired:
		return "bad"
	default:
		return ""
	}
}

// eventText says what an event's type does not.
func eventText(e events.Event, now time.Time) string {
	var words []string
	add := func(format string, v any, wanted bool) {
		if wanted {
			words = append(words, fmt.Sprintf(format, v))
		}
	}
	x := e.Data
	add("v%d", x.Version, x.Version > 0)
	add("%s", cmp.Or(x.Class, string(x.Reason)), cmp.Or(x.Class, string(x.Reason)) != "")
	add("%s", x.Code, x.Code != "")
	add("again %s", relative(x.NextAttemptAt, now).Text, !x.NextAttemptAt.IsZero() && x.NextAttemptAt.After(now))
	add("by %s", x.By, x.By != "")
	add("until %s", absolute(x.Until).Text, !x.Until.IsZero())
	return strings.Join(words, " · ")
}
