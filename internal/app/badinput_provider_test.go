package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// due makes a credential's refresh due now.
func (w *town) due(c events.Credential) {
	w.t.Helper()
	w.put(c, func(r *refresh.Record) { r.RefreshAt = time.Now() })
}

// An entry that cannot be read is said by everybody who reads it, once. Nobody guesses: the lane stands until it is
// applied again, other lanes go on, and demands are served by the earlier definition.
func TestAProviderEntryThatCannotBeRead(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		acme := w.healthy[0]
		w.healthy = w.healthy[1:]
		w.pass(time.Second)
		plantProvider(w.fleet, "acme", `{"v":1,"token_url":"https://lo`)
		w.rest()
		w.wantSaid("w1", "error", 1, `"provider":"acme"`, "cannot be read", "earlier one stays in force", "apply it again")
		w.wantSaid("s1", "warn", 1, "provider acme", "cannot be read")
		w.wantQuiet("w1", 1)
		w.wantQuiet("s1", 2)
		if r := w.record(acme).Record; r.State != refresh.StateActive || r.Failure != nil {
			t.Errorf("the credential is %s, failure %+v: it is not its fault", r.State, r.Failure)
		}

		demand := refresh.Job{Reason: events.ReasonDemand, NewerThan: 1}
		w.must(w.PublishJob(w.ctx, acme.Key(), demand, ""))
		w.pass(5 * time.Second)
		if r := w.record(acme).Record; r.Version != 2 {
			t.Errorf("after a demand it is at version %d, want it refreshed", r.Version)
		}

		w.apply(w.acme)
		w.healthy, w.since = append(w.healthy, acme), time.Now()
		w.rest()
		w.wantCleanLedger()
	})
}

// Secrets sealed by a key this worker lacks: the earlier definition serves, and so it does after a restart of another.
func TestClientSecretsThatDoNotOpen(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1})
		w.pass(time.Second)
		data, err := seal.GenerateKeyset()
		w.must(err)
		added, err := seal.LoadKeyset(data)
		w.must(err)
		_, err = app.Apply(w.ctx, w.Broker, added, w.acme, false)
		w.must(err)
		w.rest()
		w.wantSaid("w1", "error", 1, `"provider":"acme"`, "client secret 1", "unknown key", "give this worker the grant keyset")
		w.wantQuiet("w1", 1)
		w.wantQuiet("s1", 0)

		// A worker that starts now has no earlier definition: it leaves the lane to the one that has.
		w.startWorker("w2")
		w.since = time.Now()
		w.rest()
		for _, r := range w.ended() {
			if r.Worker == "w2" && r.Credential.Provider == "acme" {
				t.Errorf("w2 took %s without the client secret: %s", r.Credential, r.Class)
			}
		}
		w.wantSaid("w2", "error", 1, "client secret 1", "unknown key")
		w.wantQuiet("w2", 1)
		w.wantCleanLedger()
	})
}

// A token endpoint in the clear is refused where it is declared, and where somebody wrote it into the bucket all the same.
func TestATokenEndpointInTheClear(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const where = "http://login.example.com/token"
		w := newTown(t, fleetConfig{Schedulers: 1})
		var dialled atomic.Int64
		w.startWorkerWith("w1", func(cfg *app.WorkerConfig) {
			cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if strings.HasPrefix(addr, "login.example.com") {
					dialled.Add(1)
				}
				return w.network.Dial(ctx, network, addr)
			}
		})
		clear := w.definition("clear", nil)
		w.apply(clear)
		c := w.enrolAt(clear, "exposed")
		bad := clear
		bad.TokenURL = where
		_, err := app.Apply(w.ctx, w.Broker, w.grant, bad, false)
		var fault *provider.Fault
		if !errors.As(err, &fault) || fault.Field != "token_url" || !strings.Contains(fault.Problem, "want https") {
			t.Errorf("apply: %v, want a fault of token_url", err)
		}
		e, revision, err := w.Broker.Provider(w.ctx, "clear")
		w.must(err)
		bucket := w.Names().ProvidersBucket()
		w.must(e.OpenSecrets(w.grant, bucket))
		e.TokenURL, e.Definition.MovedFrom = where, []string{clear.TokenURL}
		w.must(e.SealSecrets(w.grant, bucket))
		_, err = w.PutProvider(w.ctx, "clear", e, revision)
		w.must(err)
		w.due(c)
		w.pass(5 * time.Second)
		w.wantFailure(c, refresh.ClassTransient, "token_url must be https")
		w.rest()
		if n := dialled.Load(); n != 0 {
			t.Errorf("the worker connected %d times to an endpoint in the clear", n)
		}
		w.move(clear)
		w.pass(10 * time.Minute)
		if r := w.record(c).Record; r.State != refresh.StateActive || r.Version < 2 {
			t.Errorf("with the right endpoint it is %s at version %d", r.State, r.Version)
		}
		w.wantCleanLedger()
	})
}

// wantFailure fails the test unless the latest attempt failed like this, and the log tells it.
func (w *town) wantFailure(c events.Credential, class refresh.Class, detail string) {
	w.t.Helper()
	results := w.resultsOf(c)
	for len(results) > 0 && results[len(results)-1].Attempt == "" {
		results = results[:len(results)-1] // jobs that had nothing to do
	}
	if len(results) == 0 {
		w.t.Fatalf("%s: nothing was tried", c)
	}
	r := results[len(results)-1]
	if r.Class != class || !strings.Contains(r.Detail, detail) {
		w.t.Errorf("%s: %s (%s), want %s (%s)", c, r.Class, r.Detail, class, detail)
	}
	if !strings.Contains(w.logs.text(), r.Attempt) || w.logs.count("", detail) == 0 {
		w.t.Errorf("the log does not tell of %q", detail)
	}
}

// Nobody listens: surely nothing was sent, so it is tried again with growing pauses, until somebody does.
func TestATokenEndpointThatRefusesConnections(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		closed := l.Addr().String()
		l.Close()
		w := newTown(t, fleetConfig{Schedulers: 1})
		w.startWorkerWith("w1", func(cfg *app.WorkerConfig) {
			cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == closed {
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
				return w.network.Dial(ctx, network, addr)
			}
		})
		good := w.definition("down", nil)
		down := good
		down.TokenURL = "http://" + closed + "/token"
		w.apply(down)
		c := w.enrolAt(down, "waits")
		w.due(c)
		w.pass(3 * time.Second)
		w.wantFailure(c, refresh.ClassTransient, "connection refused")
		w.rest()
		r := w.record(c).Record
		if r.State != refresh.StateRetrying || r.Doubt != nil || r.Claim != nil || r.Failure == nil || r.Failure.Class != refresh.ClassTransient {
			t.Errorf("it is %s, doubt %+v, claim %+v, failure %+v", r.State, r.Doubt, r.Claim, r.Failure)
		}
		if r.Failure.Count < 5 || r.Failure.Count > 200 {
			t.Errorf("tried %d times in %v, want growing pauses", r.Failure.Count, townSpan)
		}
		if lines := w.logs.count("w1", "connection refused"); lines > r.Failure.Count {
			t.Errorf("%d lines about %d failures", lines, r.Failure.Count)
		}
		w.move(good)
		w.pass(10 * time.Minute)
		if r := w.record(c).Record; r.State != refresh.StateActive || r.Version < 2 || r.Failure != nil {
			t.Errorf("with somebody there it is %s at version %d, failure %+v", r.State, r.Version, r.Failure)
		}
		w.wantCleanLedger()
	})
}

// strangeAnswers are token endpoints that take a refresh token and say nothing that helps, by the path they are at.
func strangeAnswers() map[string]struct {
	answer http.HandlerFunc
	detail string
} {
	say := func(status int, kind string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	huge := append([]byte(`{"access_token":"x","padding":"`), bytes.Repeat([]byte("x"), 1<<20)...)
	return map[string]struct {
		answer http.HandlerFunc
		detail string
	}{
		"page":    {say(200, "text/html", []byte("<html>Please accept our cookies</html>")), "a page for people"},
		"gateway": {say(502, "text/html", []byte("<h1>Bad Gateway</h1>")), "HTTP 502"},
		"huge":    {say(200, "application/json", huge), "larger than"},
		"empty":   {say(200, "application/json", nil), "HTTP 200"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, "timed out"},
	}
}

// What such an answer did to the refresh token nobody knows. With a strict provider the token is not presented again while
// there is something to lose, and nobody else waits for it.
func TestTokenEndpointsThatAnswerNonsense(t *testing.T) {
	for name, tt := range strangeAnswers() {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				var presented atomic.Int64
				w := newTown(t, fleetConfig{Schedulers: 1, Workers: 1, Wrap: func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if !strings.HasPrefix(r.URL.Path, "/strange") {
							next.ServeHTTP(w, r)
							return
						}
						presented.Add(1)
						tt.answer(w, r)
					})
				}})
				good := w.definition("strange", func(d *provider.Definition) {
					d.Limits.Timeout = provider.Duration(5 * time.Second)
				})
				strange := good
				strange.TokenURL = strings.Replace(good.TokenURL, "/token", "/strange", 1)
				w.apply(strange)
				c := w.enrolAt(strange, "unlucky")
				w.due(c)
				w.pass(10 * time.Second)
				w.wantFailure(c, refresh.ClassUnknown, tt.detail)
				w.pass(8 * time.Minute)
				if n, r := presented.Load(), w.record(c).Record; n != 1 || r.State != refresh.StateUncertain || r.Doubt == nil {
					t.Errorf("presented %d times, %s, doubt %+v: want once and uncertain", n, r.State, r.Doubt)
				}
				w.rest() // past the token's end, with last tries
				if n := presented.Load(); n < 2 || n > 60 {
					t.Errorf("presented %d times, want some last tries with growing pauses", n)
				}
				w.move(good)
				w.pass(10 * time.Minute)
				if r := w.record(c).Record; r.State != refresh.StateActive || r.Version < 2 || r.Doubt != nil {
					t.Errorf("with a good endpoint it is %s at version %d, doubt %+v", r.State, r.Version, r.Doubt)
				}
				if lost := w.auth.Lost(w.held()); len(lost) != 0 {
					t.Errorf("lost: %+v", lost)
				}
			})
		})
	}
}
