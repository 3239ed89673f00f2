package dashboard_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

var start = time.Unix(1_800_000_000, 0).UTC()

// drawRow draws one of few names, so that they meet, with parts that look like one another.
func drawRow(t *rapid.T) dashboard.Row {
	account := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "B", "ab", "@", ".", "/", "4", "0", "é", "="}), 1, 5).Draw(t, "account"), "")
	c := events.Credential{Provider: rapid.SampledFrom([]string{"acme", "acme-2", "ab"}).Draw(t, "provider"), Account: account}
	r := dashboard.Row{
		Key: c.Key(), Generation: 1, Version: rapid.Uint64Range(1, 9).Draw(t, "version"), Paused: rapid.Bool().Draw(t, "paused"),
		State: rapid.SampledFrom([]refresh.State{
			"", refresh.StateActive, refresh.StateRetrying, refresh.StateUncertain, refresh.StateReauthRequired, refresh.StateRevoked,
		}).Draw(t, "state"),
	}
	if rapid.Bool().Draw(t, "fails") {
		r.FailureClass, r.FailureCount = refresh.ClassThrottled, 3
	}
	if rapid.Bool().Draw(t, "has times") {
		r.IssuedAt, r.RefreshAt, r.ExpiresAt = start, start.Add(40*time.Minute), start.Add(time.Hour)
	}
	return r
}

// TestIndexIsAMapInOrder: whatever is put in and taken out, the index answers as a sorted map would.
func TestIndexIsAMapInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x, want := dashboard.NewIndex(), make(map[string]dashboard.Row)
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			r := drawRow(t)
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				x.Remove(r.Key)
				delete(want, r.Key)
				continue
			}
			x.Put(r)
			want[r.Key] = r
		}
		q := dashboard.Query{
			Provider: rapid.SampledFrom([]string{"", "acme", "ab"}).Draw(t, "of"), Limit: rapid.IntRange(1, 10).Draw(t, "limit"),
			State:  rapid.SampledFrom([]refresh.State{"", refresh.StateActive, refresh.StateReauthRequired}).Draw(t, "in state"),
			Paused: rapid.Bool().Draw(t, "only paused"),
			Text:   rapid.SampledFrom([]string{"", "a", "AB", "b/", "//", "@", "40", "é", "2e", "acme/", ".", "e/a"}).Draw(t, "text"),
		}
		var got []dashboard.Row
		for more := true; more; {
			var page []dashboard.Row
			if page, more = x.Find(q); more && len(page) != q.Limit {
				t.Fatalf("more than %d, of %d", len(page), q.Limit)
			}
			got = append(got, page...)
			if more {
				q.After = page[len(page)-1].Key
			}
		}
		if wanted := find(want, q); !slices.Equal(got, wanted) || x.Len() != len(want) {
			t.Fatalf("%+v of %d:\n%v\nwant %v", q, x.Len(), got, wanted)
		}
		if back := findBack(x, q); !slices.Equal(back, got) {
			t.Fatalf("%+v backwards:\n%v\nwant %v", q, back, got)
		}
		if got, wanted := x.Survey(start).Tally, tally(want); got != wanted {
			t.Fatalf("survey %+v, want %+v", got, wanted)
		}
	})
}

// findBack turns the pages from the last to the first.
func findBack(x *dashboard.Index, q dashboard.Query) (found []dashboard.Row) {
	q.Before = "\xff"
	for more := true; more; {
		var page []dashboard.Row
		page, more = x.Find(q)
		found = append(page, found...)
		if more {
			q.Before = page[0].Key
		}
	}
	return found
}

func find(all map[string]dashboard.Row, q dashboard.Query) (found []dashboard.Row) {
	small := strings.NewReplacer("A", "a", "B", "b")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		c, _ := events.ParseKey(key)
		r := all[key]
		if (q.Provider == "" || c.Provider == q.Provider) && (q.State == "" || r.State == q.State) && (!q.Paused || r.Paused) &&
			strings.Contains(small.Replace(c.String()), small.Replace(q.Text)) {
			found = append(found, r)
		}
	}
	return found
}

func tally(all map[string]dashboard.Row) (t dashboard.Tally) {
	states := []refresh.State{"", refresh.StateActive, refresh.StateRetrying, refresh.StateUncertain, refresh.StateReauthRequired, refresh.StateRevoked}
	for _, r := range all {
		t.Total++
		t.States[slices.Index(states, r.State)]++
		if r.Paused {
			t.Paused++
		}
	}
	return t
}

// TestIndexOfMany goes over the sizes of its leaves, in an order that splits and empties them.
func TestIndexOfMany(t *testing.T) {
	t.Parallel()
	const n = 5000
	x := dashboard.NewIndex()
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for _, i := range order {
		x.Put(dashboard.Row{Key: key(i), State: refresh.StateActive, Version: uint64(i)})
	}
	x.Begin()
	for _, i := range order {
		if i%7 == 0 {
			x.Put(dashboard.Row{Key: key(i), State: refresh.StateRetrying, Version: uint64(i)})
		}
	}
	x.Sweep()
	rows, more := x.Find(dashboard.Query{Limit: n})
	if more || len(rows) != n/7+1 || x.Len() != len(rows) {
		t.Fatalf("%d rows of %d", len(rows), x.Len())
	}
	for i, r := range rows {
		if r.Key != key(i*7) || r.Version != uint64(i*7) || r.State != refresh.StateRetrying {
			t.Fatalf("row %d: %+v", i, r)
		}
	}
	if rows, _ := x.Find(dashboard.Query{Text: "USER-0004998@Example.COM", Limit: 3}); len(rows) != 1 || rows[0].Version != 4998 {
		t.Errorf("found %v", rows)
	}
	last := "\xff"
	for i := (n - 1) / 7; i >= 0; i -= 10 {
		rows, more := x.Find(dashboard.Query{Before: last, Limit: 10})
		if want := min(10, i+1); len(rows) != want || more != (i >= 10) || rows[len(rows)-1].Key != key(i*7) {
			t.Fatalf("before %q: %d rows, more %v", last, len(rows), more)
		}
		last = rows[0].Key
	}
	if _, ok := x.Get(key(8)); ok {
		t.Error("what was not seen again is still there")
	}
}

func TestSurveyLooksAhead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		due     []time.Duration
		horizon time.Duration
		overdue int
	}{
		{"nothing", nil, time.Minute, 0},
		{"half a minute", []time.Duration{time.Second, 30 * time.Second}, time.Minute, 0},
		{"the same hour", []time.Duration{time.Second, 50 * time.Minute}, time.Hour, 0},
		{"some of them tomorrow", []time.Duration{time.Second, 50 * time.Minute, 23 * time.Hour}, 24 * time.Hour, 0},
		{"late", []time.Duration{-time.Minute, 5 * time.Hour}, 6 * time.Hour, 1},
	} {
		x := dashboard.NewIndex()
		for i, d := range tt.due {
			x.Put(dashboard.Row{Key: key(i), State: refresh.StateActive, RefreshAt: start.Add(d)})
		}
		x.Put(dashboard.Row{Key: "acme.paused", State: refresh.StateActive, Paused: true, RefreshAt: start.Add(time.Hour)})
		x.Put(dashboard.Row{Key: "acme.dead", State: refresh.StateReauthRequired, RefreshAt: start.Add(time.Hour)})
		s := x.Survey(start)
		ahead, bars := s.Horizon()
		n := 0
		for _, b := range bars {
			n += b
		}
		if ahead != tt.horizon || n != len(tt.due)-tt.overdue || s.Overdue != tt.overdue {
			t.Errorf("%s: %v with %d, %d overdue", tt.name, ahead, n, s.Overdue)
		}
		if len(s.Needs) != 1 || s.Needs[0].Key != "acme.dead" {
			t.Errorf("%s: needs %v", tt.name, s.Needs)
		}
	}
}

// million is an index of a million, put in in no order.
func million(b *testing.B) *dashboard.Index {
	b.Helper()
	x := dashboard.NewIndex()
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(1_000_000) {
		x.Put(dashboard.Row{
			Key: fmt.Sprintf("acme.user-%07d=40exa=2Ex", i), State: refresh.StateActive, Generation: 1, Version: uint64(i), IssuedAt: start,
			RefreshAt: start.Add(time.Duration(i%3000) * time.Second), ExpiresAt: start.Add(time.Hour),
		})
	}
	return x
}

// BenchmarkIndex is what a million credentials cost, in memory and in time.
func BenchmarkIndex(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := million(b)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / float64(x.Len())
	for _, bb := range []struct {
		name string
		q    dashboard.Query
	}{
		{"page in the middle", dashboard.Query{After: "acme.user-0500000", Limit: 50}},
		{"page before the middle", dashboard.Query{Before: "acme.user-0500000", Limit: 50}},
		{"search without a hit", dashboard.Query{Text: "nobody@nowhere", Limit: 50}},
		{"search, one at the end", dashboard.Query{Text: "user-0999999@EXA", Limit: 50}},
		{"state that none has", dashboard.Query{State: refresh.StateReauthRequired, Limit: 50}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				x.Find(bb.q)
			}
			b.ReportMetric(each, "B/credential")
		})
	}
	b.Run("survey", func(b *testing.B) {
		for b.Loop() {
			x.Survey(start)
		}
	})
	b.Run("put", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i = (i + 7919) % 1_000_000
			x.Put(dashboard.Row{Key: fmt.Sprintf("acme.user-%07d=40exa=2Ex", i), State: refresh.StateActive, Version: uint64(i)})
		}
	})
}
