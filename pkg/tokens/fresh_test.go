package tokens_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func TestTokenByID(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	r := record("alice")
	b.put(r, access(1))
	for range 2 { // from the bucket, then from memory
		tok, err := c.Token(t.Context(), "acme/alice")
		if err != nil || tok.AccessToken.Reveal() != access(1) || tok.Version != 1 || tok.Credential != r.Credential() {
			t.Fatalf("%+v, %v", tok, err)
		}
	}
	_, err := c.Token(t.Context(), "acme/nobody")
	wantErr(t, err, tokens.ErrNotFound)
	_, err = c.Token(t.Context(), "nonsense")
	wantErr(t, err, events.ErrName)
}

// TestTokenWaitsToItsDeadline, which lies beyond Config.Wait, and looks there but now and then.
func TestTokenWaitsToItsDeadline(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{Wait: time.Second}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		r.ExpiresAt = r.IssuedAt
		b.put(r, access(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		_, err := c.Token(ctx, "acme/alice")
		wantErr(t, err, tokens.ErrExpired)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("waited %s, want a minute", took)
		}
		time.AfterFunc(30*time.Second, func() {
			r.Version, r.ExpiresAt = 2, time.Now().Add(time.Hour)
			b.tell(b.put(r, access(2)))
		})
		began = time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if tok, err := c.Token(ctx, "acme/alice"); err != nil || tok.Version != 2 {
			t.Fatalf("version %d, %v", tok.Version, err)
		}
		if took := time.Since(began).Round(time.Second); took != 30*time.Second {
			t.Errorf("the event was heard after %s", took)
		}
		synctest.Wait()
	})
}

func TestTokenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	r := record("alice")
	r.ExpiresAt = r.IssuedAt
	b.put(r, access(1))
	why := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	_, err := c.Token(ctx, "acme/alice")
	wantErr(t, err, why)
}

func TestTokenForDoesNotAskForWhatNoTokenHas(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	r := record("alice")
	r.Last = &refresh.Last{Outcome: refresh.ClassOK, Reason: events.ReasonScheduled}
	b.put(r, access(1))
	l := b.newLane("")
	for _, least := range []time.Duration{r.ExpiresAt.Sub(r.IssuedAt), 24 * time.Hour} {
		tok, err := c.TokenFor(t.Context(), "acme/alice", least)
		if !errors.Is(err, tokens.ErrNotRenewed) || tok.AccessToken.Reveal() != access(1) {
			t.Errorf("%s: version %d, %v", least, tok.Version, err)
		}
	}
	if n := l.asked(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// TestTokenForSaysThatTheLaneIsPaused, which is why nothing was asked for.
func TestTokenForSaysThatTheLaneIsPaused(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		b.put(r, access(1))
		l := b.newLane("")
		if _, err := b.js.PauseConsumer(t.Context(), b.names.JobsStream(), "acme", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.TokenFor(ctx, "acme/alice", 59*time.Minute+time.Second)
		if !errors.Is(err, tokens.ErrNotRenewed) || !strings.Contains(err.Error(), "lane is paused") {
			t.Error(err)
		}
		if n := l.asked(); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestTokenForAsksForTheSuccessorOfAnImportedToken, of whose life the import saw what was left.
func TestTokenForAsksForTheSuccessorOfAnImportedToken(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	r := record("alice")
	r.ExpiresAt = r.IssuedAt.Add(10 * time.Minute)
	r.Last = &refresh.Last{Outcome: refresh.ClassOK, Reason: events.ReasonEnrolled}
	b.put(r, access(1))
	next := r
	next.ExpiresAt = r.IssuedAt.Add(time.Hour)
	refreshes := b.newLane("").work(next)
	if tok, err := c.TokenFor(t.Context(), "acme/alice", 30*time.Minute); err != nil || tok.Version != 2 || refreshes.Load() != 1 {
		t.Errorf("version %d, %v, %d refreshes", tok.Version, err, refreshes.Load())
	}
}

func TestTokenForAsksWhenTheTokenIsTooShort(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	r := record("alice")
	r.IssuedAt = r.IssuedAt.Add(-2 * time.Hour)
	b.put(r, access(1))
	l := b.newLane("")
	refreshes := l.work(func() refresh.Record { r := r; r.ExpiresAt = r.ExpiresAt.Add(2 * time.Hour); return r }())
	if tok, err := c.TokenFor(t.Context(), "acme/alice", time.Minute); err != nil || tok.Version != 1 {
		t.Errorf("for a minute: version %d, %v", tok.Version, err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if tok, err := c.TokenFor(t.Context(), "acme/alice", 2*time.Hour); err != nil || tok.Version != 2 {
				t.Errorf("for two hours: version %d, %v", tok.Version, err)
			}
		})
	}
	wg.Wait()
	tok, err := c.TokenFor(t.Context(), "acme/alice", 24*time.Hour)
	if !errors.Is(err, tokens.ErrNotRenewed) || tok.AccessToken.Reveal() != access(2) {
		t.Errorf("for a day, right after a refresh: version %d, %v: want the best there is", tok.Version, err)
	}
	if n := refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	_, err = c.TokenFor(t.Context(), "acme/nobody", time.Minute)
	wantErr(t, err, tokens.ErrNotFound)
}

func TestTokenForOfAnEndedTokenAsks(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	r := record("alice")
	end := r.ExpiresAt
	r.ExpiresAt = r.IssuedAt
	b.put(r, access(1))
	l := b.newLane("")
	done := make(chan error, 1)
	go func() {
		tok, err := c.TokenFor(t.Context(), "acme/alice", time.Minute)
		if err == nil && tok.Version != 2 {
			err = errors.New("an old version came")
		}
		done <- err
	}()
	job, msg, ok := l.next(patience)
	if !ok || job.Refused || job.NewerThan != 1 {
		t.Errorf("asked for %+v", job)
	}
	r.Version, r.ExpiresAt = 2, end
	l.tell(l.put(r, access(2)))
	_ = msg.Ack()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	r := record("alice")
	b.put(r, access(1))
	refreshes := b.newLane("").work(r)
	old, err := c.Token(t.Context(), "acme/alice")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the later ones ask for what is there already
		if tok, err := c.Renew(t.Context(), old); err != nil || tok.Version != 2 {
			t.Errorf("version %d, %v", tok.Version, err)
		}
	}
	if n := refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	_, err = c.Renew(t.Context(), tokens.Token{})
	wantErr(t, err, events.ErrName)
}

func TestADemandWithoutNATS(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: 200 * time.Millisecond})
	b.put(record("alice"), access(1))
	old, err := c.Token(t.Context(), "acme/alice")
	if err != nil {
		t.Fatal(err)
	}
	b.s.Stop()
	_, err = c.Renew(t.Context(), old)
	wantErr(t, err, tokens.ErrNotRenewed)
	if again, err := c.Token(t.Context(), "acme/alice"); err != nil || again.Version != 1 {
		t.Errorf("the last good token is not served: %v", err)
	}
}

func TestCloseEndsADemand(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{Wait: patience})
	b.put(record("alice"), access(1))
	old, err := c.Token(t.Context(), "acme/alice")
	if err != nil {
		t.Fatal(err)
	}
	l := b.newLane("")
	done := make(chan error, 1)
	go func() {
		_, err := c.Renew(t.Context(), old)
		done <- err
	}()
	if _, _, ok := l.next(patience); !ok {
		t.Fatal("nothing was asked")
	}
	_ = c.Close()
	wantErr(t, <-done, tokens.ErrClosed)
	_, err = c.Renew(t.Context(), old)
	wantErr(t, err, tokens.ErrClosed)
}

func TestATokenInUseIsServedWhileNATSIsAwayToItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startServer(t)
		patient := nats.ReconnectWait(time.Minute)
		b := newBucket(t, s.connect(t, patient), events.Names{})
		c := b.open(s.connect(t, patient), tokens.Config{Wait: time.Second})
		r := record("alice")
		b.put(r, access(1))
		src := c.TokenSource("acme/alice")
		wantToken(t, src, access(1))
		s.Stop()
		for time.Now().Before(r.ExpiresAt.Add(-time.Second)) {
			wantToken(t, src, access(1))
			time.Sleep(time.Minute - time.Second/10)
		}
		time.Sleep(2 * time.Minute)
		_, err := src.Token()
		wantErr(t, err, tokens.ErrUnavailable)
	})
}
