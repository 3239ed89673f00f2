package enroll_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestEnrollWritesAndTells(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	g := grant("access-1", "refresh-1")
	g.Meta = []byte(`{"instance_url":"https://eu1.example.com"}`)
	stored, err := h.writer.Enroll(t.Context(), acme(), alice, g)
	if err != nil {
		t.Fatal(err)
	}
	got := h.stored(t, alice)
	r := &got.Record
	if got.Revision != stored.Revision || r.GrantID != stored.Record.GrantID {
		t.Errorf("stored revision %d, returned %d", got.Revision, stored.Revision)
	}
	if r.Generation != 1 || r.Version != 1 || r.State != refresh.StateActive || r.TokenType != "Bearer" || string(r.Meta) != string(g.Meta) {
		t.Errorf("record = %+v", r)
	}
	if !r.IssuedAt.Equal(g.StartedAt) || !r.ExpiresAt.Equal(g.StartedAt.Add(time.Hour)) || !r.RefreshAt.After(time.Now()) {
		t.Errorf("issued %s, expires %s, due %s", r.IssuedAt, r.ExpiresAt, r.RefreshAt)
	}
	if access, refreshToken := h.secretsOf(t, got); access != "access-1" || refreshToken != "refresh-1" {
		t.Errorf("holds %s and %s", access, refreshToken)
	}
	want := refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
	if a := h.announcement(t, alice); a != want {
		t.Errorf("announces %v, want %v", a, want)
	}
	e := h.heard(t)
	if e.Type != events.TokenUpdated || e.Data.Reason != events.ReasonEnrolled || e.Data.Version != 1 || e.Data.Revision != got.Revision ||
		e.Data.Attempt != r.Last.Attempt || e.ID != refresh.CurrentEvent(&got, "", time.Now()).ID {
		t.Errorf("told %+v", e)
	}
}

func TestEnrollAgainIsTheNextGeneration(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-1", "refresh-1"))
	if err != nil {
		t.Fatal(err)
	}
	// What a worker and an operator left behind.
	first.Record.Version = 7
	first.Record.State = refresh.StateReauthRequired
	first.Record.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", TTL: provider.Duration(time.Minute), At: time.Now().UTC()}
	first.Record.Doubt = &refresh.Doubt{Attempt: "a0", Worker: "w1", FirstSentAt: time.Now().UTC()}
	first.Record.Failure = &refresh.Failure{Count: 3, Class: refresh.ClassRejected, At: time.Now().UTC()}
	first.Record.Paused = &provider.Pause{By: "operator:ann", Reason: "audit"}
	first.Record.Policy = &refresh.Policy{Cron: "0 3 * * *"}
	first.Record.Meta = []byte(`{"old":true}`)
	h.put(t, first)

	second, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-2", "refresh-2"))
	if err != nil {
		t.Fatal(err)
	}
	r := h.stored(t, alice).Record
	if r.Generation != 2 || r.Version != 8 || r.GrantID == first.Record.GrantID || r.State != refresh.StateActive {
		t.Errorf("generation %d, version %d, grant %s, state %s", r.Generation, r.Version, r.GrantID, r.State)
	}
	if r.Claim != nil || r.Doubt != nil || r.Failure != nil || r.Meta != nil {
		t.Errorf("the old grant's remains: %+v", r)
	}
	if r.Paused == nil || r.Paused.By != "operator:ann" || r.Policy == nil || r.Policy.Cron != "0 3 * * *" {
		t.Errorf("the credential's own is lost: pause %v, policy %v", r.Paused, r.Policy)
	}
	if access, refreshToken := h.secretsOf(t, second); access != "access-2" || refreshToken != "refresh-2" {
		t.Errorf("holds %s and %s", access, refreshToken)
	}
}

func TestEnrollDoesNotGiveARefreshTokenAway(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first string        // the stored refresh token
		state refresh.State // and what became of it
		want  error
	}{
		"one that works":              {"refresh-1", refresh.StateActive, enroll.ErrNoRefreshToken},
		"one that may work":           {"refresh-1", refresh.StateRetrying, enroll.ErrNoRefreshToken},
		"one that is dead":            {"refresh-1", refresh.StateReauthRequired, nil},
		"a provider that has no such": {"", refresh.StateActive, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-1", tt.first))
			if err != nil {
				t.Fatal(err)
			}
			s.Record.State = tt.state
			h.put(t, s)
			if _, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-2", "")); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			want := uint64(2)
			if tt.want != nil {
				want = 1
			}
			if g := h.stored(t, alice).Record.Generation; g != want {
				t.Errorf("generation %d, want %d", g, want)
			}
		})
	}
}

func TestEnrollKeepsWhatANewerVersionWrote(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	data := `{"v":9,"provider":"acme","account":"alice","grant_id":"g","generation":4,"version":5,"state":"active","from_the_future":{"x":1}}`
	if _, err := h.broker.JetStream().Publish(t.Context(), h.broker.Names().RecordSubject(alice), []byte(data)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.writer.Enroll(t.Context(), acme(), alice, grant("a", "r")); err != nil {
		t.Fatal(err)
	}
	s := h.stored(t, alice)
	out, err := s.Record.Encode()
	if err != nil || s.Record.Generation != 5 || s.Record.Version != 6 || !strings.Contains(string(out), `"from_the_future":{"x":1}`) {
		t.Errorf("generation %d, version %d, %v, %s", s.Record.Generation, s.Record.Version, err, out)
	}
}

func TestEnrollRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	subject := h.broker.Names().RecordSubject(events.Credential{Provider: "acme", Account: "broken"})
	if _, err := h.broker.JetStream().Publish(t.Context(), subject, []byte("{")); err != nil {
		t.Fatal(err)
	}
	large := grant(strings.Repeat("a", 2<<20), "r")
	tests := []struct {
		name       string
		credential events.Credential
		grant      enroll.NewGrant
		want       error // nil: any
	}{
		{"no tokens", alice, enroll.NewGrant{}, enroll.ErrNoTokens},
		{"another provider's credential", events.Credential{Provider: "other", Account: "alice"}, grant("a", "r"), nil},
		{"no account", events.Credential{Provider: "acme"}, grant("a", "r"), events.ErrName},
		{"a record that cannot be read", events.Credential{Provider: "acme", Account: "broken"}, grant("a", "r"), refresh.ErrMalformed},
		{"a token larger than the store takes", alice, large, refresh.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := h.writer.Enroll(t.Context(), acme(), tt.credential, tt.grant)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestEnrollDropsExtrasThatDoNotFit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	g := grant("access-1", "refresh-1")
	g.Meta = []byte(`{"x":"` + strings.Repeat("x", 2<<20) + `"}`)
	stored, err := h.writer.Enroll(t.Context(), acme(), alice, g)
	if err != nil {
		t.Fatal(err)
	}
	if access, _ := h.secretsOf(t, h.stored(t, alice)); access != "access-1" || stored.Record.Meta != nil {
		t.Errorf("holds %s, meta of %d bytes", access, len(stored.Record.Meta))
	}
}

var errStore = errors.New("store failed")

// Every write can fail and not apply, or fail and apply all the same.
func TestEnrollOutlivesAFailingStore(t *testing.T) {
	t.Parallel()
	first := func(apply bool, err error) func(int) (bool, error) {
		return func(n int) (bool, error) {
			if n == 1 {
				return apply, err
			}
			return false, nil
		}
	}
	tests := []struct {
		name string
		get  func(n int) error
		put  func(n int) (bool, error)
		want error
		puts int
	}{
		{name: "the write fails and does not apply", put: first(false, errStore), puts: 2},
		{name: "the write fails and applies", put: first(true, errStore), puts: 1},
		{name: "somebody else is faster", put: first(false, refresh.ErrConflict), puts: 2},
		{
			name: "the write fails and applies, and so does the next look", put: first(true, errStore), puts: 1,
			get: func(n int) error {
				if n == 2 {
					return errStore
				}
				return nil
			},
		},
		{name: "the store cannot be asked", get: func(int) error { return errStore }, want: errStore},
		{name: "no write goes through", put: func(int) (bool, error) { return false, errStore }, want: errStore, puts: 7},
		{name: "always somebody else", put: func(int) (bool, error) { return false, refresh.ErrConflict }, want: refresh.ErrConflict, puts: 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			store := &faultyStore{Store: h.broker, get: tt.get, put: tt.put}
			h.writer.Store = store
			_, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-1", "refresh-1"))
			if store.n.put != tt.puts {
				t.Errorf("%d writes, want %d", store.n.put, tt.puts)
			}
			if tt.want != nil {
				wantErr(t, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r := h.stored(t, alice).Record; r.Generation != 1 || r.Version != 1 {
				t.Errorf("generation %d, version %d: it was enrolled twice", r.Generation, r.Version)
			}
			h.heard(t)
		})
	}
}

func TestEnrollThatAWorkerOvertook(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	store := &faultyStore{Store: h.broker}
	store.put = func(n int) (bool, error) { return true, errStore }
	store.get = func(n int) error {
		if n == 2 { // applied, not known; a worker refreshes before we look
			s := h.stored(t, alice)
			s.Record.Version = 2
			s.Record.Last = &refresh.Last{Attempt: "a-worker", Outcome: refresh.ClassOK, Reason: events.ReasonScheduled}
			h.put(t, s)
		}
		return nil
	}
	h.writer.Store = store
	s, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-1", "refresh-1"))
	if err != nil || s.Record.Version != 2 || s.Record.Generation != 1 || store.n.put != 1 {
		t.Errorf("%v, version %d of generation %d after %d writes", err, s.Record.Version, s.Record.Generation, store.n.put)
	}
}

func TestEnrollSaysWhenItCouldNotTell(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.writer.Teller = tellerFunc(func(events.Event) error { return errStore })
	s, err := h.writer.Enroll(t.Context(), acme(), alice, grant("a", "r"))
	wantErr(t, err, enroll.ErrUntold)
	wantErr(t, err, errStore)
	if s.Revision != h.stored(t, alice).Revision {
		t.Error("what is stored was not returned")
	}
}

func TestConcurrentEnrolmentsEachCount(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const writers = 4
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			if _, err := h.writer.Enroll(t.Context(), acme(), alice, grant("a", "r")); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if r := h.stored(t, alice).Record; r.Generation != writers || r.Version != writers {
		t.Errorf("generation %d, version %d, want %d", r.Generation, r.Version, writers)
	}
}

func TestNATSTimeIsUsed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.writer.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	s, err := h.writer.Enroll(t.Context(), acme(), alice, grant("a", "r"))
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(s.Record.IssuedAt); age < 59*time.Minute || age > 61*time.Minute {
		t.Errorf("issued %s ago by the local clock, want an hour", age)
	}
}

func TestTombstone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state refresh.State
		kind  events.Type
		keeps bool // pause and policy
	}{
		{refresh.StateDeleted, events.TokenDeleted, false},
		{refresh.StateRevoked, events.TokenRevoked, true},
	} {
		t.Run(string(tt.state), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-1", "refresh-1"))
			if err != nil {
				t.Fatal(err)
			}
			h.heard(t)
			s.Record.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", At: time.Now().UTC()}
			s.Record.Paused = &provider.Pause{By: "operator"}
			s.Record.Policy = &refresh.Policy{Cron: "0 3 * * *"}
			h.put(t, s)
			for range 2 { // the second time it is only told again
				if _, err := h.writer.Tombstone(t.Context(), alice, tt.state); err != nil {
					t.Fatal(err)
				}
			}
			r := h.stored(t, alice).Record
			if r.State != tt.state || r.GrantID != s.Record.GrantID || r.Generation != 1 || r.Version != 1 {
				t.Errorf("tombstone %+v", r)
			}
			if r.Access != nil || r.Grant != nil || r.Claim != nil || r.Scopes != nil || !r.ExpiresAt.IsZero() || !r.RefreshAt.IsZero() {
				t.Errorf("remains: %+v", r)
			}
			if (r.Paused != nil) != tt.keeps || (r.Policy != nil) != tt.keeps {
				t.Errorf("pause %v, policy %v", r.Paused, r.Policy)
			}
			if a := h.announcement(t, alice); a.Type != tt.kind {
				t.Errorf("announces %v", a)
			}
			if e, again := h.heard(t), h.heard(t); e.Type != tt.kind || again.ID != e.ID {
				t.Errorf("told %s %s, then %s", e.Type, e.ID, again.ID)
			}
			if _, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-2", "refresh-2")); err != nil {
				t.Fatal(err)
			}
			if r := h.stored(t, alice).Record; r.Generation != 2 || r.Version != 2 || r.State != refresh.StateActive {
				t.Errorf("after another login: %+v", r)
			}
		})
	}
}

func TestTombstoneOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, err := h.writer.Tombstone(t.Context(), alice, refresh.StateDeleted)
	wantErr(t, err, refresh.ErrNotFound)
	if _, err := h.writer.Tombstone(t.Context(), alice, refresh.StateActive); err == nil {
		t.Error("a tombstone in state active was taken")
	}
	if _, err := h.writer.Enroll(t.Context(), acme(), alice, grant("a", "r")); err != nil {
		t.Fatal(err)
	}
	for _, state := range []refresh.State{refresh.StateRevoked, refresh.StateDeleted} {
		if _, err := h.writer.Tombstone(t.Context(), alice, state); err != nil {
			t.Fatal(err)
		}
	}
	_, err = h.writer.Tombstone(t.Context(), alice, refresh.StateRevoked)
	wantErr(t, err, refresh.ErrNotFound)
}

func TestSetPaused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pause := provider.Pause{By: "operator:ann", Reason: "audit"}
	w := enroll.Writer{Store: h.broker} // it needs nothing else
	_, err := w.SetPaused(t.Context(), alice, &pause)
	wantErr(t, err, refresh.ErrNotFound)
	enrolled, err := h.writer.Enroll(t.Context(), acme(), alice, grant("a", "r"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.SetPaused(t.Context(), alice, &pause); err != nil {
		t.Fatal(err)
	}
	want := refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
	if a := h.announcement(t, alice); a != want {
		t.Errorf("announces %v: an enrolment that was not told yet would never be", a)
	}
	s := h.stored(t, alice)
	if s.Record.Paused == nil || *s.Record.Paused != pause || s.Record.GrantID != enrolled.Record.GrantID {
		t.Errorf("paused: %v", s.Record.Paused)
	}
	s.Record.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", At: time.Now().UTC()}
	s.Record.Last.Reason = events.ReasonScheduled
	s = h.put(t, s)
	if again, err := w.SetPaused(t.Context(), alice, &pause); err != nil || again.Revision != s.Revision {
		t.Errorf("the same pause again: %v, revision %d after %d", err, again.Revision, s.Revision)
	}
	if _, err := w.SetPaused(t.Context(), alice, nil); err != nil {
		t.Fatal(err)
	}
	s = h.stored(t, alice)
	if s.Record.Paused != nil || s.Record.Claim == nil || h.announcement(t, alice) != (refresh.Announcement{}) {
		t.Errorf("resumed: pause %v, claim %v", s.Record.Paused, s.Record.Claim)
	}
}

func TestWriterNeverShowsTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	g := enroll.NewGrant{AccessToken: seal.NewSecret("canary-access"), RefreshToken: seal.NewSecret("canary-refresh")}
	h.writer.Store = &faultyStore{Store: h.broker, put: func(int) (bool, error) { return false, refresh.ErrTooLarge }}
	ctx, cancel := context.WithCancel(t.Context())
	_, first := h.writer.Enroll(ctx, acme(), alice, g)
	cancel()
	_, second := h.writer.Enroll(ctx, acme(), alice, g)
	for _, err := range []error{first, second} {
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("error %v", err)
		}
	}
}
