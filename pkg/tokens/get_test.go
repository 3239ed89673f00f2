package tokens_test

import (
	"context"
	"fmt"
	"testing"

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
