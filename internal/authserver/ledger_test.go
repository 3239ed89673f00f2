package authserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

func TestCarefulClientLeavesACleanLedger(t *testing.T) {
	t.Parallel()
	for _, class := range authserver.Rotations() {
		s := authserver.New(authserver.Config{Rotation: class})
		held := issue(t, s, "alice").RefreshToken
		for range 30 {
			r := refresh(t, s, held)
			if next := r.str("refresh_token"); next != "" {
				held = next
			}
			use(t, s, r.str("access_token"))
		}
		l := s.Ledger()
		if l.Refreshes != 30 || l.Replayed+l.LastTries+l.Concurrent+l.Revoked+l.Reused+l.Damaged+l.Abandoned != 0 || len(l.Anomalies) != 0 {
			t.Errorf("%s: ledger %+v", class, l)
		}
		if lost := s.Lost(map[string]string{"alice": held}); len(lost) != 0 {
			t.Errorf("%s: lost %v", class, lost)
		}
	}
}

func TestLastTriesAreToldFromReplays(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare   func(*testing.T, *authserver.Server, authserver.Tokens)
		rotations int
		lastTry   bool
	}{
		"fresh access token": {func(*testing.T, *authserver.Server, authserver.Tokens) {}, 1, false},
		"long before its end": {func(*testing.T, *authserver.Server, authserver.Tokens) {
			time.Sleep(54*time.Minute - 1)
		}, 1, false},
		"about to end": {func(*testing.T, *authserver.Server, authserver.Tokens) {
			time.Sleep(54 * time.Minute)
		}, 1, true},
		"ended": {func(*testing.T, *authserver.Server, authserver.Tokens) {
			time.Sleep(2 * time.Hour)
		}, 1, true},
		"accepted by the resource": {func(t *testing.T, s *authserver.Server, first authserver.Tokens) {
			wantStatus(t, "use", use(t, s, first.AccessToken), http.StatusOK)
		}, 1, false},
		"refused by the resource": {func(t *testing.T, s *authserver.Server, first authserver.Tokens) {
			post(t, s, "/revoke", "token", first.AccessToken)
			wantStatus(t, "use", use(t, s, first.AccessToken), http.StatusUnauthorized)
		}, 1, true},
		"refused by a faulty resource": {func(t *testing.T, s *authserver.Server, first authserver.Tokens) {
			fault := authserver.Fault{Kind: authserver.FaultError, Endpoint: "resource", Code: "invalid_token"}
			if err := s.SetFaults([]authserver.Fault{fault}); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, "use", use(t, s, first.AccessToken), http.StatusUnauthorized)
		}, 1, true},
		"forgotten, fresh": {func(*testing.T, *authserver.Server, authserver.Tokens) {}, 40, false},
		"forgotten, about to end": {func(*testing.T, *authserver.Server, authserver.Tokens) {
			time.Sleep(54 * time.Minute)
		}, 40, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := authserver.New(authserver.Config{})
			first := issue(t, s, "alice")
			current := first.RefreshToken
			for range tc.rotations {
				current, _ = rotated(t, s, current)
			}
			tc.prepare(t, s, first)
			wantError(t, name, refresh(t, s, first.RefreshToken), http.StatusBadRequest, "invalid_grant")
			l := s.Ledger()
			if tc.lastTry != (l.LastTries == 1) || tc.lastTry == (l.Replayed == 1) || l.Revoked != 1 {
				t.Errorf("%s: last tries %d, replayed %d, revoked %d; want last try: %v", name, l.LastTries, l.Replayed, l.Revoked, tc.lastTry)
			}
		})
	}
}

func TestLastTryIsJudgedByTheNewestAccessTokenOfItsHolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{
			Rotation: authserver.RotationGrace, Grace: 20 * time.Minute, GraceSame: true,
		})
		first := issue(t, s, "alice").RefreshToken
		held, _ := rotated(t, s, first)
		time.Sleep(10 * time.Minute)
		rotated(t, s, first) // the same refresh token, an access token that lives 10 min longer
		rotated(t, s, held)
		time.Sleep(50 * time.Minute) // the first access token has ended, the second has 10 min left
		wantError(t, "reuse", refresh(t, s, held), http.StatusBadRequest, "invalid_grant")
		wantCount(t, "replayed", s.Ledger().Replayed, 1)
		wantCount(t, "last tries", s.Ledger().LastTries, 0)
	})
}

func TestConcurrentPresentationsAreCounted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		class      authserver.Rotation
		accounts   []string // of simultaneous requests
		concurrent int64
		replayed   int64
	}{
		"one":                     {authserver.RotationStrict, []string{"a"}, 0, 0},
		"two of one token":        {authserver.RotationStrict, []string{"a", "a"}, 1, 1},
		"three of one token":      {authserver.RotationOverlap, []string{"a", "a", "a"}, 2, 0},
		"of a token that is kept": {authserver.RotationNone, []string{"a", "a"}, 1, 0},
		"of different tokens":     {authserver.RotationStrict, []string{"a", "b", "c"}, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := authserver.New(authserver.Config{Rotation: tc.class, Latency: time.Second})
			held := map[string]string{}
			for _, account := range tc.accounts {
				if held[account] == "" {
					held[account] = issue(t, s, account).RefreshToken
				}
			}
			var wg sync.WaitGroup
			for _, account := range tc.accounts {
				wg.Go(func() { refresh(t, s, held[account]) })
			}
			wg.Wait()
			post(t, s, "/token", "grant_type", "client_credentials") // alone: no new maximum
			l := s.Ledger()
			wantCount(t, name+": concurrent", l.Concurrent, tc.concurrent)
			wantCount(t, name+": replayed", l.Replayed, tc.replayed)
			wantCount(t, name+": max in flight", l.MaxInFlight, int64(len(tc.accounts)))
			wantCount(t, name+": in flight", l.InFlight, 0)
		})
	}
}

func TestDifferentTokensOfAFamilyAreNotConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationOverlap, Latency: time.Second})
		first := issue(t, s, "alice").RefreshToken
		second, _ := rotated(t, s, first)
		var wg sync.WaitGroup
		wg.Go(func() { refresh(t, s, first) })
		wg.Go(func() { refresh(t, s, second) })
		wg.Wait()
		wantCount(t, "concurrent", s.Ledger().Concurrent, 0)
		wantCount(t, "max in flight", s.Ledger().MaxInFlight, 2)
	})
}

func TestPresentationsOneAfterTheOtherAreNotConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationNone, Latency: time.Second})
		held := issue(t, s, "alice").RefreshToken
		for range 5 {
			refresh(t, s, held)
		}
		wantCount(t, "concurrent", s.Ledger().Concurrent, 0)
		wantCount(t, "max in flight", s.Ledger().MaxInFlight, 1)
	})
}

func TestHangingUpEndsTheWaitButNotTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationGrace, Latency: 20 * time.Second})
		held := issue(t, s, "alice").RefreshToken
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		req := formRequest("/token", "grant_type", "refresh_token", "refresh_token", held)
		req.SetBasicAuth("dev", "dev-secret")
		start := time.Now()
		call(t, s, req.WithContext(ctx))
		if d := time.Since(start); d != time.Second {
			t.Errorf("the request took %v, want 1s", d)
		}
		rotated(t, s, held)
		l := s.Ledger()
		wantCount(t, "rotations", l.Rotations, 2)
		wantCount(t, "abandoned", l.Abandoned, 1)
		wantCount(t, "concurrent", l.Concurrent, 0)
		if got := s.Account("alice").Grants[0].Lost; got != 1 {
			t.Errorf("lost answers of the grant = %d, want 1", got)
		}
	})
}

func TestLostNamesTheAccountsThatCannotRefresh(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	held := map[string]string{}
	for _, account := range []string{"fine", "rotated", "reused", "withdrawn", "gone", "foreign", "access"} {
		held[account] = issue(t, s, account).RefreshToken
	}
	held["fine"], _ = rotated(t, s, held["fine"])
	rotated(t, s, held["rotated"])
	old := held["reused"]
	held["reused"], _ = rotated(t, s, old)
	refresh(t, s, old)
	if n := s.Revoke("withdrawn"); n != 1 {
		t.Errorf("Revoke ended %d grants, want 1", n)
	}
	held["gone"] = ""
	held["foreign"] = held["fine"]
	held["access"] = issue(t, s, "access").AccessToken
	held["never enrolled"] = "x"

	want := []authserver.Loss{
		{"access", authserver.LossUnknown}, {"foreign", authserver.LossUnknown}, {"gone", authserver.LossUnknown},
		{"never enrolled", authserver.LossUnknown}, {"reused", "reuse"}, {"rotated", authserver.LossSpent},
	}
	if got := s.Lost(held); !slices.Equal(got, want) {
		t.Errorf("lost %v, want %v", got, want)
	}
	rotated(t, s, held["fine"]) // looking does not spend
}

func TestLostFollowsTheClass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationGrace})
		held := issue(t, s, "alice").RefreshToken
		rotated(t, s, held)
		if got := s.Lost(map[string]string{"alice": held}); len(got) != 0 {
			t.Errorf("lost %v inside the grace", got)
		}
		time.Sleep(30 * time.Second)
		if got := s.Lost(map[string]string{"alice": held}); len(got) != 1 || got[0].Why != authserver.LossSpent {
			t.Errorf("lost %v after the grace, want spent", got)
		}
	})
}

func TestRevokedAccountIsInvalidGrant(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	tokens := issue(t, s, "alice")
	wantCount(t, "grants ended", int64(s.Revoke("alice")), 1)
	wantCount(t, "grants ended again", int64(s.Revoke("alice")), 0)
	wantCount(t, "grants of a stranger ended", int64(s.Revoke("bob")), 0)
	wantError(t, "refresh", refresh(t, s, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
	l := s.Ledger()
	wantCount(t, "withdrawn", l.Withdrawn, 1)
	wantCount(t, "revoked", l.Revoked, 0)
	wantCount(t, "replayed", l.Replayed, 0)
}

func TestRateIsCountedOverAnySecond(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tc := range map[string]struct {
		at      []time.Duration
		most    int
		seconds []int
	}{
		"one":                          {[]time.Duration{0}, 1, []int{1}},
		"a full second apart":          {[]time.Duration{0, 1000 * ms, 2000 * ms}, 1, []int{1, 1, 1}},
		"less than a second apart":     {[]time.Duration{0, 999 * ms}, 2, []int{2}},
		"across the border of seconds": {[]time.Duration{0, 800 * ms, 900 * ms, 1000 * ms, 1100 * ms, 1799 * ms}, 5, []int{3, 3}},
	} {
		l := authserver.MaxPerSecond(tc.at...)
		var seconds []int
		for _, s := range l.Seconds {
			seconds = append(seconds, s.Requests)
		}
		if l.MaxPerSecond != tc.most || !slices.Equal(seconds, tc.seconds) || l.Requests != int64(len(tc.at)) {
			t.Errorf("%s: %+v, want at most %d, seconds %v", name, l, tc.most, tc.seconds)
		}
	}
	var hours []time.Duration
	for i := range 3600 {
		hours = append(hours, time.Duration(i)*time.Second, time.Duration(i)*time.Second+ms)
	}
	if l := authserver.MaxPerSecond(hours...); len(l.Seconds) > 1200 || len(l.Seconds) < 600 || l.MaxPerSecond != 2 {
		t.Errorf("after an hour: %d seconds kept, at most %d per second", len(l.Seconds), l.MaxPerSecond)
	}
}

func TestLedgerCountsRequestsByClient(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{{ID: "dev", Secret: "dev-secret"}, {ID: "idle", Secret: "s"}}})
	refresh(t, s, issue(t, s, "alice").RefreshToken)
	post(t, s, "/token", "grant_type", "client_credentials")
	call(t, s, formRequest("/token", "client_id", "nobody"))
	l := s.Ledger()
	if l.Clients["dev"].Requests != 2 || l.Clients["idle"].Requests != 0 || l.Requests["token"] != 3 {
		t.Errorf("clients %v, requests %v", l.Clients, l.Requests)
	}
	if want := map[string]int64{"invalid_client": 1}; len(l.Errors) != 1 || l.Errors["invalid_client"] != 1 {
		t.Errorf("errors %v, want %v", l.Errors, want)
	}
}

func TestAnomaliesAreBoundedAndHoldNoToken(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	var secrets []string
	for i := range 200 {
		first := issue(t, s, "account-"+strconv.Itoa(i))
		next, access := rotated(t, s, first.RefreshToken)
		refresh(t, s, first.RefreshToken)
		secrets = append(secrets, first.RefreshToken, next, access)
	}
	l := s.Ledger()
	if len(l.Anomalies) != 256 || l.AnomaliesDropped != 144 {
		t.Errorf("%d anomalies kept, %d dropped; want 256 and 144", len(l.Anomalies), l.AnomaliesDropped)
	}
	if last := l.Anomalies[255]; last.Kind != "family_revoked" || last.Account != "account-199" {
		t.Errorf("newest anomaly %+v", last)
	}
	if first := l.Anomalies[0]; first.Kind != "replayed" || first.Account != "account-72" {
		t.Errorf("oldest anomaly %+v", first)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if strings.Contains(string(text), secret) {
			t.Fatal("the ledger holds a token")
		}
	}
}

func TestGrantsOfAnAccountAreBounded(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	var all []string
	for range 20 {
		all = append(all, issue(t, s, "alice").RefreshToken)
		if len(all) == 11 {
			post(t, s, "/revoke", "token", all[10])
		}
	}
	if got := len(s.Account("alice").Grants); got != 16 {
		t.Errorf("%d grants kept, want 16", got)
	}
	if got := s.Ledger().Grants; got != 16 {
		t.Errorf("ledger has %d grants, want 16", got)
	}
	// The one that had ended went first, then the three oldest.
	for i, token := range all {
		want := http.StatusOK
		if i < 3 || i == 10 {
			want = http.StatusBadRequest
		}
		wantStatus(t, "grant "+strconv.Itoa(i), refresh(t, s, token), want)
	}
}

func TestAccountTellsItsGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{})
		start := time.Now()
		first, err := s.Issue("alice", "", "a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		rotated(t, s, first.RefreshToken)
		time.Sleep(time.Minute)
		refresh(t, s, first.RefreshToken)
		g := s.Account("alice").Grants[0]
		if g.Client != "dev" || !slices.Equal(g.Scopes, []string{"a"}) || g.AccessTokens != 2 || g.RefreshTokens != 2 || g.Presentations != 2 {
			t.Errorf("grant %+v", g)
		}
		if !g.Created.Equal(start) || g.Used.Sub(start) != time.Minute || g.AccessEnds.Sub(start) != 61*time.Minute {
			t.Errorf("times of grant %+v", g)
		}
		if g.Ended != authserver.EndReuse || g.EndedAt.Sub(start) != 2*time.Minute {
			t.Errorf("ended %q at %v", g.Ended, g.EndedAt)
		}
		if got := s.Account("nobody"); len(got.Grants) != 0 {
			t.Errorf("a stranger has grants: %v", got)
		}
	})
}
