package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Token returns the current token of a credential, PROVIDER/ACCOUNT, as its TokenSource does: from memory where there is
// one. Without one it waits, to ctx's deadline, or for Config.Wait where ctx has none. Scopes and Meta are shared: do not
// change them.
//
// Errors: those of a source, also at the deadline; events.ErrName; the cause that ended ctx before.
func (c *Client) Token(ctx context.Context, id string) (Token, error) {
	h, err := c.get(ctx, id)
	if err != nil {
		return Token{}, err
	}
	return h.full, nil
}

// TokenFor is Token for somebody who needs it for a while: where the token lives shorter than least it asks for a refresh, once
// for all who want the same, and waits for the newer token. When none comes, or it does not live that long either, it returns
// the best there is together with ErrNotRenewed; without any the Token is zero. Where the token's whole life was no longer than least,
// a refresh would bring nothing better, so none is asked for.
//
// It needs the permissions of a demand: see the package doc. For one credential it asks at most every half minute.
func (c *Client) TokenFor(ctx context.Context, id string, least time.Duration) (Token, error) {
	if h := c.tokens.warm(id, c.now.Load()); h != nil && h.full.lives(least) {
		return h.full, nil
	}
	s, err := c.source(id)
	if err != nil {
		return Token{}, err
	}
	s = c.adopt(s)
	known, err := s.known(ctx)
	if err != nil || known.lives(least) {
		return known, err
	}
	if known.usable(time.Now()) && known.life > 0 && known.life <= least {
		return known, s.notRenewed(fmt.Sprintf("tokens of its provider live for %s, and not longer than %s: ask for less", known.life, least))
	}
	h, err := s.renew(ctx, wish{past: known, until: c.patience(ctx)})
	switch {
	case err != nil && !known.usable(time.Now()):
		return Token{}, err
	case err != nil:
		return known, errors.Join(s.notRenewed("the token ends at "+known.ExpiresAt.UTC().Format(time.RFC3339)), err)
	case !h.full.lives(least):
		return h.full, s.notRenewed(fmt.Sprintf("also a new token lives shorter than %s", least))
	}
	return h.full, nil
}

// Renew returns a token newer than one that a resource server refused, which must have come from this package. Where there
// is none it asks for a refresh, once over all processes, and waits to ctx's deadline, or for Config.Wait where ctx has
// none. It is what Transport does about a 401, for programs that speak something else than HTTP.
//
// Errors: ErrNotRenewed, also within half a minute of the last demand; ErrPermission; otherwise as Token.
func (c *Client) Renew(ctx context.Context, refused Token) (Token, error) {
	s, err := c.source(refused.Credential.String())
	if err != nil {
		return Token{}, err
	}
	h, err := c.adopt(s).renew(ctx, wish{past: refused, refused: true, until: c.patience(ctx)})
	if err != nil {
		return Token{}, err
	}
	return h.full, nil
}

func (c *Client) get(ctx context.Context, id string) (*held, error) {
	if h := c.tokens.warm(id, c.now.Load()); h != nil {
		return h, nil
	}
	s, err := c.source(id)
	if err != nil {
		return nil, err
	}
	return s.get(ctx)
}

// lives reports whether a token may be handed out and will live for so long.
func (t Token) lives(least time.Duration) bool {
	now := time.Now()
	return t.usable(now) && (t.ExpiresAt.IsZero() || t.ExpiresAt.Sub(now) >= least)
}

// known returns the newest token, which may have ended or not exist yet, as soon as the bucket has answered.
func (s *source) known(ctx context.Context) (Token, error) {
	began, end := time.Now(), s.client.patience(ctx)
	over := time.NewTimer(time.Until(end))
	defer over.Stop()
	for {
		token, changed, err := s.newestKnown(end)
		if changed == nil {
			return token, err
		}
		select {
		case <-changed:
		case <-over.C:
			return Token{}, s.giveUp(err, time.Since(began))
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return Token{}, s.giveUp(err, time.Since(began))
			}
			return Token{}, s.interrupted(ctx)
		case <-s.client.ctx.Done():
			return Token{}, fmt.Errorf("%s: %w", s.cred, ErrClosed)
		}
	}
}

func (s *source) newestKnown(end time.Time) (Token, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.dropped:
		return Token{}, nil, fmt.Errorf("%s: %w", s.cred, ErrClosed)
	case s.usable(time.Now()) != nil:
		return s.newest.token, nil, nil
	case s.final() && time.Since(s.last.began) < negativeFor:
		return Token{}, nil, s.last.err
	case s.current() && !settled(s.last.err):
		return s.newest.token, nil, nil
	}
	s.look(end)
	return Token{}, s.changed, s.last.err
}
