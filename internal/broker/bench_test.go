package broker_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func BenchmarkGet(b *testing.B) {
	for _, at := range []int{1, 64} {
		b.Run(fmt.Sprintf("at=%d", at), func(b *testing.B) {
			br, _ := setUp(b)
			mustPut(b, br, record("alice", 1), 0)
			concurrently(b, at, func(int) error {
				_, err := br.Get(b.Context(), credential("alice"))
				return err
			})
		})
	}
}

func BenchmarkPut(b *testing.B) {
	for _, at := range []int{1, 64} {
		b.Run(fmt.Sprintf("at=%d", at), func(b *testing.B) {
			br, _ := setUp(b)
			revs := make([]uint64, at)
			r := record("alice", 1)
			r.Grant, r.Access = make([]byte, 300), make([]byte, 600)
			concurrently(b, at, func(i int) (err error) {
				r := r
				r.Account = fmt.Sprintf("user%d", i)
				revs[i], err = br.Put(b.Context(), refresh.Write{Record: r, Revision: revs[i]})
				return err
			})
		})
	}
}

func BenchmarkLane(b *testing.B) {
	for _, hands := range []int{1, 64} {
		b.Run(fmt.Sprintf("hands=%d", hands), func(b *testing.B) {
			br, _ := setUp(b)
			d := acme()
			d.Limits.Concurrency = 1000
			lane := mustLane(b, br, d)
			data := job(1).Encode()
			for i := range b.N {
				if _, err := br.JetStream().PublishAsync(fmt.Sprintf("refresh.jobs.acme.user%d", i), data); err != nil {
					b.Fatal(err)
				}
			}
			<-br.JetStream().PublishAsyncComplete()
			var done atomic.Int64
			all := make(chan struct{})
			b.ReportAllocs()
			b.ResetTimer()
			stop := runLane(b, lane, hands, func(_ context.Context, d *broker.Delivery) {
				if err := d.Ack(); err != nil {
					b.Error(err)
				}
				if done.Add(1) == int64(b.N) {
					close(all)
				}
			})
			<-all
			b.StopTimer()
			if err := stop(); err != nil {
				b.Error(err)
			}
		})
	}
}

// concurrently runs f b.N times in all, on n goroutines; f gets its goroutine's number.
func concurrently(b *testing.B, n int, f func(i int) error) {
	b.Helper()
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkWatchRecords(b *testing.B) {
	const keys = 100_000
	br, _ := setUp(b)
	r := record("alice", 1)
	r.Grant, r.Access = make([]byte, 300), make([]byte, 600)
	data, err := r.Encode()
	if err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(br.Conn(), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	header := nats.Header(r.Summary(refresh.Announcement{}).Header())
	for i := range keys {
		msg := &nats.Msg{Subject: fmt.Sprintf("$KV.tokens.acme.tenant%d.user%d", i%100, i), Data: data, Header: header}
		if _, err := js.PublishMsgAsync(msg); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		seen := 0
		err := br.WatchRecords(b.Context(), broker.WatchConfig{Once: true}, func(s broker.Seen) {
			if s.Err == nil {
				seen++
			}
		}, nil)
		if err != nil || seen != keys {
			b.Fatalf("%d of %d, %v", seen, keys, err)
		}
	}
	b.ReportMetric(float64(keys)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
