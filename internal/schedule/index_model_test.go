package schedule_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const modelNever = int64(1 << 40)

// modelEntry is an entry with its bookkeeping, unpacked. Times are seconds; 0 is none.
type modelEntry struct {
	schedule.Entry
	ready, toldExpiring, toldReauth, seen bool
	tries                                 int
	meet                                  int64 // when Due comes by
	look                                  int64 // when a job that was taken comes again, where Due comes by before
}

// model is an index as one would write it without any thought of size or speed.
type model struct {
	entries map[string]*modelEntry
	now     int64 // of the last Due
	floor   int64
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func (e *modelEntry) work(now int64) (w schedule.Work) {
	for _, c := range []struct {
		at   time.Time
		done bool
		w    schedule.Work
	}{
		{e.Due, e.ready, schedule.WorkJob}, {e.ExpiringAt, e.toldExpiring, schedule.WorkExpiring},
		{e.ReauthAt, e.toldReauth, schedule.WorkReauth},
	} {
		if !c.at.IsZero() && !c.done && unix(c.at) <= now {
			w |= c.w
		}
	}
	if w&schedule.WorkJob != 0 && e.tries == 0 {
		w &^= schedule.WorkExpiring // it may come in time
	}
	if e.look > now {
		w &^= schedule.WorkJob
	}
	return w
}

// await places an entry whose job was taken.
func (m *model) await(e *modelEntry, look int64) {
	e.look = 0
	if e.tells() < look {
		e.look = look
	}
	m.place(e, min(look, e.tells()))
}

func (e *modelEntry) wakes() int64 { return min(e.asks(), e.tells()) }

func (e *modelEntry) asks() int64 {
	if e.Due.IsZero() || e.ready {
		return modelNever
	}
	return unix(e.Due)
}

func (e *modelEntry) tells() int64 {
	at := modelNever
	if !e.ExpiringAt.IsZero() && !e.toldExpiring {
		at = min(at, unix(e.ExpiringAt))
	}
	if !e.ReauthAt.IsZero() && !e.toldReauth {
		at = min(at, unix(e.ReauthAt))
	}
	return at
}

func (m *model) place(e *modelEntry, at int64) {
	if at != modelNever {
		at = max(at, m.floor)
	}
	e.meet = at
}

func (m *model) upsert(key string, in schedule.Entry) (ended bool) {
	e := &modelEntry{Entry: in, seen: true}
	e.toldExpiring = unix(in.ExpiresAt) <= m.floor
	e.toldReauth = unix(in.GrantExpiresAt) <= m.floor
	old := m.entries[key]
	if old == nil {
		m.entries[key] = e
		m.place(e, e.wakes())
		return false
	}
	if old.Revision > in.Revision {
		return false
	}
	if old.Revision == in.Revision {
		e.Announce = old.Announce
	}
	grant := old.GrantID == in.GrantID && old.Generation == in.Generation
	token := grant && old.Version == in.Version
	if token && old.ExpiresAt.Equal(in.ExpiresAt) && old.ExpiringAt.Equal(in.ExpiringAt) {
		e.toldExpiring = old.toldExpiring
	}
	apart := in.GrantExpiresAt.Sub(old.GrantExpiresAt).Abs()
	if grant && apart < time.Minute && !old.ReauthAt.IsZero() && !in.ReauthAt.IsZero() {
		e.toldReauth = old.toldReauth
		e.ReauthAt = in.GrantExpiresAt.Add(-old.GrantExpiresAt.Sub(old.ReauthAt))
	}
	e.meet = old.meet
	if token && old.Due.Equal(in.Due) && old.State == in.State && old.Reason == in.Reason {
		e.ready, e.tries = old.ready, old.tries
	}
	if e.tries > 0 {
		e.look = old.look
	}
	if e.tries == 0 {
		m.place(e, e.wakes())
	}
	m.entries[key] = e
	return old.tries > 0 && e.tries == 0
}

// due returns what is handed out at now; told says whether the one who gets it tells at once.
func (m *model) due(now int64, told bool) map[string]schedule.Work {
	out := make(map[string]schedule.Work)
	if now < m.now {
		return out
	}
	if now-m.now > 1<<16 {
		m.floor = now
		for _, e := range m.entries {
			e.look = 0
			m.place(e, e.wakes())
		}
	}
	m.now, m.floor = now, max(m.floor, now+1)
	for key, e := range m.entries {
		if e.meet > now {
			continue
		}
		if w := e.work(now); w != 0 {
			out[key] = w
			m.serve(e, w, told)
		}
		job := e.asks()
		if e.look > now {
			job = e.look
		} else {
			e.look = 0
		}
		m.place(e, min(after(now, job), after(now, e.tells())))
	}
	return out
}

func after(now, at int64) int64 {
	if at <= now {
		return now + 5
	}
	return at
}

func (m *model) serve(e *modelEntry, w schedule.Work, told bool) {
	if w&schedule.WorkJob != 0 {
		e.ready = true
	}
	if told {
		e.tell(w)
	}
}

func (e *modelEntry) tell(w schedule.Work) {
	e.toldExpiring = e.toldExpiring || w&schedule.WorkExpiring != 0
	e.toldReauth = e.toldReauth || w&schedule.WorkReauth != 0
}

// drawEntry draws an entry around now. Its times are whole seconds, as the index keeps them.
func drawEntry(t *rapid.T, now int64) schedule.Entry {
	second := func(label string, lo, hi int64) time.Time {
		return time.Unix(now+rapid.Int64Range(lo, hi).Draw(t, label), 0).UTC()
	}
	e := schedule.Entry{
		GrantID:    rapid.SampledFrom([]string{"", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "imported by hand"}).Draw(t, "grant"),
		Generation: rapid.SampledFrom([]uint64{1, 2, 300}).Draw(t, "generation"),
		Version:    rapid.SampledFrom([]uint64{1, 2, 1 << 40}).Draw(t, "version"),
		Revision:   rapid.Uint64Range(1, 30).Draw(t, "revision"),
		State:      rapid.SampledFrom([]refresh.State{refresh.StateActive, refresh.StateRetrying, "of a newer schema"}).Draw(t, "state"),
		Reason:     events.ReasonScheduled,
	}
	if rapid.Bool().Draw(t, "is due") {
		e.Due = second("due", -100, 200_000)
		e.Reason = rapid.SampledFrom([]events.Reason{events.ReasonScheduled, events.ReasonCron, events.ReasonKeepAlive}).Draw(t, "reason")
	}
	if rapid.Bool().Draw(t, "expires") {
		e.ExpiresAt = second("expiry", -100, 400)
		e.ExpiringAt = e.ExpiresAt.Add(-time.Duration(rapid.IntRange(1, 60).Draw(t, "lead")) * time.Second)
	}
	if rapid.Bool().Draw(t, "grant expires") {
		e.GrantExpiresAt = second("grant end", -100, 400_000)
		e.ReauthAt = e.GrantExpiresAt.Add(-time.Duration(rapid.IntRange(1, 10_000).Draw(t, "grant lead")) * time.Minute)
	}
	if rapid.IntRange(0, 4).Draw(t, "announces") == 0 {
		e.Announce = refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
	}
	return e
}

// machine drives an index and its model side by side.
type machine struct {
	x    *schedule.Index
	m    model
	refs map[string]schedule.Ref // as Due gave them
}

func (s *machine) key(t *rapid.T) string {
	return fmt.Sprintf("p%d.k%d", rapid.IntRange(0, 1).Draw(t, "provider"), rapid.IntRange(0, 12).Draw(t, "key"))
}

func (s *machine) Upsert(t *rapid.T) {
	key, e := s.key(t), drawEntry(t, s.m.now)
	got, err := s.x.Upsert(key, e)
	if want := s.m.upsert(key, e); err != nil || got != want {
		t.Fatalf("Upsert(%s): ended %v, %v; want %v", key, got, err, want)
	}
}

func (s *machine) Again(t *rapid.T) { // a claim: the same with a new revision
	key := s.key(t)
	old := s.m.entries[key]
	if old == nil {
		return
	}
	e := old.Entry
	e.Revision, e.Announce = e.Revision+1, refresh.Announcement{}
	got, err := s.x.Upsert(key, e)
	if want := s.m.upsert(key, e); err != nil || got != want {
		t.Fatalf("Upsert(%s): ended %v, %v; want %v", key, got, err, want)
	}
}

func (s *machine) Remove(t *rapid.T) {
	key, revision := s.key(t), rapid.Uint64Range(1, 40).Draw(t, "revision")
	s.x.Remove(key, revision)
	if e := s.m.entries[key]; e != nil && e.Revision <= revision {
		delete(s.m.entries, key)
	}
}

func (s *machine) Due(t *rapid.T) {
	step := rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 100_000)).Draw(t, "step")
	now, told := s.m.now+step, rapid.Bool().Draw(t, "told")
	got := make(map[string]schedule.Work)
	for more := true; more; {
		more = s.x.Due(time.Unix(now, 0), rapid.IntRange(1, 20).Draw(t, "limit"), func(r schedule.Ref, w schedule.Work) {
			key, e := s.x.View(r)
			if got[key] != 0 {
				t.Fatalf("%s handed out twice", key)
			}
			if d, want := s.x.Deadline(r), unix(cmp.Or(e.ExpiresAt, e.Due)); int64(d) != want {
				t.Fatalf("deadline of %s is %d, want %d", key, d, want)
			}
			if string(s.x.Provider(r)) != key[:2] {
				t.Fatalf("provider of %s is %s", key, s.x.Provider(r))
			}
			got[key], s.refs[key] = w, r
			if told {
				s.x.Told(r, w)
			}
		})
	}
	if want := s.m.due(now, told); !maps.Equal(got, want) {
		t.Fatalf("at %d: due %v, want %v", now, got, want)
	}
}

func (s *machine) Take(t *rapid.T) {
	drawn := s.key(t)
	ref := s.refs[drawn]
	if ref == 0 {
		return
	}
	key, ok := schedule.KeyOf(s.x, ref) // may be another by now
	e := s.m.entries[key]
	if !ok || drawn[:2] != key[:2] {
		e = nil
	}
	wait := rapid.Int64Range(1, 60).Draw(t, "wait")
	got := s.x.Take(ref, drawn[:2], func(tries int) time.Time {
		if e == nil || tries != e.tries {
			t.Fatalf("%s taken %d times before, want %+v", key, tries, e)
		}
		return time.Unix(s.m.now+wait, 0)
	})
	if want := e != nil && e.ready; got != want {
		t.Fatalf("take %s: %v, want %v", key, got, want)
	}
	if !got {
		return
	}
	e.ready = false
	e.tries++
	s.m.await(e, s.m.now+wait)
	switch rapid.IntRange(0, 2).Draw(t, "then") {
	case 0:
		s.x.Defer(ref, time.Unix(s.m.now+2*wait, 0))
		s.m.await(e, s.m.now+2*wait)
	case 1:
		if !s.x.Return(ref) {
			t.Fatalf("cannot return %s", key)
		}
		e.tries--
		e.ready = true
		e.look = 0
		s.m.place(e, e.wakes())
	}
}

// Announced hands out what is to be announced, as far as it is taken.
func (s *machine) Announced(t *rapid.T) {
	left := rapid.IntRange(0, 20).Draw(t, "limit")
	s.x.Announced(func(r schedule.Ref) bool {
		key, got := s.x.View(r)
		if e := s.m.entries[key]; e == nil || e.Announce == (refresh.Announcement{}) || e.Announce != got.Announce {
			t.Fatalf("%s announces %+v, want %+v", key, got.Announce, e)
		}
		if left--; left < 0 {
			return false
		}
		s.m.entries[key].Announce = refresh.Announcement{}
		return true
	})
	for key, e := range s.m.entries {
		if left >= 0 && e.Announce != (refresh.Announcement{}) {
			t.Fatalf("%s is not announced", key)
		}
	}
}

func (s *machine) Retell(t *rapid.T) {
	key := s.key(t)
	e := s.m.entries[key]
	if e == nil {
		return
	}
	in := e.Entry
	in.Announce = refresh.Announcement{Type: events.TokenRevoked}
	at := s.m.now + rapid.Int64Range(1, 60).Draw(t, "wait")
	s.x.Retell(key, in, schedule.WorkAnnounce|schedule.WorkExpiring, time.Unix(at, 0))
	e.Announce = cmp.Or(e.Announce, in.Announce)
	e.toldExpiring = false
	if e.tries == 0 {
		at = min(at, e.asks())
	}
	s.m.place(e, at)
}

func (s *machine) Reread(t *rapid.T) {
	s.x.Begin()
	for _, key := range slices.Sorted(maps.Keys(s.m.entries)) {
		e := s.m.entries[key]
		if e.seen = rapid.Bool().Draw(t, "seen"); !e.seen {
			continue
		}
		_, err := s.x.Upsert(key, e.Entry)
		s.m.upsert(key, e.Entry)
		if err != nil {
			t.Fatal(err)
		}
	}
	for from := s.x.Sweep(0, 3); from != 0; {
		from = s.x.Sweep(from, 3)
	}
	maps.DeleteFunc(s.m.entries, func(_ string, e *modelEntry) bool { return !e.seen })
}

func (s *machine) Check(t *rapid.T) {
	if err := schedule.CheckIndex(s.x); err != nil {
		t.Fatal(err)
	}
	if s.x.Len() != len(s.m.entries) {
		t.Fatalf("Len is %d, want %d", s.x.Len(), len(s.m.entries))
	}
	for key := range s.m.entries {
		if !s.x.Has(key) {
			t.Fatalf("%s is missing", key)
		}
	}
}

func TestIndexBehavesLikeItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := int64(1_800_000_000)
		s := &machine{
			x:    schedule.NewIndex(time.Unix(now, 0)),
			m:    model{entries: make(map[string]*modelEntry), now: now, floor: now},
			refs: make(map[string]schedule.Ref),
		}
		t.Repeat(rapid.StateMachineActions(s))
	})
}
