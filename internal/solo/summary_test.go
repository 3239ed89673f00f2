package solo_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/solo"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestTheJudgementSaysWhatDoesNotAgree(t *testing.T) {
	t.Parallel()
	good := solo.Account{Given: 5, Stored: 5, Renewed: 4, Told: 5}
	for name, c := range map[string]struct {
		account solo.Account
		ledger  authserver.Ledger
		lost    []authserver.Loss
		want    string // in one fault; empty: all agrees
	}{
		"all agrees":                    {account: good},
		"only enrolled":                 {account: solo.Account{Given: 1, Stored: 1, Told: 1}},
		"a new token was not stored":    {account: solo.Account{Given: 6, Stored: 5, Renewed: 4, Told: 5}, want: "demo/ann was given 6 access tokens; 5 are stored"},
		"a version that nobody gave":    {account: solo.Account{Given: 4, Stored: 5, Renewed: 4, Told: 5}, want: "was given 4"},
		"a version that was not told":   {account: solo.Account{Given: 5, Stored: 5, Renewed: 4, Told: 4}, want: "4 were told"},
		"a version that was told twice": {account: solo.Account{Given: 5, Stored: 5, Renewed: 4, Told: 6}, want: "6 were told"},
		"a result that nobody stored":   {account: solo.Account{Given: 5, Stored: 5, Renewed: 5, Told: 5}, want: "5 refreshes worked"},
		"no record at all":              {account: solo.Account{Given: 1, Told: 1}, want: "0 are stored"},
		"changed by the user":           {account: solo.Account{Given: 9, Stored: 1, Yours: true}},
		"replayed":                      {account: good, ledger: authserver.Ledger{Replayed: 2}, want: "presented again, 2 times"},
		"twice at once":                 {account: good, ledger: authserver.Ledger{Concurrent: 1}, want: "twice at once, 1 times"},
		"lost":                          {account: good, lost: []authserver.Loss{{Account: "ann", Why: "spent"}}, want: "demo/ann is lost: its stored refresh token is spent"},
		"renewed too late":              {account: solo.Account{Given: 5, Stored: 5, Renewed: 4, Told: 5, Late: 2}, want: "demo/ann was renewed after its token had ended, 2 times"},
		"not renewed at all":            {account: solo.Account{Given: 5, Stored: 5, Renewed: 4, Told: 5, Ended: true}, want: "demo/ann has a token that ended"},
		"late, and changed by the user": {account: solo.Account{Late: 1, Ended: true, Yours: true}},
		"late, and paused for a while":  {account: solo.Account{Given: 5, Stored: 5, Renewed: 4, Told: 5, Late: 1, Ended: true, Paused: true}},
		"a last try is allowed":         {account: good, ledger: authserver.Ledger{LastTries: 3}},
	} {
		faults := solo.Judge(map[string]solo.Account{"ann": c.account}, c.ledger, c.lost...)
		switch {
		case c.want == "" && len(faults) > 0:
			t.Errorf("%s: %q, want no fault", name, faults)
		case c.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], c.want)):
			t.Errorf("%s: %q, want one fault with %q", name, faults, c.want)
		}
	}
}

func TestEachFaultIsNamed(t *testing.T) {
	t.Parallel()
	faults := solo.Judge(map[string]solo.Account{"ann": {Given: 2}, "bob": {Given: 3}}, authserver.Ledger{Replayed: 1, Concurrent: 1})
	if len(faults) != 4 {
		t.Errorf("%d faults, want 4: %q", len(faults), faults)
	}
}

func TestCountsAreKeptByCredential(t *testing.T) {
	t.Parallel()
	alice, bob := events.Credential{Provider: "acme", Account: "alice"}, events.Credential{Provider: "acme", Account: "bob"}
	c := solo.NewCounts()
	c.Heard(about(events.TokenUpdated, nil))
	c.Heard(about(events.TokenExpiring, nil))
	c.Result(refresh.Result{Credential: alice, Class: refresh.ClassFresh})
	c.Result(refresh.Result{Credential: alice, Attempt: "a1", Class: refresh.ClassOK, Margin: -time.Second})
	c.Result(refresh.Result{Credential: alice, Attempt: "a2", Class: refresh.ClassOK, Margin: time.Second})
	c.Result(refresh.Result{Credential: bob, Attempt: "a3", Class: refresh.ClassRejected})
	if renewed, told := c.Each(alice); renewed != 2 || told != 1 {
		t.Errorf("alice: %d renewed, %d told; want 2, 1", renewed, told)
	}
	if renewed, told := c.Each(bob); renewed != 0 || told != 0 {
		t.Errorf("bob: %d renewed, %d told; want 0, 0", renewed, told)
	}
	if attempts, told, late := c.Totals(); attempts != 3 || told != 1 || late != 1 {
		t.Errorf("%d attempts, %d told, %d late; want 3, 1, 1", attempts, told, late)
	}
}

func TestWhatSomebodyPausesNeedNotBeRenewedInTime(t *testing.T) {
	t.Parallel()
	alice, bob := events.Credential{Provider: "acme", Account: "alice"}, events.Credential{Provider: "acme", Account: "bob"}
	c := solo.NewCounts()
	c.Record(broker.Seen{Key: alice.Key()})
	c.Record(broker.Seen{Key: bob.Key(), Summary: refresh.Summary{Paused: true}})
	c.Record(broker.Seen{Key: bob.Key()})
	if !c.Timely(alice) || c.Timely(bob) {
		t.Errorf("timely: alice %t, bob %t; want true, false", c.Timely(alice), c.Timely(bob))
	}
	c.Heard(about(events.ProviderPaused, nil))
	if c.Timely(alice) {
		t.Error("the lane was paused, and alice's tokens are judged all the same")
	}
}

func TestTheSummaryWaitsForTheLastEventsAndNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := solo.NewCounts()
		waited := make(chan time.Duration, 1)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() { solo.Await(c, ctx, 3); waited <- time.Since(begin) }()
		for range 3 {
			time.Sleep(time.Second)
			c.Heard(about(events.TokenUpdated, nil))
		}
		if d := <-waited; d != 3*time.Second {
			t.Errorf("waited %v for three events, one each second", d)
		}
		begin = time.Now()
		solo.Await(c, ctx, 4) // one that never comes
		if ctx.Err() == nil {
			t.Errorf("gave up after %v, before its time", time.Since(begin))
		}
	})
}

func TestTheFirstTokensEndOneAfterTheOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		n               int
		lifetime        time.Duration
		shortest, whole time.Duration
	}{
		"as usual":         {50, 30 * time.Second, 5 * time.Second, 30 * time.Second},
		"one account":      {1, 30 * time.Second, 5 * time.Second, 5 * time.Second},
		"short lives":      {4, 6 * time.Second, 3 * time.Second, 6 * time.Second},
		"the shortest":     {4, 2 * time.Second, 2 * time.Second, 2 * time.Second},
		"a great many":     {1000, time.Minute, 10 * time.Second, time.Minute},
		"shorter than all": {3, 3 * time.Second, 3 * time.Second, 3 * time.Second},
	} {
		accounts := solo.DemoAccounts(c.n)
		first := solo.FirstLifetimes(accounts, c.lifetime)
		last := time.Duration(0)
		for _, a := range accounts {
			if first[a] < last || len(a) != len(accounts[0]) {
				t.Fatalf("%s: %s lives %v after %v", name, a, first[a], last)
			}
			last = first[a]
		}
		if got := first[accounts[0]]; got != c.shortest {
			t.Errorf("%s: the first lives %v, want %v", name, got, c.shortest)
		}
		if c.whole-last > time.Millisecond || last > c.whole {
			t.Errorf("%s: the last lives %v, want %v", name, last, c.whole)
		}
	}
	if got := solo.DemoAccounts(10); !slices.Contains(got, "user-01") || !slices.Contains(got, "user-10") {
		t.Errorf("accounts are called %v", got)
	}
}

func TestListsAreCutShort(t *testing.T) {
	t.Parallel()
	if got := solo.AtMost([]string{"a", "b"}, ", "); got != "a, b" {
		t.Errorf("two: %q", got)
	}
	if got := solo.AtMost(slices.Repeat([]string{"a"}, 13), ","); got != strings.Repeat("a,", 10)+"and 3 more" {
		t.Errorf("thirteen: %q", got)
	}
}
