package telemetry

import (
	"context"
	"errors"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// The templates of the subjects, as spans name them.
const (
	jobSubject   = "refresh.jobs.{provider}.{account}"
	eventSubject = ".{provider}.{account}"
)

// Queue makes a span of each job that is put on the queue, at which its trace begins.
func (t *Tracer) Queue(q schedule.Queue) schedule.Queue {
	if t == nil {
		return q
	}
	return tracedQueue{q, t}
}

type tracedQueue struct {
	schedule.Queue
	t *Tracer
}

// PublishJob implements schedule.Queue.
func (q tracedQueue) PublishJob(ctx context.Context, key string, job refresh.Job, slot string) error {
	c, err := events.ParseKey(key)
	if err != nil {
		return q.Queue.PublishJob(ctx, key, job, slot)
	}
	ctx, span := q.t.start(ctx, "send refresh.jobs", trace.SpanKindProducer,
		messaging("send", "publish", q.t.names.JobsStream(), jobSubject), q.t.about(c),
		[]attribute.KeyValue{attribute.String(attrReason, string(job.Reason))})
	defer span.End()
	job.Trace = position(ctx)
	err = q.Queue.PublishJob(ctx, key, job, slot)
	switch {
	case errors.Is(err, broker.ErrQueued), errors.Is(err, broker.ErrSlotTaken):
		span.SetAttributes(attribute.String(attrOutcome, "queued_already"))
	case err != nil:
		failed(span, "publish")
	}
	return err
}

// Process makes a span of one job's work, behind the span of its sending.
func (t *Tracer) Process(ctx context.Context, c events.Credential, job refresh.Job, work func(context.Context) refresh.Result) refresh.Result {
	ctx, span := t.start(following(ctx, job.Trace), "process refresh.jobs", trace.SpanKindConsumer,
		messaging("process", "process", t.names.JobsStream(), jobSubject), t.about(c),
		[]attribute.KeyValue{attribute.String(attrReason, string(job.Reason)), attribute.String("messaging.consumer.group.name", c.Provider)})
	defer span.End()
	r := work(ctx)
	span.SetAttributes(attribute.String(attrOutcome, string(r.Class)), attribute.Int64(attrVersion, int64(r.After)))
	if r.Attempt != "" {
		span.SetAttributes(attribute.String(attrAttempt, r.Attempt)) // as in the log
	}
	if r.Class != refresh.ClassOK && r.Class != refresh.ClassFresh {
		failed(span, string(r.Class))
	}
	return r
}

// Store makes a span of each write: the claim, and what came of it.
func (t *Tracer) Store(s refresh.Store) refresh.Store {
	if t == nil {
		return s
	}
	return tracedStore{s, t}
}

type tracedStore struct {
	refresh.Store
	t *Tracer
}

// Put implements refresh.Store.
func (s tracedStore) Put(ctx context.Context, w refresh.Write) (uint64, error) {
	if !traced(ctx) {
		return s.Store.Put(ctx, w)
	}
	name := "commit"
	if w.Record.Claim != nil {
		name = "claim"
	}
	ctx, span := s.t.start(ctx, name, trace.SpanKindClient)
	defer span.End()
	revision, err := s.Store.Put(ctx, w)
	switch {
	case errors.Is(err, refresh.ErrConflict):
		span.SetAttributes(attribute.String(attrOutcome, "conflict"))
	case err != nil:
		failed(span, name)
	}
	return revision, err
}

// Exchanger makes a span of each token request. No header of the trace goes to the provider: it is another party.
func (t *Tracer) Exchanger(x refresh.Exchanger) refresh.Exchanger {
	if t == nil {
		return x
	}
	return tracedExchanger{x, t}
}

type tracedExchanger struct {
	refresh.Exchanger
	t *Tracer
}

// Exchange implements refresh.Exchanger.
func (x tracedExchanger) Exchange(ctx context.Context, r refresh.Request) refresh.Outcome {
	if !traced(ctx) {
		return x.Exchanger.Exchange(ctx, r)
	}
	kvs := []attribute.KeyValue{attribute.String("http.request.method", "POST"), attribute.String(attrProvider, r.Provider.Name)}
	if u, err := url.Parse(r.Provider.TokenURL); err == nil {
		kvs = append(kvs, attribute.String("server.address", u.Hostname()))
	}
	ctx, span := x.t.start(ctx, "POST token endpoint", trace.SpanKindClient, kvs)
	defer span.End()
	out := x.Exchanger.Exchange(ctx, r)
	if out.Status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", out.Status))
	}
	if out.Phase != refresh.PhaseAnswered {
		failed(span, string(out.Phase))
	}
	return out
}

// Teller makes a span of each event, which carries the trace to those who hear of it.
func (t *Tracer) Teller(to refresh.Teller) refresh.Teller {
	if t == nil {
		return to
	}
	return tracedTeller{to, t}
}

type tracedTeller struct {
	refresh.Teller
	t *Tracer
}

// Publish implements refresh.Teller.
func (p tracedTeller) Publish(ctx context.Context, e events.Event) error {
	if !traced(ctx) {
		return p.Teller.Publish(ctx, e)
	}
	ctx, span := p.t.start(ctx, "send "+string(e.Type), trace.SpanKindProducer,
		messaging("send", "publish", p.t.names.EventsStream(), string(e.Type)+eventSubject), p.t.about(e.Data.Credential()))
	defer span.End()
	e.Trace = position(ctx)
	err := p.Teller.Publish(ctx, e)
	if err != nil {
		failed(span, "publish")
	}
	return err
}
