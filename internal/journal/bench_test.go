package journal_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/freshetdev/freshet/internal/journal"
)

// One operation is the life of an outcome of 1 KiB: an append and the mark that retires it.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{false, true} {
		for _, n := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("sync=%v/goroutines=%d", sync, n), func(b *testing.B) { benchmarkAppend(b, sync, n) })
		}
	}
}

func benchmarkAppend(b *testing.B, fsync bool, goroutines int) {
	j, err := journal.Open(b.TempDir(), journal.Config{Sync: fsync, KeepFor: -1})
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
