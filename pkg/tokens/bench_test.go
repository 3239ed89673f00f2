package tokens_test

import (
	"fmt"
	"testing"

	"github.com/freshetdev/freshet/pkg/tokens"
)

func BenchmarkTokenWarm(b *testing.B) {
	bucket, c := setup(b, tokens.Config{})
	bucket.put(record("alice"), "access")
	src := c.TokenSource("acme/alice")
	if _, err := src.Token(); err != nil {
		b.Fatal(err)
	}
	b.Run("one goroutine", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := src.Token(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all processors", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := src.Token(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkGet10000Cold(b *testing.B) {
	bucket, c := setup(b, tokens.Config{})
	ids := make([]string, 10_000)
	for i := range ids {
		account := fmt.Sprint("user", i)
		ids[i] = "acme/" + account
		bucket.put(record(account), "access-"+account)
	}
	b.ReportAllocs()
	for b.Loop() {
		results, err := c.Get(b.Context(), ids...)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/id")
}
