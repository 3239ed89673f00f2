package tokens_test

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// lane is the jobs stream with the lane of acme, as apply makes them.
type lane struct {
	*bucket
	cons jetstream.Consumer
}

// newLane makes both. rate is as people write it; empty: none.
func (b *bucket) newLane(rate string) *lane {
	b.t.Helper()
	_, err := b.js.CreateStream(b.t.Context(), jetstream.StreamConfig{
		Name: b.names.JobsStream(), Subjects: []string{b.names.JobsSubjects()}, Retention: jetstream.WorkQueuePolicy,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	cfg := jetstream.ConsumerConfig{
		Durable: "acme", FilterSubject: b.names.LaneSubjects("acme"), AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: -1,
	}
	if rate != "" {
		cfg.Metadata = map[string]string{provider.LaneRate: rate}
	}
	cons, err := b.js.CreateConsumer(b.t.Context(), b.names.JobsStream(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return &lane{bucket: b, cons: cons}
}

// asked returns how many jobs were ever queued.
func (l *lane) asked() uint64 {
	l.t.Helper()
	s, err := l.js.Stream(l.t.Context(), l.names.JobsStream())
	if err != nil {
		l.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// next takes a job, or returns ok == false when none comes in time. It stays in flight until it is acked.
func (l *lane) next(within time.Duration) (job refresh.Job, msg jetstream.Msg, ok bool) {
	l.t.Helper()
	msg, err := l.cons.Next(jetstream.FetchMaxWait(within))
	if errors.Is(err, nats.ErrTimeout) {
		return job, nil, false
	}
	if err == nil {
		job, err = refresh.DecodeJob(msg.Data())
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return job, msg, true
}

// work carries out jobs until the test ends: a job that asks for more than the record has brings the next version of r, whose
// access token is access-VERSION. It returns how many did.
func (l *lane) work(r refresh.Record) *atomic.Int64 {
	var refreshes atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.t.Cleanup(func() { cancel(); <-done })
	msgs, err := l.cons.Messages(jetstream.PullExpiry(time.Second))
	if err != nil {
		l.t.Fatal(err)
	}
	context.AfterFunc(ctx, msgs.Stop)
	go func() {
		defer close(done)
		for {
			msg, err := msgs.Next()
			if err != nil {
				return
			}
			if job, err := refresh.DecodeJob(msg.Data()); err == nil && job.NewerThan >= r.Version && job.GrantID == r.GrantID {
				r.Version++
				refreshes.Add(1)
				l.tell(l.put(r, access(r.Version)))
			}
			_ = msg.Ack()
		}
	}()
	return &refreshes
}

// access is the access token of a version.
func access(version uint64) string { return "access-" + string(rune('0'+version)) }
