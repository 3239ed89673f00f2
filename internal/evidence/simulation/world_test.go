package simulation_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// worldConfig is what a seed chooses first.
type worldConfig struct {
	Class           authserver.Rotation
	Life            time.Duration
	Accounts, Hosts int
	Seed            uint64
}

// world is a fleet around one provider, in virtual time. The engines, their HTTP and the authorization server are the real
// ones; store, journals, queue and scheduler are the simplest that keep the contract.
type world struct {
	ctx        context.Context
	stop       context.CancelFunc
	wg         sync.WaitGroup
	cfg        worldConfig
	rings      rings
	store      *memory
	auth       *authserver.Server
	pipe       *authserver.Pipe
	http       *http.Server
	definition provider.Definition
	wake       chan struct{} // the scheduler looks again
	began      time.Time

	mu        sync.Mutex
	workers   map[string]*worker
	disks     map[string]*disk
	jobs      map[events.Credential]refresh.Job // the queue: one for each
	asked     map[events.Credential]time.Time   // when that was put there
	published int
	announced map[uint64]bool // revisions whose announcement was told
	promoted  bool            // the second key seals
	backAt    time.Time       // the store and the events are away until then
	doubles   int             // so many of the next deliveries are made twice
	lostAcks  int             // so many of the next acks are lost
	enrolled  int
	quiet     bool // nothing is asked for any more

	judge *judge
}

// rings are the keysets before and after a promotion; each opens what the other seals.
type rings struct{ before, after *seal.Keyset }

func newWorld(cfg worldConfig, r rings) *world {
	w := &world{
		cfg: cfg, rings: r, store: newMemory(), pipe: authserver.NewPipe(), wake: make(chan struct{}, 1), began: time.Now(),
		workers: make(map[string]*worker), disks: make(map[string]*disk), jobs: make(map[events.Credential]refresh.Job), asked: make(map[events.Credential]time.Time),
		announced: make(map[uint64]bool),
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.judge = newJudge(w)
	w.store.onPut = w.judge.put
	w.auth = authserver.New(authserver.Config{
		Rotation: cfg.Class, Grace: time.Minute, AccessLifetime: cfg.Life, Latency: 200 * time.Millisecond, Seed: cfg.Seed + 1,
		// A lifetime counts from the start of the request here and from its effect there: up to a timeout later.
		LastTryLead: min(cfg.Life/20, time.Minute) + requestTimeout + time.Second,
	})
	w.http = &http.Server{Handler: w.auth}
	w.wg.Go(func() { _ = w.http.Serve(w.pipe) })
	w.definition = definition(cfg.Class)
	for i := range cfg.Hosts {
		w.start(fmt.Sprintf("w%d", i+1))
	}
	w.wg.Go(w.schedule)
	return w
}

// requestTimeout is the deadline of a token request.
const requestTimeout = 10 * time.Second

func definition(class authserver.Rotation) provider.Definition {
	const at = "http://127.0.0.1:9"
	d := provider.Definition{
		Name: "acme", AuthURL: at + "/authorize", TokenURL: at + "/token", RevokeURL: at + "/revoke", ClientID: "dev",
		ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
		Rotation: provider.Rotation(class), Limits: provider.Limits{Timeout: provider.Duration(requestTimeout)},
	}
	if class == authserver.RotationGrace {
		d.RotationGrace = provider.Duration(time.Minute)
	}
	return d.WithDefaults()
}

// close ends everything, so that the bubble can end.
func (w *world) close() {
	w.stop()
	_ = w.http.Close()
	for _, k := range w.workers {
		k.exchange.CloseIdle()
	}
	w.wg.Wait()
	for _, k := range w.workers {
		k.exchange.CloseIdle()
	}
}

// keys are what a process started now has.
func (w *world) keys() refresh.Keys {
	k := refresh.Keys{Bucket: "tokens", Grant: w.rings.before, Access: w.rings.before}
	if w.promoted {
		k.Grant, k.Access = w.rings.after, w.rings.after
	}
	return k
}

// away reports whether the store and the events cannot be reached.
func (w *world) away() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.backAt)
}

func (w *world) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// schedule asks for what is due and tells what is announced, as any scheduler does.
func (w *world) schedule() {
	for w.ctx.Err() == nil {
		next := w.tick(time.Now())
		t := time.NewTimer(time.Until(next))
		select {
		case <-w.ctx.Done():
		case <-w.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// tick does what is to be done now and returns when to look again.
func (w *world) tick(now time.Time) (next time.Time) {
	next = now.Add(time.Hour)
	if w.away() {
		return w.backAt
	}
	for _, s := range w.store.all() {
		r := &s.Record
		w.retell(s)
		if !r.State.Refreshable() || r.Paused != nil || r.RefreshAt.IsZero() {
			continue
		}
		at := latest(r.RefreshAt, w.lookAgain(r.Credential()))
		if !at.After(now) {
			w.publish(r.Credential(), refresh.Job{Reason: events.ReasonScheduled, GrantID: r.GrantID, NewerThan: r.Version})
			at = now.Add(30 * time.Second)
		}
		if at.Before(next) {
			next = at
		}
	}
	return next
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// lookAgain is when a credential may be asked for again.
func (w *world) lookAgain(c events.Credential) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[c].Add(5 * time.Second)
}

// retell tells what a write announces.
func (w *world) retell(s seen) {
	w.mu.Lock()
	known := w.announced[s.Revision] || s.announce == refresh.Announcement{}
	w.announced[s.Revision] = true
	w.mu.Unlock()
	if !known {
		w.heard(refresh.CurrentEvent(&s.Stored, "scheduler", time.Now()))
	}
}

// heard takes an event into the stream.
func (w *world) heard(e events.Event) { w.judge.tell(e) }

// publish puts a job on the queue, unless there is one for the credential.
func (w *world) publish(c events.Credential, job refresh.Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.jobs[c]; ok || w.quiet || w.ctx.Err() != nil {
		return
	}
	w.happened("job   %s %s, newer than %d", c, job.Reason, job.NewerThan)
	w.jobs[c], w.asked[c] = job, time.Now()
	w.published++
	n := w.published
	w.judge.queued(c, n)
	w.wg.Go(func() { w.carry(c, job, n) })
}

// delivered is what became of one delivery.
type delivered struct {
	refresh.Result
	lost bool // its ack did not arrive
}

// carry delivers a job, again after each AckWait, until somebody acknowledges it. Acks are not fenced: that of an earlier
// delivery counts.
func (w *world) carry(c events.Credential, job refresh.Job, number int) {
	ends := make(chan delivered, 64)
	for n := 0; w.ctx.Err() == nil; n++ {
		w.deliver(c, job, n, ends)
		if w.redouble() {
			w.deliver(c, job, n+1, ends)
		}
		if by, ok := w.acked(ends); ok {
			w.judge.acked(number, by)
			break
		}
	}
	w.mu.Lock()
	delete(w.jobs, c)
	w.mu.Unlock()
	w.nudge()
}

// acked waits for an ack until the job is to be delivered again.
func (w *world) acked(ends <-chan delivered) (by delivered, ok bool) {
	again := time.NewTimer(w.definition.Timing().AckWait)
	defer again.Stop()
	for {
		select {
		case e := <-ends:
			switch {
			case e.Verdict == refresh.VerdictAck && !e.lost:
				return e, true
			case e.Verdict == refresh.VerdictNak:
				return by, !sleep(w.ctx, time.Second)
			}
		case <-again.C:
			return by, false
		case <-w.ctx.Done():
			return by, true
		}
	}
}

// deliver gives a job to a worker that is up; which one, depends on the instant.
func (w *world) deliver(c events.Credential, job refresh.Job, n int, ends chan<- delivered) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var up []*worker
	for _, name := range slices.Sorted(maps.Keys(w.workers)) {
		if k := w.workers[name]; !k.isDead() {
			up = append(up, k)
		}
	}
	if len(up) == 0 {
		return
	}
	k := up[(int(jitter(time.Hour, c, time.Now().UnixNano()))+n)%len(up)]
	w.wg.Go(func() {
		res, survived := k.do(c, job)
		if survived {
			ends <- delivered{res, w.loseAck()}
		}
		w.happened("%s    ends the job of %s with %q", k.name, c, res.Verdict)
	})
}

// elsewhere reports whether an earlier attempt with the same refresh token has not ended: its answer waits in somebody's
// journal, or in a process that stands still.
func (w *world) elsewhere(t refresh.Ticket) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.disks {
		entries, _ := d.all()
		if slices.ContainsFunc(entries, func(e refresh.Entry) bool { return e.Revision == 0 && e.Key == t.Key }) {
			return true
		}
	}
	for _, k := range w.workers {
		if k.holds(t.GrantID) {
			return true
		}
	}
	return false
}

// holds reports whether an attempt of a grant is under way here.
func (k *worker) holds(grant string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.dead && slices.Contains(slices.Collect(maps.Values(k.open)), grant)
}

func (k *worker) isDead() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

func (w *world) redouble() bool { return w.countDown(&w.doubles) }
func (w *world) loseAck() bool  { return w.countDown(&w.lostAcks) }

func (w *world) countDown(n *int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if *n == 0 {
		return false
	}
	*n--
	return true
}

// enrol makes a grant at the provider, under a name of its own, and stores it.
func (w *world) enrol(c events.Credential) error {
	w.enrolled++
	account := fmt.Sprintf("%s#%d", c.Account, w.enrolled)
	began := time.Now()
	tokens, err := w.auth.Issue(account, "")
	if err != nil {
		return err
	}
	w.judge.await(c, account)
	s, err := w.writer().Enroll(w.ctx, &w.definition, c, enroll.NewGrant{
		RefreshToken: seal.NewSecret(tokens.RefreshToken), AccessToken: seal.NewSecret(tokens.AccessToken),
		StartedAt: began, Lifetime: w.cfg.Life,
	})
	if err == nil && s.Record.Account != c.Account {
		err = fmt.Errorf("stored as %s", s.Record.Credential())
	}
	w.nudge()
	return err
}

// writer changes records for people.
func (w *world) writer() *enroll.Writer {
	return &enroll.Writer{Store: direct{w}, Teller: direct{w}, Keys: w.keys()}
}

// direct is the way of people to the store and the events: it fails in an outage only.
type direct struct{ *world }

// Get implements refresh.Store.
func (d direct) Get(ctx context.Context, c events.Credential) (refresh.Stored, error) {
	if d.away() {
		return refresh.Stored{}, errNoAnswer
	}
	return d.store.Get(ctx, c)
}

// Put implements refresh.Store.
func (d direct) Put(ctx context.Context, w refresh.Write) (uint64, error) {
	if d.away() {
		return 0, errNoAnswer
	}
	return d.store.Put(ctx, w)
}

// Publish implements refresh.Teller.
func (d direct) Publish(_ context.Context, e events.Event) error {
	if d.away() {
		return errNoAnswer
	}
	d.heard(e)
	return nil
}

// reseal moves a record to the key that seals now.
func (w *world) reseal(c events.Credential) error {
	s, err := direct{w}.Get(w.ctx, c)
	if err != nil || s.Record.State.Withdrawn() {
		return nil
	}
	keys := w.keys()
	g, err := keys.OpenGrant(&s.Record)
	if err != nil {
		return err
	}
	access, err := keys.OpenAccess(&s.Record)
	if err != nil {
		return err
	}
	if err := keys.Seal(&s.Record, g, access); err != nil {
		return err
	}
	_, err = direct{w}.Put(w.ctx, refresh.Write{Record: s.Record, Revision: s.Revision})
	return err
}

// revokeToken withdraws a token (RFC 7009).
func (w *world) revokeToken(d *provider.Definition, secret, token seal.Secret) error {
	req := httptest.NewRequest(http.MethodPost, d.RevokeURL, strings.NewReader(url.Values{"token": {token.Reveal()}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(d.ClientID, secret.Reveal())
	return w.ask(req)
}

// use shows the stored access token to the provider's resource.
func (w *world) use(r *refresh.Record) (refused bool) {
	access, err := w.keys().OpenAccess(r)
	if err != nil {
		return false
	}
	req := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:9/resource", nil)
	req.Header.Set("Authorization", "Bearer "+access.Reveal())
	return w.ask(req) != nil
}

func (w *world) ask(req *http.Request) error {
	rec := httptest.NewRecorder()
	w.auth.ServeHTTP(rec, req.WithContext(w.ctx))
	if rec.Code != http.StatusOK {
		return fmt.Errorf("status %d", rec.Code)
	}
	return nil
}
