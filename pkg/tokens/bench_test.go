package tokens_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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
	ids := bucket.putMany(10_000, func(i int) string { return fmt.Sprint("user", i) })
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

// BenchmarkByNameWarm reads by name, at random among 100,000 that are kept fresh.
func BenchmarkByNameWarm(b *testing.B) {
	const n = 100_000
	bucket, c := setup(b, tokens.Config{})
	ids := bucket.putMany(n, func(i int) string { return fmt.Sprint("tenant", i%1000, "/user", i, "@example.com") })
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				if _, err := c.Token(b.Context(), ids[i]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	asked := make([]string, n) // in memory of its own, as names are that a program has just been given
	for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		asked[i] = strings.Clone(ids[k])
	}
	ctx := b.Context()
	for name, read := range map[string]func(id string) error{
		"Get":         func(id string) error { got, err := c.Get(ctx, id); return cmp.Or(err, got[0].Err) },
		"Token":       func(id string) error { _, err := c.Token(ctx, id); return err },
		"TokenSource": func(id string) error { _, err := c.TokenSource(id).Token(); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := read(asked[i%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Get 100 at once", func(b *testing.B) {
		batch := make([]string, 100)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			for k := range batch {
				batch[k] = asked[(100*i+k)%n]
			}
			if _, err := c.Get(ctx, batch...); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/id")
	})
}
