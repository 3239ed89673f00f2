package refresh

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// What can keep an outcome out of the store for good.
var (
	// ErrLateReply: the record has moved on; the reply is kept, sealed, in the journal.
	ErrLateReply = errors.New("the reply came too late")
	// ErrGrantGone: the grant was replaced or withdrawn meanwhile; what was received is revoked and dropped.
	ErrGrantGone = errors.New("the grant is gone")
	// ErrNoRecord: nothing is stored under the key any more; the reply is kept, sealed, in the journal.
	ErrNoRecord = errors.New("there is no record")
	// ErrUnsettled: the commit's outcome is not known yet; the journal keeps it.
	ErrUnsettled = errors.New("not committed yet")
)

var errBusy = errors.New("another attempt holds the claim")

// place is how a record stands to an attempt's outcome.
type place string

const (
	placeCommitted place = "committed" // the outcome is in it
	placeOurs      place = "ours"      // it waits for this outcome
	placeBusy      place = "busy"      // another attempt holds a live claim
	placeMoved     place = "moved"     // a newer version of the same grant
	placeGone      place = "gone"      // another grant, or a tombstone
	placeMissing   place = "missing"   // nothing: whoever removes a credential leaves a tombstone
)

// locate compares a record with a journalled outcome: the commit table. It is pure.
func locate(s *Stored, j *journalled, quarantine time.Duration, now time.Time) place {
	r := &s.Record
	switch {
	case s.Revision == 0:
		return placeMissing
	case r.GrantID != j.GrantID || r.State.Withdrawn():
		return placeGone
	case r.Last != nil && r.Last.Attempt == j.Attempt && r.Version >= j.Version && !givenUp(r, j):
		return placeCommitted
	case r.Version > j.Version && !mistaken(mistakeOverwrite):
		return placeMoved
	case r.Claim != nil && r.Claim.Attempt != j.Attempt && now.Before(s.StoredAt.Add(r.Claim.TTL.Std()+quarantine)):
		return placeBusy
	}
	return placeOurs
}

// givenUp reports whether what the record says of the attempt is less than its outcome: somebody found its claim dead, or
// its worker gave up waiting for an exchanger that had the answer after all.
func givenUp(r *Record, j *journalled) bool {
	if r.Version != j.Version {
		return false
	}
	return r.Failure != nil && r.Failure.Code == codeClaimDied ||
		r.Last.Outcome == ClassUnknown && j.Outcome.Phase == PhaseAnswered
}

// settlement carries one outcome into the store.
type settlement struct {
	engine   *Engine
	provider *provider.Definition
	outcome  journalled
	judged   Judgement
	grant    *Grant // what the attempt presented, opened; nil: not opened yet
	result   Result
}

// Waits between looks at a record that would not take a commit.
const (
	firstLook = 50 * time.Millisecond
	maxLook   = 2 * time.Second
)

// run commits the outcome and tells it, and notes the result. It tries until it knows what became of the commit, or until patience or ctx ends;
// the journal keeps the rest.
func (st *settlement) run(ctx context.Context, cur *Stored) {
	ctx, cancel := context.WithTimeout(ctx, st.engine.patience(st.provider))
	defer cancel()
	st.judge(cur)
	var err error
	for wait := time.Duration(0); ; wait = min(max(2*wait, firstLook), maxLook) {
		if wait > 0 || cur.Revision == 0 {
			if !sleep.For(ctx, wait) {
				st.unsettled(err)
				return
			}
			seen, lookErr := st.look(ctx)
			if err = lookErr; err != nil {
				continue
			}
			cur = seen
		}
		var settled bool
		if settled, err = st.step(ctx, cur); settled {
			st.result.Err = errors.Join(st.result.Err, err)
			return
		}
	}
}

// judge reads the outcome.
func (st *settlement) judge(cur *Stored) {
	st.judged = Classify(st.provider, st.outcome.Outcome).Without(st.sent(cur))
	st.result = st.firstResult(cur)
	if st.judged.Class == ClassOK {
		st.engine.secrets.worked(st.provider)
	}
}

// keep brings the outcome into the journal.
func (st *settlement) keep() error {
	entry, err := st.engine.cfg.Keys.SealOutcome(st.outcome.Ticket, st.outcome.Outcome)
	if err != nil {
		return err
	}
	return st.engine.cfg.Journal.Append(entry)
}

// sent is the refresh token that the attempt presented, as far as the record still has it: a server may echo it where
// an error code or an extra should be.
func (st *settlement) sent(cur *Stored) seal.Secret {
	if !st.unchanged(&cur.Record) {
		return seal.Secret{}
	}
	g, err := st.open(&cur.Record)
	if err != nil {
		return seal.Secret{} // said where the grant is needed
	}
	return g.RefreshToken
}

// unchanged reports whether a record still holds the grant that the attempt presented. A version's grant never changes.
func (st *settlement) unchanged(r *Record) bool {
	return r.GrantID == st.outcome.GrantID && r.Version == st.outcome.Version
}

// open opens a record's grant, once if it is the one that the attempt presented.
func (st *settlement) open(r *Record) (Grant, error) {
	if st.grant != nil && st.unchanged(r) {
		return *st.grant, nil
	}
	g, err := st.engine.cfg.Keys.OpenGrant(r)
	if err == nil && st.unchanged(r) {
		st.grant = &g
	}
	return g, err
}

func (st *settlement) firstResult(cur *Stored) Result {
	return Result{
		Verdict: VerdictAck, Class: st.judged.Class, Attempt: st.outcome.Attempt, Worker: st.outcome.Worker,
		Before: st.outcome.Version, After: st.outcome.Version, Code: st.judged.Code, Detail: st.judged.Detail,
		RetryAfter: st.judged.RetryAfter, ClockSkew: clockSkew(st.outcome.Outcome), Margin: margin(cur.Record.ExpiresAt, st.engine.cfg.Now()),
	}
}

// step does what the commit table says about the record as it is now.
func (st *settlement) step(ctx context.Context, cur *Stored) (settled bool, err error) {
	e := st.engine
	switch locate(cur, &st.outcome, st.provider.Timing().Quarantine, e.cfg.Now()) {
	case placeCommitted:
		return st.tell(ctx, cur)
	case placeMoved:
		return true, st.tooLate(cur)
	case placeGone:
		return true, st.gone(ctx)
	case placeMissing:
		return true, st.missing()
	case placeBusy:
		if st.judged.Class != ClassOK {
			return true, st.drop() // its claim carries our doubt on
		}
		return false, errBusy
	case placeOurs:
	}
	if st.judged.Class != ClassOK && !st.awaited(&cur.Record) {
		return true, st.drop() // somebody has written down that it is unknown
	}
	committed, err := st.commit(ctx, cur)
	if err != nil {
		return false, err
	}
	return st.tell(ctx, committed)
}

// commit writes the outcome into the record.
func (st *settlement) commit(ctx context.Context, cur *Stored) (committed *Stored, err error) {
	next, err := st.next(cur)
	if err != nil {
		return nil, err
	}
	st.engine.at(StepCommit)
	epoch := st.engine.epoch()
	next.Revision, err = st.engine.put(ctx, &next.Record, cur.Revision)
	for shrunk := 0; errors.Is(err, ErrTooLarge) && shrink(&next.Record, shrunk); shrunk++ {
		next.Revision, err = st.engine.put(ctx, &next.Record, cur.Revision)
	}
	if err != nil {
		return nil, err
	}
	st.engine.at(StepCommitted)
	if st.judged.Class == ClassOK {
		st.engine.remember(st.outcome.Key, next, epoch)
	}
	return next, nil
}

// awaited reports whether a failure still means something to the record: it carries our claim, or the doubt about our attempt,
// which a known outcome resolves as long as nobody has heard more since. An old word must neither take back nor confirm what
// the provider said later.
func (st *settlement) awaited(r *Record) bool {
	switch {
	case r.Claim != nil:
		return r.Claim.Attempt == st.outcome.Attempt
	case r.Doubt != nil && r.Failure != nil:
		return r.Doubt.Attempt == st.outcome.Attempt && r.Failure.Class == ClassUnknown && st.judged.Class != ClassUnknown
	}
	return false
}

// next builds the record that the outcome makes of the current one. Its place in the store is not known yet.
func (st *settlement) next(cur *Stored) (*Stored, error) {
	e, j := st.engine, &st.outcome
	facts := attemptFacts{
		ID: j.Attempt, Worker: j.Worker, Reason: j.Reason,
		StartedAt: j.Outcome.StartedAt.Add(time.Duration(j.Skew)), Now: e.cfg.Now().UTC(),
	}
	next := &Stored{Record: cur.Record}
	if st.judged.Class != ClassOK {
		if f := cur.Record.Failure; f != nil && e.cfg.Suspect != nil {
			facts.Suspect = e.cfg.Suspect(st.provider.Name, f.At)
		}
		afterFailure(&next.Record, st.provider, facts, &st.judged, j.Outcome.Status)
		return next, nil
	}
	g, err := st.open(&cur.Record)
	if err != nil {
		return nil, err
	}
	// A store that was set back has an older version than the one the token was presented for: versions only grow.
	next.Record.Version = max(cur.Record.Version, j.Version)
	return next, afterSuccess(&next.Record, st.provider, facts, g, &st.judged.Reply, e.cfg.Keys)
}

// shrink makes room in a record that is too large: first the extras go, then the access token, never the grant.
func shrink(r *Record, step int) bool {
	switch step {
	case 0:
		r.Meta = nil
		return true
	case 1:
		r.Access = nil // readers say so; the grant lives on
		return true
	}
	return false
}

// tell publishes what was committed. Until that worked the job is not acked, and the entry stays pending: whoever comes
// to either of them tells again. A recovered outcome has no job, so its entry alone must remember that nobody has told.
func (st *settlement) tell(ctx context.Context, s *Stored) (settled bool, err error) {
	if s.Record.Last.Outcome == ClassOK {
		st.result.After = s.Record.Version
	}
	for wait := firstLook; ; wait = min(2*wait, maxLook) {
		err := st.engine.tell(ctx, s)
		if err == nil {
			break
		}
		if !sleep.For(ctx, wait) {
			st.result.Verdict, st.result.Err = VerdictLeave, err
			return true, nil
		}
	}
	st.engine.at(StepTold)
	if err := st.engine.cfg.Journal.Committed(st.outcome.Attempt, s.Revision); err != nil {
		st.result.Err = fmt.Errorf("journal: %w", err)
	}
	return true, nil
}

// tooLate keeps a reply that was never committed. One that carried no new refresh token, or the one that the record went
// on with, holds nothing that could be missed.
func (st *settlement) tooLate(cur *Stored) error {
	issued := st.judged.Reply.RefreshToken
	if st.judged.Class != ClassOK || issued.IsZero() {
		return st.drop()
	}
	g, err := st.open(&cur.Record)
	if err == nil && (g.RefreshToken.Equal(issued) || g.Previous.Equal(issued)) {
		return st.drop()
	}
	st.result.Err = fmt.Errorf("%w: attempt %s of %s", ErrLateReply, st.outcome.Attempt, st.outcome.Key)
	return st.engine.cfg.Journal.SetAside(st.outcome.Attempt, "a newer version is committed")
}

// AsideNoRecord is why a reply is set aside whose record has disappeared. When there is one again, the reply may be of use.
const AsideNoRecord = "there is no record"

// missing keeps a reply whose record has disappeared: a removed credential leaves a tombstone, so the store was emptied or
// set back, or is another one. Nothing is created, and nothing revoked that may be the last of its kind.
func (st *settlement) missing() error {
	if st.judged.Class != ClassOK {
		return st.drop()
	}
	st.result.Err = fmt.Errorf("%w: attempt %s of %s", ErrNoRecord, st.outcome.Attempt, st.outcome.Key)
	return st.engine.cfg.Journal.SetAside(st.outcome.Attempt, AsideNoRecord)
}

// gone gives back what was received for a grant that nobody holds any more.
func (st *settlement) gone(ctx context.Context) error {
	if st.judged.Class == ClassOK {
		st.result.Err = fmt.Errorf("%w: attempt %s of %s", ErrGrantGone, st.outcome.Attempt, st.outcome.Key)
		if err := st.engine.giveBack(ctx, st.provider, st.judged.Reply); err != nil {
			st.result.Err = errors.Join(st.result.Err, err)
		}
	}
	return st.drop()
}

func (st *settlement) drop() error { return st.engine.cfg.Journal.Drop(st.outcome.Attempt) }

// look reads the record from the leader. No record at all is an answer.
func (st *settlement) look(ctx context.Context) (*Stored, error) {
	c, err := credentialOf(st.outcome.Key)
	if err != nil {
		return nil, err
	}
	s, err := st.engine.cfg.Store.Get(ctx, c)
	if errors.Is(err, ErrNotFound) {
		return new(Stored), nil
	}
	return &s, err
}

func (st *settlement) unsettled(err error) {
	st.result.Verdict = VerdictLeave
	if err == nil {
		err = context.DeadlineExceeded // before the first look
	}
	st.result.Err = fmt.Errorf("%w: attempt %s of %s: %w", ErrUnsettled, st.outcome.Attempt, st.outcome.Key, err)
}

func margin(expiresAt, now time.Time) time.Duration {
	if expiresAt.IsZero() {
		return 0
	}
	return expiresAt.Sub(now)
}

// clockSkew compares the provider's Date header, which counts whole seconds, with our clock at its answer.
func clockSkew(o Outcome) time.Duration {
	date, err := http.ParseTime(o.Date)
	if err != nil {
		return 0
	}
	return date.Sub(o.EndedAt).Round(time.Second)
}
