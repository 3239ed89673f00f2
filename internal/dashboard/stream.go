package dashboard

import (
	"context"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
)

// eventsShown is how many events a page shows.
const eventsShown = 100

// eventsPage shows what was told lately: ?type=&provider=.
func (d *Dashboard) eventsPage(_ context.Context, q url.Values) (page, error) {
	kind, name := events.Type(q.Get("type")), q.Get("provider")
	v := d.recent(eventsShown, func(e events.Event) bool {
		return (kind == "" || e.Type == kind) && (name == "" || e.Data.Provider == name)
	})
	types := []string{""}
	for _, t := range events.Types() {
		types = append(types, string(t))
	}
	f := filterView{
		States: options(string(kind), types), Providers: d.filter(url.Values{"provider": {name}}, time.Now()).Providers,
		Clear: kind != "" || name != "",
	}
	return page{Title: "Events", Nav: "/events", Parts: []part{
		{ID: "filter", Template: "eventfilter", Class: "all", Data: f},
		{ID: "stream", Template: "events", Class: "all", Live: true, Data: v},
	}}, nil
}
