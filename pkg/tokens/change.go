package tokens

import (
	"context"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Change is what OnChange tells of a credential.
type Change struct {
	Credential events.Credential
	// Token is the newest token. Where Err is nil it can be used. With an Err its AccessToken is zero, and the rest says
	// what is known of the last one, except that with ErrReauthRequired a token that still lives is there: it is the
	// last one.
	Token Token
	// Err says why there is no token to use, or that a person must act: ErrNotFound, ErrRevoked, ErrReauthRequired,
	// ErrExpired, ErrPermission, or a record that does not open.
	Err error
}

// changeLook is how often OnChange looks at the record of a credential without a token, beside the news.
const changeLook = time.Minute

// OnChange calls f with the state of a credential, PROVIDER/ACCOUNT, as soon as it is known, and then with each change: a newer
// token, the end of one without a newer one, a withdrawal, a person who must act or has acted. It blocks until ctx ends, and
// then returns nil. The credential is kept fresh meanwhile. A NATS that is away is no change.
//
// The calls come one after the other from the calling goroutine. (Generation, Version) of the tokens only grow. A call that takes
// long loses no news for good: what changes meanwhile is told as it stands afterwards.
//
// Errors: events.ErrName; ErrClosed when the client is closed.
func (c *Client) OnChange(ctx context.Context, id string, f func(Change)) error {
	s, err := c.source(id)
	if err != nil {
		return err
	}
	s = c.pin(s)
	defer c.unpin(s)
	for told := ""; ; {
		change, state, next := s.change()
		if state != told && state != "" {
			told = state
			f(change)
			continue
		}
		timer := time.NewTimer(next.in)
		select {
		case <-next.changed:
		case <-timer.C:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		timer.Stop()
		switch {
		case ctx.Err() != nil:
			return nil
		case c.ctx.Err() != nil:
			return fmt.Errorf("%s: %w", s.cred, ErrClosed)
		}
	}
}

// wakeUp is what may bring the next change.
type wakeUp struct {
	changed <-chan struct{}
	in      time.Duration
}

// change returns how a source stands, and a text that differs when that differs; empty: it is not known yet.
func (s *source) change() (Change, string, wakeUp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	c := Change{Credential: s.cred, Token: s.newest.token}
	if s.usable(now) != nil {
		if s.reauth {
			c.Err = fmt.Errorf("%s: %w", s.cred, ErrReauthRequired)
		}
		in := time.Hour // there is no end to wait for, and news wakes
		if end := c.Token.ExpiresAt; !end.IsZero() {
			in = end.Add(-early).Sub(now)
		}
		return c, c.state(), wakeUp{s.changed, in}
	}
	if now.Sub(s.last.began) >= changeLook {
		s.look(now)
	}
	c.Token.AccessToken = seal.Secret{}
	switch {
	case settled(s.last.err):
		c.Err = s.last.err
	case s.reauth:
		c.Err = fmt.Errorf("%s: %w", s.cred, ErrReauthRequired)
	case s.newest.known() && !s.unconfirmed:
		c.Err = whyUnusable(s.newest.token, "", now)
	case s.current():
		c.Err = s.last.err // there has been no token yet
	}
	return c, c.state(), wakeUp{s.changed, changeLook}
}

// state is empty when nothing is known.
func (c Change) state() string {
	if c.Err == nil && c.Token.AccessToken.IsZero() {
		return ""
	}
	return fmt.Sprint(c.Token.Generation, c.Token.Version, c.Token.AccessToken.IsZero(), c.Err)
}
