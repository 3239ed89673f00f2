package tokens

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/events"
)

// TokenSource returns the source of a credential's access tokens, PROVIDER/ACCOUNT. Every call with the same id shares one
// source; its first Token reads the record, and from then on the token is kept fresh. That ends when nobody has asked
// the source to the end of its token, for an hour at least and a day at most: the next Token then reads the record again.
//
// Token answers from memory while there is an unexpired token. Without one it looks, and waits up to Config.Wait for
// one; then it fails with ErrExpired or ErrUnavailable. Without waiting it fails with ErrNotFound, ErrRevoked,
// ErrReauthRequired or ErrPermission; such an answer is remembered for a second, unless news comes first. The token is
// shared: do not change it.
//
// A malformed id gives a source that always fails, with events.ErrName.
func (c *Client) TokenSource(id string) oauth2.TokenSource {
	cred, err := events.ParseCredential(id)
	if err != nil {
		return failing{err}
	}
	key := cred.Key()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.srcs[key]
	if s == nil {
		s = &source{client: c, cred: cred, changed: make(chan struct{}), poked: make(chan struct{}, 1)}
		c.srcs[key] = s
	}
	return s
}

// failing is the source of an id that names nothing.
type failing struct{ err error }

// Token implements oauth2.TokenSource.
func (f failing) Token() (*oauth2.Token, error) { return nil, f.err }

// source keeps one credential's token in memory.
//
// Concurrency: any number of goroutines call Token. At most one goroutine reads for the source at a time (reading).
// mu owns all fields below it.
type source struct {
	client *Client
	cred   events.Credential
	held   atomic.Pointer[held] // what Token hands out; nil: nothing
	asked  atomic.Bool          // since the last sweep

	mu       sync.Mutex
	last     reading       // the latest answer that counted
	newest   reading       // the latest one with a token in it; held has the same token
	revision uint64        // the highest one seen
	told     uint64        // the one to see: the highest one heard of
	reading  bool          // a goroutine is at it
	until    time.Time     // how long it goes on trying
	wanted   time.Time     // until when somebody waits for a token to hand out
	changed  chan struct{} // closed after each reading
	poked    chan struct{} // there is news: do not pause
	timer    *time.Timer   // the next look without news
	dropped  bool
	// keepUntil is when the source may be forgotten if nobody asks it.
	keepUntil time.Time
}

// held is a token as it is handed out, and the end of that in Unix nanoseconds.
type held struct {
	token *oauth2.Token
	until int64
}

// Token implements oauth2.TokenSource.
func (s *source) Token() (*oauth2.Token, error) {
	if h := s.held.Load(); h != nil && s.client.now.Load() < h.until {
		if !s.asked.Load() { // to write each time would have the processors fight over it
			s.asked.Store(true)
		}
		return h.token, nil
	}
	return s.client.adopt(s).wait()
}

// negativeFor is how long an answer without a token is taken for still true.
const negativeFor = time.Second

// wait looks until there is a token, or an answer that will not change, or Config.Wait is over.
func (s *source) wait() (*oauth2.Token, error) {
	began := time.Now()
	ctx, cancel := context.WithDeadline(s.client.ctx, began.Add(s.client.cfg.Wait))
	defer cancel()
	for {
		token, changed, err := s.answer(began)
		if token != nil || changed == nil {
			return token, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, s.giveUp(err)
		}
	}
}

// answer returns a token to hand out, or an error for good with no channel; otherwise it sees to it that somebody looks
// and returns the channel that tells of it, with the error so far.
func (s *source) answer(began time.Time) (*oauth2.Token, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.dropped:
		return nil, nil, fmt.Errorf("%s: %w", s.cred, ErrClosed)
	case s.newest.token.usable(now):
		return s.held.Load().token, nil, nil
	case s.final() && !s.last.began.Before(began.Add(-negativeFor)):
		return nil, nil, s.last.err
	}
	s.wanted = later(s.wanted, began.Add(s.client.cfg.Wait))
	s.look(s.wanted)
	return nil, s.changed, s.last.err
}

// giveUp says why there is no token after all the waiting.
func (s *source) giveUp(err error) error {
	switch {
	case s.client.ctx.Err() != nil:
		return fmt.Errorf("%s: %w", s.cred, ErrClosed)
	case err == nil: // a token that has ended since it was read, or no reading at all
		err = fmt.Errorf("%s: %w: no answer yet", s.cred, ErrUnavailable)
	}
	return fmt.Errorf("%w (waited %s)", err, s.client.cfg.Wait)
}

// current reports whether the latest answer is as new as the latest news. The caller holds mu.
func (s *source) current() bool {
	return !s.last.began.IsZero() && !s.last.unanswered() && s.revision >= s.told
}

// final reports whether the latest answer would be the same again. The caller holds mu.
func (s *source) final() bool {
	return errors.Is(s.last.err, ErrPermission) || s.current() && settled(s.last.err)
}

// take stores what a look gave, and reports whether that ends the looking.
func (s *source) take(r reading) (done bool, failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return true, nil
	}
	failure = s.store(r)
	close(s.changed)
	s.changed = make(chan struct{})
	now := time.Now()
	if !s.satisfied(now) {
		if now.Before(s.until) {
			return false, failure
		}
		failure = errors.Join(failure, s.unsatisfied())
	}
	s.reading, s.told = false, s.revision
	s.schedule(now)
	return true, failure
}

// store takes over what is not older than what there is, and returns what its owner should know. The caller holds mu.
func (s *source) store(r reading) error {
	if errors.Is(r.err, ErrPermission) || r.unanswered() {
		s.last = r
		return nil
	}
	if r.revision < s.revision {
		return nil // a replica that lags
	}
	s.revision = r.revision
	if r.known() && s.newest.token.newer(r.token) {
		return fmt.Errorf("%s: the record went back from version %d to %d: the newer token is kept to its end",
			s.cred, s.newest.token.Version, r.token.Version)
	}
	s.last = r
	switch {
	case r.known():
		s.newest = r
		s.held.Store(&held{token: r.token.OAuth2(), until: endOf(r.token)})
	case withdrawn(r.err):
		s.newest = reading{token: Token{Generation: s.newest.token.Generation, Version: s.newest.token.Version}}
		s.held.Store(nil)
	case settled(r.err) && s.newest.known():
		return fmt.Errorf("keep fresh: %w", r.err) // the token there is serves to its end
	}
	return nil
}

// endOf returns when a token is no longer handed out, in Unix nanoseconds.
func endOf(t Token) int64 {
	if t.ExpiresAt.IsZero() {
		return math.MaxInt64
	}
	return t.ExpiresAt.Add(-early).UnixNano()
}

// drop forgets everything: the client is closed.
func (s *source) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = true
	s.held.Store(nil)
	s.newest = reading{}
	if s.timer != nil {
		s.timer.Stop()
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
