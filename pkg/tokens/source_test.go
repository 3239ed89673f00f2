package tokens_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func TestSourceServesAndFollows(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	r := record("alice")
	r.Meta = []byte(`{"instance_url":"https://eu1.example.com"}`)
	b.put(r, "access-1")
	src := c.TokenSource("acme/alice")
	tok, err := src.Token()
	if err != nil {
		t.Fatal(err)
	}
	if tok.AccessToken != "access-1" || tok.TokenType != "Bearer" || !tok.Expiry.Equal(r.ExpiresAt) || tok.RefreshToken != "" {
		t.Errorf("token = %s %s until %s, refresh token %q", tok.TokenType, tok.AccessToken, tok.Expiry, tok.RefreshToken)
	}
	if got := tok.Extra("instance_url"); got != "https://eu1.example.com" {
		t.Errorf("instance_url = %v", got)
	}
	if again, _ := c.TokenSource("acme/alice").Token(); again != tok {
		t.Error("a second source of the same id does not share the token")
	}
	r.Version = 2
	b.tell(b.put(r, "access-2"))
	awaitToken(t, src, "access-2")
}

// A direct get may be answered by a replica that lags behind the event: for the reader the record comes after it.
func TestSourceReadsUntilItSeesTheAnnouncedRevision(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	r := record("alice")
	first := b.put(r, "access-1")
	src := c.TokenSource("acme/alice")
	wantToken(t, src, "access-1")
	r.Version = 2
	b.tell(refresh.Stored{Record: r, Revision: first.Revision + 1})
	b.put(r, "access-2") // no event after this
	awaitToken(t, src, "access-2")
}

func TestSourceErrors(t *testing.T) {
	t.Parallel()
	ended := func(r *refresh.Record) {
		r.IssuedAt, r.ExpiresAt = r.IssuedAt.Add(-2*time.Hour), r.ExpiresAt.Add(-2*time.Hour)
	}
	tests := []struct {
		name  string
		write func(b *bucket, r refresh.Record)
		want  error // nil: "access" is handed out
	}{
		{"there is no record", func(*bucket, refresh.Record) {}, tokens.ErrNotFound},
		{"the key was deleted by hand", func(b *bucket, r refresh.Record) {
			b.put(r, "access")
			kv, err := b.js.KeyValue(b.t.Context(), "tokens")
			if err == nil {
				err = kv.Delete(b.t.Context(), r.Credential().Key())
			}
			if err != nil {
				b.t.Fatal(err)
			}
		}, tokens.ErrNotFound},
		{"the credential was removed", func(b *bucket, r refresh.Record) {
			r.State = refresh.StateDeleted
			b.put(r, "")
		}, tokens.ErrNotFound},
		{"the grant was revoked", func(b *bucket, r refresh.Record) {
			r.State = refresh.StateRevoked
			b.put(r, "")
		}, tokens.ErrRevoked},
		{"a person must act and the token has ended", func(b *bucket, r refresh.Record) {
			ended(&r)
			r.State = refresh.StateReauthRequired
			b.put(r, "access")
		}, tokens.ErrReauthRequired},
		{"a person must act and the token still lives", func(b *bucket, r refresh.Record) {
			r.State = refresh.StateReauthRequired
			b.put(r, "access")
		}, nil},
		{"the token has no end", func(b *bucket, r refresh.Record) {
			r.ExpiresAt, r.RefreshAt = time.Time{}, time.Time{}
			b.put(r, "access")
		}, nil},
		{"the token has ended", func(b *bucket, r refresh.Record) {
			ended(&r)
			b.put(r, "access")
		}, tokens.ErrExpired},
		{"there has been no token yet", func(b *bucket, r refresh.Record) {
			b.put(r, "")
		}, tokens.ErrExpired},
		{"sealed with a key the reader lacks", func(b *bucket, r refresh.Record) {
			b.keys.Access = natstest.Keyset(b.t)
			b.put(r, "access")
		}, seal.ErrUnknownKey},
		{"the ciphertext was altered", func(b *bucket, r refresh.Record) {
			s := b.put(r, "access")
			s.Record.Access[len(s.Record.Access)-1] ^= 1
			b.write(s.Record, r.Credential())
		}, seal.ErrCorrupt},
		{"somebody else's record under this key", func(b *bucket, r refresh.Record) {
			mallory := record("mallory")
			s := b.put(mallory, "access")
			b.write(s.Record, r.Credential())
		}, refresh.ErrMalformed},
		{"not a record", func(b *bucket, r refresh.Record) {
			if _, err := b.js.Publish(b.t.Context(), b.names.RecordSubject(r.Credential()), []byte("{")); err != nil {
				b.t.Fatal(err)
			}
		}, refresh.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, c := setup(t, tokens.Config{Wait: time.Second})
			tt.write(b, record("alice"))
			tok, err := c.TokenSource("acme/alice").Token()
			got, getErr := c.Get(t.Context(), "acme/alice")
			if getErr != nil {
				t.Fatal(getErr)
			}
			if tt.want == nil {
				if err != nil || tok.AccessToken != "access" || got[0].Err != nil || got[0].Token.AccessToken.Reveal() != "access" {
					t.Fatalf("Token: %v, Get: %v", err, got[0].Err)
				}
				return
			}
			wantErr(t, err, tt.want)
			wantErr(t, got[0].Err, tt.want)
			if !got[0].Token.AccessToken.IsZero() {
				t.Error("Get gave an access token with its error")
			}
			for _, err := range []error{err, got[0].Err} {
				if !strings.Contains(err.Error(), "acme") || strings.Contains(err.Error(), "access-") {
					t.Errorf("error %q does not name the credential, or shows a token", err)
				}
			}
		})
	}
}

func TestSourceOfAMalformedID(t *testing.T) {
	t.Parallel()
	_, c := setup(t, tokens.Config{})
	for _, id := range []string{"", "acme", "acme/", "Acme/alice"} {
		_, err := c.TokenSource(id).Token()
		wantErr(t, err, events.ErrName)
	}
}

func TestSourceWaitsForATokenThatNobodyAnnounces(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	r := record("alice")
	r.ExpiresAt = r.IssuedAt.Add(-time.Minute)
	b.put(r, "access-1")
	src := c.TokenSource("acme/alice")
	const callers = 20
	results := make(chan error, callers)
	var ready sync.WaitGroup
	for range callers {
		ready.Add(1)
		go func() {
			ready.Done()
			tok, err := src.Token()
			if err == nil && tok.AccessToken != "access-2" {
				err = fmt.Errorf("got %s", tok.AccessToken)
			}
			results <- err
		}()
	}
	ready.Wait()
	r.Version, r.ExpiresAt = 2, time.Now().Add(time.Hour)
	b.put(r, "access-2")
	for range callers {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}

func TestSourceDropsAWithdrawnToken(t *testing.T) {
	t.Parallel()
	for state, want := range map[refresh.State]error{
		refresh.StateRevoked: tokens.ErrRevoked,
		refresh.StateDeleted: tokens.ErrNotFound,
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			b, c := setup(t, tokens.Config{})
			r := record("alice")
			b.put(r, "access-1")
			src := c.TokenSource("acme/alice")
			wantToken(t, src, "access-1")
			gone := r
			gone.State = state
			b.tell(b.put(gone, ""))
			await(t, func() bool { _, err := src.Token(); return errors.Is(err, want) }, "the token is still handed out")

			r.Generation, r.Version = 2, 2
			b.tell(b.put(r, "access-2"))
			awaitToken(t, src, "access-2")
		})
	}
}

func TestSourceNeverGoesBack(t *testing.T) {
	t.Parallel()
	h := newHeard()
	b, c := setup(t, tokens.Config{OnError: h.add})
	r := record("alice")
	r.Version = 1
	old := b.put(r, "access-1")
	r.Version = 2
	b.put(r, "access-2")
	src := c.TokenSource("acme/alice")
	wantToken(t, src, "access-2")

	b.tell(b.write(old.Record, r.Credential())) // put back, with a higher revision
	if err := h.next(t); !strings.Contains(err.Error(), "went back from version 2 to 1") {
		t.Errorf("reported %v", err)
	}
	wantToken(t, src, "access-2")
	r.Version = 3
	b.tell(b.put(r, "access-3"))
	awaitToken(t, src, "access-3")
}

func TestSourceKeepsItsTokenWhenANewOneDoesNotOpen(t *testing.T) {
	t.Parallel()
	h := newHeard()
	b, c := setup(t, tokens.Config{OnError: h.add})
	r := record("alice")
	b.put(r, "access-1")
	src := c.TokenSource("acme/alice")
	wantToken(t, src, "access-1")
	b.keys.Access = natstest.Keyset(t) // made primary before the reader had it
	r.Version = 2
	b.tell(b.put(r, "access-2"))
	wantErr(t, h.next(t), seal.ErrUnknownKey)
	wantToken(t, src, "access-1")
}

func TestSourceFollowsAfterAReconnect(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	writer, reader := s.connect(t), s.connect(t)
	b := newBucket(t, writer, events.Names{})
	c := b.open(reader, tokens.Config{Wait: 200 * time.Millisecond})
	r := record("alice")
	b.put(r, "access-1")
	src := c.TokenSource("acme/alice")
	wantToken(t, src, "access-1")

	s.Stop()
	wantToken(t, src, "access-1") // from memory
	_, err := c.TokenSource("acme/nobody").Token()
	wantErr(t, err, tokens.ErrUnavailable)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, writer.IsConnected, "the writer did not come back")
	await(t, func() bool { _, err := b.js.AccountInfo(t.Context()); return err == nil }, "JetStream did not come back")
	r.Version = 2
	b.put(r, "access-2") // without an event
	if err := reader.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	awaitToken(t, src, "access-2")
}

func TestSourceWithoutABucketIsUnavailable(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, err := tokens.Open(t.Context(), s.connect(t), tokens.Config{AccessKeyset: natstest.Keyset(t), Wait: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.TokenSource("acme/alice").Token()
	wantErr(t, err, tokens.ErrUnavailable)
}

func TestSourceInAnotherNamespace(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect(t)
	names, err := events.NewNames("staging")
	if err != nil {
		t.Fatal(err)
	}
	production, staging := newBucket(t, nc, events.Names{}), newBucket(t, nc, names)
	production.put(record("alice"), "production-1")
	r := record("alice")
	staging.put(r, "staging-1")
	src := staging.open(s.connect(t), tokens.Config{}).TokenSource("acme/alice")
	wantToken(t, src, "staging-1")
	r.Version = 2
	staging.tell(staging.put(r, "staging-2"))
	awaitToken(t, src, "staging-2")
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	b.put(record("alice"), "access-1")
	src := c.TokenSource("acme/alice")
	wantToken(t, src, "access-1")
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	for _, src := range []oauth2.TokenSource{src, c.TokenSource("acme/bob")} {
		_, err := src.Token()
		wantErr(t, err, tokens.ErrClosed)
	}
	_, err := c.Get(t.Context(), "acme/alice")
	wantErr(t, err, tokens.ErrClosed)
}

func TestOpenReportsEveryFault(t *testing.T) {
	t.Parallel()
	nc := startServer(t).connect(t)
	_, err := tokens.Open(t.Context(), nc, tokens.Config{Domain: "hub", APIPrefix: "JS.x.API", Wait: -1})
	if err == nil {
		t.Fatal("a wrong config was taken")
	}
	for _, want := range []string{"keyset is missing", "domain and an API prefix", "wait is"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not mention %q", err, want)
		}
	}
	for _, cfg := range []tokens.Config{{Namespace: "No!"}, {Scope: "No!"}, {Scope: "acme/\xff"}} {
		cfg.AccessKeyset = natstest.Keyset(t)
		_, err := tokens.Open(t.Context(), nc, cfg)
		wantErr(t, err, events.ErrName)
	}
}

func TestNothingPrintsAToken(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	b.put(record("alice"), "canary-access")
	got, err := c.Get(t.Context(), "acme/alice")
	if err != nil || got[0].Err != nil {
		t.Fatal(err, got[0].Err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, got) + fmt.Sprintf(format, got[0].Token); strings.Contains(s, "canary") {
			t.Errorf("%s prints the token: %s", format, s)
		}
	}
}
