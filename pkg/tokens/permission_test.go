package tokens_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// users are an administrator and a reader with exactly these permissions.
func users(publish, subscribe []string) []*server.User {
	return []*server.User{
		{Username: "admin", Password: "admin"},
		{Username: "reader", Password: "reader", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: subscribe},
		}},
	}
}

// reader is a server with a bucket that the administrator writes, and the reader's connection.
func reader(t *testing.T, publish, subscribe []string) (*bucket, *nats.Conn) {
	t.Helper()
	s := startServer(t, users(publish, subscribe)...)
	b := newBucket(t, s.connect(t, nats.UserInfo("admin", "admin")), events.Names{})
	return b, s.connect(t, nats.UserInfo("reader", "reader"), nats.CustomInboxPrefix("_INBOX_reader"))
}

const directGet = "$JS.API.DIRECT.GET.KV_tokens.$KV.tokens."

var anyNews = []string{
	"_INBOX_reader.>", "token.updated.>", "token.reauth_required.>", "token.revoked.>", "token.deleted.>",
}

func TestReaderNeedsNoMoreThanDocumented(t *testing.T) {
	t.Parallel()
	b, nc := reader(t, []string{directGet + "acme.>"}, anyNews)
	c := b.open(nc, tokens.Config{Wait: patience})
	r := record("alice")
	b.put(r, "access-1")
	src := c.TokenSource("acme/alice")
	wantToken(t, src, "access-1")
	r.Version = 2
	b.tell(b.put(r, "access-2"))
	awaitToken(t, src, "access-2")

	began := time.Now()
	_, err := c.TokenSource("other/bob").Token()
	wantErr(t, err, tokens.ErrPermission)
	if !strings.Contains(err.Error(), directGet+"other.bob") {
		t.Errorf("error %q does not name the subject", err)
	}
	got, err := c.Get(t.Context(), "other/bob", "acme/alice")
	if err != nil || got[1].Err != nil || got[1].Token.AccessToken.Reveal() != "access-2" {
		t.Errorf("the denied id took the others along: %v, %v", err, got)
	}
	wantErr(t, got[0].Err, tokens.ErrPermission)
	if took := time.Since(began); took > patience/2 {
		t.Errorf("a denial took %s: it came as a timeout", took)
	}
}

func TestReaderOfOneTenant(t *testing.T) {
	t.Parallel()
	var news []string
	for _, s := range []string{"updated", "reauth_required", "revoked", "deleted"} {
		news = append(news, "token."+s+".acme.team", "token."+s+".acme.team.>")
	}
	b, nc := reader(t, []string{directGet + "acme.team.>"}, append(news, "_INBOX_reader.>"))
	_, err := tokens.Open(t.Context(), nc, tokens.Config{AccessKeyset: b.keys.Access})
	wantErr(t, err, tokens.ErrPermission)

	c := b.open(nc, tokens.Config{Scope: "acme/team"})
	r := record("team/alice")
	b.put(r, "access-1")
	src := c.TokenSource("acme/team/alice")
	wantToken(t, src, "access-1")
	r.Version = 2
	b.tell(b.put(r, "access-2"))
	awaitToken(t, src, "access-2")
	_, err = c.TokenSource("acme/other").Token()
	wantErr(t, err, tokens.ErrPermission)
}

// A server of the domain checks permissions on, and names in its errors, the subject without the domain.
func TestReaderInADomain(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]tokens.Config{
		"domain":     {Domain: "hub", Wait: patience},
		"API prefix": {APIPrefix: "$JS.hub.API", Wait: patience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			users := users([]string{directGet + "acme.>"}, anyNews)
			s := &natsServer{natstest.Run(t, natstest.Options{Users: users, JetStreamDomain: "hub"})}
			b := newBucket(t, s.connect(t, nats.UserInfo("admin", "admin")), events.Names{})
			b.put(record("alice"), "access-1")
			nc := s.connect(t, nats.UserInfo("reader", "reader"), nats.CustomInboxPrefix("_INBOX_reader"))
			c := b.open(nc, cfg)
			wantToken(t, c.TokenSource("acme/alice"), "access-1")
			began := time.Now()
			_, err := c.TokenSource("other/bob").Token()
			wantErr(t, err, tokens.ErrPermission)
			if took := time.Since(began); took > patience/2 {
				t.Errorf("a denial took %s: it came as a timeout", took)
			}
		})
	}
}

func TestOpenNamesWhatIsDenied(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		subscribe []string
		want      string
	}{
		{"the news", anyNews[:1], "token."},
		{"one kind of news", anyNews[:4], "token.deleted.>"},
		{"the inbox", anyNews[1:], "CustomInboxPrefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, nc := reader(t, []string{directGet + ">"}, tt.subscribe)
			_, err := tokens.Open(t.Context(), nc, tokens.Config{AccessKeyset: b.keys.Access})
			wantErr(t, err, tokens.ErrPermission)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not mention %q", err, tt.want)
			}
		})
	}
}

func TestOpenLeavesTheCallersErrorHandlerInPlace(t *testing.T) {
	t.Parallel()
	s := startServer(t, users([]string{directGet + "acme.>"}, anyNews)...)
	b := newBucket(t, s.connect(t, nats.UserInfo("admin", "admin")), events.Names{})
	h := newHeard()
	nc := s.connect(t, nats.UserInfo("reader", "reader"), nats.CustomInboxPrefix("_INBOX_reader"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { h.add(err) }))
	_, err := b.open(nc, tokens.Config{}).TokenSource("other/bob").Token()
	wantErr(t, err, tokens.ErrPermission)
	wantErr(t, h.next(t), nats.ErrPermissionViolation)
}

// askLane is what a demand takes beside what every reader needs.
var askLane = []string{"$JS.API.CONSUMER.INFO.REFRESH_JOBS.acme", "refresh.jobs.acme.>"}

func TestAskerNeedsNoMoreThanDocumented(t *testing.T) {
	t.Parallel()
	b, nc := reader(t, append([]string{directGet + "acme.>"}, askLane...), anyNews)
	h := newHeard()
	c := b.open(nc, tokens.Config{Wait: patience, OnError: h.add})
	r := record("alice")
	b.put(r, access(1))
	refreshes := b.newLane("600/m").work(r)
	res := newResource(t, access(2))
	if status, _ := fetch(t, client(t, c, "acme/alice", nil), http.MethodGet, res.URL, nil); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if n := refreshes.Load(); n != 1 || len(h.errs) > 0 {
		t.Errorf("%d refreshes, %d errors", n, len(h.errs))
	}
}

func TestAReaderThatMayNotAskHearsSo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		may  []string
		says string
	}{
		"anything":       {nil, "$JS.API.CONSUMER.INFO.REFRESH_JOBS.acme"},
		"publish a job":  {askLane[:1], "refresh.jobs.acme.alice"},
		"look at a lane": {askLane[1:], "$JS.API.CONSUMER.INFO.REFRESH_JOBS.acme"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, nc := reader(t, append([]string{directGet + "acme.>"}, tt.may...), anyNews)
			h := newHeard()
			c := b.open(nc, tokens.Config{Wait: patience, OnError: h.add})
			b.put(record("alice"), access(1))
			b.newLane("")
			res := newResource(t, access(2))
			began := time.Now()
			for range 3 {
				if status, got := fetch(t, client(t, c, "acme/alice", nil), http.MethodGet, res.URL, nil); status != 401 || got != "refused" {
					t.Errorf("%d %q, want the refusal as it was", status, got)
				}
			}
			if err := h.next(t); !errors.Is(err, tokens.ErrPermission) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("reported %v, want the denial of %s", err, tt.says)
			}
			if took := time.Since(began); took > patience/2 || len(h.errs) > 0 {
				t.Errorf("after %s, %d errors more", took, len(h.errs))
			}
			_, err := c.Renew(t.Context(), tokens.Token{Credential: events.Credential{Provider: "acme", Account: "alice"}, Generation: 1, Version: 1})
			wantErr(t, err, tokens.ErrPermission)
		})
	}
}

// TestManyReadersCostNoConsumer: neither on the bucket nor on the events.
func TestManyReadersCostNoConsumer(t *testing.T) {
	t.Parallel()
	b, nc := reader(t, []string{directGet + "acme.>"}, anyNews)
	r := record("alice")
	b.put(r, access(1))
	var sources []oauth2.TokenSource
	for range 200 {
		sources = append(sources, b.open(nc, tokens.Config{}).TokenSource("acme/alice"))
	}
	for _, src := range sources {
		wantToken(t, src, access(1))
	}
	r.Version = 2
	b.tell(b.put(r, access(2)))
	for _, src := range sources {
		awaitToken(t, src, access(2))
	}
	s, err := b.js.Stream(t.Context(), b.names.TokensStream())
	if err != nil || s.CachedInfo().State.Consumers != 0 {
		t.Errorf("%d consumers, %v", s.CachedInfo().State.Consumers, err)
	}
}

// A reader holds one keyset of the two. With it no refresh token can be opened.
func TestAReaderCannotOpenAGrant(t *testing.T) {
	t.Parallel()
	b, _ := reader(t, []string{directGet + "acme.>"}, anyNews)
	s := b.put(record("alice"), access(1))
	keys := b.keys
	keys.Grant = b.keys.Access // all that a reader has to try with
	_, err := keys.OpenGrant(&s.Record)
	wantErr(t, err, seal.ErrUnknownKey)
	s.Record.Access = s.Record.Grant
	_, err = keys.OpenAccess(&s.Record) // nor as if it were an access token
	wantErr(t, err, seal.ErrUnknownKey)
}
