package schedule_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// world is a NATS server, a connection to it, and whatever a test lets run on it, in virtual time.
type world struct {
	*broker.Broker
	t      *testing.T
	ctx    context.Context
	nats   *natstest.Server
	teller refresh.Teller
}

// inWorld runs a test in virtual time on a server of its own.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, ctx: t.Context(), nats: natstest.Run(t, natstest.Options{StoreDir: dir})}
		nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(w.nats))...)
		w.must(err)
		defer nc.Close()
		w.Broker, err = broker.New(nc, broker.Config{})
		w.must(err)
		w.do2(w.Setup(w.ctx, broker.SetupConfig{}))
		w.teller = w.Publisher()
		test(w)
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) do2(_ any, err error) {
	w.t.Helper()
	w.must(err)
}

// apply makes a provider known, with its lane.
func (w *world) apply(d provider.Definition) {
	w.t.Helper()
	_, revision, err := w.Provider(w.ctx, d.Name)
	if err != nil && !errors.Is(err, broker.ErrUnknownProvider) && !errors.Is(err, provider.ErrMalformed) {
		w.t.Fatal(err)
	}
	w.do2(w.PutProvider(w.ctx, d.Name, provider.Entry{Definition: d}, revision))
	w.do2(w.EnsureLane(w.ctx, d, false))
}

// acme is a provider of hour-long tokens.
func acme(change func(*provider.Definition)) provider.Definition {
	d := provider.Definition{Name: "acme", TokenURL: "https://acme.example/token", ClientID: "freshet"}
	if change != nil {
		change(&d)
	}
	return d.WithDefaults()
}

// record is a healthy record whose token is renewed in a while and ends ten minutes later.
func record(key string, due time.Duration) refresh.Record {
	c, err := events.ParseKey(key)
	if err != nil {
		panic(err)
	}
	now := time.Now().UTC()
	return refresh.Record{
		V: refresh.SchemaVersion, Provider: c.Provider, Account: c.Account, GrantID: grantID(key), Generation: 1, Version: 1,
		State: refresh.StateActive, IssuedAt: now, RefreshAt: now.Add(due), ExpiresAt: now.Add(due + 10*time.Minute),
	}
}

// grantID is a grant id of the key's own.
func grantID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return refresh.UnpackGrantID([10]byte(sum[:10]))
}

// put writes a record over whatever is there.
func (w *world) put(r refresh.Record, announce refresh.Announcement) {
	w.t.Helper()
	old, err := w.Get(w.ctx, r.Credential())
	if err != nil && !errors.Is(err, refresh.ErrNotFound) && !errors.Is(err, refresh.ErrMalformed) {
		w.t.Fatal(err)
	}
	w.do2(w.Put(w.ctx, refresh.Write{Record: r, Revision: old.Revision, Announce: announce}))
}

// raw writes a message with these headers where a record should be.
func (w *world) raw(key string, headers map[string]string) {
	w.t.Helper()
	msg := nats.NewMsg(w.Names().RecordKeySubject(key))
	for name, value := range headers {
		msg.Header[name] = []string{value}
	}
	w.do2(w.JetStream().PublishMsg(w.ctx, msg))
}

// rawProvider writes a message with these headers where the entry of acme should be.
func (w *world) rawProvider(headers map[string]string) {
	w.t.Helper()
	msg := nats.NewMsg(w.Names().ProviderSubject("acme"))
	for name, value := range headers {
		msg.Header[name] = []string{value}
	}
	w.do2(w.JetStream().PublishMsg(w.ctx, msg))
}

// purge takes a message away without leaving a marker, which no watch sees.
func (w *world) purge(stream, subject string) {
	w.t.Helper()
	s, err := w.JetStream().Stream(w.ctx, stream)
	w.must(err)
	w.must(s.Purge(w.ctx, jetstream.WithPurgeSubject(subject)))
}

// run runs something until the function it returns is called, which waits for its end.
func (w *world) run(f func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

// log hears what a scheduler does.
type log struct {
	mu sync.Mutex
	deeds
	errs []error
}

// deeds is what a scheduler has done.
type deeds struct {
	published []note
	queued    int
	lags      []time.Duration
	rebuilt   []int
}

func (l *log) done() deeds {
	l.mu.Lock()
	defer l.mu.Unlock()
	return deeds{slices.Clone(l.published), l.queued, slices.Clone(l.lags), slices.Clone(l.rebuilt)}
}

type note struct {
	key    string
	reason events.Reason
	at     time.Time
}

func (l *log) observer() schedule.Observer {
	locked := func(f func()) {
		l.mu.Lock()
		defer l.mu.Unlock()
		f()
	}
	return schedule.Observer{
		Published: func(key string, r events.Reason) {
			locked(func() { l.published = append(l.published, note{key, r, time.Now()}) })
		},
		Lag:     func(d time.Duration) { locked(func() { l.lags = append(l.lags, d) }) },
		Queued:  func(string) { locked(func() { l.queued++ }) },
		Rebuilt: func(n int, _ time.Duration) { locked(func() { l.rebuilt = append(l.rebuilt, n) }) },
		Error:   func(err error) { locked(func() { l.errs = append(l.errs, err) }) },
	}
}

func (l *log) keys() []string {
	var keys []string
	for _, n := range l.done().published {
		keys = append(keys, n.key)
	}
	return keys
}

// errors returns what was reported, and forgets it.
func (l *log) errors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := l.errs
	l.errs = nil
	return errs
}

// schedule runs a scheduler.
func (w *world) schedule(source string) (l *log, stop func()) {
	w.t.Helper()
	return w.scheduleWith(source, func(*schedule.Config) {})
}

// scheduleWith runs a scheduler with something changed.
func (w *world) scheduleWith(source string, change func(*schedule.Config)) (l *log, stop func()) {
	w.t.Helper()
	l = new(log)
	cfg := schedule.Config{
		Records: w, Providers: w, Queue: w, Teller: w.teller, Now: w.Now, Source: source, Observer: l.observer(),
	}
	change(&cfg)
	s, err := schedule.New(cfg)
	w.must(err)
	return l, w.run(s.Run)
}

// job is a job in a worker's hands.
type job struct {
	refresh.Job
	key       string
	published time.Time
	msg       jetstream.Msg
}

func (j job) ack(t *testing.T) {
	if err := j.msg.Ack(); err != nil {
		t.Error(err)
	}
}

// work takes the jobs of a lane, at most hands of them at once, and gives them to do. It does without broker.Lane, whose
// end makes the client library carry a timer from one test's virtual time into another's.
func (w *world) work(lane string, hands int, do func(j job)) (stop func()) {
	w.t.Helper()
	consumer, err := w.JetStream().Consumer(w.ctx, w.Names().JobsStream(), lane)
	w.must(err)
	return w.run(func(ctx context.Context) error {
		var all sync.WaitGroup
		for range hands {
			all.Go(func() { w.hand(ctx, consumer, do) })
		}
		all.Wait()
		return nil
	})
}

// hand does one job after the other.
func (w *world) hand(ctx context.Context, consumer jetstream.Consumer, do func(j job)) {
	for ctx.Err() == nil {
		wait, cancel := context.WithTimeout(ctx, time.Minute)
		batch, err := consumer.Fetch(1, jetstream.FetchContext(wait))
		if err != nil {
			w.t.Error(err)
			cancel()
			return
		}
		for msg := range batch.Messages() {
			do(w.job(msg))
		}
		cancel()
	}
}

func (w *world) job(msg jetstream.Msg) job {
	j := job{msg: msg}
	var err error
	if j.Job, err = refresh.DecodeJob(msg.Data()); err != nil {
		w.t.Error(err)
	}
	j.key, _ = w.Names().JobKey(msg.Subject())
	meta, err := msg.Metadata()
	if err != nil {
		w.t.Error(err)
		return j
	}
	j.published = meta.Timestamp
	return j
}

func (w *world) record(key string) refresh.Stored {
	c, err := events.ParseKey(key)
	if err != nil {
		w.t.Error(err)
	}
	s, err := w.Get(w.ctx, c)
	if err != nil {
		w.t.Error(err)
	}
	return s
}

// refreshed writes what a worker would: the next version of the record behind a job, good for an hour.
func (w *world) refreshed(j job) {
	old := w.record(j.key)
	r := record(j.key, 45*time.Minute)
	r.Version = old.Record.Version + 1
	if _, err := w.Put(w.ctx, refresh.Write{Record: r, Revision: old.Revision}); err != nil {
		w.t.Error(err)
	}
	j.ack(w.t)
}

// jobs returns the jobs in the queue, oldest first, without taking them.
func (w *world) jobs() []refresh.Job {
	w.t.Helper()
	var jobs []refresh.Job
	stream, err := w.JetStream().Stream(w.ctx, w.Names().JobsStream())
	w.must(err)
	info, err := stream.Info(w.ctx)
	w.must(err)
	for seq := info.State.FirstSeq; seq != 0 && seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(w.ctx, seq)
		if err != nil {
			continue // acked
		}
		job, err := refresh.DecodeJob(msg.Data)
		w.must(err)
		jobs = append(jobs, job)
	}
	return jobs
}

// told returns the events in the stream, oldest first.
func (w *world) told() []events.Event {
	w.t.Helper()
	var all []events.Event
	stream, err := w.JetStream().Stream(w.ctx, w.Names().EventsStream())
	w.must(err)
	info, err := stream.Info(w.ctx)
	w.must(err)
	for seq := info.State.FirstSeq; seq != 0 && seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(w.ctx, seq)
		w.must(err)
		e, err := events.Decode(w.Names(), &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data})
		w.must(err)
		all = append(all, e)
	}
	return all
}
