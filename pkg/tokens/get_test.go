package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func TestGetKeepsTheOrderOfItsIDs(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	var ids []string
	for i := range 2000 {
		account := fmt.Sprint("user", i)
		ids = append(ids, "acme/"+account)
		if i%2 == 0 {
			b.put(record(account), "access-"+account)
		}
	}
	got, err := c.Get(t.Context(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if r.ID != ids[i] {
			t.Fatalf("result %d is of %s, want %s", i, r.ID, ids[i])
		}
		if i%2 == 1 {
			wantErr(t, r.Err, tokens.ErrNotFound)
			continue
		}
		if want := fmt.Sprint("access-user", i); r.Err != nil || r.Token.AccessToken.Reveal() != want || r.Token.Credential.String() != r.ID {
			t.Fatalf("result %d: %v, want %s", i, r.Err, want)
		}
	}
}

func TestGetReportsEachID(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	r := record("alice")
	r.Version, r.ExpiresAt = 7, r.IssuedAt
	b.put(r, "access-alice")
	b.put(record("bob"), "access-bob")
	got, err := c.Get(t.Context(), "acme/alice", "nonsense", "acme/bob", "acme/bob")
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, got[0].Err, tokens.ErrExpired)
	if got[0].Token.Version != 7 || !got[0].Token.AccessToken.IsZero() {
		t.Errorf("of an ended token Get gives %+v, want what is known of it and no more", got[0].Token)
	}
	wantErr(t, got[1].Err, events.ErrName)
	for _, r := range got[2:] {
		if r.Err != nil || r.Token.AccessToken.Reveal() != "access-bob" {
			t.Errorf("%s: %v", r.ID, r.Err)
		}
	}
	if none, err := c.Get(t.Context()); err != nil || len(none) != 0 {
		t.Errorf("no ids: %v, %v", none, err)
	}
}

// TestGetOutlivesAnOutage: what had no answer is asked for again.
func TestGetOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: time.Minute})
	b.put(record("alice"), "access-alice")
	b.s.Stop()
	ids := append(slices.Repeat([]string{"acme/alice"}, 100), "nonsense")
	done := make(chan error, 1)
	var got []tokens.Result
	go func() {
		var err error
		got, err = c.Get(t.Context(), ids...)
		done <- err
	}()
	if err := b.s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, r := range got[:100] {
		if r.Err != nil || r.Token.AccessToken.Reveal() != "access-alice" {
			t.Fatalf("%v", r.Err)
		}
	}
	wantErr(t, got[100].Err, events.ErrName)
}

func TestGetEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, c := setup(t, tokens.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := c.Get(ctx, "acme/alice", "acme/bob")
	wantErr(t, err, context.Canceled)
	for _, r := range got {
		wantErr(t, r.Err, context.Canceled)
	}
}

// TestGetAnswersFromMemoryWhatIsKeptFresh, also while NATS is away, and keeps nothing by itself.
func TestGetAnswersFromMemoryWhatIsKeptFresh(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: 50 * time.Millisecond})
	for _, account := range []string{"kept", "batch"} {
		b.put(record(account), "access-"+account)
	}
	wantToken(t, c.TokenSource("acme/kept"), "access-kept")
	ids := []string{"acme/batch", "acme/kept"}
	got, err := c.Get(t.Context(), ids...)
	if err != nil || got[0].Err != nil || got[1].Err != nil {
		t.Fatal(err, got[0].Err, got[1].Err)
	}
	if n := tokens.Sources(c); n != 1 {
		t.Errorf("%d credentials are kept fresh, want the one that was asked for", n)
	}
	b.s.Stop()
	got, err = c.Get(t.Context(), ids...)
	if err != nil || got[1].Err != nil || got[1].Token.AccessToken.Reveal() != "access-kept" || got[1].Token.Version != 1 {
		t.Errorf("%+v, %v", got[1], err)
	}
	wantErr(t, got[0].Err, tokens.ErrUnavailable)
}

// TestWarmReadsAllocateNothing, but for the results of Get and the list of its arguments.
func TestWarmReadsAllocateNothing(t *testing.T) {
	b, c := setup(t, tokens.Config{})
	b.put(record("alice"), "access")
	src, ctx := c.TokenSource("acme/alice"), t.Context()
	wantToken(t, src, "access")
	for name, tt := range map[string]struct {
		read func() error
		want float64
	}{
		"TokenSource.Token": {func() error { _, err := src.Token(); return err }, 0},
		"Client.Token":      {func() error { _, err := c.Token(ctx, "acme/alice"); return err }, 0},
		"Client.TokenFor":   {func() error { _, err := c.TokenFor(ctx, "acme/alice", time.Minute); return err }, 0},
		"Client.Get":        {func() error { got, err := c.Get(ctx, "acme/alice"); return errors.Join(err, got[0].Err) }, 2},
	} {
		got := testing.AllocsPerRun(1000, func() {
			if err := tt.read(); err != nil {
				t.Error(err)
			}
		})
		if got > tt.want {
			t.Errorf("%s allocates %v times, want %v", name, got, tt.want)
		}
	}
}
