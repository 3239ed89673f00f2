package refresh

import (
	"context"
	"fmt"
)

// recall ends a doubt by the outcome itself, where this host has it: in a journal that was not carried into the store
// yet, or with an exchanger whose last worker was killed. Otherwise a last try could present a refresh token whose
// successor is at hand. over is true when the job has come to its end.
func (e *Engine) recall(ctx context.Context, dec Decision) (res Result, over bool) {
	switch dec.Action {
	case ActionAttempt, ActionAsk, ActionResolve:
	default:
		return res, false
	}
	if dec.Doubt == nil || e.cfg.Recall == nil {
		return res, false
	}
	entry, found, err := e.cfg.Recall(ctx, dec.Doubt.Attempt)
	switch {
	case err != nil && dec.Action != ActionResolve: // that presents nothing, and an outcome found later ends it
		err = fmt.Errorf("no attempt may start: attempt %s is in doubt: %w", dec.Doubt.Attempt, err)
		return Result{Verdict: VerdictNak, Class: ClassLocal, Decision: dec, Err: err}, true
	case err != nil, !found:
		return res, false
	}
	res = e.carry(ctx, entry)
	res.Decision = dec
	return res, true
}
