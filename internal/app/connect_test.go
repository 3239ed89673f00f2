package app_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/certtest"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/natstest"
)

// said returns the lines about NATS, and fails the test for one that does not say who says it.
func said(t *testing.T, logs *logBook, text string) (lines []logLine) {
	t.Helper()
	for _, l := range logs.lines("") {
		if !strings.Contains(l.Message, text) {
			continue
		}
		if !strings.Contains(l.raw, `"component":"worker","worker":"w1"`) {
			t.Errorf("%s: says not who says it", l.raw)
		}
		lines = append(lines, l)
	}
	return lines
}

func workerLog(logs *logBook) zerolog.Logger {
	return app.Component(zerolog.New(logs), "worker", "w1")
}

func TestALossOfNATSIsSaidOnceAndThenNowAndThen(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		var logs logBook
		s := natstest.New(natstest.Options{StoreDir: t.TempDir()})
		nc, err := nats.Connect("", append(app.ConnectOptions(workerLog(&logs)), nats.InProcessServer(s))...)
		if err != nil {
			t.Fatal(err)
		}
		defer natstest.Close(nc)
		time.Sleep(5*time.Minute + 30*time.Second)
		if first := said(t, &logs, "waiting for NATS"); len(first) != 1 || !strings.HasSuffix(first[0].Error, "nats-server is down") {
			t.Errorf("at the start: %+v, want one line that says why", first)
		}
		again := said(t, &logs, "NATS is still away")
		if len(again) != 5 || again[0].Error == "" || !strings.Contains(again[0].raw, "servers") {
			t.Errorf("in five minutes: %+v, want a line a minute with the servers and the reason", again)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.Stop()
		time.Sleep(5*time.Minute + 30*time.Second)
		for text, want := range map[string]int{
			"waiting for NATS": 1, "NATS is here": 1, "NATS is gone": 1, "NATS is still away": 10, "NATS is back": 0,
		} {
			if got := said(t, &logs, text); len(got) != want {
				t.Errorf("%q is said %d times, want %d", text, len(got), want)
			}
		}
		if gone := said(t, &logs, "NATS is gone"); len(gone) == 1 && !strings.Contains(gone[0].raw, `"server":"nats://`) {
			t.Errorf("%s: says not which server", gone[0].raw)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := said(t, &logs, "NATS is back"); len(got) != 1 {
			t.Errorf("back: %+v", got)
		}
		s.Stop()
	})
}

// TestARefusalByNATSIsNotWaitedOutInSilence: with wrong credentials a start waits, since they may be put right, and says so.
func TestARefusalByNATSIsNotWaitedOutInSilence(t *testing.T) {
	t.Parallel()
	var logs logBook
	s, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), User: "freshet", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	nc, err := nats.Connect("nats://freshet:canary@127.0.0.1:"+s.Port(), app.ConnectOptions(workerLog(&logs))...)
	if err != nil {
		t.Fatal(err)
	}
	defer natstest.Close(nc)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- app.RunScheduler(ctx, app.SchedulerConfig{Name: "w1", Conn: nc, Log: zerolog.New(&logs)})
	}()
	for _, text := range []string{"waiting for NATS", "NATS refuses this process"} {
		waitFor(t, text, func() bool { return logs.count("", text) > 0 })
	}
	for _, l := range logs.lines("") {
		if !strings.Contains(strings.ToLower(l.Error), "authorization") {
			t.Errorf("%s: want the reason", l.raw)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a start that was given up: %v", err)
	}
	if strings.Contains(logs.text(), "canary") {
		t.Error("the log shows the password")
	}
}

func TestAStartSaysWhereItLooksForNATS(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := l.Addr().String()
	l.Close()
	var logs logBook
	nc, err := nats.Connect("nats://user:canary@"+where, app.ConnectOptions(workerLog(&logs))...)
	if err != nil {
		t.Fatal(err)
	}
	defer natstest.Close(nc)
	waitFor(t, "a line", func() bool { return logs.count("", "waiting for NATS") > 0 })
	first := said(t, &logs, "waiting for NATS")[0]
	if !strings.Contains(first.raw, `"servers":"nats://`+where+`"`) || !strings.Contains(first.Error, "refused") {
		t.Errorf("%s: want the address and the reason", first.raw)
	}
	if strings.Contains(logs.text(), "canary") {
		t.Error("the log shows the password")
	}
}

// TestARefusalAfterALossIsSaid: the server comes back with an authority that is not trusted here, as after a change of certificates that
// this process was left out of.
func TestARefusalAfterALossIsSaid(t *testing.T) {
	t.Parallel()
	serve := func(a *certtest.Authority, port int) *natstest.Server {
		settings, err := a.Server(nil)
		if err != nil {
			t.Fatal(err)
		}
		return natstest.Run(t, natstest.Options{TLSConfig: settings, Port: port})
	}
	before, err1 := certtest.New(t.TempDir())
	after, err2 := certtest.New(t.TempDir())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	var logs logBook
	s := serve(before, 0)
	at := s.Address()
	nc, err := nats.Connect("tls://"+at, append(app.ConnectOptions(workerLog(&logs)), nats.RootCAs(before.File), nats.ReconnectWait(time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	defer natstest.Close(nc)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.SayRefusals(ctx, nc, workerLog(&logs)) }()
	defer func() { cancel(); <-ended }()
	s.Stop()
	_, port, err1 := net.SplitHostPort(at)
	number, err2 := net.LookupPort("tcp", port)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	serve(after, number)
	waitFor(t, "the refusal", func() bool { return logs.count("", "does not take this process back") > 0 })
	if line := said(t, &logs, "does not take this process back")[0]; !strings.Contains(line.Error, "--tlsca") {
		t.Errorf("%s: want what to do", line.raw)
	}
}
