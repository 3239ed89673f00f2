package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// spy stands before the authorization server, learns every secret that passes, and answers refreshes as told.
type spy struct {
	canaries
	// Guarded by mu: how the refresh token target is answered, of hostile, and how often each of these was.
	mode, target string
	hits         map[string]int
}

func (s *spy) set(mode, target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode, s.target = mode, target
}

// hit notes a refresh and returns how to answer it.
func (s *spy) hit(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != s.target {
		return ""
	}
	if s.hits == nil {
		s.hits = make(map[string]int)
	}
	s.hits[s.mode]++
	return s.mode
}

// counted returns how many refreshes were answered in a mode.
func (s *spy) counted(mode string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits[mode]
}

func (s *spy) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := s.learnRequest(r)
		mode := ""
		if sent.Get("grant_type") == "refresh_token" {
			mode = s.hit(sent.Get("refresh_token"))
		}
		if answer := hostile(sent)[mode]; answer != nil {
			answer(w, r)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		s.learnAnswer(rec.Header(), body)
		if mode == "generous" {
			body = generous(body, sent)
		}
		maps.Copy(w.Header(), rec.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	})
}

// learnRequest returns the form that was sent, with the client secret in it whichever way it came.
func (s *spy) learnRequest(r *http.Request) url.Values {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	sent, _ := url.ParseQuery(string(body))
	if _, password, ok := r.BasicAuth(); ok {
		secret, _ := url.QueryUnescape(password)
		sent.Set("client_secret", secret)
	}
	for _, name := range []string{"refresh_token", "code", "code_verifier", "client_secret"} {
		s.add(name, sent.Get(name))
	}
	return sent
}

func (s *spy) learnAnswer(h http.Header, body []byte) {
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	_ = json.Unmarshal(body, &tokens) // pages have none
	s.add("access_token", tokens.Access)
	s.add("refresh_token", tokens.Refresh)
	if u, err := url.Parse(h.Get("Location")); err == nil {
		s.add("code", u.Query().Get("code"))
	}
}

// hostile answers repeat what was sent, in every place there is.
func hostile(sent url.Values) map[string]http.HandlerFunc {
	all := sent.Get("refresh_token") + " " + sent.Get("client_secret")
	say := func(status int, kind, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("X-Debug", all)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	refusal := func(code string) string {
		data, _ := json.Marshal(map[string]string{"error": code, "error_description": "cannot take " + all, "error_uri": "https://x.test/?t=" + all})
		return string(data)
	}
	const asJSON = "application/json"
	return map[string]http.HandlerFunc{
		"rejected":      say(400, asJSON, refusal("invalid_grant")),
		"code":          say(400, asJSON, refusal(sent.Get("refresh_token"))),
		"secret":        say(400, asJSON, refusal(sent.Get("client_secret"))),
		"server error":  say(500, "text/html", "<pre>"+all+"</pre>"),
		"redirect":      say(307, "text/html", all, "Location", "http://127.0.0.1:9/?t="+url.QueryEscape(all)),
		"cut off":       say(200, asJSON, `{"access_token":"`+sent.Get("refresh_token")),
		"page":          say(200, "text/html", "<p>"+all+"</p>"),
		"unavailable":   say(503, asJSON, refusal("temporarily_unavailable"), "Retry-After", "2"),
		"throttled":     say(429, asJSON, refusal("slow_down"), "Retry-After", all),
		"misconfigured": say(401, asJSON, refusal("invalid_client")),
		"silence": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	}
}

// generous puts secrets into every member of a good answer that is stored readable.
func generous(body []byte, sent url.Values) []byte {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil {
		return body
	}
	m["note"], m["instance_url"] = "was "+sent.Get("refresh_token"), "https://"+sent.Get("client_secret")+".test"
	m["hint"], m["owner"] = m["access_token"], map[string]any{"id": sent.Get("refresh_token"), "name": "Alice", "next": m["refresh_token"]}
	m["scope"] = fmt.Sprint("read ", sent.Get("refresh_token"), " ", m["access_token"], " ", m["refresh_token"], " ", sent.Get("client_secret"))
	m["token_type"] = sent.Get("client_secret")
	data, _ := json.Marshal(m)
	return data
}

// story is one run of everything that has to do with tokens.
type story struct {
	*fleet
	spy  *spy
	told bytes.Buffer // errors and whatever else was said to people
}

const canarySecret = "canary-client-secret&Zq81<LmX0"

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{spy: &spy{}}
	s.fleet = newFleet(t, fleetConfig{
		Wrap: s.spy.wrap,
		Auth: authserver.Config{
			AccessLifetime: townLifetime, Rotation: authserver.RotationOverlap,
			Clients: []authserver.Client{{ID: "dev", Secret: canarySecret, RedirectURIs: []string{"http://127.0.0.1/callback"}}},
		},
		Provider: func(d *provider.Definition) {
			d.ClientSecrets, d.Rotation = []seal.Secret{seal.NewSecret(canarySecret)}, provider.RotationOverlap
			d.Limits.Timeout = provider.Duration(2 * time.Second)
		},
	})
	s.spy.add("client_secret", canarySecret)
	return s
}

// say keeps what somebody was told.
func (s *story) say(format string, args ...any) { fmt.Fprintf(&s.told, format+"\n", args...) }

// login enrols an account as a person does.
func (s *story) login(account string) events.Credential {
	s.t.Helper()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":9") {
			return s.network.Dial(ctx, network, addr)
		}
		return new(net.Dialer).DialContext(ctx, network, addr) // back to the receiver
	}
	browser := &http.Transport{DialContext: dial}
	defer browser.CloseIdleConnections()
	exchange := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: dial})
	defer exchange.CloseIdle()
	c := events.Credential{Provider: "acme", Account: account}
	_, err := enroll.Login(s.ctx, enroll.LoginConfig{
		Definition: &s.acme, Credential: c, Out: &s.told, Exchange: exchange, OpenBrowser: enroll.PlayBrowser(&http.Client{Transport: browser}),
		Save: func(ctx context.Context, g enroll.NewGrant) error {
			s.say("%v %+v", g, g)
			s.note(audit.Enrolled, c, g.RefreshToken)
			_, err := s.writer.Enroll(ctx, &s.acme, c, g)
			return err
		},
	})
	s.must(err)
	return c
}

// importAll enrols accounts from lines, some of which are bad.
func (s *story) importAll(accounts []string) {
	s.t.Helper()
	var in bytes.Buffer
	for i, account := range accounts {
		tokens, err := s.auth.Issue(account, "")
		s.must(err)
		s.spy.add("refresh_token", tokens.RefreshToken)
		s.spy.add("access_token", tokens.AccessToken)
		line := mustJSON(s.t, map[string]any{
			"provider": "acme", "account": account, "refresh_token": tokens.RefreshToken, "access_token": tokens.AccessToken,
			"expires_at": tokens.ExpiresAt,
		})
		fmt.Fprintln(&in, line)
		bad := []string{line[:len(line)-1], strings.Replace(line, "acme", "nobody", 1), strings.Replace(line, `"account"`, `"`+tokens.RefreshToken+`"`, 1), line}
		fmt.Fprintln(&in, bad[i%len(bad)])
	}
	report, err := enroll.Import(s.ctx, enroll.ImportConfig{
		Reader: &in, Writer: s.writer, Reject: func(e enroll.LineError) { s.say("%v", e) },
		Provider: func(name string) (*provider.Definition, bool) { return &s.acme, name == "acme" },
	})
	s.must(err)
	if report.Imported != len(accounts) || report.Bad != len(accounts) {
		s.t.Fatalf("import: %+v, want %d good and as many bad", report, len(accounts))
	}
}

// demand asks for a refresh that ends in mode, and keeps what the caller is told.
func (s *story) demand(account, mode string) {
	s.t.Helper()
	c := events.Credential{Provider: "acme", Account: account}
	before := s.record(c).Record
	g, err := s.keys().OpenGrant(&before)
	s.must(err)
	s.spy.set(mode, g.RefreshToken.Reveal())
	defer s.spy.set("", "")
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	job := refresh.Job{Reason: events.ReasonDemand, NewerThan: before.Version, Refused: true}
	e, err := app.Demand(ctx, s.Broker, c, job)
	s.say("demand for %s: %+v, %v", c, e, err)
	for end := time.Now().Add(time.Hour); mode == "rejected" && time.Now().Before(end); time.Sleep(time.Minute) {
		if s.record(c).Record.State == refresh.StateReauthRequired {
			break // the second word
		}
	}
	if s.spy.counted(mode) == 0 {
		s.t.Errorf("no refresh was answered in mode %q", mode)
	}
	time.Sleep(5 * time.Second)
	s.must(app.ResumeLane(s.ctx, s.Broker, "acme", "operator", "freshet/test"))
}

// trace starts a worker that logs all there is.
func (s *story) trace(name string) *process {
	return s.startWorkerWith(name, func(cfg *app.WorkerConfig) {
		cfg.Log, cfg.JournalSync = cfg.Log.Level(zerolog.TraceLevel), true
	})
}

// Everything that happens to a token leaves no trace of it outside the sealed fields: not in what is logged, told, answered
// or stored, history and deleted messages included.
func TestNoTokenIsSeenAnywhere(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := newStory(t)
		modes := append(slices.Sorted(maps.Keys(hostile(nil))), "generous")
		s.importAll(modes)
		alice := s.login("alice")
		worker, scheduler := s.trace("w1"), s.startScheduler("s1")
		time.Sleep(10 * time.Second) // nothing is refreshed sooner after an enrolment
		for _, mode := range modes {
			s.demand(mode, mode)
		}
		time.Sleep(2 * townLifetime) // all of them come back but the rejected one
		s.nats.Stop()
		time.Sleep(time.Minute)
		s.must(s.nats.Start())
		time.Sleep(townLifetime)
		for account, state := range map[string]refresh.State{"page": refresh.StateRevoked, "generous": refresh.StateDeleted} {
			s.note(audit.Revoked, events.Credential{Provider: "acme", Account: account}, seal.Secret{})
			_, err := s.writer.Tombstone(s.ctx, events.Credential{Provider: "acme", Account: account}, state)
			s.must(err)
		}
		s.must(s.PublishJob(s.ctx, alice.Key(), refresh.Job{Reason: events.ReasonDemand}, "")) // asks for less than there is
		time.Sleep(5 * time.Second)
		s.demand(alice.Account, "") // so that the journal holds something
		s.wantComplete(modes)
		for _, r := range s.ended() {
			s.say("%+v %v", r, r.Err)
		}
		for _, e := range s.fleet.told() {
			s.say("%+v", e)
		}
		s.sayAudit()
		worker.stop()
		scheduler.stop()
		s.nats.Stop()
		s.wantNoCanary()
	})
}

// note writes an audit entry as commands do, with what they refer to tokens by.
func (s *story) note(a audit.Action, c events.Credential, token seal.Secret) {
	e := audit.About(a, c)
	e.Data.RefreshTokenRef = s.grant.Reference(token)
	app.AuditLog(s.Broker, "test", "freshet/test", func(err error) { s.t.Error(err) }).Note(s.ctx, e)
}

// sayAudit keeps what the audit stream holds, as it is there: on disk it is compressed.
func (s *story) sayAudit() {
	s.t.Helper()
	n := 0
	s.must(s.ReadAudit(s.ctx, time.Time{}, func(m *nats.Msg) error {
		n++
		s.say("%s %v %s", m.Subject, m.Header, m.Data)
		return nil
	}))
	if n != 3 || !bytes.Contains(s.told.Bytes(), []byte(`"refresh_token_ref":"hmac:`)) {
		s.t.Errorf("%d audit entries, want 3 and a reference in them", n)
	}
}

// wantComplete fails the test unless all that should have happened did.
func (s *story) wantComplete(modes []string) {
	s.t.Helper()
	kinds := s.spy.kinds()
	for kind, least := range map[string]int{
		"access_token": 3 * len(modes), "refresh_token": 3 * len(modes), "code": 1, "code_verifier": 1, "client_secret": 1,
	} {
		if kinds[kind] < least {
			s.t.Errorf("%d of %s passed, want %d at least", kinds[kind], kind, least)
		}
	}
	classes := make(map[refresh.Class]int)
	for _, r := range s.ended() {
		classes[r.Class]++
	}
	for _, class := range refresh.Classes() {
		if classes[class] == 0 && class != refresh.ClassLocal {
			s.t.Errorf("no refresh ended as %s: %v", class, classes)
		}
	}
	for _, want := range events.Types() {
		if len(s.toldOf(want)) == 0 && want != events.TokenExpiring {
			s.t.Errorf("no %s was told", want)
		}
	}
}

func (s *story) wantNoCanary() {
	s.t.Helper()
	for what, text := range map[string][]byte{"what was logged": []byte(s.logs.text()), "what was told": s.told.Bytes()} {
		if found := s.spy.in(text); len(found) > 0 {
			s.t.Errorf("%s has %v", what, found)
		}
		if !bytes.Contains(text, []byte("acme/alice")) {
			s.t.Errorf("%s does not name alice: it is not what was to be searched", what)
		}
	}
	for _, dir := range []string{"nats", "state"} {
		path := filepath.Join(s.dir, dir)
		if found := s.spy.inDir(s.t, path); len(found) > 0 {
			s.t.Errorf("on disk: %s", strings.Join(found, "\n"))
		}
		known := canaries{names: map[string]string{"acme.alice": "key"}}
		if len(known.inDir(s.t, path)) == 0 {
			s.t.Errorf("%s does not name alice: it is not what was to be searched", dir)
		}
	}
}
