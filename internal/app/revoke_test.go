package app_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// revoke withdraws a credential of d.
func (f *fleet) revoke(d provider.Definition, c events.Credential) (bool, error) {
	f.t.Helper()
	ask := refresh.NewAsker(f.dial)
	defer ask.CloseIdle()
	return enroll.Revoke(f.ctx, enroll.RevokeConfig{Writer: f.writer, Definition: &d, Revoke: ask.Revoke, RevokeAccess: ask.RevokeAccess, Patience: 10 * time.Second}, c)
}

// wantRevoked fails the test unless nothing of the grant is left, here and there.
func (f *fleet) wantRevoked(c events.Credential) {
	f.t.Helper()
	s := f.record(c)
	if s.Record.State != refresh.StateRevoked || len(s.Record.Grant)+len(s.Record.Access) != 0 || s.Record.Claim != nil {
		f.t.Errorf("record: state %s, %d and %d sealed bytes, claim %v", s.Record.State, len(s.Record.Grant), len(s.Record.Access), s.Record.Claim)
	}
	for _, g := range f.auth.Account(c.Account).Grants {
		if g.Ended == "" {
			f.t.Errorf("at the provider a grant of %s lives", c)
		}
	}
}

func TestRevokeThroughFaults(t *testing.T) {
	at := func(fault authserver.Fault) authserver.Fault {
		fault.Endpoint = "revoke"
		return fault
	}
	for name, tt := range map[string]struct {
		faults []authserver.Fault
		again  bool   // the first run does not end it, the second, without faults, does
		says   string // the first one's error
	}{
		"no fault":                {},
		"busy for a while":        {faults: []authserver.Fault{{Kind: authserver.FaultStatus, Status: 503, RetryAfter: 2 * time.Second, Count: 2}}},
		"a dropped answer":        {faults: []authserver.Fault{{Kind: authserver.FaultDrop, After: true, Count: 1}}},
		"a dropped request":       {faults: []authserver.Fault{{Kind: authserver.FaultDrop, Count: 3}}},
		"down":                    {faults: []authserver.Fault{{Kind: authserver.FaultStatus, Status: 502}}, again: true, says: "HTTP 502"},
		"away too long":           {faults: []authserver.Fault{{Kind: authserver.FaultStatus, Status: 503, RetryAfter: time.Hour}}, again: true, says: "HTTP 503"},
		"does not know us":        {faults: []authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_client"}}, again: true, says: "invalid_client"},
		"leads elsewhere":         {faults: []authserver.Fault{{Kind: authserver.FaultRedirect, Body: "http://127.0.0.1:9/elsewhere"}}, again: true, says: "HTTP 307"},
		"knows the token no more": {faults: []authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_token", Status: 400, After: true}}},
		"calls the grant invalid": {faults: []authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_grant", After: true}}},
		"does not take the kind":  {faults: []authserver.Fault{{Kind: authserver.FaultError, Code: "unsupported_token_type"}}, again: true, says: "unsupported_token_type"},
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := newFleet(t, fleetConfig{})
				c := f.enrol("alice")
				for i := range tt.faults {
					tt.faults[i] = at(tt.faults[i])
				}
				f.must(f.auth.SetFaults(tt.faults))
				told, err := f.revoke(f.acme, c)
				if tt.again {
					if !errors.Is(err, enroll.ErrNotConfirmed) || !strings.Contains(err.Error(), tt.says) {
						t.Fatalf("first run: %v", err)
					}
					if s := f.record(c); s.Record.State != refresh.StateRevoked || len(s.Record.Grant) == 0 || len(s.Record.Access) != 0 {
						t.Errorf("the mark: state %s, grant %d bytes, access %d", s.Record.State, len(s.Record.Grant), len(s.Record.Access))
					}
					f.must(f.auth.SetFaults(nil))
					told, err = f.revoke(f.acme, c)
				}
				if err != nil || !told {
					t.Fatalf("told %v, %v", told, err)
				}
				f.wantRevoked(c)
				if told, err := f.revoke(f.acme, c); err != nil || told {
					t.Errorf("once more: told %v, %v", told, err)
				}
				if n := len(f.toldOf(events.TokenRevoked)); n != 1 {
					t.Errorf("%d events", n)
				}
			})
		})
	}
}

// TestAnAttemptInFlightBringsNothingBack: the answer to a refresh arrives after the credential was revoked.
func TestAnAttemptInFlightBringsNothingBack(t *testing.T) {
	for name, after := range map[string]time.Duration{"before it takes effect": time.Second, "after it took effect": 6 * time.Second} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := newFleet(t, fleetConfig{Workers: 1, Auth: authserver.Config{Latency: 10 * time.Second}})
				c := f.enrol("alice")
				time.Sleep(time.Minute)
				f.must(f.Demand(f.ctx, c, refresh.Job{Reason: events.ReasonDemand, NewerThan: 1}, 0))
				waitFor(t, "the request", func() bool { return len(f.asked()) == 1 })
				time.Sleep(after)
				if told, err := f.revoke(f.acme, c); err != nil || !told {
					t.Fatalf("told %v, %v", told, err)
				}
				f.settle()
				f.wantRevoked(c)
				if l := f.auth.Ledger(); l.Replayed != 0 {
					t.Errorf("%d refresh tokens replayed", l.Replayed)
				}
			})
		})
	}
}

func TestRevokeWhatThereIs(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	silent := f.acme
	silent.RevokeURL = ""
	c := f.enrol("quiet")
	if told, err := f.revoke(silent, c); err != nil || told {
		t.Errorf("no revoke_url: told %v, %v", told, err)
	}
	if s := f.record(c); s.Record.State != refresh.StateRevoked || len(s.Record.Grant) != 0 {
		t.Errorf("no revoke_url: %s, %d sealed bytes", s.Record.State, len(s.Record.Grant))
	}
	if _, err := f.revoke(f.acme, events.Credential{Provider: "acme", Account: "nobody"}); !errors.Is(err, refresh.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	// A token without a refresh token is revoked itself.
	bare := f.enrolFrom(f.auth, f.acme, "bare", func(g *enroll.NewGrant) { g.RefreshToken = seal.Secret{} })
	before := f.auth.Ledger().Requests["revoke"]
	if told, err := f.revoke(f.acme, bare); err != nil || !told {
		t.Errorf("access token alone: told %v, %v", told, err)
	}
	if n := f.auth.Ledger().Requests["revoke"] - before; n != 1 {
		t.Errorf("access token alone: %d requests", n)
	}
	// Who logs in again meanwhile has another grant.
	f.must(f.auth.SetFaults([]authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_client", Endpoint: "revoke"}}))
	again := f.enrol("again")
	if _, err := f.revoke(f.acme, again); !errors.Is(err, enroll.ErrNotConfirmed) {
		t.Fatal(err)
	}
	f.enrol("again")
	if s := f.record(again); s.Record.State != refresh.StateActive || s.Record.Generation != 2 {
		t.Errorf("logged in again: %s, generation %d", s.Record.State, s.Record.Generation)
	}
}
