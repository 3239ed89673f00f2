package journal_test

import (
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
)

// One operation is the life of an outcome of 1 KiB: an append and the mark that retires it, or that keeps it.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{false, true} {
		for _, n := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("sync=%v/goroutines=%d", sync, n), func(b *testing.B) {
				benchmarkAppend(b, journal.Config{Sync: sync, KeepFor: -1}, n)
			})
		}
	}
	b.Run("kept/goroutines=64", func(b *testing.B) {
		benchmarkAppend(b, journal.Config{KeepFor: time.Second, MaxBytes: 4 << 30}, 64)
	})
}

func benchmarkAppend(b *testing.B, cfg journal.Config, goroutines int) {
	j, err := journal.Open(b.TempDir(), cfg)
	must(b, err)
	data := make([]byte, 1024)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range goroutines {
		wg.Go(func() {
			for i := w; i < b.N; i += goroutines {
				id := strconv.Itoa(i)
				if err := j.Append(journal.Entry{ID: id, Key: "acme/alice", Data: data}); err != nil {
					b.Error(err)
				}
				if err := j.Committed(id, 1); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	must(b, j.Close())
}

// What a journal holds in memory for half a million entries that are committed and kept, as after 150 s of 3,400 a second.
func BenchmarkMemoryOfRecent(b *testing.B) {
	const entries = 510_000
	for b.Loop() {
		j, err := journal.Open(b.TempDir(), journal.Config{MaxBytes: 4 << 30})
		must(b, err)
		before := heap()
		data := make([]byte, 1024)
		for i := range entries {
			id := strconv.Itoa(i)
			must(b, j.Append(journal.Entry{ID: id, Key: "acme/alice", Data: data}))
			must(b, j.Committed(id, 1))
		}
		if s := j.Stats(); s.Recent != entries {
			b.Fatalf("%+v", s)
		}
		b.ReportMetric(float64(heap()-before)/entries, "B/entry")
		must(b, j.Close())
	}
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
