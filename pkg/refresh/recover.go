package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// recoverPatience bounds one try to carry an entry into the store: its owner comes back to it, and others wait.
const recoverPatience = 5 * time.Second

// Recover carries a journalled outcome of an earlier life, or of a commit that did not go through, into the store.
// An entry whose commit was known is only compared with the record: a server that lost power may have
// forgotten an acknowledged write. The Result's Verdict is VerdictLeave when the entry must stay where it is, and its Err wraps
// ErrUnsettled when the store could not be asked or would not take it, which passes.
func (e *Engine) Recover(ctx context.Context, entry Entry) Result {
	ctx, cancel := context.WithTimeout(ctx, recoverPatience)
	defer cancel()
	res := e.recover(ctx, entry)
	if e.cfg.Observe != nil && res.Attempt != "" {
		e.cfg.Observe(res)
	}
	return res
}

func (e *Engine) recover(ctx context.Context, entry Entry) Result {
	if _, ok := e.flying.Load(entry.ID); ok {
		return Result{Verdict: VerdictLeave, Class: ClassFresh}
	}
	return e.carry(ctx, entry)
}

// carry brings an entry's outcome into the store. Two who do so at once do no harm: the record changes once.
func (e *Engine) carry(ctx context.Context, entry Entry) Result {
	j, err := e.cfg.Keys.openEntry(entry)
	if err != nil {
		return Result{Verdict: VerdictLeave, Class: ClassLocal, Err: err}
	}
	c, err := credentialOf(j.Key)
	if err != nil {
		return Result{Verdict: VerdictLeave, Class: ClassLocal, Err: err}
	}
	d, ok := e.cfg.Provider(c.Provider)
	if !ok {
		return Result{Verdict: VerdictLeave, Class: ClassLocal, Credential: c, Err: fmt.Errorf("provider %q is not known here", c.Provider)}
	}
	cur, err := e.cfg.Store.Get(ctx, c)
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
	case errors.Is(err, ErrMalformed):
		return Result{Verdict: VerdictLeave, Class: ClassLocal, Credential: c, Err: fmt.Errorf("read record of %s: %w", c, err)}
	default:
		return Result{Verdict: VerdictLeave, Class: ClassLocal, Credential: c, Err: fmt.Errorf("%w: read record of %s: %w", ErrUnsettled, c, err)}
	}
	if entry.Revision != 0 && !forgotten(cur, j) {
		return Result{Verdict: VerdictAck, Class: ClassFresh, Credential: c}
	}
	j.Reason = events.ReasonRecovered
	st := &settlement{engine: e, provider: d, outcome: j}
	known := locate(&cur, &j, d.Timing().Quarantine, e.cfg.Now()) == placeCommitted
	st.run(ctx, &cur)
	st.result.Credential = c
	if known {
		st.result.Class = ClassFresh // nothing was carried: whoever committed it has said so, or died before it could
	}
	return st.result
}

// forgotten reports whether a store that once acknowledged an outcome does not have it. A revision above that of the commit
// proves nothing: somebody may have written since the store was set back.
func forgotten(cur Stored, j journalled) bool {
	r := &cur.Record
	switch {
	case cur.Revision == 0:
		return true
	case r.GrantID != j.GrantID || r.State.Withdrawn() || r.Version > j.Version:
		return false
	}
	return r.Last == nil || r.Last.Attempt != j.Attempt
}

// giveBack revokes tokens that nobody will use (RFC 7009), where the provider can.
func (e *Engine) giveBack(ctx context.Context, d *provider.Definition, reply Reply) error {
	if e.cfg.Revoke == nil || d.RevokeURL == "" {
		return nil
	}
	token := reply.RefreshToken
	if token.IsZero() {
		token = reply.AccessToken
	}
	secret, _ := e.secrets.pick(d)
	if err := e.cfg.Revoke(ctx, d, secret, token); err != nil {
		return fmt.Errorf("revoke what was received: %w", err)
	}
	return nil
}

func credentialOf(key string) (events.Credential, error) {
	c, err := events.ParseKey(key)
	if err != nil {
		return c, fmt.Errorf("journalled outcome: %w", err)
	}
	return c, nil
}
