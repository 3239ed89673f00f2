package exchanger_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestTheAnswerComesThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(w.config())
	w.letThrough()
	before := time.Now()
	o := w.client().Exchange(t.Context(), w.request("a1", w.token("alice")))
	w.wantAnswer(o)
	if o.ContentType != "application/json" || o.Date == "" || o.StartedAt.Before(before) || o.EndedAt.Before(o.StartedAt) {
		t.Errorf("content type %q, date %q, %v to %v", o.ContentType, o.Date, o.StartedAt, o.EndedAt)
	}
	w.wantPosts(1)
}

func TestAClientWithoutFenceIsServedToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(w.config())
	w.letThrough()
	r := w.request("a1", w.token("alice"))
	r.Fence = nil
	w.wantAnswer(w.client().Exchange(t.Context(), r))
}

func TestARepeatGetsTheSameReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, stop := w.serve(w.config())
	w.letThrough()
	r := w.request("a1", w.token("alice"))
	first := w.client().Exchange(t.Context(), r)
	w.wantAnswer(first)
	again := w.client().Exchange(t.Context(), r)
	stop()
	w.serve(w.config())
	later := w.client().Exchange(t.Context(), r)
	for _, o := range []refresh.Outcome{again, later} {
		if w.wantAnswer(o); !bytes.Equal(o.Body, first.Body) || !o.StartedAt.Equal(first.StartedAt) {
			t.Errorf("another reply than the first")
		}
	}
	w.wantPosts(1)
}

func TestManyClientsWithOneAttemptMakeOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(w.config())
	r := w.request("a1", w.token("alice"))
	var outs []<-chan refresh.Outcome
	for range 8 {
		outs = append(outs, async(w.client(), r))
	}
	<-w.gate.taken
	w.letThrough()
	for _, out := range outs {
		w.wantAnswer(<-out)
	}
	w.wantPosts(1)
}

func TestAnAcknowledgedAttemptIsNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, stop := w.serve(w.config())
	w.letThrough()
	r := w.request("a1", w.token("alice"))
	c := w.client()
	w.wantAnswer(c.Exchange(t.Context(), r))
	c.Acknowledge("a1")
	c.Close()
	if s.Held() != 0 {
		t.Fatalf("%d outcomes are held after the acknowledgement", s.Held())
	}
	w.wantPhase(w.client().Exchange(t.Context(), r), refresh.PhaseSent, false)
	stop()
	s, _ = w.serve(w.config())
	if s.Held() != 0 {
		t.Fatalf("%d outcomes are held after a restart", s.Held())
	}
	w.wantPhase(w.client().Exchange(t.Context(), r), refresh.PhaseSent, false)
	w.wantPosts(1)
}

func TestNothingIsSentAfterTheFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.request("a1", w.token("alice"))
	limit := time.Now().Add(300 * time.Millisecond)
	r.Fence = func() time.Duration { return time.Until(limit) }
	cfg := w.config()
	web := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		<-time.After(time.Until(limit)) // a slow way to the provider
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	t.Cleanup(web.CloseIdle)
	cfg.Exchange = web
	w.serve(cfg)
	w.letThrough()
	w.wantPhase(w.client().Exchange(t.Context(), r), refresh.PhaseNotSent, false)
	w.wantPhase(w.client().Exchange(t.Context(), w.late("a2")), refresh.PhaseNotSent, false)
	w.wantPosts(0)
}

// late is a request whose fence has passed.
func (w *world) late(attempt string) refresh.Request {
	r := w.request(attempt, w.token(attempt))
	r.Fence = func() time.Duration { return 0 }
	return r
}

func TestWithoutAnExchangerNothingIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.request("a1", w.token("alice"))
	r.Fence = func() time.Duration { return 500 * time.Millisecond }
	o := w.client().Exchange(t.Context(), r)
	w.wantPhase(o, refresh.PhaseNotSent, true)
	if !strings.Contains(o.Err, "cannot connect to the exchanger") {
		t.Errorf("err %q", o.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.wantPhase(w.client().Exchange(ctx, w.request("a2", "x")), refresh.PhaseNotSent, false)
	w.wantPosts(0)
}

func TestAnExchangerThatComesInTimeIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.letThrough()
	asked := make(chan struct{})
	r := w.request("a1", w.token("alice"))
	r.Fence = func() time.Duration { close(asked); return 20 * time.Second }
	out := async(w.client(), r)
	<-asked
	w.serve(w.config())
	w.wantAnswer(<-out)
	w.wantPosts(1)
}

func TestAKilledExchangerNeverPostsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.startExchanger()
	out := async(w.client(), w.request("a1", w.token("alice")))
	<-w.gate.taken
	x.kill()
	w.startExchanger()
	w.wantPhase(<-out, refresh.PhaseSent, false)
	w.wantPosts(1)
}

func TestAnExchangerWithoutItsStateNeverPostsAgain(t *testing.T) {
	t.Parallel()
	damages := map[string]func(w *world) error{
		"removed": func(w *world) error { return os.RemoveAll(w.state) },
		"damaged": func(w *world) error {
			log := w.state + "/intents/journal.log"
			info, err := os.Stat(log)
			if err != nil {
				return err
			}
			return os.WriteFile(log, bytes.Repeat([]byte{7}, int(info.Size())), 0o600)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			x := w.startExchanger()
			out := async(w.client(), w.request("a1", w.token("alice")))
			<-w.gate.taken
			x.kill()
			w.must(damage(w))
			w.startExchanger()
			w.wantPhase(<-out, refresh.PhaseSent, false)
			w.wantPosts(1)
		})
	}
}

// TestDamageIsRememberedAcrossACrash: a start mends the journal of intents, and dies before the store has a new id. The next one finds
// nothing damaged, and must refuse all the same what it cannot know.
func TestDamageIsRememberedAcrossACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.startExchanger()
	first := async(w.client(), w.request("a1", w.token("alice")))
	<-w.gate.taken
	second := async(w.client(), w.request("a2", w.token("bob")))
	<-w.gate.taken
	x.kill()
	log := w.state + "/intents/journal.log"
	data, err := os.ReadFile(log)
	w.must(err)
	at := bytes.Index(data, []byte("intent/a1"))
	if at < 0 {
		t.Fatal("no intent is in the journal")
	}
	data[at]++
	w.must(os.WriteFile(log, data, 0o600))
	mended, err := journal.Open(w.state+"/intents", journal.Config{MaxBytes: 1 << 20, OnError: func(error) {}})
	w.must(err)
	w.must(mended.Close())
	w.must(os.WriteFile(w.state+"/opening", nil, 0o600)) // what the start that died left
	w.startExchanger()
	w.wantPhase(<-first, refresh.PhaseSent, false)
	w.wantPhase(<-second, refresh.PhaseSent, false)
	w.wantPosts(2)
	if _, err := os.Stat(w.state + "/opening"); err == nil {
		t.Error("a start that went through left its mark")
	}
}

func TestAReplyOutlivesTheExchanger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.startExchanger()
	w.letThrough()
	r := w.request("a1", w.token("alice"))
	first := w.client().Exchange(t.Context(), r)
	w.wantAnswer(first)
	x.kill()
	w.startExchanger()
	again := w.client().Exchange(t.Context(), r)
	if w.wantAnswer(again); !bytes.Equal(again.Body, first.Body) {
		t.Error("another reply than the first")
	}
	w.wantPosts(1)
}

func TestTermFinishesWhatIsInFlightAndTakesNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.startExchanger()
	c := w.client()
	out := async(c, w.request("a1", w.token("alice")))
	<-w.gate.taken
	w.must(x.Process.Signal(syscall.SIGTERM))
	collector, reach := w.collector(func(refresh.Entry, refresh.Phase) error { return nil })
	for err := range reach {
		if err != nil && strings.Contains(err.Error(), "stopping") {
			break
		}
	}
	if err := collector.Ready(); err == nil {
		t.Error("ready, although the exchanger is stopping")
	}
	r := w.request("a2", w.token("bob"))
	r.Fence = func() time.Duration { return time.Second }
	w.wantPhase(c.Exchange(t.Context(), r), refresh.PhaseNotSent, true)
	w.letThrough()
	w.wantAnswer(<-out)
	if err := x.Wait(); err != nil {
		t.Errorf("the exchanger ended with %v: %s", err, x.stderr.String())
	}
	w.wantPosts(1)
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		config func(*exchanger.Config)
		keys   bool // the client has others
		want   string
	}{
		"busy": {config: func(c *exchanger.Config) { c.MaxInFlight = 1 }, want: "1 requests are in flight"},
		"keys": {config: func(*exchanger.Config) {}, keys: true, want: "another grant keyset or namespace"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config()
			tt.config(&cfg)
			w.serve(cfg)
			out := async(w.client(), w.request("a1", w.token("alice")))
			<-w.gate.taken
			c := w.client()
			if tt.keys {
				c = exchanger.NewClient(exchanger.ClientConfig{Socket: w.socket, Keys: newWorld(t).keys})
				t.Cleanup(c.Close)
			}
			r := w.request("a2", w.token("bob"))
			r.Fence = func() time.Duration { return time.Second }
			o := c.Exchange(t.Context(), r)
			w.wantPhase(o, refresh.PhaseNotSent, true)
			if !strings.Contains(o.Err, tt.want) {
				t.Errorf("err %q, want %q in it", o.Err, tt.want)
			}
			w.letThrough()
			w.wantAnswer(<-out)
			w.wantPosts(1)
		})
	}
}

func TestAFullJournalTakesNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config()
	cfg.MaxBytes = 16 << 10
	s, _ := w.serve(cfg)
	w.letThrough()
	c := w.client()
	var kept int64
	o := refresh.Outcome{Phase: refresh.PhaseAnswered}
	for ; o.Phase == refresh.PhaseAnswered; kept++ {
		id := fmt.Sprint("a", kept)
		o = c.Exchange(t.Context(), w.request(id, w.token(id)))
	}
	kept--
	w.wantPhase(o, refresh.PhaseNotSent, true)
	if !strings.Contains(o.Err, "journal is full") || kept < 3 || s.Held() != int(kept) {
		t.Errorf("err %q after %d outcomes, %d held", o.Err, kept, s.Held())
	}
	w.wantPosts(kept)
	_, reach := w.collector(func(refresh.Entry, refresh.Phase) error { return nil })
	for err := <-reach; err != nil; err = <-reach {
		if !strings.Contains(err.Error(), "journal is full") {
			t.Errorf("not reachable: %v", err)
		}
	}
	w.wantAnswer(c.Exchange(t.Context(), w.request("b", w.token("b")))) // once the others are fetched
}

func TestARequestThatIsTooLargeIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(w.config())
	w.wantPhase(w.client().Exchange(t.Context(), w.request("a1", strings.Repeat("x", 1<<20))), refresh.PhaseNotSent, true)
	w.wantPosts(0)
}

func TestNoSecretIsWrittenDownInTheClear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.startExchanger()
	w.letThrough()
	token := w.token("alice")
	r := w.request("a1", token)
	r.ClientSecret = seal.NewSecret("dev-secret")
	o := w.client().Exchange(t.Context(), r)
	w.wantAnswer(o)
	reply, err := refresh.ParseReply(o.ContentType, o.Body)
	w.must(err)
	bad := w.client().Exchange(t.Context(), w.request("bad id", token)) // an error that might quote
	x.kill()
	written := x.stderr.String() + bad.Err
	for _, dir := range []string{w.state + "/intents", w.state + "/replies", w.dir} {
		files, err := os.ReadDir(dir)
		w.must(err)
		for _, f := range files {
			if f.Type().IsRegular() {
				data, err := os.ReadFile(dir + "/" + f.Name())
				w.must(err)
				written += string(data)
			}
		}
	}
	if !strings.Contains(written, "acme.alice") {
		t.Fatal("the journal was not found")
	}
	for _, secret := range []string{token, "dev-secret", reply.AccessToken.Reveal(), reply.RefreshToken.Reveal()} {
		if strings.Contains(written, secret) {
			t.Errorf("a secret is written down in the clear")
		}
	}
}
