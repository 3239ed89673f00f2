package refresh_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestRejectedTwiceNeedsAPerson(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		w.servers["acme"].Revoke("alice")
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassRejected)
		r := w.wantRecord(c, refresh.StateRetrying, 1)
		if wait := time.Until(r.RefreshAt); wait < 10*time.Minute || wait > 10*time.Minute+100*time.Second {
			t.Errorf("asked again after %v", wait)
		}
		if res := w.do(k, c); res.Decision.Why != refresh.WhyBackoff {
			t.Errorf("at once: %s because %s", res.Decision.Action, res.Decision.Why)
		}
		time.Sleep(time.Until(r.RefreshAt))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassRejected)
		if r := w.wantRecord(c, refresh.StateReauthRequired, 1); !r.RefreshAt.IsZero() || r.Failure.Count != 2 || len(r.Access) == 0 {
			t.Errorf("record %+v", r)
		}
		told := w.told(c)
		if len(told) != 2 || told[0].Type != events.TokenRefreshFailed || told[1].Type != events.TokenReauthRequired || told[1].Data.Code != "invalid_grant" {
			t.Errorf("told %+v", told)
		}
		if res := w.do(k, c); res.Decision.Why != refresh.WhyReauth {
			t.Errorf("afterwards: %s because %s", res.Decision.Action, res.Decision.Why)
		}
		w.wantJudge("acme", judge{requests: 2, withdrawn: 1})
	})
}

// The provider's no was about a refresh token that the record no longer holds.
func TestRejectionOfARecordThatMovedOnMarksNobody(t *testing.T) {
	for name, happen := range map[string]func(w *world, c events.Credential){
		"a newer version": func(w *world, c events.Credential) { w.rival(c) },
		"another grant": func(w *world, c events.Credential) {
			w.change(c, func(r *refresh.Record) { r.GrantID, r.Claim = refresh.NewGrantID(), nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_grant"}}))
				var then refresh.Stored
				k.store.puts.set(nil, pass, after(func() {
					happen(w, c)
					then = w.record(c)
				}))
				res := w.do(k, c)
				wantResult(t, res, refresh.VerdictAck, refresh.ClassRejected)
				if now := w.record(c); now.Revision != then.Revision || now.Record.State != refresh.StateActive || now.Record.Failure != nil {
					t.Errorf("revision %d, then %d; state %s", then.Revision, now.Revision, now.Record.State)
				}
				k.wantJournal(t, 0, 0)
				if res.Err != nil || len(w.told(c)) != 0 {
					t.Errorf("err %v, told %+v", res.Err, w.told(c))
				}
			})
		})
	}
}

func TestRejectionsByASuspectMarkNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var asked []time.Time
		suspect := func(name string, rejected time.Time) bool {
			asked = append(asked, rejected)
			return name == "acme"
		}
		c, k := w.enrol("acme/alice"), w.worker("w1", func(cfg *refresh.Config) { cfg.Suspect = suspect })
		w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_grant", Count: 3}}))
		var first time.Time
		for range 3 {
			time.Sleep(time.Until(w.record(c).Record.RefreshAt))
			wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassRejected)
			if r := w.wantRecord(c, refresh.StateRetrying, 1); first.IsZero() {
				first = r.Failure.At
			}
		}
		if len(asked) != 2 || !asked[0].Equal(first) {
			t.Errorf("asked about rejections at %v, the first was at %v", asked, first)
		}
		time.Sleep(time.Until(w.record(c).Record.RefreshAt))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
	})
}

// Whatever a provider says back, a token that was sent to it gets neither into the record's readable part nor into an event.
func TestEchoesOfTheRefreshTokenAreWithheld(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		answer string // %s is the refresh token
		class  refresh.Class
	}{
		"as an error code": {400, `{"error":"%s"}`, refresh.ClassUnknown},
		"as an extra":      {200, `{"access_token":"a","refresh_token":"r","note":"%s"}`, refresh.ClassOK},
		"as a scope":       {200, `{"access_token":"a","refresh_token":"r","scope":"%s"}`, refresh.ClassOK},
		"as a token type":  {200, `{"access_token":"a","refresh_token":"r","token_type":"%s"}`, refresh.ClassOK},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.enrol("acme/alice")
				w.change(c, func(r *refresh.Record) {
					w.must(w.keys.Seal(r, refresh.Grant{RefreshToken: seal.NewSecret(canaryRefresh)}, seal.NewSecret("a")))
				})
				echo := exchangeFunc(func(r refresh.Request) refresh.Outcome {
					o := answered(tt.status, typeJSON, fmt.Sprintf(tt.answer, r.RefreshToken.Reveal()))
					o.StartedAt, o.EndedAt = time.Now(), time.Now()
					return o
				})
				res := w.do(w.worker("w1", func(cfg *refresh.Config) { cfg.Exchange = echo }), c)
				wantResult(t, res, refresh.VerdictAck, tt.class)
				r := w.record(c).Record
				data, err := r.Encode()
				w.must(err)
				if shown := fmt.Sprintf("%s %+v %+v", data, res, w.told(c)); strings.Contains(shown, canaryRefresh) {
					t.Errorf("the refresh token is shown: %s", shown)
				}
			})
		})
	}
}

func TestThrottledWaitsAsAsked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: authserver.FaultStatus, Status: 429, RetryAfter: 5 * time.Minute}}))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassThrottled)
		if res.RetryAfter != 5*time.Minute {
			t.Errorf("retry after %v", res.RetryAfter)
		}
		r := w.wantRecord(c, refresh.StateRetrying, 1)
		if wait := time.Until(r.RefreshAt); wait < 5*time.Minute || wait > 6*time.Minute || r.Doubt != nil {
			t.Errorf("tried again after %v; doubt %+v", wait, r.Doubt)
		}
	})
}

// inOrder is a client with several secrets, of which the server takes dev-secret alone.
func inOrder(secrets ...string) func(*provider.Definition) {
	return func(d *provider.Definition) {
		d.ClientSecrets = nil
		for _, s := range secrets {
			d.ClientSecrets = append(d.ClientSecrets, seal.NewSecret(s))
		}
	}
}

// Each attempt makes one request, with one secret. A refused one gives way to the next, and what works is kept.
func TestClientSecretsAreTriedInOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		secrets []string
		want    []refresh.Class // attempt by attempt
	}{
		"the first works":    {[]string{"dev-secret", "old"}, []refresh.Class{refresh.ClassOK, refresh.ClassOK}},
		"the second works":   {[]string{"new", "dev-secret"}, []refresh.Class{refresh.ClassTransient, refresh.ClassOK, refresh.ClassOK}},
		"the third works":    {[]string{"new", "old", "dev-secret"}, []refresh.Class{refresh.ClassTransient, refresh.ClassTransient, refresh.ClassOK}},
		"none of two works":  {[]string{"new", "old"}, []refresh.Class{refresh.ClassTransient, refresh.ClassMisconfigured, refresh.ClassMisconfigured}},
		"the only one fails": {[]string{"new"}, []refresh.Class{refresh.ClassMisconfigured, refresh.ClassMisconfigured}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.apply("many", authserver.Config{}, inOrder(tt.secrets...))
				c, k := w.enrol("many/alice"), w.worker("w1")
				for i, want := range tt.want {
					time.Sleep(time.Until(w.record(c).Record.RefreshAt))
					res := w.do(k, c)
					wantResult(t, res, refresh.VerdictAck, want)
					if n := w.servers["many"].Ledger().Requests["token"]; n != int64(i+1) {
						t.Errorf("%d requests after %d attempts", n, i+1)
					}
					if r := w.record(c).Record; r.State != refresh.StateActive || r.Doubt != nil || r.Claim != nil {
						t.Errorf("the client's fault marks a credential: %+v", r)
					}
				}
				w.wantHeld(c)
			})
		})
	}
}

func TestNewDefinitionStartsWithItsFirstSecret(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		d := w.apply("many", authserver.Config{}, inOrder("new", "old"))
		c, k := w.enrol("many/alice"), w.worker("w1")
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassTransient) // "old" is next
		fixed := *d
		fixed.ClientSecrets = []seal.Secret{seal.NewSecret("dev-secret"), seal.NewSecret("old")}
		w.providers["many"] = &fixed
		time.Sleep(time.Until(w.record(c).Record.RefreshAt))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
	})
}

// Attempts that were under way with a secret when it was refused say no more than one.
func TestRefusalsOfOneSecretCountOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("many", authserver.Config{}, inOrder("new", "dev-secret"))
		together := exchangeFunc(func(r refresh.Request) refresh.Outcome {
			time.Sleep(time.Second) // until every attempt has its secret
			return w.exchange.Exchange(w.ctx, r)
		})
		k := w.worker("w1", func(cfg *refresh.Config) { cfg.Exchange, cfg.Observe = together, nil })
		creds := []events.Credential{w.enrol("many/alice"), w.enrol("many/bob"), w.enrol("many/carol")}
		results := make(chan refresh.Result)
		for _, c := range creds {
			job := w.scheduled(c)
			go func() { results <- k.Do(w.ctx, c, job) }()
		}
		for range creds {
			wantResult(t, <-results, refresh.VerdictAck, refresh.ClassTransient)
		}
		time.Sleep(time.Until(w.record(creds[0]).Record.RefreshAt))
		wantResult(t, w.do(k, creds[0]), refresh.VerdictAck, refresh.ClassOK)
	})
}
