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
	if h := c.tokens.look(id); h != nil { // a shorter way to the same
		return h.source
	}
	s, err := c.source(id)
	if err != nil {
		return failing{err}
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
	asked  atomic.Bool          // since the last sweep, beside what held knows
	pins   int                  // who stays; the client's mu owns it

	mu     sync.Mutex
	last   reading // the latest answer that counted
	newest reading // the latest one with a token in it; held has the same token
	// unconfirmed: newest is from the cache file. It is handed out only when the bucket cannot be asked.
	unconfirmed bool
	revision    uint64        // the highest one seen
	told        uint64        // the one to see: the highest one heard of
	reading     bool          // a goroutine is at it
	until       time.Time     // how long it goes on trying
	wanted      time.Time     // until when somebody waits for a token to hand out
	changed     chan struct{} // closed after each reading
	poked       chan struct{} // there is news: do not pause
	timer       *time.Timer   // the next look without news
	demand      *demand       // the question for a newer token that is under way; nil: none
	answered    demanded      // what became of the last one
	dropped     bool
	// keepUntil is when the source may be forgotten if nobody asks it.
	keepUntil time.Time
	// reauth: the record, when last read, said that a person must act.
	reauth bool
}

// held is a token as it is handed out. Only asked changes.
type held struct {
	// The first cache line says whether it is the one.
	until int64       // when it is handed out no longer, in Unix nanoseconds
	asked atomic.Bool // since it came, or the last sweep
	name  name

	token  *oauth2.Token
	source *source
	full   Token
	_      [24]byte // so that it begins with a cache line: four of them
}

// Token implements oauth2.TokenSource.
func (s *source) Token() (*oauth2.Token, error) {
	if h := s.warm(); h != nil {
		return h.token, nil
	}
	h, err := s.client.adopt(s).wait(s.client.ctx)
	if err != nil {
		return nil, err
	}
	return h.token, nil
}

// warm returns the token in memory; nil: there is none that may be handed out.
func (s *source) warm() *held {
	return s.held.Load().warm(s.client.now.Load())
}

// get is Token for somebody with a context.
func (s *source) get(ctx context.Context) (*held, error) {
	if h := s.warm(); h != nil {
		return h, nil
	}
	return s.client.adopt(s).wait(ctx)
}

// negativeFor is how long an answer without a token is taken for still true.
const negativeFor = time.Second

// patience returns when somebody with a context gives up: at its deadline, or after Config.Wait if it has none.
func (c *Client) patience(ctx context.Context) time.Time {
	if end, ok := ctx.Deadline(); ok {
		return end
	}
	return time.Now().Add(c.cfg.Wait)
}

// wait looks until there is a token, or an answer that will not change, or patience or ctx ends. After Config.Wait it looks
// but now and then, and relies on news.
func (s *source) wait(ctx context.Context) (*held, error) {
	began, end := time.Now(), s.client.patience(ctx)
	over := time.NewTimer(time.Until(end))
	defer over.Stop()
	look := time.NewTicker(s.client.cfg.Wait)
	defer look.Stop()
	eager := began.Add(s.client.cfg.Wait) // until then somebody looks all the time
	if end.Before(eager) {
		eager = end
	}
	for until := eager; ; {
		h, changed, err := s.answer(began, until)
		if h != nil || changed == nil {
			return h, err
		}
		select {
		case <-changed:
			until = eager
		case <-look.C:
			until = time.Now().Add(time.Millisecond) // one look
		case <-over.C:
			return nil, s.giveUp(err, time.Since(began))
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return nil, s.giveUp(err, time.Since(began))
			}
			return nil, s.interrupted(ctx)
		case <-s.client.ctx.Done():
			return nil, fmt.Errorf("%s: %w", s.cred, ErrClosed)
		}
	}
}

// answer returns a token to hand out, or an error for good with no channel; otherwise it sees to it that somebody looks, until
// then at most, and returns the channel that tells of it, with the error so far.
func (s *source) answer(began, until time.Time) (*held, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch h := s.usable(time.Now()); {
	case s.dropped:
		return nil, nil, fmt.Errorf("%s: %w", s.cred, ErrClosed)
	case h != nil:
		return h, nil, nil
	case s.final() && !s.last.began.Before(began.Add(-negativeFor)):
		return nil, nil, s.last.err
	}
	if time.Now().Before(until) {
		s.wanted = later(s.wanted, until)
		s.look(until)
	}
	return nil, s.changed, s.last.err
}

// usable returns the token that may be handed out at now; nil: none. The caller holds mu.
func (s *source) usable(now time.Time) *held {
	if h := s.held.Load(); h != nil && s.newest.token.usable(now) {
		return h
	}
	return nil
}

// giveUp says why there is no token after all the waiting.
func (s *source) giveUp(err error, waited time.Duration) error {
	if err == nil { // a token that has ended since it was read, or no reading at all
		err = fmt.Errorf("%s: %w: no answer yet", s.cred, ErrUnavailable)
	}
	return fmt.Errorf("%w (waited %s)", err, waited.Round(time.Millisecond))
}

// interrupted says that somebody's context ended.
func (s *source) interrupted(ctx context.Context) error {
	if s.client.ctx.Err() != nil {
		return fmt.Errorf("%s: %w", s.cred, ErrClosed)
	}
	return fmt.Errorf("%s: %w", s.cred, context.Cause(ctx))
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
	s.broadcast()
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

// broadcast wakes everybody who waits. The caller holds mu.
func (s *source) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// store takes over what is not older than what there is, and returns what its owner should know. The caller holds mu.
func (s *source) store(r reading) error {
	if errors.Is(r.err, ErrPermission) || r.unanswered() {
		s.last = r
		if s.unconfirmed && r.unanswered() {
			s.hold(s.newest)
		}
		return nil
	}
	if r.revision < s.revision {
		return nil // a replica that lags
	}
	s.revision = r.revision
	if r.known() && s.newest.token.newer(r.token) {
		return s.wentBack(r)
	}
	s.last, s.unconfirmed = r, false
	s.reauth = r.reauth
	switch {
	case r.known():
		s.hold(r)
	case withdrawn(r.err):
		s.newest = reading{token: Token{Generation: s.newest.token.Generation, Version: s.newest.token.Version}}
		s.put(nil)
		s.client.cacheChanged()
	case settled(r.err) && s.newest.known():
		return fmt.Errorf("keep fresh: %w", r.err) // the token there is serves to its end
	}
	return nil
}

// hold makes the token of a reading the one that is handed out. The caller holds mu.
func (s *source) hold(r reading) {
	h := &held{until: endOf(r.token), token: r.token.OAuth2(), source: s, name: nameOf(s.cred), full: r.token}
	if old := s.held.Load(); old != nil && !r.token.newer(old.full) && old.until == h.until {
		h = old // a program may compare
	}
	s.newest = r
	s.put(h)
	s.client.cacheChanged()
}

// wentBack keeps the newer token there is. The caller holds mu.
func (s *source) wentBack(r reading) error {
	if s.unconfirmed {
		s.last, s.unconfirmed = reading{token: s.newest.token, began: r.began}, false
		s.hold(s.newest)
	}
	return fmt.Errorf("%s: the record went back from version %d to %d: the newer token is kept to its end",
		s.cred, s.newest.token.Version, r.token.Version)
}

// remember takes over a token of the cache file, if there is one.
func (s *source) remember(r reading, ok bool) {
	if ok {
		s.newest, s.unconfirmed = r, true
	}
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
	s.put(nil)
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
