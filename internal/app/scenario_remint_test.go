package app_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
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

// signingKey makes a P-256 key: as a definition has it, and its public half.
func signingKey(t *testing.T) (seal.Secret, crypto.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return seal.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), key.Public()
}

// robotFleet is a fleet whose provider acme mints: client robot proves itself with a key, and speaks for any account.
func robotFleet(t *testing.T, grant provider.GrantType, cfg fleetConfig) *fleet {
	t.Helper()
	private, public := signingKey(t)
	cfg.Auth.Clients = []authserver.Client{{ID: "robot", Keys: []crypto.PublicKey{public}, Scopes: []string{"a", "b"}}}
	cfg.Provider = func(d *provider.Definition) {
		d.Issuer, d.ClientID, d.AuthStyle, d.ClientSecrets = "http://127.0.0.1:9", "robot", provider.AuthPrivateKeyJWT, []seal.Secret{private}
		d.Grant, d.IntrospectURL = grant, ""
		if grant == provider.GrantJWTBearer {
			d.AssertionKey = private
		}
	}
	return newFleet(t, cfg)
}

// mint enrols a credential of acme that needs nobody.
func (f *fleet) mint(account string) events.Credential {
	f.t.Helper()
	c := events.Credential{Provider: "acme", Account: account}
	exchange := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: f.dial})
	defer exchange.CloseIdle()
	g, err := enroll.Mint(f.ctx, enroll.MintConfig{Definition: &f.acme, Credential: c, Exchange: exchange})
	f.must(err)
	_, err = f.writer.Enroll(f.ctx, &f.acme, c, g)
	f.must(err)
	return c
}

// TestMintedTokensStayFresh: no refresh token, and the same life. The provider loses answers, which costs nothing.
func TestMintedTokensStayFresh(t *testing.T) {
	for _, grant := range []provider.GrantType{provider.GrantClientCredentials, provider.GrantJWTBearer} {
		t.Run(string(grant), func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := robotFleet(t, grant, fleetConfig{Schedulers: 1, Workers: 2, Auth: authserver.Config{AccessLifetime: 5 * time.Minute}})
				f.must(f.auth.SetFaults([]authserver.Fault{
					{Kind: authserver.FaultDrop, After: true, From: time.Minute, Probability: 0.2},
					{Kind: authserver.FaultStatus, Status: 502, From: time.Minute, Probability: 0.2},
				}))
				begun := time.Now()
				c := f.mint("reports")
				for range 30 {
					time.Sleep(time.Minute)
					s := f.record(c)
					if left := time.Until(s.Record.ExpiresAt); left <= 0 || s.Record.State == refresh.StateUncertain {
						t.Fatalf("after %v: state %s, %v left, failure %+v", time.Since(begun), s.Record.State, left, s.Record.Failure)
					}
				}
				f.settle()
				s := f.record(c)
				g, err := f.keys().OpenGrant(&s.Record)
				f.must(err)
				if !g.RefreshToken.IsZero() || g.Mint != grant || s.Record.Version < 8 {
					t.Errorf("version %d, grant %+v", s.Record.Version, g)
				}
				access, err := f.keys().OpenAccess(&s.Record)
				f.must(err)
				if access.IsZero() || s.Record.Generation != 1 {
					t.Errorf("access token missing: %v, generation %d", access.IsZero(), s.Record.Generation)
				}
			})
		})
	}
}

// TestAnImportedRobotGetsItsFirstToken: a line without tokens is enough where they are minted.
func TestAnImportedRobotGetsItsFirstToken(t *testing.T) {
	t.Parallel()
	f := robotFleet(t, provider.GrantJWTBearer, fleetConfig{Schedulers: 1, Workers: 1})
	f.importText(`{"provider":"acme","account":"reports","subject":"reports@example.com"}`)
	c := events.Credential{Provider: "acme", Account: "reports"}
	waitFor(t, "the first token", func() bool { return f.record(c).Record.Version == 2 })
	s := f.record(c)
	if g, err := f.keys().OpenGrant(&s.Record); err != nil || g.Subject != "reports@example.com" {
		t.Errorf("subject %q, %v", g.Subject, err)
	}
}

// TestAMintedTokenComesThroughTheExchanger: the assertions are made there, one for each attempt.
func TestAMintedTokenComesThroughTheExchanger(t *testing.T) {
	t.Parallel()
	f := robotFleet(t, provider.GrantJWTBearer, fleetConfig{Schedulers: 1})
	x := newExchangerOf(f)
	x.start()
	x.worker("w1")
	f.importText(`{"provider":"acme","account":"reports"}`, `{"provider":"acme","account":"bills"}`)
	for _, account := range []string{"reports", "bills"} {
		c := events.Credential{Provider: "acme", Account: account}
		waitFor(t, "the first token", func() bool { return f.record(c).Record.Version == 2 })
	}
}

// importText imports lines, all of which must be good.
func (f *fleet) importText(lines ...string) {
	f.t.Helper()
	report, err := enroll.Import(f.ctx, enroll.ImportConfig{
		Reader: strings.NewReader(strings.Join(lines, "\n")), Writer: f.writer,
		Provider: func(name string) (*provider.Definition, bool) { return &f.acme, name == "acme" },
		Reject:   func(e enroll.LineError) { f.t.Error(e) },
	})
	f.must(err)
	if report.Imported != len(lines) {
		f.t.Fatalf("imported %d of %d", report.Imported, len(lines))
	}
}

// TestAnotherGrantTypeIsNotPresented: a person's grant is not turned into a token of the client itself, whatever is applied.
func TestAnotherGrantTypeIsNotPresented(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{Workers: 1})
	c := f.enrolFrom(f.auth, f.acme, "alice", func(g *enroll.NewGrant) { g.StartedAt = g.StartedAt.Add(-10 * time.Minute) })
	changed := f.acme
	changed.Grant, changed.Rotation = provider.GrantClientCredentials, provider.RotationNone
	f.apply(changed)
	before := len(f.asked())
	f.must(f.Demand(f.ctx, c, refresh.Job{Reason: events.ReasonDemand, NewerThan: 1}, 0))
	waitFor(t, "the job's end", func() bool { return len(f.ended()) > 0 })
	if r := f.ended()[0]; r.Class != refresh.ClassLocal || r.Attempt != "" || r.Err == nil {
		t.Errorf("class %s, attempt %q, error %v", r.Class, r.Attempt, r.Err)
	}
	if n := len(f.asked()) - before; n != 0 {
		t.Errorf("%d token requests", n)
	}
}
