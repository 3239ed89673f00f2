package schedule_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// handed is what one Due handed out, by key.
func handed(x *schedule.Index, now time.Time) map[string]schedule.Work {
	out := make(map[string]schedule.Work)
	x.Due(now, 1<<30, func(r schedule.Ref, w schedule.Work) {
		key, _ := x.View(r)
		out[key] = w
	})
	return out
}

func mustUpsert(t testing.TB, x *schedule.Index, key string, e schedule.Entry) {
	t.Helper()
	if _, err := x.Upsert(key, e); err != nil {
		t.Fatal(err)
	}
}

func TestIndexKeepsAnEntryAsItIs(t *testing.T) {
	t.Parallel()
	end := benchStart.Add(90 * 24 * time.Hour).UTC()
	for name, e := range map[string]schedule.Entry{
		"empty": {Reason: events.ReasonScheduled},
		"full": {
			GrantID: "abcdefghijklmnop", Generation: 3, Version: 1 << 20, Revision: 1<<48 - 1, State: refresh.StateUncertain,
			Due: end.Add(-time.Hour), Reason: events.ReasonCron, ExpiresAt: end, ExpiringAt: end.Add(-time.Minute),
			GrantExpiresAt: end, ReauthAt: end.Add(-7 * 24 * time.Hour),
			Announce: refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled},
		},
		"odd": {
			GrantID: "by hand", Generation: 1 << 40, Version: 1 << 50, Revision: 1, State: "resting", Reason: events.ReasonKeepAlive,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := schedule.NewIndex(benchStart)
			announce := e
			announce.Announce = refresh.Announcement{Type: events.TokenRevoked} // so that it is handed out
			if e.Announce != (refresh.Announcement{}) {
				announce = e
			}
			mustUpsert(t, x, "acme.alice", announce)
			found := false
			x.Announced(func(r schedule.Ref) bool {
				key, got := x.View(r)
				if found = true; key != "acme.alice" || got != announce {
					t.Errorf("got %s: %+v, want %+v", key, got, announce)
				}
				return true
			})
			if !found {
				t.Error("not handed out")
			}
		})
	}
}

func TestIndexRefusesKeysItCannotHold(t *testing.T) {
	t.Parallel()
	x := schedule.NewIndex(benchStart)
	for _, key := range []string{"", strings.Repeat("k", 256)} {
		if _, err := x.Upsert(key, schedule.Entry{}); !errors.Is(err, schedule.ErrKey) {
			t.Errorf("key of %d bytes: %v, want ErrKey", len(key), err)
		}
	}
	mustUpsert(t, x, strings.Repeat("k", 255), schedule.Entry{})
}

func TestIndexSaysWhenItIsFull(t *testing.T) {
	t.Parallel()
	x := schedule.NewIndex(benchStart)
	schedule.Exhaust(x)
	if _, err := x.Upsert("acme.alice", schedule.Entry{}); !errors.Is(err, schedule.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}

func TestOnlyAHealthyRecordIsAskedForAMomentEarly(t *testing.T) {
	t.Parallel()
	at := benchStart.Truncate(time.Second).Add(10 * time.Second)
	for _, tt := range []struct {
		state refresh.State
		due   time.Duration
		early bool
	}{
		{refresh.StateActive, 0, true},
		{refresh.StateActive, refresh.Early, true},
		{refresh.StateActive, refresh.Early + 1, false},
		{refresh.StateRetrying, 1, false},
		{refresh.StateUncertain, 1, false},
		{refresh.StateUncertain, 0, true},
	} {
		x := schedule.NewIndex(benchStart)
		mustUpsert(t, x, "acme.alice", schedule.Entry{State: tt.state, Due: at.Add(tt.due)})
		if got := len(handed(x, at)) == 1; got != tt.early {
			t.Errorf("%s, due %v later: handed out %t, want %t", tt.state, tt.due, got, tt.early)
		}
		if got := len(handed(x, at.Add(time.Second))) == 0; got != tt.early {
			t.Errorf("%s, due %v later: not handed out a second later", tt.state, tt.due)
		}
	}
}

func TestIndexSurvivesAClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		jump time.Duration
	}{
		{"a night asleep", 30 * time.Hour}, {"a year asleep", 365 * 24 * time.Hour},
		{"an hour back", -time.Hour}, {"a second back", -time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := schedule.NewIndex(benchStart)
			handed(x, benchStart)
			now := benchStart.Add(tt.jump)
			handed(x, now)
			mustUpsert(t, x, "acme.soon", schedule.Entry{Due: now.Add(5 * time.Second)})
			mustUpsert(t, x, "acme.late", schedule.Entry{Due: now.Add(500 * time.Hour)})
			if got := handed(x, now.Add(4*time.Second)); len(got) != 0 {
				t.Errorf("early: %v", got)
			}
			if got := handed(x, now.Add(6*time.Second)); len(got) != 1 || got["acme.soon"] != schedule.WorkJob {
				t.Errorf("got %v, want acme.soon", got)
			}
			if err := schedule.CheckIndex(x); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestIndexMeetsEachFarEntryInItsSecond walks through twelve days second by second.
func TestIndexMeetsEachFarEntryInItsSecond(t *testing.T) {
	t.Parallel()
	x := schedule.NewIndex(benchStart)
	const n, days = 500, 12
	for i := range n {
		mustUpsert(t, x, fmt.Sprintf("acme.%d", i), schedule.Entry{Due: benchStart.Add(time.Duration(i*2069) * time.Second)})
	}
	seen := 0
	for s := range days * 86400 {
		now := benchStart.Add(time.Duration(s) * time.Second)
		x.Due(now, 1<<30, func(r schedule.Ref, _ schedule.Work) {
			if key, e := x.View(r); !e.Due.Equal(now) {
				t.Errorf("%s is due at %v and came at %v", key, e.Due, now)
			}
			seen++
		})
	}
	if seen != n {
		t.Errorf("%d of %d came", seen, n)
	}
}

func TestIndexGivesTheMemoryOfDroppedKeysBack(t *testing.T) {
	t.Parallel()
	x := schedule.NewIndex(benchStart)
	const n = 20_000
	for i := range n {
		mustUpsert(t, x, benchKey(i), benchEntry(i, 1))
	}
	full := schedule.KeyPages(x)
	for i := range n {
		if i%10 != 0 {
			x.Remove(benchKey(i), 1)
		}
	}
	if got := schedule.KeyPages(x); got > full/4 {
		t.Errorf("%d pages of keys for a tenth of them, %d for all", got, full)
	}
	if err := schedule.CheckIndex(x); err != nil {
		t.Error(err)
	}
	for i := range n {
		if got := x.Has(benchKey(i)); got != (i%10 == 0) {
			t.Fatalf("key %d: %v", i, got)
		}
	}
	bytes := schedule.Bytes(x)
	for round := uint64(2); round < 10; round++ { // keys that come and go need no more
		for i := range n {
			mustUpsert(t, x, benchKey(i+n), benchEntry(i, round))
			x.Remove(benchKey(i+n), round)
		}
	}
	if got := schedule.Bytes(x); got > bytes+bytes/4 {
		t.Errorf("%d bytes after much coming and going, %d before", got, bytes)
	}
	if err := schedule.CheckIndex(x); err != nil {
		t.Error(err)
	}
}

// TestReauthIsToldOncePerEndOfAGrant: versions come and go every hour, the grant ends when it ends.
func TestReauthIsToldOncePerEndOfAGrant(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		end  func(version time.Duration) time.Duration // after the start
		want int
	}{
		{"a grant of thirty days", func(time.Duration) time.Duration { return 30 * day }, 1},
		{"a grant of a day", func(time.Duration) time.Duration { return day }, 1},
		{"computed anew each time", func(v time.Duration) time.Duration { return 30*day + v/1e6 }, 1},
		{"a grant that lives on", func(v time.Duration) time.Duration { return v + 30*day }, 0},
		{"a session that idles out", func(v time.Duration) time.Duration { return v + 3*time.Hour }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, told := schedule.NewIndex(benchStart), 0
			for v := range 24 * 30 {
				since := time.Duration(v) * time.Hour
				s := token(func(s *refresh.Summary) {
					s.Version, s.IssuedAt = uint64(v+1), benchStart.Add(since)
					s.GrantExpiresAt = benchStart.Add(tt.end(since))
				})
				mustUpsert(t, x, "acme.alice", schedule.Plan(s, uint64(v+1), schedule.Policy{}))
				for _, minute := range []time.Duration{0, 20, 40, 59} {
					x.Due(benchStart.Add(since+minute*time.Minute), 10, func(r schedule.Ref, w schedule.Work) {
						if w&schedule.WorkReauth != 0 {
							told++
						}
						x.Told(r, w)
					})
				}
			}
			if told != tt.want {
				t.Errorf("told %d times, want %d", told, tt.want)
			}
		})
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte{0, 1, 10, 1, 1, 20, 3, 0, 30, 2, 1, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		x := schedule.NewIndex(benchStart)
		due := make(map[string]int64) // seconds after the start
		now, revision := int64(0), uint64(0)
		for ; len(ops) >= 3; ops = ops[3:] {
			key := "p." + strings.Repeat("k", int(ops[1]%250)+1)
			revision++
			switch ops[0] % 3 {
			case 0:
				at := now + 1 + int64(ops[2])*int64(ops[2])*int64(ops[2])
				due[key] = at
				mustUpsert(t, x, key, schedule.Entry{Revision: revision, Due: benchStart.Add(time.Duration(at) * time.Second)})
			case 1:
				delete(due, key)
				x.Remove(key, revision)
			case 2:
				now += int64(ops[2]) * int64(ops[1])
				for key := range handed(x, benchStart.Add(time.Duration(now)*time.Second)) {
					if at, ok := due[key]; !ok || at > now {
						t.Fatalf("%s came at %d, due %d (%v)", key, now, at, ok)
					}
					delete(due, key)
				}
				for key, at := range due {
					if at <= now {
						t.Fatalf("%s was due at %d and did not come at %d", key, at, now)
					}
				}
			}
		}
		if err := schedule.CheckIndex(x); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAnnouncementsHoldUpNoJob: after an import a million of them may wait.
func TestAnnouncementsHoldUpNoJob(t *testing.T) {
	t.Parallel()
	x := schedule.NewIndex(benchStart)
	mustUpsert(t, x, "acme.alice", schedule.Entry{
		Due: benchStart.Add(2 * time.Second), Announce: refresh.Announcement{Type: events.TokenUpdated},
	})
	for i, want := range []int{0, 0, 1} {
		if got := len(handed(x, benchStart.Add(time.Duration(i)*time.Second))); got != want {
			t.Errorf("%d handed out after %d s, want %d", got, i, want)
		}
	}
}

func TestAnnouncementsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	x := schedule.NewIndex(benchStart)
	keys := []string{"acme.c", "acme.a", "acme.b", "acme.d"}
	for _, key := range keys {
		mustUpsert(t, x, key, schedule.Entry{Announce: refresh.Announcement{Type: events.TokenUpdated}})
	}
	x.Remove("acme.a", 1)
	var got []string
	for _, most := range []int{1, 9} {
		x.Announced(func(r schedule.Ref) bool {
			if most--; most < 0 {
				return false
			}
			key, _ := x.View(r)
			got = append(got, key)
			return true
		})
	}
	if want := []string{"acme.c", "acme.b", "acme.d"}; !slices.Equal(got, want) {
		t.Errorf("announced %v, want %v", got, want)
	}
}
