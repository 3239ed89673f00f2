package refresh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Config is what an Engine works with. Every field but those marked optional is required.
type Config struct {
	Worker   string // who claims; unique in the fleet
	Store    Store
	Exchange Exchanger
	Journal  Journal
	Teller   Teller
	Keys     Keys
	// Provider returns a definition with its secrets open; ok is false for a provider nobody has applied.
	Provider func(name string) (d *provider.Definition, ok bool)
	// Peek reads a record as some replica holds it, perhaps an older one, where that is cheaper. An attempt may begin with
	// it, because its claim is conditional; nothing else is decided on it. Optional.
	Peek func(ctx context.Context, c events.Credential) (Stored, error)
	// Epoch changes whenever the store may have lost what it acknowledged: with each connection to it. Records that the engine
	// committed in the present epoch are remembered and serve as a first look, as Peek's do. Optional: without it nothing is
	// remembered.
	Epoch func() uint64
	// Now is NATS time.
	Now func() time.Time
	// Ready is asked before a claim; an error means that no attempt may start, such as a journal that cannot be
	// written. Optional.
	Ready func() error
	// Suspect reports whether the provider's rejections of that instant say nothing about the grants. Optional.
	Suspect func(provider string, rejected time.Time) bool
	// Active asks the provider whether a refresh token is still good, where it has an introspection endpoint. Optional:
	// without it nobody is asked.
	Active func(ctx context.Context, d *provider.Definition, clientSecret, refreshToken seal.Secret) (bool, error)
	// Recall looks for the outcome of an attempt in doubt where it may have come to rest on this host. It is asked before
	// anything is done about the doubt; an error means that nothing may be presented now. Optional.
	Recall func(ctx context.Context, attempt string) (e Entry, found bool, err error)
	// Revoke withdraws a token at the provider. Optional.
	Revoke func(ctx context.Context, d *provider.Definition, clientSecret, token seal.Secret) error
	// Observe hears of each job's end. Optional.
	Observe func(Result)
	// Step hears of each step of an attempt as it is reached; it may block. Optional.
	Step func(Step)
	// Patience bounds how long one job's worker tries to commit and tell before it leaves the rest to the
	// journal. Optional; default: the lane's AckWait.
	Patience time.Duration
}

// Verdict is what becomes of the job's message.
type Verdict string

// The verdicts.
const (
	VerdictAck   Verdict = "ack"   // done with, or somebody comes back to it
	VerdictNak   Verdict = "nak"   // this worker cannot; another one may, at once
	VerdictLeave Verdict = "leave" // nothing is known for sure: redelivery decides
)

// Result is the end of one job.
type Result struct {
	Credential events.Credential
	Job        Job
	Verdict    Verdict
	Class      Class // of the attempt; ClassFresh when there was none
	Decision   Decision
	Attempt    string // empty when there was none
	Worker     string
	// Before and After are the versions around the job; Margin is how long before the old token's end the new
	// one was committed (negative: after it), 0 when the old one had no end.
	Before, After uint64
	Margin        time.Duration
	// Exchange is how long the provider took, Total the whole job.
	Exchange, Total time.Duration
	Code            string
	RetryAfter      time.Duration
	Detail          string
	ClockSkew       time.Duration // the provider's clock minus ours; 0 when its answer did not say
	Err             error         // what kept the job from its normal end; never carries token material
}

// Engine carries out refresh jobs: decide, claim, exchange, journal, commit, tell. It is safe for
// concurrent use.
type Engine struct {
	cfg     Config
	secrets secretOrder
	flying  sync.Map // attempts whose own job still settles them
	memory  memory
}

// NewEngine returns an engine.
func NewEngine(cfg Config) *Engine { return &Engine{cfg: cfg} }

// maxConflicts is how often a job starts over because the record changed before its claim.
const maxConflicts = 3

// Do carries out one job. Cancelling ctx stops it before the claim; from then on the job runs to its end, bounded by
// the claim and Config.Patience.
func (e *Engine) Do(ctx context.Context, c events.Credential, job Job) Result {
	begun := time.Now()
	res := e.do(ctx, c, job)
	e.at(StepSettled)
	res.Credential, res.Job, res.Worker, res.Total = c, job, e.cfg.Worker, time.Since(begun)
	if e.cfg.Observe != nil {
		e.cfg.Observe(res)
	}
	return res
}

func (e *Engine) do(ctx context.Context, c events.Credential, job Job) Result {
	d, ok := e.cfg.Provider(c.Provider)
	if !ok {
		return Result{Verdict: VerdictAck, Class: ClassFresh, Err: fmt.Errorf("provider %q is not known here: run freshet apply", c.Provider)}
	}
	if res, done := e.tryPeek(ctx, c, job, d); done {
		return res
	}
	for range maxConflicts {
		res, again := e.try(ctx, c, job, d)
		if !again {
			return res
		}
	}
	return Result{Verdict: VerdictAck, Class: ClassFresh, Decision: Decision{Action: ActionBusy, Why: WhyClaimed}}
}

// tryPeek acts on a record that may be old, if it asks for an attempt; done is false when it does not, or when it is old
// indeed.
func (e *Engine) tryPeek(ctx context.Context, c events.Credential, job Job, d *provider.Definition) (res Result, done bool) {
	stored := e.firstLook(ctx, c, job)
	if stored == nil {
		return Result{}, false
	}
	dec := e.decide(job, stored, d)
	if dec.Action != ActionAttempt || dec.Doubt != nil {
		return Result{}, false
	}
	e.at(StepRead)
	res, again := e.attempt(ctx, job, stored, dec, d)
	return res, !again
}

// firstLook returns a record that may be old, if there is one without asking the leader.
func (e *Engine) firstLook(ctx context.Context, c events.Credential, job Job) *Stored {
	if s := e.recollect(c.Key(), job); s != nil {
		return s
	}
	if e.cfg.Peek == nil {
		return nil
	}
	s, err := e.cfg.Peek(ctx, c)
	if err != nil {
		return nil // whatever the error is, the leader's word counts
	}
	return &s
}

func (e *Engine) decide(job Job, s *Stored, d *provider.Definition) Decision {
	return Decide(Input{Job: job, Stored: s, Provider: d, Now: e.cfg.Now(), CanAsk: e.cfg.Active != nil && d.IntrospectURL != ""})
}

// try reads, decides and acts once; again is true when the record changed before anything was done.
func (e *Engine) try(ctx context.Context, c events.Credential, job Job, d *provider.Definition) (res Result, again bool) {
	stored, err := e.cfg.Store.Get(ctx, c)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrMalformed):
		return Result{Verdict: VerdictAck, Class: ClassFresh, Err: err}, false
	case err != nil:
		return Result{Verdict: VerdictLeave, Class: ClassLocal, Err: fmt.Errorf("read record of %s: %w", c, err)}, false
	}
	e.at(StepRead)
	dec := e.decide(job, &stored, d)
	if res, over := e.recall(ctx, dec); over {
		return res, false
	}
	switch dec.Action {
	case ActionAttempt:
		return e.attempt(ctx, job, &stored, dec, d)
	case ActionAsk:
		return e.inquire(ctx, job, stored, dec, d)
	case ActionResolve:
		return e.resolve(ctx, stored, dec, d)
	default:
		return e.pass(ctx, stored, dec)
	}
}

// pass ends a job without an attempt. Whoever did the work may have died before telling, so the record's state is
// told again.
func (e *Engine) pass(ctx context.Context, s Stored, dec Decision) (Result, bool) {
	res := Result{Verdict: VerdictAck, Class: ClassFresh, Decision: dec, Before: s.Record.Version, After: s.Record.Version}
	if s.Headerless {
		rev, err := e.put(ctx, &s.Record, s.Revision)
		if err != nil {
			return unsettled(res, fmt.Errorf("repair headers of %s: %w", s.Record.Credential(), err))
		}
		s.Revision = rev
	}
	if err := e.tell(ctx, &s); err != nil {
		return unsettled(res, err)
	}
	return res, false
}

// resolve writes down that an attempt's outcome will never be known.
func (e *Engine) resolve(ctx context.Context, s Stored, dec Decision, d *provider.Definition) (Result, bool) {
	now := e.cfg.Now().UTC()
	res := Result{Verdict: VerdictAck, Class: ClassUnknown, Decision: dec, Before: s.Record.Version, After: s.Record.Version}
	next := afterDeath(s.Record, d, dec.Doubt, now)
	rev, err := e.put(ctx, &next, s.Revision)
	if err != nil {
		return unsettled(res, fmt.Errorf("write down the doubt about %s: %w", next.Credential(), err))
	}
	if err := e.tell(ctx, &Stored{Record: next, Revision: rev}); err != nil {
		return unsettled(res, err)
	}
	return res, false
}

// unsettled ends a job whose last step failed: a conflict starts it over, anything else leaves it to redelivery.
func unsettled(res Result, err error) (Result, bool) {
	res.Verdict, res.Err = VerdictLeave, err
	return res, errors.Is(err, ErrConflict)
}

func (e *Engine) tell(ctx context.Context, s *Stored) error {
	ev := CurrentEvent(s, e.source(), e.cfg.Now())
	if err := e.cfg.Teller.Publish(ctx, ev); err != nil {
		return fmt.Errorf("tell %s of %s: %w", ev.Type, s.Record.Credential(), err)
	}
	return nil
}

// put writes a record where the bucket holds the given revision of it.
func (e *Engine) put(ctx context.Context, r *Record, revision uint64) (uint64, error) {
	return e.cfg.Store.Put(ctx, Write{Record: *r, Revision: revision})
}

func (e *Engine) source() string { return "freshet/worker/" + e.cfg.Worker }

func (e *Engine) patience(d *provider.Definition) time.Duration {
	return cmp.Or(e.cfg.Patience, d.Timing().AckWait)
}

// openGrant opens what an attempt presents. A key this worker lacks is the worker's fault; a record that does not open with a
// key it has, or whose grant is not for the provider as it is now, is set aside.
func (e *Engine) openGrant(s *Stored, d *provider.Definition) (Grant, Result, bool) {
	g, err := e.cfg.Keys.OpenGrant(&s.Record)
	res := Result{Verdict: VerdictAck, Class: ClassLocal, Before: s.Record.Version, After: s.Record.Version, Err: err}
	switch {
	case errors.Is(err, seal.ErrUnknownKey):
		res.Verdict = VerdictNak
		return g, res, false
	case err != nil:
		return g, res, false
	}
	if err := g.presentable(d); err != nil {
		res.Err = fmt.Errorf("%s: %w", s.Record.Credential(), err)
		if errors.Is(err, ErrNoRefreshToken) {
			res.Class = ClassFresh
		}
		return g, res, false
	}
	return g, Result{}, true
}
