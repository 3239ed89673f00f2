package authserver_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

func TestVerdictsByClass(t *testing.T) {
	t.Parallel()
	const unused = -1
	none := authserver.Config{Rotation: authserver.RotationNone}
	overlap := authserver.Config{Rotation: authserver.RotationOverlap}
	grace := authserver.Config{Rotation: authserver.RotationGrace, Grace: 30 * time.Second}
	same := authserver.Config{Rotation: authserver.RotationGrace, Grace: 30 * time.Second, GraceSame: true}
	until := authserver.Config{Rotation: authserver.RotationUntilUsed}
	strict := authserver.Config{Rotation: authserver.RotationStrict}
	for _, tc := range []struct {
		name      string
		cfg       authserver.Config
		known     bool
		ago       time.Duration
		succeeded bool
		want      string
	}{
		{"none keeps an unused token", none, true, unused, false, "keep"},
		{"none keeps a token whatever happened", none, true, time.Hour, true, "keep"},
		{"overlap rotates an unused token", overlap, true, unused, false, "rotate"},
		{"overlap rotates a spent token", overlap, true, time.Hour, true, "rotate"},
		{"overlap rotates a forgotten token", overlap, false, unused, false, "rotate"},
		{"grace rotates an unused token", grace, true, unused, false, "rotate"},
		{"grace rotates a token spent just now", grace, true, 0, true, "rotate"},
		{"grace rotates to the last moment", grace, true, 30*time.Second - 1, true, "rotate"},
		{"grace ends with its last moment", grace, true, 30 * time.Second, false, "reuse"},
		{"grace does not cover a forgotten token", grace, false, unused, false, "reuse"},
		{"grace with the same successor rotates an unused token", same, true, unused, false, "rotate"},
		{"grace with the same successor keeps it", same, true, 30*time.Second - 1, true, "keep"},
		{"grace with the same successor ends too", same, true, 30 * time.Second, false, "reuse"},
		{"until_used rotates an unused token", until, true, unused, false, "rotate"},
		{"until_used waits for ever", until, true, 1000 * time.Hour, false, "rotate"},
		{"until_used ends with the first use", until, true, 0, true, "reuse"},
		{"until_used does not cover a forgotten token", until, false, unused, false, "reuse"},
		{"strict rotates an unused token", strict, true, unused, false, "rotate"},
		{"strict rotates once", strict, true, 0, false, "reuse"},
		{"strict does not cover a forgotten token", strict, false, unused, false, "reuse"},
	} {
		if got := authserver.Judge(tc.cfg, tc.known, tc.ago, tc.succeeded); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestNothingLeftToLose(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                   string
		lead, lifetime, before time.Duration
		refused                bool
		want                   bool
	}{
		{"a tenth before the end", 0, time.Hour, 6 * time.Minute, false, true},
		{"earlier than a tenth", 0, time.Hour, 6*time.Minute + 1, false, false},
		{"after the end", 0, time.Hour, -1, false, true},
		{"short token, 2 s before the end", 0, 10 * time.Second, 2 * time.Second, false, true},
		{"short token, earlier", 0, 10 * time.Second, 2*time.Second + 1, false, false},
		{"configured lead", time.Second, time.Hour, time.Second, false, true},
		{"earlier than the configured lead", time.Second, time.Hour, time.Second + 1, false, false},
		{"refused by the resource", 0, time.Hour, time.Hour, true, true},
	} {
		if got := authserver.NothingLeft(tc.lead, tc.lifetime, tc.before, tc.refused); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestStrictReuseEndsTheFamily(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	first := issue(t, s, "alice")
	second, access := rotated(t, s, first.RefreshToken)
	wantStatus(t, "the first access token, after a rotation", use(t, s, first.AccessToken), http.StatusOK)
	wantError(t, "reuse", refresh(t, s, first.RefreshToken), http.StatusBadRequest, "invalid_grant")
	wantError(t, "the current token after a reuse", refresh(t, s, second), http.StatusBadRequest, "invalid_grant")
	wantStatus(t, "the current access token after a reuse", use(t, s, access), http.StatusUnauthorized)
	l := s.Ledger()
	wantCount(t, "rotations", l.Rotations, 1)
	wantCount(t, "replayed", l.Replayed, 1)
	wantCount(t, "revoked", l.Revoked, 1)
	wantCount(t, "invalid_grant", l.Errors["invalid_grant"], 2)
}

func TestReuseLeavesOtherGrantsAlone(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	first, other := issue(t, s, "alice"), issue(t, s, "alice")
	rotated(t, s, first.RefreshToken)
	refresh(t, s, first.RefreshToken)
	rotated(t, s, other.RefreshToken)
}

func TestNoneKeepsTheRefreshToken(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Rotation: authserver.RotationNone})
	tokens := issue(t, s, "alice")
	for range 20 {
		r := refresh(t, s, tokens.RefreshToken)
		wantStatus(t, "refresh", r, http.StatusOK)
		if r.str("refresh_token") != "" {
			t.Fatal("the answer names a refresh token")
		}
		wantStatus(t, "new access token", use(t, s, r.str("access_token")), http.StatusOK)
	}
	l := s.Ledger()
	wantCount(t, "refreshes", l.Refreshes, 20)
	wantCount(t, "rotations", l.Rotations, 0)
	wantCount(t, "reused", l.Reused, 0)
}

func TestOverlapKeepsEveryToken(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Rotation: authserver.RotationOverlap})
	first := issue(t, s, "alice").RefreshToken
	current := first
	for range 40 {
		current, _ = rotated(t, s, current)
	}
	branch, _ := rotated(t, s, first)
	rotated(t, s, branch)
	rotated(t, s, current)
	wantCount(t, "reused", s.Ledger().Reused, 1)
	wantCount(t, "replayed", s.Ledger().Replayed, 0)
}

func TestGraceStartsASecondChain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationGrace, Grace: 30 * time.Second})
		first := issue(t, s, "alice").RefreshToken
		a, _ := rotated(t, s, first)
		time.Sleep(20 * time.Second)
		b, access := rotated(t, s, first)
		if a == b {
			t.Fatal("both chains have the same token")
		}
		rotated(t, s, a)
		rotated(t, s, b)
		time.Sleep(10 * time.Second) // the window counts from the first use
		wantError(t, "after the grace", refresh(t, s, first), http.StatusBadRequest, "invalid_grant")
		wantStatus(t, "access token of the ended family", use(t, s, access), http.StatusUnauthorized)
		l := s.Ledger()
		wantCount(t, "reused", l.Reused, 1)
		wantCount(t, "replayed", l.Replayed, 1)
	})
}

func TestGraceSameRepeatsTheSuccessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationGrace, GraceSame: true})
		first := issue(t, s, "alice").RefreshToken
		a, accessA := rotated(t, s, first)
		time.Sleep(20 * time.Second)
		b, accessB := rotated(t, s, first)
		if a != b {
			t.Error("the second answer names another refresh token")
		}
		wantStatus(t, "first access token", use(t, s, accessA), http.StatusOK)
		wantStatus(t, "second access token", use(t, s, accessB), http.StatusOK)
		c, _ := rotated(t, s, a)
		if again, _ := rotated(t, s, first); again != c {
			t.Error("a later answer does not name the current refresh token")
		}
		l := s.Ledger()
		wantCount(t, "rotations", l.Rotations, 2)
		wantCount(t, "reused", l.Reused, 2)
	})
}

func TestUntilUsedEndsWithTheFirstUse(t *testing.T) {
	t.Parallel()
	for name, useIt := range map[string]func(*testing.T, *authserver.Server, string, string){
		"of the refresh token": func(t *testing.T, s *authserver.Server, refreshToken, _ string) { rotated(t, s, refreshToken) },
		"of the access token": func(t *testing.T, s *authserver.Server, _, access string) {
			wantStatus(t, "use", use(t, s, access), http.StatusOK)
		},
	} {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationUntilUsed})
		first := issue(t, s, "alice")
		rotated(t, s, first.RefreshToken)
		_, access := rotated(t, s, first.RefreshToken)
		wantStatus(t, "the old access token", use(t, s, first.AccessToken), http.StatusOK)
		post(t, s, "/introspect", "token", access) // a look is no use
		next, newest := rotated(t, s, first.RefreshToken)
		useIt(t, s, next, newest)
		wantError(t, "after the first use "+name, refresh(t, s, first.RefreshToken), http.StatusBadRequest, "invalid_grant")
		wantCount(t, "replayed", s.Ledger().Replayed, 1)
		wantCount(t, "reused", s.Ledger().Reused, 2)
	}
}

func TestUntilUsedSurvivesAnyNumberOfLostAnswers(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Rotation: authserver.RotationUntilUsed})
	held := issue(t, s, "alice").RefreshToken
	for range 100 {
		rotated(t, s, held) // the answer is lost each time
	}
	next, _ := rotated(t, s, held)
	rotated(t, s, next)
	wantCount(t, "replayed", s.Ledger().Replayed, 0)
}

func TestAnIdleChainIsRememberedBeforeDeadTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationGrace, Grace: time.Second})
		first := issue(t, s, "alice").RefreshToken
		idle, _ := rotated(t, s, first)
		busy, _ := rotated(t, s, first)
		for range 40 {
			time.Sleep(time.Minute)
			busy, _ = rotated(t, s, busy)
		}
		rotated(t, s, idle)
	})
}

func TestRotationKillsAccess(t *testing.T) {
	t.Parallel()
	for _, class := range []authserver.Rotation{authserver.RotationNone, authserver.RotationStrict} {
		s := authserver.New(authserver.Config{Rotation: class, RotationKillsAccess: true})
		first := issue(t, s, "alice")
		wantStatus(t, string(class)+": before", use(t, s, first.AccessToken), http.StatusOK)
		r := refresh(t, s, first.RefreshToken)
		wantStatus(t, string(class)+": the old one", use(t, s, first.AccessToken), http.StatusUnauthorized)
		wantStatus(t, string(class)+": the new one", use(t, s, r.str("access_token")), http.StatusOK)
	}
}

func TestMemoryOfAFamilyIsBounded(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	first := issue(t, s, "alice").RefreshToken
	current := first
	for range 20_000 {
		current, _ = rotated(t, s, current)
	}
	g := s.Account("alice").Grants[0]
	if g.Remembered > 16 || g.RefreshTokens != 20_001 {
		t.Errorf("%d of %d refresh tokens remembered, want at most 16 of 20001", g.Remembered, g.RefreshTokens)
	}
	wantError(t, "the very first token", refresh(t, s, first), http.StatusBadRequest, "invalid_grant")
	wantError(t, "the current token", refresh(t, s, current), http.StatusBadRequest, "invalid_grant")
	wantCount(t, "replayed", s.Ledger().Replayed, 1)
}
