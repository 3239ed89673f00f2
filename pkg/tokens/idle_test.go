package tokens_test

import (
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func TestIdleSourcesAreForgotten(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{Wait: time.Second}, func(t *testing.T, b *bucket, c *tokens.Client) {
		for _, account := range []string{"busy", "idle"} {
			r := record(account)
			r.ExpiresAt = r.IssuedAt.Add(100 * 24 * time.Hour)
			b.put(r, account+"-1")
		}
		b.put(record("ended"), "ended-1") // for an hour
		busy, idle, ended := c.TokenSource("acme/busy"), c.TokenSource("acme/idle"), c.TokenSource("acme/ended")
		_ = c.TokenSource("acme/never-asked")
		wantToken(t, busy, "busy-1")
		wantToken(t, idle, "idle-1")
		wantToken(t, ended, "ended-1")
		_, err := c.TokenSource("acme/nobody").Token()
		wantErr(t, err, tokens.ErrNotFound)
		time.Sleep(50 * time.Minute)
		wantToken(t, busy, "busy-1")
		if n := tokens.Sources(c); n != 4 {
			t.Errorf("%d sources before an hour is over, want all that were asked", n)
		}
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if n := tokens.Sources(c); n != 2 {
			t.Errorf("%d sources, want the one that is asked and the one whose token has not ended", n)
		}
	})
}

// TestAForgottenSourceWorksAgain, also beside the one that took its place, and does not go back.
func TestAForgottenSourceWorksAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{Wait: time.Second}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		r.Version = 5
		b.put(r, "access-5")
		old := c.TokenSource("acme/alice")
		wantToken(t, old, "access-5")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := tokens.Sources(c); n != 0 {
			t.Fatalf("%d sources are kept", n)
		}
		r.ExpiresAt = time.Now().Add(time.Hour)
		r.Version = 4
		b.put(r, "access-4")
		if _, err := old.Token(); err == nil {
			t.Error("went back to version 4")
		}
		time.Sleep(2 * time.Hour)
		r.ExpiresAt = time.Now().Add(time.Hour)
		r.Version = 6
		b.put(r, "access-6")
		young := c.TokenSource("acme/alice")
		wantToken(t, young, "access-6")
		wantToken(t, old, "access-6")
		if n := tokens.Sources(c); n != 1 {
			t.Errorf("%d sources are kept of one credential", n)
		}
		r.Version = 7
		b.tell(b.put(r, "access-7"))
		synctest.Wait()
		wantToken(t, young, "access-7")
		wantToken(t, old, "access-7")
	})
}

func TestIdleEnd(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tt := range map[string]struct {
		end  time.Time
		want time.Duration
	}{
		"no end":                {time.Time{}, 24 * time.Hour},
		"ended":                 {now.Add(-time.Hour), time.Hour},
		"ends soon":             {now.Add(time.Minute), time.Hour},
		"ends in some hours":    {now.Add(5 * time.Hour), 5 * time.Hour},
		"ends in half a year":   {now.Add(182 * 24 * time.Hour), 24 * time.Hour},
		"ends in exactly a day": {now.Add(24 * time.Hour), 24 * time.Hour},
	} {
		if got := tokens.IdleEnd(tt.end, now).Sub(now); got != tt.want {
			t.Errorf("%s: kept for %v, want %v", name, got, tt.want)
		}
	}
}

// TestClosedClientsLeaveNothingOnTheConnection: neither themselves nor another error handler each.
func TestClosedClientsLeaveNothingOnTheConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t, &server.User{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Deny: []string{"denied"}},
	}})
	depth := make(chan int, 10)
	nc := s.connect(t, nats.UserInfo("u", "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			depth <- runtime.Callers(0, make([]uintptr, 1000))
		}
	}))
	keys := natstest.Keyset(t)
	open := func() *tokens.Client {
		t.Helper()
		c, err := tokens.Open(t.Context(), nc, tokens.Config{AccessKeyset: keys})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	measure := func() int {
		t.Helper()
		if err := errors.Join(nc.Publish("denied", nil), nc.Flush()); err != nil {
			t.Fatal(err)
		}
		select {
		case n := <-depth:
			return n
		case <-time.After(patience):
			t.Fatal("no denial was heard")
			return 0
		}
	}
	first := open()
	want := measure()
	gone := weak.Make(first)
	_ = first.Close()
	first = nil
	for range 100 {
		_ = open().Close()
	}
	last := open()
	if got := measure(); got != want {
		t.Errorf("%d calls deep after 100 more clients, %d with one", got, want)
	}
	_ = last.Close()
	await(t, func() bool {
		runtime.GC()
		return gone.Value() == nil
	}, "a closed client is still there")
	natstest.Close(nc)
}
