package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/oauth2"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// manyStage is a million credentials, imported by freshet import, with the lane's jobs taken by the harness: it acknowledges
// them, as a worker that does nothing.
type manyStage struct {
	*bench
	*entrant
	fresh   *fresh.Fresh
	n       int
	expires []time.Time // by account number
	nc      *nats.Conn
}

// many measures what grows with the number of credentials: import, the scheduler's start, how late it is, reads.
func many(ctx context.Context, b *bench) error {
	s := &manyStage{bench: b, n: 1_000_000}
	if b.quick {
		s.n = 500
	} else if b.factor < 1 {
		s.n = b.size(s.n)
	}
	b.Title("%d credentials", s.n)
	var err error
	// As many jobs as the queue takes: what is measured is the scheduler, not a lane that is full.
	s.entrant, err = b.arena.enter(ctx, freshet(fresh.Variant{Name: rowFreshet, Workers: fresh.None}), strict, 10_000, 1)
	if err != nil {
		return err
	}
	s.fresh = s.Contestant.(*fresh.Fresh)
	if s.nc, err = s.fresh.Connect(); err == nil {
		err = errors.Join(s.importAll(ctx), s.readHeaders(), s.schedule(ctx), s.readCold(ctx), s.readWarm(ctx))
		s.nc.Close()
	}
	return errors.Join(err, s.Close())
}

// account is the i-th that is imported: with its provider a key of 30 bytes.
func (s *manyStage) account(i int) string { return fmt.Sprintf("tenant-%03d-user-%07d", i%1000, i) }

// writeFile writes lines for freshet import. The tokens end within an hour, and are due within it.
func (s *manyStage) writeFile(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	enc := json.NewEncoder(out)
	ahead, within := 17*time.Minute, time.Hour // refreshed 15 to 21 minutes before the end
	if s.quick {
		within = time.Second
	}
	for i := range s.n {
		at := time.Now().Add(ahead + rand.N(within)).UTC().Truncate(time.Second)
		if i%100 == 0 {
			at = time.Now().Add(-time.Minute).UTC().Truncate(time.Second) // overdue
		}
		s.expires = append(s.expires, at)
		err = enc.Encode(map[string]any{
			"provider": fresh.Provider, "account": s.account(i), "expires_at": at,
			"refresh_token": fmt.Sprintf("refresh-%064d", i), "access_token": fmt.Sprintf("access-%065d", i),
		})
		if err != nil {
			break
		}
	}
	return errors.Join(err, out.Flush(), file.Close())
}

// importAll imports the file.
func (s *manyStage) importAll(ctx context.Context) error {
	path := filepath.Join(s.arena.dir, s.prefix+".jsonl")
	if err := s.writeFile(path); err != nil {
		return err
	}
	defer func() { _ = os.Remove(path) }() // the arena removes it as well
	began := time.Now()
	p, err := s.fresh.Import(path)
	if err != nil {
		return err
	}
	var peak int64
	said := 0
	for {
		line, err := p.Line(ctx)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		peak = max(peak, host.PeakRSS(p.PID()))
		if strings.HasSuffix(line, "so far") {
			said++
			continue
		}
		if want := fmt.Sprintf("%d imported, 0 bad", s.n); line != want {
			return fmt.Errorf("import said %q, want %q", line, want)
		}
		break
	}
	rate := float64(s.n) / time.Since(began).Seconds()
	records, bytes, err := s.fresh.Stored(ctx)
	s.Say(figures.Figure{Experiment: "many", Name: "import", Unit: "/s", Runs: []float64{rate}, Target: figures.AtLeast(20_000), Note: fmt.Sprintf("progress said %d times", said)})
	s.Say(figures.Figure{Experiment: "many", Name: "import: peak memory seen", Unit: "MB", Runs: []float64{megabytes(peak)}})
	s.Say(figures.Figure{Experiment: "many", Name: "stored per credential", Unit: "bytes", Runs: []float64{float64(bytes) / float64(records)}})
	s.Say(figures.Figure{Experiment: "many", Name: "nats-server: memory", Unit: "MB", Runs: []float64{megabytes(host.RSS(s.Servers()[0]))}})
	return err
}

// readHeaders reads what a scheduler reads at its start, by the client library's own means, and does nothing with it.
func (s *manyStage) readHeaders() error {
	js, err := s.nc.JetStream()
	if err != nil {
		return err
	}
	left, done := s.n, make(chan struct{})
	began := time.Now()
	sub, err := js.Subscribe("", func(*nats.Msg) {
		if left--; left == 0 {
			close(done)
		}
	}, nats.OrderedConsumer(), nats.HeadersOnly(), nats.BindStream(s.fresh.Broker.Names().TokensStream()))
	if err != nil {
		return fmt.Errorf("read headers: %w", err)
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		return errors.Join(errors.New("read headers: some are missing after a minute"), sub.Unsubscribe())
	}
	s.Say(figures.Figure{Experiment: "many", Name: "headers of all records read, and nothing done with them", Unit: "s", Runs: []float64{time.Since(began).Seconds()}})
	return sub.Unsubscribe()
}

// lags hears of jobs.
type lags struct {
	mu    sync.Mutex
	first time.Time       // when the first job of all came
	seen  map[string]bool // accounts
	late  []float64       // ms after it was due, of each that became due after since
	since time.Time
}

// schedule starts a scheduler and watches how soon it publishes.
func (s *manyStage) schedule(ctx context.Context) error {
	l := &lags{seen: make(map[string]bool), since: time.Now().Add(24 * time.Hour)}
	const subject = "refresh.jobs." + fresh.Provider + "."
	sub, err := s.nc.Subscribe(subject+">", func(m *nats.Msg) { l.hear(m.Subject[len(subject):], s.due) })
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection ends as well
	if err := errors.Join(sub.SetPendingLimits(-1, -1), s.fresh.Go(ctx)); err != nil {
		return err
	}
	stop, err := s.ackAll(ctx)
	if err != nil {
		return err
	}
	defer stop()
	began := time.Now()
	took, p, err := timeScheduler(ctx, s.fresh)
	if err != nil {
		return errors.Join(err, p.Kill())
	}
	s.Say(figures.Figure{Experiment: "many", Name: "scheduler: start to complete index", Unit: "s", Runs: []float64{took.Seconds()}, Target: figures.AtMost(6)})
	err = s.watch(ctx, l, p)
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Say(figures.Figure{Experiment: "many", Name: "scheduler: start to first job, of one overdue", Unit: "s", Runs: []float64{l.first.Sub(began).Seconds()}})
	if len(l.late) > 0 {
		s.Say(figures.Figure{Experiment: "many", Name: "due to job published: p50", Unit: "ms", Runs: []float64{figures.Quantile(l.late, 0.5)}})
		s.Say(figures.Figure{
			Experiment: "many", Name: "due to job published: p99", Unit: "ms", Runs: []float64{figures.Quantile(l.late, 0.99)},
			Target: figures.AtMost(1000), Note: fmt.Sprintf("%d jobs", len(l.late)),
		})
	}
	return errors.Join(err, p.Kill())
}

// watch lets time pass until enough has become due. What is overdue at the start, or became due during the import, does not count, and
// is waited for: a scheduler publishes what ends first, so that later ones wait behind it. The time that counts ends before
// the scheduler asks again for those, which nobody has refreshed.
func (s *manyStage) watch(ctx context.Context, l *lags, p *host.Process) error {
	most, window := 60*time.Second, 30*time.Second
	if s.quick {
		most, window = 0, 2*time.Second
	}
	began, over := time.Now(), time.After(most)
	for tick, behind := time.Tick(time.Second), true; behind && most > 0; {
		select {
		case <-tick:
			behind = s.behind(l, began)
		case <-over:
			return fmt.Errorf("jobs are overdue %v after the start", most)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.Say(figures.Figure{Experiment: "many", Name: "scheduler: complete index to nothing overdue", Unit: "s", Runs: []float64{time.Since(began).Seconds()}})
	l.from(time.Now())
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return ctx.Err()
	}
	l.from(time.Now().Add(24 * time.Hour))
	s.Say(figures.Figure{
		Experiment: "many", Name: "scheduler: memory per credential", Unit: "bytes", Note: "the whole process, beside this many credentials",
		Runs: []float64{float64(host.RSS(p.PID())) / float64(s.n)},
	})
	return nil
}

// behind reports whether jobs are missing that were due two seconds ago. Of those that were due before, it asks for the ones whose
// tokens were over: the others were imported with less of their lives left than is usual, and are due later than due says.
func (s *manyStage) behind(l *lags, since time.Time) bool {
	before := time.Now().Add(-2 * time.Second)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range s.expires {
		if s.expires[i].After(before.Add(30*time.Minute)) || l.seen[s.account(i)] {
			continue
		}
		if at := s.due(s.account(i)); i%100 == 0 || at.After(since) && at.Before(before) {
			return true
		}
	}
	return false
}

// due is when a credential is due, by the account's number at its end.
func (s *manyStage) due(account string) time.Time {
	var i int
	if _, err := fmt.Sscanf(account[strings.LastIndexByte(account, '-')+1:], "%d", &i); err != nil || i >= len(s.expires) {
		return time.Time{}
	}
	end := s.expires[i]
	return refresh.RefreshAt(fresh.Provider+"."+account, s.fresh.Definition.Refresh, end.Add(-time.Hour), end)
}

// from counts only what becomes due after since.
func (l *lags) from(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = since
}

func (l *lags) hear(account string, due func(string) time.Time) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first.IsZero() {
		l.first = now
	}
	if l.seen[account] {
		return
	}
	l.seen[account] = true
	if at := due(account); at.After(l.since) {
		l.late = append(l.late, milliseconds(now.Sub(at)))
	}
}

// ackAll takes every job and does nothing.
func (s *manyStage) ackAll(ctx context.Context) (stop func(), err error) {
	c, err := s.fresh.Broker.JetStream().Consumer(ctx, s.fresh.Broker.Names().JobsStream(), fresh.Provider)
	if err != nil {
		return nil, err
	}
	consuming, err := c.Consume(func(m jetstream.Msg) { _ = m.Ack() }) // one that is lost comes again
	if err != nil {
		return nil, err
	}
	return consuming.Stop, nil
}

// ids names n credentials that live, spread over all.
func (s *manyStage) ids(n int) []string {
	var ids []string
	for i := 1; i < s.n && len(ids) < n; i += max(1, s.n/n) {
		if i%100 != 0 {
			ids = append(ids, fresh.Provider+"/"+s.account(i))
		}
	}
	return ids
}

func (s *manyStage) openTokens(ctx context.Context) (*tokens.Client, error) {
	return tokens.Open(ctx, s.nc, tokens.Config{AccessKeyset: s.fresh.Access()})
}

// readCold reads many tokens at once, by a client that has none. They lie in every block of the bucket, and the first time the
// server has to load all of them: it lets go of a block that nobody has read for ten seconds.
func (s *manyStage) readCold(ctx context.Context) error {
	ids := s.ids(10_000)
	var runs []float64
	for range 1 + s.runs {
		began := time.Now()
		c, err := s.openTokens(ctx)
		if err != nil {
			return err
		}
		results, err := c.Get(ctx, ids...)
		runs = append(runs, time.Since(began).Seconds())
		c.Close()
		for _, r := range results {
			err = errors.Join(err, r.Err)
		}
		if err != nil {
			return fmt.Errorf("read cold: %w", err)
		}
	}
	s.Say(figures.Figure{Experiment: "many", Name: "tokens read cold, the first time", Unit: "s", Runs: runs[:1], Note: "nats-server loads every block"})
	s.Say(figures.Figure{Experiment: "many", Name: "tokens read cold", Unit: "s", Runs: runs[1:], Target: figures.AtMost(0.5), Note: fmt.Sprintf("%d", len(ids))})
	return nil
}

// readWarm asks for one of many tokens by its name, again and again.
func (s *manyStage) readWarm(ctx context.Context) error {
	c, err := s.openTokens(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ids := s.ids(100_000)
	var g errgroup.Group
	g.SetLimit(64)
	for _, id := range ids {
		g.Go(func() error {
			_, err := c.TokenSource(id).Token()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	var runs []float64
	for range s.runs {
		ns, err := timeReads(ids, func(id string) (*oauth2.Token, error) { return c.TokenSource(id).Token() })
		if err != nil {
			return err
		}
		runs = append(runs, ns)
	}
	s.Say(figures.Figure{
		Experiment: "many", Name: "warm token by name", Unit: "ns", Runs: runs, Target: figures.AtMost(300), Note: fmt.Sprintf("TokenSource(name).Token() among %d", len(ids)),
	})
	return nil
}

// timeReads returns how many nanoseconds a read takes, in an order that no cache foresees. The names lie in memory in that order, as
// if they had just been received: to find them is not part of a read.
func timeReads(ids []string, read func(id string) (*oauth2.Token, error)) (float64, error) {
	const n = 1 << 18
	asked := make([]string, n)
	for i, k := range rand.Perm(n) {
		asked[i] = strings.Clone(ids[k%len(ids)])
	}
	began := time.Now()
	for _, id := range asked {
		if _, err := read(id); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(began).Nanoseconds()) / n, nil
}
