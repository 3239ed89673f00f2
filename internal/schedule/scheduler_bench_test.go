package schedule_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// BenchmarkFill is a scheduler's start beside a hundred thousand records, until it has read them all.
func BenchmarkFill(b *testing.B) {
	const n = 100_000
	br := benchBroker(b)
	for i := range n {
		r := record(benchKey(i), time.Hour)
		msg := &nats.Msg{Subject: br.Names().RecordKeySubject(benchKey(i)), Header: r.Summary(refresh.Announcement{}).Header()}
		if _, err := br.JetStream().PublishMsgAsync(msg); err != nil {
			b.Fatal(err)
		}
	}
	<-br.JetStream().PublishAsyncComplete()
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		s, err := schedule.New(schedule.Config{
			Records: br, Providers: br, Queue: br, Teller: br.Publisher(), Now: br.Now, Source: "s1",
			Observer: schedule.Observer{Rebuilt: func(got int, _ time.Duration) {
				if got != n {
					b.Errorf("read %d records", got)
				}
				cancel()
			}},
		})
		if err == nil {
			err = s.Run(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/record")
}

func benchBroker(b *testing.B) *broker.Broker {
	b.Helper()
	s := natstest.Run(b, natstest.Options{})
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(s))...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	br, err := broker.New(nc, broker.Config{})
	if err == nil {
		_, err = br.Setup(b.Context(), broker.SetupConfig{})
	}
	if err != nil {
		b.Fatal(err)
	}
	return br
}
