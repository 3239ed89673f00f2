package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// watch runs OnChange until the test ends, and hands out what it tells.
func watch(t *testing.T, c *tokens.Client, id string) <-chan tokens.Change {
	ch := make(chan tokens.Change, 1000)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- c.OnChange(ctx, id, func(change tokens.Change) { ch <- change }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, tokens.ErrClosed) {
			t.Errorf("OnChange ended with %v", err)
		}
	})
	return ch
}

// wantChange waits for the next change.
func wantChange(t *testing.T, ch <-chan tokens.Change, token string, err error) {
	t.Helper()
	select {
	case c := <-ch:
		if c.Token.AccessToken.Reveal() != token || !errors.Is(c.Err, err) || c.Credential.String() != "acme/alice" {
			t.Fatalf("told of %q, %v; want %q, %v", c.Token.AccessToken.Reveal(), c.Err, token, err)
		}
	case <-time.After(patience):
		t.Fatalf("nothing was told, want %q, %v", token, err)
	}
}

func TestOnChangeTellsTheLifeOfACredential(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{}, func(t *testing.T, b *bucket, c *tokens.Client) {
		ch := watch(t, c, "acme/alice")
		wantChange(t, ch, "", tokens.ErrNotFound)
		r := record("alice")
		b.tell(b.put(r, access(1)))
		wantChange(t, ch, access(1), nil)
		r.Version = 2
		b.tell(b.put(r, access(2)))
		wantChange(t, ch, access(2), nil)
		b.tell(b.put(r, access(2))) // a write that changes nothing for readers
		r.State = refresh.StateReauthRequired
		b.tell(b.put(r, access(2)))
		wantChange(t, ch, access(2), tokens.ErrReauthRequired)
		time.Sleep(2 * time.Hour)
		wantChange(t, ch, "", tokens.ErrReauthRequired)
		r.State, r.Generation, r.Version, r.ExpiresAt = refresh.StateActive, 2, 3, time.Now().Add(time.Hour)
		b.tell(b.put(r, access(3)))
		wantChange(t, ch, access(3), nil)
		time.Sleep(2 * time.Hour)
		wantChange(t, ch, "", tokens.ErrExpired)
		gone := r
		gone.State = refresh.StateRevoked
		b.tell(b.put(gone, ""))
		wantChange(t, ch, "", tokens.ErrRevoked)
		synctest.Wait()
		if len(ch) > 0 {
			t.Errorf("and told of %+v", <-ch)
		}
	})
}

// TestOnChangeKeepsItsCredential longer than an idle source is kept, and lets go of it at its end.
func TestOnChangeKeepsItsCredential(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{}, func(t *testing.T, b *bucket, c *tokens.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		var told []uint64
		go func() {
			done <- c.OnChange(ctx, "acme/alice", func(change tokens.Change) { told = append(told, change.Token.Version) })
		}()
		r := record("alice")
		for range 2 {
			r.ExpiresAt = time.Now().Add(3 * time.Hour)
			b.tell(b.put(r, access(r.Version)))
			time.Sleep(150 * time.Minute)
			r.Version++
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if want := []uint64{0, 1, 2}; !slices.Equal(told, want) && !slices.Equal(told, want[1:]) {
			t.Errorf("told of versions %v, want %v", told, want[1:])
		}
		time.Sleep(150 * time.Minute)
		if n := tokens.Sources(c); n != 0 {
			t.Errorf("%d sources are kept", n)
		}
	})
}

func TestOnChangeGivesASlowListenerTheNewest(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	r := record("alice")
	b.put(r, access(1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var told []uint64
	err := c.OnChange(ctx, "acme/alice", func(change tokens.Change) {
		if change.Err != nil || change.Token.AccessToken.Reveal() != access(change.Token.Version) {
			t.Errorf("told of %+v", change)
		}
		told = append(told, change.Token.Version)
		if change.Token.Version == 9 {
			cancel()
			return
		}
		for range 4 {
			r.Version++
			b.tell(b.put(r, access(r.Version)))
		}
		awaitToken(t, c.TokenSource("acme/alice"), access(r.Version))
	})
	if err != nil || fmt.Sprint(told) != "[1 5 9]" {
		t.Errorf("told of versions %v, %v", told, err)
	}
}

func TestOnChangeSaysNothingOfAnOutage(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: 50 * time.Millisecond})
	b.put(record("alice"), access(1))
	ch := watch(t, c, "acme/alice")
	wantChange(t, ch, access(1), nil)
	b.s.Stop()
	_, err := c.TokenSource("acme/bob").Token()
	wantErr(t, err, tokens.ErrUnavailable)
	if err := b.s.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { _, err := b.js.AccountInfo(t.Context()); return err == nil }, "JetStream did not come back")
	r := record("alice")
	r.Version = 2
	b.tell(b.put(r, access(2)))
	wantChange(t, ch, access(2), nil)
}

func TestOnChangeEnds(t *testing.T) {
	t.Parallel()
	_, c := setup(t, tokens.Config{})
	none := func(change tokens.Change) { t.Errorf("told of %+v", change) }
	wantErr(t, c.OnChange(t.Context(), "nonsense", none), events.ErrName)
	done := make(chan error, 1)
	heard := make(chan struct{}, 1)
	go func() {
		done <- c.OnChange(t.Context(), "acme/nobody", func(tokens.Change) { heard <- struct{}{} })
	}()
	<-heard
	_ = c.Close()
	wantErr(t, <-done, tokens.ErrClosed)
}
