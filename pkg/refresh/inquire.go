package refresh

import (
	"context"
	"fmt"

	"github.com/freshetdev/freshet/pkg/provider"
)

// inquire asks the provider whether the refresh token of unknown fate is still good (RFC 7662). "Active" allows a second
// try; anything else leaves the credential uncertain: only the token endpoint's word marks it.
func (e *Engine) inquire(ctx context.Context, job Job, s Stored, dec Decision, d *provider.Definition) (res Result, again bool) {
	g, res, ok := e.openGrant(&s, d)
	if !ok {
		res.Decision = dec
		return res, false
	}
	secret, _ := e.secrets.pick(d)
	active, err := e.cfg.Active(ctx, d, secret, g.RefreshToken)
	if err == nil && active {
		dec.Action, dec.Why = ActionAttempt, WhyActive
		return e.attempt(ctx, job, &s, dec, d)
	}
	doubt := *dec.Doubt
	doubt.Inactive = err == nil
	dec.Doubt = &doubt
	res, again = e.resolve(ctx, s, dec, d)
	if err != nil && res.Err == nil {
		res.Err = fmt.Errorf("ask about the refresh token of %s: %w", s.Record.Credential(), err)
	}
	return res, again
}
