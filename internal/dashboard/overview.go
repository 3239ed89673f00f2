package dashboard

import (
	"context"
	"net/url"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// recentShown is how many events the overview shows.
const recentShown = 12

// tile is a number that leads to a list.
type tile struct {
	Number, Label, Href, Class string
	Sign                       string // says the same as the colour
}

// overview is the first page.
func (d *Dashboard) overview(ctx context.Context, _ url.Values) (page, error) {
	now := d.cfg.Broker.Now()
	s := d.survey(now)
	return page{Title: "Overview", Nav: "/", Parts: []part{
		{ID: "counts", Heading: "Credentials", Template: "counts", Class: "all", Live: true, Data: tiles(s)},
		{ID: "needs", Heading: "Needs a person", Template: "needs", Class: "half", Live: true, Data: d.needs(s)},
		{ID: "schedule", Heading: "Refreshes ahead", Template: "chart", Class: "half", Live: true, Data: scheduleChart(s, now)},
		{ID: "lanes", Heading: "Lanes", Template: "lanes", Class: "half", Live: true, Data: d.laneViews(ctx, d.firstNames())},
		{ID: "outcomes", Heading: "Outcomes", Template: "chart", Class: "half", Live: true, Data: outcomeChart(d.past.lately("", now))},
		{ID: "recent", Heading: "Recent events", Template: "events", Class: "all", Live: true, Data: d.recent(recentShown, func(events.Event) bool { return true })},
	}}, nil
}

// tiles are the counts by state. Those that want nobody's attention while they are zero are plain then.
func tiles(s Survey) []tile {
	states := []tile{
		{Label: "in all", Href: "/credentials", Number: grouped(s.Total)},
		stateTile(s, refresh.StateActive), stateTile(s, refresh.StateRetrying), stateTile(s, refresh.StateUncertain),
		stateTile(s, refresh.StateReauthRequired),
		{Label: "paused", Href: "/credentials?state=paused", Number: grouped(s.Paused), Sign: "Ⅱ"},
		{Label: "token ended", Number: grouped(s.Expired), Class: "bad", Sign: "!"},
	}
	if n := s.States[0]; n > 0 {
		states = append(states, tile{Label: "cannot be read", Href: "/credentials?state=" + stateBroken, Number: grouped(n), Class: "bad", Sign: "!"})
	}
	for i := range states {
		if states[i].Number == "0" {
			states[i].Class = ""
		}
	}
	return states
}

func stateTile(s Survey, state refresh.State) tile {
	b := badgeOf(state, false)
	return tile{Label: b.Text, Href: "/credentials?state=" + string(state), Number: grouped(s.In(state)), Class: b.Class, Sign: b.Sign}
}

// needsView is who is waited for.
type needsView struct {
	Rows    []needRow
	More    string // how many are not shown; empty: none
	CanLink bool
}

type needRow struct {
	Name, Href, What string
}

func (d *Dashboard) needs(s Survey) needsView {
	v := needsView{CanLink: d.cfg.Link != nil}
	for _, r := range s.Needs {
		name := nameOf(r.Key)
		what := "the provider takes the grant no longer"
		if r.FailureClass == "" {
			what = "the grant has come to its end"
		}
		v.Rows = append(v.Rows, needRow{Name: name, Href: credentialHref(name), What: what})
	}
	if n := s.In(refresh.StateReauthRequired) - len(v.Rows); n > 0 {
		v.More = grouped(n)
	}
	return v
}

// badge is a word with a colour and a sign.
type badge struct{ Text, Class, Sign string }

// badgeOf shows a state.
func badgeOf(s refresh.State, paused bool) badge {
	switch {
	case paused:
		return badge{"paused", "", "Ⅱ"}
	case s == refresh.StateActive:
		return badge{"active", "ok", "✓"}
	case s == refresh.StateRetrying:
		return badge{"retrying", "warn", "↻"}
	case s == refresh.StateUncertain:
		return badge{"uncertain", "warn", "?"}
	case s == refresh.StateReauthRequired:
		return badge{"needs a person", "bad", "!"}
	case s == "":
		return badge{"cannot be read", "bad", "!"}
	default:
		return badge{string(s), "", "–"}
	}
}

// nameOf is how people write a key.
func nameOf(key string) string {
	c, err := events.ParseKey(key)
	if err != nil {
		return key
	}
	return c.String()
}

func credentialHref(name string) string { return "/credential?" + url.Values{"name": {name}}.Encode() }
