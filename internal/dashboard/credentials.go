package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// pageRows is how many credentials a page lists.
	pageRows = 50
	// longestText bounds what is searched for.
	longestText = 200
)

// What a list can be narrowed to, beside the states themselves.
const (
	statePaused = "paused"
	stateBroken = "unreadable"
)

// listView is a page of credentials.
type listView struct {
	Rows    []rowView
	Summary string
	Pager   pager
}

// rowView is a line of it.
type rowView struct {
	Name, Href       string
	Badge            badge
	Version          uint64
	Bar              *bar
	Expires, Refresh moment
	Note             string
}

// filterView is the form above it.
type filterView struct {
	Text              string
	Providers, States []option
	Clear             bool
}

type option struct {
	Value, Text string
	Chosen      bool
}

// credentials lists them, a page at a time: ?after=KEY or before=KEY, &state=&provider=&q=.
func (d *Dashboard) credentials(_ context.Context, q url.Values) (page, error) {
	now := d.cfg.Broker.Now()
	query := queryOf(q)
	d.mu.RLock()
	rows, more := d.index.Find(query)
	if query.Before != "" && !more { // nothing is before them: it is the first page, and a whole one
		query.Before, query.After = "", ""
		rows, more = d.index.Find(query)
	}
	d.mu.RUnlock()
	v := listView{Summary: "No credential matches.", Pager: pagerOf(q, query, rows, more)}
	for _, r := range rows {
		v.Rows = append(v.Rows, viewRow(r, now))
	}
	if n := len(rows); n > 0 {
		v.Summary = fmt.Sprintf("%s to %s", v.Rows[0].Name, v.Rows[n-1].Name)
	}
	return page{Title: "Credentials", Nav: "/credentials", Parts: []part{
		{ID: "filter", Template: "filter", Class: "all", Data: d.filter(q, now)},
		{ID: "list", Template: "list", Class: "all", Live: true, Data: v},
	}}, nil
}

// pagerOf leads from what was found to the pages around it. more says that there is more on the side to which the query looked.
func pagerOf(q url.Values, query Query, rows []Row, more bool) (p pager) {
	notFirst := query.After != "" || query.Before != ""
	if notFirst {
		p.First = "/credentials?" + with(q, "", "").Encode()
	}
	if len(rows) == 0 {
		return p
	}
	if notFirst {
		p.Previous = "/credentials?" + with(q, "before", rows[0].Key).Encode()
	}
	if more || query.Before != "" { // behind the rows before a key there is at least that one, or was
		p.Next = "/credentials?" + with(q, "after", rows[len(rows)-1].Key).Encode()
	}
	return p
}

// queryOf reads what a list is narrowed to.
func queryOf(q url.Values) Query {
	query := Query{After: q.Get("after"), Before: q.Get("before"), Provider: q.Get("provider"), Text: q.Get("q"), Limit: pageRows}
	query.Text = query.Text[:min(len(query.Text), longestText)]
	switch state := q.Get("state"); state {
	case statePaused:
		query.Paused = true
	case stateBroken:
		query.Broken = true
	default:
		query.State = refresh.State(state)
	}
	return query
}

// with is a query with another cursor, after or before a key, and nothing empty.
func with(q url.Values, cursor, key string) url.Values {
	next := make(url.Values)
	for _, name := range []string{"q", "provider", "state"} {
		if v := q.Get(name); v != "" {
			next.Set(name, v)
		}
	}
	if key != "" {
		next.Set(cursor, key)
	}
	return next
}

func (d *Dashboard) filter(q url.Values, now time.Time) filterView {
	v := filterView{Text: q.Get("q"), Clear: len(with(q, "", "")) > 0}
	names := d.providerNames()
	for name := range d.survey(now).Providers {
		names = append(names, name)
	}
	slices.Sort(names)
	v.Providers = options(q.Get("provider"), append([]string{""}, slices.Compact(names)...))
	v.States = options(q.Get("state"), []string{
		"", string(refresh.StateActive), string(refresh.StateRetrying), string(refresh.StateUncertain),
		string(refresh.StateReauthRequired), string(refresh.StateRevoked), statePaused, stateBroken,
	})
	return v
}

func options(chosen string, values []string) (all []option) {
	for _, v := range values {
		o := option{Value: v, Text: v, Chosen: v == chosen}
		if v == "" {
			o.Text = "any"
		}
		all = append(all, o)
	}
	return all
}

func viewRow(r Row, now time.Time) rowView {
	name := nameOf(r.Key)
	v := rowView{
		Name: name, Href: credentialHref(name), Badge: badgeOf(r.State, r.Paused), Version: r.Version, Bar: lifeBar(r, now),
		Expires: relative(r.ExpiresAt, now), Refresh: nextRefresh(r, now),
	}
	if r.FailureClass != "" {
		v.Note = fmt.Sprintf("%s × %d", r.FailureClass, max(r.FailureCount, 1))
	}
	return v
}

// nextRefresh is when somebody will refresh it by themselves.
func nextRefresh(r Row, now time.Time) moment {
	switch {
	case !r.Refreshable():
		return moment{Text: "–"}
	case !r.RefreshAt.IsZero() && !r.RefreshAt.After(now):
		m := relative(r.RefreshAt, now)
		m.Text = "due"
		return m
	}
	return relative(r.RefreshAt, now)
}
