package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/provider"
)

// providers looks at each provider: its definition, its lane and, unless offline, its endpoints.
func (e *examiner) providers(ctx context.Context) {
	list, err := e.Broker.Providers(ctx)
	if err != nil {
		e.trouble("providers", err)
		return
	}
	if len(list) == 0 {
		e.warn("providers", "there are none", "write a providers.yaml and run freshet apply")
	}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if e.Scope.Provider != "" && name != e.Scope.Provider {
			continue
		}
		e.lane(ctx, name, list[name].Entry.Pause)
		e.provider(ctx, name, list[name])
	}
}

// provider opens a definition and asks its endpoints.
func (e *examiner) provider(ctx context.Context, name string, l broker.ListedProvider) {
	line := "provider " + name
	if l.Err != nil {
		e.fail(line, "its definition cannot be read: "+oneLine(l.Err), "run freshet apply again")
		return
	}
	d := l.Entry.Definition.WithDefaults()
	if e.Grant != nil {
		if err := l.Entry.OpenSecrets(e.Grant, e.Broker.Names().ProvidersBucket()); err != nil {
			e.fail(line, "its secrets do not open: "+oneLine(err), "give the grant keyset that it was applied with, or run freshet apply again")
			return
		}
		d = l.Entry.Definition.WithDefaults()
	}
	if e.Offline {
		e.ok(line, "its definition can be read")
		return
	}
	e.endpoints(ctx, line, &d)
}

// endpoints asks the provider. Without the keyset the client is not tried: its secrets are not open.
func (e *examiner) endpoints(ctx context.Context, line string, d *provider.Definition) {
	p := probe.New()
	defer p.Close()
	look := p.Probe
	if e.Grant == nil {
		look = p.Endpoints
	}
	checks, err := look(ctx, d)
	if err != nil {
		return // ctx ended
	}
	for _, c := range checks {
		c.Name = line + " " + c.Name
		e.report(c)
	}
	if e.Grant == nil {
		e.warn(line, "its client was not tried", "give --grant-keyset to try it; no grant is spent")
	}
}

// stuckAfter is how many times its AckWait a full lane may go without an ack.
const stuckAfter = 2

// lane looks whether jobs are taken and ended.
func (e *examiner) lane(ctx context.Context, name string, pause *provider.Pause) {
	line := "lane " + name
	i, err := e.Broker.LaneInfo(ctx, name)
	now := e.Broker.Now()
	if err != nil {
		if errors.Is(err, broker.ErrNoLane) {
			e.fail(line, "it is missing: nothing of this provider is refreshed", "run freshet apply again")
			return
		}
		e.trouble(line, err)
		return
	}
	e.resting[name] = i.Paused || pause.Active(now)
	e.report(judgeLane(name, i, pause, now))
}

func judgeLane(name string, i broker.LaneInfo, pause *provider.Pause, now time.Time) probe.Check {
	c := probe.Check{Name: "lane " + name, Result: probe.Warn}
	c.Found = fmt.Sprintf("%d queued, %d of %d in flight", i.Pending, i.AckPending, i.MaxAckPending)
	nobody := i.Waiting == 0 && i.AckPending == 0
	switch {
	case pause.Active(now):
		c.Found = fmt.Sprintf("paused by %s%s%s; %s", pause.By, until(pause.Until), reason(pause.Reason), c.Found)
		c.Advice = "freshet resume " + name + " ends the pause"
	case i.Paused:
		c.Found = "its consumer is paused" + until(i.PausedUntil) + ", and nobody says so; " + c.Found
		c.Advice = "freshet resume " + name + ", or wait: schedulers put it right"
	case nobody && i.Pending > 0:
		c.Result, c.Found, c.Advice = probe.Fail, "no worker takes its jobs; "+c.Found, "start freshet-worker, and look into its log"
	case nobody:
		c.Found, c.Advice = "no worker waits for its jobs", "start freshet-worker"
	case i.AckPending >= i.MaxAckPending && i.Pending > 0 && !i.LastAck.IsZero() && now.Sub(i.LastAck) > stuckAfter*i.AckWait:
		c.Result, c.Advice = probe.Fail, "look into the workers' logs, and at the provider"
		c.Found = fmt.Sprintf("full, and no job has ended for %v; %s", now.Sub(i.LastAck).Round(time.Second), c.Found)
	default:
		c.Result = probe.OK
	}
	return c
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + t.UTC().Format(time.RFC3339)
}

func reason(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (%.100q)", text)
}
