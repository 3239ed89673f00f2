package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

var benchStart = time.Unix(1_800_000_000, 0)

// benchKey is a key of 30 bytes: acme/user-00000000@examp.x
func benchKey(i int) string { return fmt.Sprintf("acme.user-%08d=40examp=2Ex", i) }

// benchEntry is a token of an hour that is due within the next hour.
func benchEntry(i int, revision uint64) schedule.Entry {
	due := benchStart.Add(time.Duration(1+i%3600) * time.Second)
	return schedule.Entry{
		GrantID: "abcdefghijklmnop", Generation: 1, Version: revision, Revision: revision, State: refresh.StateActive,
		Due: due, Reason: events.ReasonScheduled, ExpiresAt: due.Add(10 * time.Minute), ExpiringAt: due.Add(9 * time.Minute),
	}
}

func benchIndex(b *testing.B, n int) *schedule.Index {
	b.Helper()
	x := schedule.NewIndex(benchStart)
	x.Expect(n) // as before all records are read
	for i := range n {
		if _, err := x.Upsert(benchKey(i), benchEntry(i, 1)); err != nil {
			b.Fatal(err)
		}
	}
	return x
}

// eachSize runs a benchmark for a hundred thousand, a million and ten million entries; the index is built once for
// each. -short leaves ten million out.
func eachSize(b *testing.B, run func(b *testing.B, x *schedule.Index, n int)) {
	for _, n := range []int{100_000, 1_000_000, 10_000_000} {
		if testing.Short() && n > 1_000_000 {
			continue
		}
		x := (*schedule.Index)(nil)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			if x == nil {
				x = benchIndex(b, n)
			}
			run(b, x, n)
		})
	}
}

// BenchmarkIndexUpsert moves one entry of many to another second.
func BenchmarkIndexUpsert(b *testing.B) {
	eachSize(b, func(b *testing.B, x *schedule.Index, n int) {
		keys := make([]string, 1<<16)
		for i := range keys {
			keys[i] = benchKey(rand.IntN(n))
		}
		revision := uint64(1)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			revision++
			if _, err := x.Upsert(keys[i%len(keys)], benchEntry(i*7919, revision)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkIndexDue is a tick that finds a thousand due.
func BenchmarkIndexDue(b *testing.B) {
	eachSize(b, func(b *testing.B, _ *schedule.Index, n int) {
		x := schedule.NewIndex(benchStart)
		for i := range n {
			e := benchEntry(0, 1)
			e.Due = benchStart.Add(time.Duration(1+i%(n/1000)) * time.Second)
			e.ExpiresAt, e.ExpiringAt = time.Time{}, time.Time{}
			if _, err := x.Upsert(benchKey(i), e); err != nil {
				b.Fatal(err)
			}
		}
		now, due := benchStart, 0
		count := func(schedule.Ref, schedule.Work) { due++ }
		x.Due(now, n, count)
		b.ResetTimer()
		for i := range b.N {
			now = now.Add(time.Second)
			x.Due(now, n, count)
			if due != 1000 {
				b.Fatalf("%d are due in round %d; run with -benchtime=90x or less", due, i)
			}
			due = 0
		}
	})
}

// BenchmarkIndexGC is a full collection beside an index, and says what an entry costs the process.
func BenchmarkIndexGC(b *testing.B) {
	for _, n := range []int{1_000_000, 10_000_000} {
		if testing.Short() && n > 1_000_000 {
			continue
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			debug.FreeOSMemory()
			before := residentBytes(b)
			x := benchIndex(b, n)
			b.ResetTimer()
			for range b.N {
				runtime.GC()
			}
			b.StopTimer()
			debug.FreeOSMemory() // as cmd/scheduler does after the reading: the garbage of making these entries is not the index's
			b.ReportMetric(float64(schedule.Bytes(x))/float64(n), "B/entry")
			b.ReportMetric(float64(residentBytes(b)-before)/float64(n), "RSS-B/entry")
			runtime.KeepAlive(x)
		})
	}
}

// residentBytes is the process's resident set, 0 where /proc does not tell it.
func residentBytes(b *testing.B) int {
	b.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
