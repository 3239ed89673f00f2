package dashboard

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// pageLanes is how many providers a page shows.
	pageLanes = 20
	// firstLanes is how many the overview shows.
	firstLanes = 8
)

// laneView is a provider and its lane.
type laneView struct {
	Name, Href           string
	Badge                badge
	Paused               string // by whom, why and until when; empty: it runs
	Operable             bool   // its lane can be paused here
	Pending              string
	Busy, Most           int
	BusyPercent          int
	Rate, Rotation, Host string
	Total, Needs         string
	Fault                string
	Outcomes             chart
}

func (d *Dashboard) firstNames() []string {
	names := d.providerNames()
	return names[:min(len(names), firstLanes)]
}

// laneViews shows providers by name.
func (d *Dashboard) laneViews(ctx context.Context, names []string) (all []laneView) {
	now := d.cfg.Broker.Now()
	queues, s := d.askLanes(ctx), d.survey(now)
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, name := range names {
		l, ok := d.providers[name]
		if !ok {
			continue
		}
		v := viewLane(name, l, now)
		v.Operable = d.cfg.Operator != "" && l.err == nil
		v.queue(queues[name])
		if t := s.Providers[name]; t != nil {
			v.Total, v.Needs = grouped(t.Total), grouped(t.In(refresh.StateReauthRequired))
		}
		v.Outcomes = outcomeChart(d.past.lately(name, now))
		all = append(all, v)
	}
	return all
}

func viewLane(name string, l lane, now time.Time) laneView {
	x := l.definition
	v := laneView{
		Name: name, Href: "/credentials?" + url.Values{"provider": {name}}.Encode(), Badge: badge{"running", "ok", "✓"},
		Rate: "no limit", Rotation: string(x.Rotation), Host: hostOf(x.TokenURL), Most: x.Limits.Concurrency, Total: "0", Needs: "0",
	}
	if !x.Limits.Rate.IsZero() {
		v.Rate = x.Limits.Rate.String()
	}
	if l.pause.Active(now) {
		v.Badge, v.Paused = badge{"paused", "warn", "Ⅱ"}, pauseText(l.pause, now)
	}
	if l.err != nil {
		v.Badge, v.Fault = badge{"cannot be read", "bad", "!"}, l.err.Error()
	}
	return v
}

func pauseText(p *provider.Pause, now time.Time) string {
	words := "by " + p.By
	if p.Reason != "" {
		words += ": " + p.Reason
	}
	if p.Until.IsZero() {
		return words + ", until somebody resumes it"
	}
	return words + ", ends " + relative(p.Until, now).Text
}

// queue adds what the lane itself says.
func (v *laneView) queue(q queue) {
	if q.err != nil {
		v.Pending = "not known"
		if v.Fault == "" {
			v.Fault = "its lane cannot be asked: " + q.err.Error()
		}
		return
	}
	v.Pending, v.Busy = grouped(int(q.Pending)), q.AckPending
	if q.MaxAckPending > 0 {
		v.Most = q.MaxAckPending
		v.BusyPercent = min(100*q.AckPending/q.MaxAckPending, 100)
	}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// onlyShown is for whoever looks for buttons that are not there.
const onlyShown = "Lanes are only shown here, because this process may not change them. An operator does: freshet pause PROVIDER, freshet resume PROVIDER."

// providerPage shows the providers, a page at a time: ?after=NAME.
func (d *Dashboard) providerPage(ctx context.Context, q url.Values) (page, error) {
	names := d.providerNames()
	from, found := slices.BinarySearchFunc(names, q.Get("after"), strings.Compare)
	if found {
		from++
	}
	shown := names[from:min(from+pageLanes, len(names))]
	p := page{Title: "Providers", Nav: "/providers"}
	if d.cfg.Operator == "" && len(names) > 0 {
		p.Parts = append(p.Parts, part{ID: "note", Template: "note", Class: "all", Data: onlyShown})
	}
	for _, v := range d.laneViews(ctx, shown) {
		p.Parts = append(p.Parts, part{ID: "lane-" + v.Name, Heading: v.Name, Template: "lane", Class: "half", Live: true, Data: v})
	}
	more := pager{}
	if from+len(shown) < len(names) {
		more.Next = "/providers?" + url.Values{"after": {shown[len(shown)-1]}}.Encode()
	}
	if from > 0 {
		more.First, more.Previous = "/providers", "/providers"
		if before := from - pageLanes; before > 0 {
			more.Previous = "/providers?" + url.Values{"after": {names[before-1]}}.Encode()
		}
	}
	if len(names) == 0 {
		more.Text = "No provider has been applied: freshet apply -f FILE does that."
	}
	p.Parts = append(p.Parts, part{ID: "pager", Template: "pager", Class: "all", Data: more})
	return p, nil
}

// pager leads to the other pages of a list, by their addresses; empty: there is none.
type pager struct{ Text, First, Previous, Next string }
