package tokens_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// inBubble runs f in virtual time with a server of its own.
func inBubble(t *testing.T, cfg tokens.Config, f func(t *testing.T, b *bucket, c *tokens.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := startServer(t)
		b := newBucket(t, s.connect(t), events.Names{})
		f(t, b, b.open(s.connect(t), cfg))
	})
}

func TestSourceNeverHandsOutAnEndedToken(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{Wait: time.Second}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		r.ExpiresAt = time.Now().Add(10 * time.Second)
		b.put(r, "access-1")
		src := c.TokenSource("acme/alice")
		served := 0
		for time.Now().Before(r.ExpiresAt.Add(3 * time.Second)) {
			_, err := src.Token()
			switch {
			case err == nil && !time.Now().Before(r.ExpiresAt):
				t.Fatalf("handed out %s after its end", time.Since(r.ExpiresAt))
			case err == nil:
				served++
			default:
				wantErr(t, err, tokens.ErrExpired)
			}
			time.Sleep(7 * time.Millisecond)
		}
		if served < 1000 {
			t.Errorf("handed out %d times before its end, want all of the first nine seconds", served)
		}
	})
}

func TestSourceLooksByItselfWhenTheEventWasMissed(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice") // due after 45 minutes, ends after 60
		b.put(r, "access-1")
		src := c.TokenSource("acme/alice")
		wantToken(t, src, "access-1")
		time.Sleep(46 * time.Minute)
		r.Version, r.ExpiresAt, r.RefreshAt = 2, r.ExpiresAt.Add(45*time.Minute), r.RefreshAt.Add(45*time.Minute)
		b.put(r, "access-2")
		synctest.Wait()
		wantToken(t, src, "access-1")
		time.Sleep(7 * time.Minute) // past half-way between 45 and 60
		synctest.Wait()
		wantToken(t, src, "access-2")
	})
}

func TestAnAnnouncedRevisionThatNeverComes(t *testing.T) {
	t.Parallel()
	h := newHeard()
	inBubble(t, tokens.Config{OnError: h.add}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		b.put(r, "access-1")
		src := c.TokenSource("acme/alice")
		wantToken(t, src, "access-1")
		b.tell(refresh.Stored{Record: r, Revision: 1 << 60})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.errs); n != 1 {
			t.Fatalf("%d errors were reported, want 1", n)
		}
		wantErr(t, <-h.errs, tokens.ErrUnavailable)
		r.Version = 2
		b.tell(b.put(r, "access-2"))
		synctest.Wait()
		time.Sleep(2 * time.Second)
		wantToken(t, src, "access-2")
	})
}

func TestAnAnswerWithoutATokenIsRememberedForASecond(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{}, func(t *testing.T, b *bucket, c *tokens.Client) {
		src := c.TokenSource("acme/alice")
		_, err := src.Token()
		wantErr(t, err, tokens.ErrNotFound)
		b.put(record("alice"), "access-1") // nobody tells
		_, err = src.Token()
		wantErr(t, err, tokens.ErrNotFound)
		time.Sleep(1100 * time.Millisecond)
		wantToken(t, src, "access-1")
	})
}

func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{Wait: 3 * time.Second}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		r.ExpiresAt = time.Now().Add(-time.Second)
		b.put(r, "access-1")
		began := time.Now()
		_, err := c.TokenSource("acme/alice").Token()
		wantErr(t, err, tokens.ErrExpired)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("waited %s, want 3s", took)
		}
	})
}

func TestNextLook(t *testing.T) {
	t.Parallel()
	t0 := time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
	at := func(minutes float64) time.Time { return t0.Add(time.Duration(minutes * float64(time.Minute))) }
	tests := []struct {
		name                string
		refreshAt, end, now time.Time
		want                time.Time
	}{
		{"half-way between due and end", at(45), at(60), at(0), at(52.5)},
		{"then half-way again", at(45), at(60), at(52.5), at(56.25)},
		{"never sooner than a second", at(45), at(60), at(60).Add(-time.Second), at(60)},
		{"never due by itself", time.Time{}, at(60), at(0), at(30)},
		{"no end", at(45), time.Time{}, at(0), time.Time{}},
		{"it has ended", at(45), at(60), at(60), time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tokens.NextLook(tt.refreshAt, tt.end, tt.now); !got.Equal(tt.want) {
				t.Errorf("next look at %s, want %s", got, tt.want)
			}
		})
	}
}
