package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/events"
)

const (
	// slowRTT is a way to NATS on which a refresh, which goes it six times, takes most of its time.
	slowRTT = 250 * time.Millisecond
	// leastPayload is what the largest record needs: a reply of 256 KiB, sealed and encoded.
	leastPayload = 1 << 20
	// maxOffset is how far two clocks may be apart before a person should know; workers say so from there on.
	maxOffset = 30 * time.Second
)

// server looks at the connection and at who is at its other end.
func (e *examiner) server(context.Context) {
	nc := e.Broker.Conn()
	if err := e.Broker.CheckServer(); err != nil {
		e.fail("nats", oneLine(err), "upgrade nats-server, or check that it runs")
		return
	}
	rtt, err := nc.RTT()
	switch found := fmt.Sprintf("nats-server %s answers in %v", nc.ConnectedServerVersion(), rtt.Round(10*time.Microsecond)); {
	case err != nil:
		e.fail("nats", "no answer: "+oneLine(err), "check the way to NATS")
	case rtt > slowRTT:
		e.warn("nats", found, "run workers and schedulers closer to NATS: each refresh goes this way six times")
	default:
		e.ok("nats", "%s", found)
	}
	if nc.MaxPayload() < leastPayload {
		e.warn("payload", fmt.Sprintf("messages have %d bytes at most", nc.MaxPayload()),
			fmt.Sprintf("set max_payload to %d or more: records with large tokens do not fit", leastPayload))
	}
	e.encryption(nc)
}

// encryption says whether others on the way to NATS can read along, and when the server's certificate ends.
func (e *examiner) encryption(nc *nats.Conn) {
	if found, advice, open := strings.Cut(broker.Unencrypted(nc), "; "); open {
		e.warn("tls", found, advice)
		return
	}
	state, err := nc.TLSConnectionState()
	if err != nil || len(state.PeerCertificates) == 0 {
		return // it does not leave this machine
	}
	e.report(judgeCertificate(state.PeerCertificates[0].NotAfter, time.Now()))
}

// certificateEnds is how long before its end a certificate should have been renewed.
const certificateEnds = 7 * 24 * time.Hour

func judgeCertificate(end, now time.Time) probe.Check {
	c := probe.Check{Name: "tls", Result: probe.OK, Found: "the connection to NATS is encrypted; the server's certificate ends " + end.UTC().Format(time.DateOnly)}
	if end.Sub(now) < certificateEnds {
		c.Result, c.Advice = probe.Warn, "renew it: once it has ended nothing connects to NATS any more"
	}
	return c
}

func (e *examiner) limits(ctx context.Context) {
	l, err := e.Broker.Limits(ctx)
	if err != nil {
		e.trouble("limits", err)
		return
	}
	e.report(judgeLimits(l))
}

func judgeLimits(l broker.Limits) probe.Check {
	c := probe.Check{Name: "limits", Result: probe.OK, Found: "the account keeps " + bytes(l.Used)}
	if l.Max == 0 {
		c.Found += ", and has no limit of its own"
		return c
	}
	c.Found += " of " + bytes(l.Max)
	switch {
	case l.Used >= l.Max/100*98:
		c.Result, c.Advice = probe.Fail, "raise the account's limit: without room no outcome can be stored"
	case l.Used >= l.Max/100*80:
		c.Result, c.Advice = probe.Warn, "raise the account's limit before it is reached: without room no outcome can be stored"
	}
	return c
}

// assets holds what there is against what Freshet needs.
func (e *examiner) assets(ctx context.Context) {
	changes, err := e.Broker.Setup(ctx, broker.SetupConfig{DryRun: true})
	for _, c := range changes {
		name := c.Kind + " " + c.Name
		switch {
		case c.Action == broker.ActionCreate && c.Name == e.Broker.Names().EnrollmentsBucket():
			e.warn(name, "it is missing: freshet web cannot work", "run freshet setup")
		case c.Action == broker.ActionCreate:
			e.missing = true
			e.fail(name, "it is missing", "run freshet setup")
		case len(c.Differences) > 0:
			e.warn(name, "it is not as declared: "+differences(c), "change it with the nats command line, if nobody chose this")
		default:
			e.ok(name, "as declared")
		}
	}
	if err != nil {
		e.trouble("assets", err)
	}
}

func differences(c broker.Change) string {
	var all []string
	for _, d := range c.Differences {
		all = append(all, fmt.Sprintf("%s is %s, want %s", d.Field, d.Have, d.Want))
	}
	return strings.Join(all, "; ")
}

// streams looks at copies and room.
func (e *examiner) streams(ctx context.Context) {
	all, err := e.Broker.Streams(ctx)
	if err != nil {
		e.trouble("streams", err)
	}
	for _, s := range all {
		if c := judgeStream(s, e.Broker.Names()); c.Result != probe.OK {
			e.report(c)
		}
		if s.Name == e.Broker.Names().TokensBucket() {
			e.scheduler(s.Consumers)
		}
	}
}

// scheduler says whether somebody watches the records. A dashboard does it in the same way as a scheduler.
func (e *examiner) scheduler(watchers int) {
	if watchers == 0 {
		e.warn("scheduler", "nobody watches the records", "start freshet-scheduler")
		return
	}
	e.ok("scheduler", "somebody watches the records, a scheduler or a dashboard: NATS does not say which; without a scheduler the line on what is due gets worse")
}

// judgeStream says the worst of a stream. That the events' bucket is full is what its bound is for.
func judgeStream(s broker.StreamSight, names events.Names) probe.Check {
	name := s.Kind + " " + s.Name
	switch {
	case s.Volatile:
		return probe.Check{Name: name, Result: probe.Fail, Found: "it acknowledges before it has written (persist_mode async)",
			Advice: "make the stream anew without it: an acknowledged refresh token can be lost"}
	case len(s.Behind) > 0:
		return probe.Check{Name: name, Result: probe.Warn, Found: fmt.Sprintf("%d of %d copies are away or behind: %s", len(s.Behind), s.Replicas, strings.Join(s.Behind, ", ")),
			Advice: "look after these servers"}
	case s.MaxBytes > 0 && s.Bytes > uint64(s.MaxBytes)/100*90 && s.Name != names.EventsStream():
		return probe.Check{Name: name, Result: probe.Warn, Found: fmt.Sprintf("it holds %s of %s", bytes(s.Bytes), bytes(uint64(s.MaxBytes))),
			Advice: "raise its max_bytes: what does not fit is not stored"}
	}
	return probe.Check{Name: name, Result: probe.OK}
}

func (e *examiner) clock(ctx context.Context) {
	err := e.Broker.AskTime(ctx) // says at once what a measurement would try again and again
	if err == nil {
		err = app.MeasureClock(ctx, e.Broker)
	}
	if err != nil {
		e.trouble("clock", err)
		return
	}
	e.report(judgeClock(e.Broker.Offset()))
}

func judgeClock(offset time.Duration) probe.Check {
	if offset.Abs() > maxOffset {
		return probe.Check{Name: "clock", Result: probe.Warn, Found: fmt.Sprintf("NATS time is %v ahead of this machine's", offset.Round(time.Second)),
			Advice: "check the time synchronisation of both: claims count in NATS time, but certificates and assertions do not"}
	}
	return probe.Check{Name: "clock", Result: probe.OK, Found: fmt.Sprintf("this machine and NATS agree within %v", maxOffset)}
}

// bytes writes a size as people read it.
func bytes(n uint64) string {
	const unit = 1024
	switch {
	case n >= unit*unit*unit:
		return fmt.Sprintf("%.1f GiB", float64(n)/(unit*unit*unit))
	case n >= unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/(unit*unit))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/unit)
}
