package authserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

// setFaults installs faults given in their text form.
func setFaults(t *testing.T, s *authserver.Server, texts ...string) {
	t.Helper()
	var faults []authserver.Fault
	for _, text := range texts {
		f, err := authserver.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		faults = append(faults, f)
	}
	if err := s.SetFaults(faults); err != nil {
		t.Fatal(err)
	}
}

// exchange is a refresh over a real connection. err is that of the request or
// of reading its body.
func exchange(t *testing.T, base, token string) (status int, header http.Header, body string, err error) {
	t.Helper()
	req := formRequest(base+"/token", "grant_type", "refresh_token", "refresh_token", token)
	req.RequestURI = ""
	req.SetBasicAuth("dev", "dev-secret")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// seen says in a few words what came over the wire.
func seen(status int, header http.Header, body string, err error) string {
	var tokens struct {
		Refresh string `json:"refresh_token"`
		Error   string `json:"error"`
	}
	bad := json.Unmarshal([]byte(body), &tokens) != nil
	switch {
	case status == 0:
		return "no answer"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprint(status, " cut short")
	case header.Get("Location") != "":
		return fmt.Sprint(status, " to ", header.Get("Location"))
	case bad:
		return strings.TrimSpace(fmt.Sprint(status, " not JSON ", header.Get("Retry-After")))
	case tokens.Error != "":
		return strings.TrimSpace(fmt.Sprint(status, " ", tokens.Error, " ", header.Get("Retry-After")))
	case tokens.Refresh != "" && len(body) > 1<<20:
		return fmt.Sprint(status, " huge tokens")
	case tokens.Refresh != "":
		return fmt.Sprint(status, " tokens")
	}
	return fmt.Sprint(status, " no tokens")
}

func TestFaultsBeforeAndAfterTheEffect(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"drop":                                "no answer",
		"truncate":                            "200 cut short",
		"status":                              "500 not JSON",
		"status status=502":                   "502 not JSON",
		"status status=503 retry-after=7s":    "503 not JSON 7",
		"status status=429 retry-after=1m0s":  "429 not JSON 60",
		`status status=200 body="{}"`:         "200 no tokens",
		"garbage":                             "200 not JSON",
		"redirect body=http://127.0.0.1:1/":   "307 to http://127.0.0.1:1/",
		"error code=invalid_client":           "401 invalid_client",
		"error code=invalid_grant":            "400 invalid_grant",
		"error code=temporarily_unavailable":  "503 temporarily_unavailable",
		"error code=server_error":             "500 server_error",
		"error code=slow_down retry-after=3s": "429 slow_down 3",
		"error code=invalid_grant status=403": "403 invalid_grant",
		"delay delay=1ns":                     "200 tokens",
	} {
		for _, moment := range []string{"before", "after"} {
			s := authserver.New(authserver.Config{})
			srv := httptest.NewServer(s)
			held := issue(t, s, "alice").RefreshToken
			setFaults(t, s, moment+" "+kind)
			if got := seen(exchange(t, srv.URL, held)); got != want {
				t.Errorf("%s %s: saw %q, want %q", moment, kind, got, want)
			}
			checkEffect(t, s, moment, kind, held)
			srv.Close()
		}
	}
}

// checkEffect checks that a request took effect if, and only if, its fault came
// after.
func checkEffect(t *testing.T, s *authserver.Server, moment, kind, held string) {
	t.Helper()
	name, _, _ := strings.Cut(kind, " ")
	wantRotations, wantDamaged := int64(0), int64(0)
	if moment == "after" || name == "delay" {
		wantRotations = 1
	}
	if moment == "after" && name != "delay" {
		wantDamaged = 1
	}
	l := s.Ledger()
	if l.Rotations != wantRotations || l.Damaged != wantDamaged || l.Refreshes != wantRotations-wantDamaged || l.Faults[moment+" "+name] != 1 {
		t.Errorf("%s %s: rotations %d damaged %d refreshes %d faults %v", moment, kind, l.Rotations, l.Damaged, l.Refreshes, l.Faults)
	}
	if len(l.Errors) != 0 {
		t.Errorf("%s %s: a fault is counted among the server's own errors: %v", moment, kind, l.Errors)
	}
	if got := int64(s.Account("alice").Grants[0].Lost); got != wantDamaged {
		t.Errorf("%s %s: %d answers of the grant lost, want %d", moment, kind, got, wantDamaged)
	}
	if lost := s.Lost(map[string]string{"alice": held}); len(lost) != int(wantRotations) {
		t.Errorf("%s %s: lost %v, want %d", moment, kind, lost, wantRotations)
	}
}

func TestAReplayCountsEvenIfAFaultHidesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{})
		first := issue(t, s, "alice").RefreshToken
		held, _ := rotated(t, s, first)
		setFaults(t, s, "before status status=503")
		wantStatus(t, "replay", refresh(t, s, first), http.StatusServiceUnavailable)
		wantStatus(t, "the current token", refresh(t, s, held), http.StatusServiceUnavailable)
		time.Sleep(time.Hour)
		wantStatus(t, "last try", refresh(t, s, first), http.StatusServiceUnavailable)
		setFaults(t, s)
		rotated(t, s, held) // no fault spends or revokes anything
		l := s.Ledger()
		wantCount(t, "replayed", l.Replayed, 1)
		wantCount(t, "last tries", l.LastTries, 1)
		wantCount(t, "revoked", l.Revoked, 0)
	})
}

func TestOversizeKeepsTheTokens(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	setFaults(t, s, "after oversize")
	srv := httptest.NewServer(s)
	defer srv.Close()
	if got := seen(exchange(t, srv.URL, issue(t, s, "alice").RefreshToken)); got != "200 huge tokens" {
		t.Errorf("saw %q", got)
	}
	setFaults(t, s, "before oversize")
	if got := seen(exchange(t, srv.URL, issue(t, s, "alice").RefreshToken)); got != "200 no tokens" {
		t.Errorf("saw %q", got)
	}
}

// faulted refreshes each account the given number of times and returns which of
// the requests met a fault.
func faulted(t *testing.T, s *authserver.Server, times int, accounts ...string) map[string][]int {
	t.Helper()
	held, met := map[string]string{}, map[string][]int{}
	for _, account := range accounts {
		held[account] = issue(t, s, account).RefreshToken
	}
	for n := range times {
		for _, account := range accounts {
			r := refresh(t, s, held[account])
			if r.status == http.StatusOK {
				held[account] = r.str("refresh_token")
			} else {
				met[account] = append(met[account], n+1)
			}
		}
	}
	return met
}

func TestFaultsMatch(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string][]int{
		"before status":                             {"alice": {1, 2, 3}, "bob": {1, 2, 3}},
		"before status account=bob":                 {"bob": {1, 2, 3}},
		"before status client=dev":                  {"alice": {1, 2, 3}, "bob": {1, 2, 3}},
		"before status client=other":                {},
		"before status count=3":                     {"alice": {1, 2}, "bob": {1}},
		"before status nth=4":                       {"bob": {2}},
		"before status nth=2 account=alice":         {"alice": {2}},
		"before status grant=refresh_token count=1": {"alice": {1}},
		"before status grant=authorization_code":    {},
		"before status endpoint=resource":           {},
		"before status p=1 count=1":                 {"alice": {1}},
	} {
		s := authserver.New(authserver.Config{Seed: 1})
		setFaults(t, s, text)
		if got := faulted(t, s, 3, "alice", "bob"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: met %v, want %v", text, got, want)
		}
	}
}

func TestFaultsStackAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{})
		setFaults(t, s, "before delay delay=3s", "after delay delay=4s", "after status status=502 nth=2", "before status status=503 nth=3")
		held := issue(t, s, "alice").RefreshToken
		start := time.Now()
		held, _ = rotated(t, s, held)
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("two delays took %v, want 7s", d)
		}
		wantStatus(t, "second", refresh(t, s, held), http.StatusBadGateway)
		wantStatus(t, "third", refresh(t, s, held), http.StatusServiceUnavailable)
		if err := s.SetFaults(nil); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, "without faults", refresh(t, s, held), http.StatusBadRequest) // spent by the second
		if got := s.Ledger().Faults; got["before delay"] != 3 || got["after delay"] != 2 {
			t.Errorf("faults %v", got)
		}
	})
}

func TestFaultsKeepToTheirWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{})
		time.Sleep(time.Hour)
		setFaults(t, s, "before status from=10s until=20s")
		held := issue(t, s, "alice").RefreshToken
		for _, tc := range []struct {
			wait time.Duration
			want int
		}{{10*time.Second - 1, 200}, {1, 500}, {10*time.Second - 1, 500}, {1, 200}} {
			time.Sleep(tc.wait)
			r := refresh(t, s, held)
			wantStatus(t, time.Now().String(), r, tc.want)
			if r.status == http.StatusOK {
				held = r.str("refresh_token")
			}
		}
	})
}

func TestChanceFollowsTheSeedAndTheAccountAlone(t *testing.T) {
	t.Parallel()
	met := func(seed uint64, accounts ...string) map[string][]int {
		s := authserver.New(authserver.Config{Seed: seed})
		setFaults(t, s, "before status p=0.3")
		return faulted(t, s, 200, accounts...)
	}
	one, both, other := met(1, "alice"), met(1, "bob", "alice"), met(2, "alice")
	if !slices.Equal(one["alice"], both["alice"]) {
		t.Error("another account changed the draws")
	}
	if slices.Equal(one["alice"], other["alice"]) || slices.Equal(both["alice"], both["bob"]) {
		t.Error("other seeds and accounts draw the same")
	}
	// The draws are fixed by the seed, so this bound is met always or never.
	if n := len(one["alice"]); n < 40 || n > 80 {
		t.Errorf("%d of 200 requests met a fault of probability 0.3", n)
	}
}

func TestFaultsAtOtherEndpoints(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	tokens := issue(t, s, "alice")
	setFaults(t, s, "after status endpoint=revoke status=503 count=1", "before status endpoint=introspect",
		"before status endpoint=resource status=429", "before status endpoint=metadata", "before error endpoint=token code=invalid_client")
	wantStatus(t, "resource", use(t, s, tokens.AccessToken), http.StatusTooManyRequests)
	wantStatus(t, "introspect", post(t, s, "/introspect", "token", tokens.AccessToken), http.StatusInternalServerError)
	wantStatus(t, "metadata", get(t, s, "/.well-known/openid-configuration"), http.StatusInternalServerError)
	wantError(t, "made-up code", redeem(t, s, "x"), http.StatusUnauthorized, "invalid_client")
	wantError(t, "client credentials", post(t, s, "/token", "grant_type", "client_credentials"), http.StatusUnauthorized, "invalid_client")
	wantStatus(t, "revoke", post(t, s, "/revoke", "token", tokens.RefreshToken), http.StatusServiceUnavailable)
	if got := s.Account("alice").Grants[0].Ended; got != authserver.EndWithdrawn {
		t.Errorf("grant ended %q: the revocation took effect before its fault", got)
	}
}

func TestInvalidFaultsAreReportedTogether(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	setFaults(t, s, "before status")
	err := s.SetFaults([]authserver.Fault{
		{Kind: "explode"}, {Kind: authserver.FaultDrop}, {Kind: authserver.FaultError, Probability: 2, Endpoint: "nowhere"},
		{Kind: authserver.FaultDelay, Nth: -1}, {Kind: authserver.FaultRedirect}, {Kind: authserver.FaultStatus, Status: 99},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`fault 1: kind "explode"`, "fault 3: kind error needs a code", `endpoint "nowhere"`, "probability 2",
		"fault 4: kind delay needs a delay", "nth, count", "fault 5: kind redirect", "fault 6: status 99",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	wantStatus(t, "the script from before", refresh(t, s, issue(t, s, "alice").RefreshToken), http.StatusInternalServerError)
}

func TestFaultTextRoundTrips(t *testing.T) {
	t.Parallel()
	full := authserver.Fault{
		Kind: authserver.FaultError, After: true, Endpoint: "token", Grant: "refresh_token", Account: `al "ice" b`, Client: "dev",
		From: time.Second, Until: time.Hour, Nth: 2, Probability: 0.25, Count: 3, Status: 403, RetryAfter: 5 * time.Second,
		Code: "invalid_grant", Delay: time.Millisecond, Body: "a b\nc=d",
	}
	for _, f := range []authserver.Fault{full, {Kind: authserver.FaultDrop}, {Kind: authserver.FaultGarbage, Body: "="}} {
		got, err := authserver.ParseFault(f.String())
		if err != nil || got != f {
			t.Errorf("%s: read back as %+v, %v", f, got, err)
		}
	}
	var list []authserver.Fault
	err := json.Unmarshal([]byte(`["after drop p=0.01", "before status  status=503\tretry-after=5s"]`), &list)
	if err == nil {
		t.Error("a tab inside JSON text was accepted")
	}
	if err := json.Unmarshal([]byte(`["after drop p=0.01", "before  status status=503 retry-after=5s"]`), &list); err != nil {
		t.Fatal(err)
	}
	want := []authserver.Fault{
		{Kind: authserver.FaultDrop, After: true, Probability: 0.01},
		{Kind: authserver.FaultStatus, Status: 503, RetryAfter: 5 * time.Second},
	}
	if !slices.Equal(list, want) {
		t.Errorf("got %v, want %v", list, want)
	}
}

func TestFaultTextErrors(t *testing.T) {
	t.Parallel()
	for text, wants := range map[string][]string{
		"":                              {"must begin with"},
		"drop":                          {"must begin with"},
		"during drop":                   {"must begin with"},
		"after nothing":                 {`kind "nothing"`},
		"after drop x=1 p=often nth=1s": {`"x" is unknown`, `p="often"`, `nth="1s"`},
		"after drop from=5":             {`from="5"`},
		`after garbage body="open`:      {"quote"},
	} {
		_, err := authserver.ParseFault(text)
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error %v, want one that says %q", text, err, want)
			}
		}
	}
}

func FuzzFaultText(f *testing.F) {
	f.Add("after drop p=0.01 account=alice")
	f.Add(`before garbage body="a \" b" count=3`)
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := authserver.ParseFault(text)
		if err != nil {
			return
		}
		if again, err := authserver.ParseFault(fault.String()); err != nil || again != fault {
			t.Fatalf("%q means %+v, but reads back as %+v, %v", text, fault, again, err)
		}
	})
}
