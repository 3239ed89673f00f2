package authserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/freshetdev/freshet/internal/authserver"
)

func TestManyAtOnceKeepTheLedgerExact(t *testing.T) {
	t.Parallel()
	const accounts, rounds = 16, 50
	s := authserver.New(authserver.Config{Seed: 3})
	setFaults(t, s, "before status p=0.1")
	var wg sync.WaitGroup
	held := make([]string, accounts)
	for i := range accounts {
		wg.Go(func() {
			account := fmt.Sprint("account-", i)
			held[i] = issue(t, s, account).RefreshToken
			for range rounds {
				if r := refresh(t, s, held[i]); r.status == http.StatusOK {
					held[i] = r.str("refresh_token")
					use(t, s, r.str("access_token"))
				}
				s.Ledger()
				s.Account(account)
			}
		})
	}
	wg.Wait()
	l := s.Ledger()
	failed := l.Faults["before status"]
	if failed == 0 || l.Rotations != accounts*rounds-failed || l.Refreshes != l.Rotations || l.Replayed != 0 || l.Concurrent != 0 || l.InFlight != 0 {
		t.Errorf("ledger %+v", l)
	}
	store := map[string]string{}
	for i, token := range held {
		store[fmt.Sprint("account-", i)] = token
	}
	if lost := s.Lost(store); len(lost) != 0 {
		t.Errorf("lost %v", lost)
	}
}

func TestARaceForOneTokenHasOneWinner(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	held, code := issue(t, s, "alice").RefreshToken, newCode(t, s)
	const rivals = 8
	won := make(chan string, 2*rivals)
	var wg sync.WaitGroup
	for range rivals {
		wg.Go(func() {
			if refresh(t, s, held).status == http.StatusOK {
				won <- "refresh"
			}
		})
		wg.Go(func() {
			if redeem(t, s, code).status == http.StatusOK {
				won <- "code"
			}
		})
	}
	wg.Wait()
	close(won)
	wins := map[string]int{}
	for what := range won {
		wins[what]++
	}
	if wins["refresh"] != 1 || wins["code"] != 1 {
		t.Errorf("wins %v, want one each", wins)
	}
	l := s.Ledger()
	wantCount(t, "replayed", l.Replayed, rivals-1)
	wantCount(t, "revoked", l.Revoked, 2)
}

// discard is a ResponseWriter that keeps what a client needs.
type discard struct {
	header http.Header
	body   []byte
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.body = append(d.body[:0], b...); return len(b), nil }

// next reads the refresh token out of a reply.
func (d *discard) next() string {
	_, rest, _ := strings.Cut(string(d.body), `"refresh_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

// BenchmarkRefresh is a refresh without a network: about half of its time goes
// into making the request.
func BenchmarkRefresh(b *testing.B) {
	s := authserver.New(authserver.Config{})
	tokens, err := s.Issue("alice", "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	w, held := &discard{header: http.Header{}}, tokens.RefreshToken
	for b.Loop() {
		body := "grant_type=refresh_token&refresh_token=" + url.QueryEscape(held)
		req := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("dev", "dev-secret")
		s.ServeHTTP(w, req)
		held = w.next()
	}
	if got := s.Ledger().Replayed; got != 0 || held == "" {
		b.Fatalf("replayed %d, last token %q", got, held)
	}
}
