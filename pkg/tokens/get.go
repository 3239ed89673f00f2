package tokens

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Result is what Get found for one id.
type Result struct {
	ID string
	// Token is the token. With ErrExpired and ErrReauthRequired it tells what is known of the one that has ended, without
	// the AccessToken itself; with any other error it is zero.
	Token Token
	// Err says why there is no token: a malformed id (events.ErrName), ErrNotFound, ErrRevoked, ErrReauthRequired,
	// ErrExpired, ErrPermission, ErrUnavailable after Config.Wait, or a record that does not open.
	Err error
}

// Get returns the current tokens of many credentials, PROVIDER/ACCOUNT each: one Result for each id, in their order. What is
// kept fresh, because a TokenSource, Token, Transport or OnChange asked for it, comes from memory. The others are read from the
// bucket, many at once, and forgotten again: Get keeps nothing fresh by itself, so that a batch over a million accounts
// leaves nothing behind. It does not wait for a newer token. Any replica may answer a read, so a token that was replaced
// a moment ago may still come; it works until its end. Scopes and Meta are shared: do not change them.
//
// The error is not about single ids: it is what ended ctx, or ErrClosed. What was read until then is returned with it.
func (c *Client) Get(ctx context.Context, ids ...string) ([]Result, error) {
	results := make([]Result, len(ids))
	cold := c.fromMemory(results, ids)
	if len(cold) == 0 {
		return results, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })()
	b := &batch{client: c, patience: time.Now().Add(c.cfg.Wait), results: results, cold: cold}
	var work sync.WaitGroup
	for range min(window, len(cold)) {
		work.Go(func() { b.work(ctx) })
	}
	work.Wait()
	if err := context.Cause(ctx); err != nil {
		return b.results, fmt.Errorf("get tokens: %w", err)
	}
	return b.results, nil
}

// fromMemory fills in what is kept fresh, and returns the places of the others.
func (c *Client) fromMemory(results []Result, ids []string) (cold []int) {
	now := c.now.Load()
	for i, id := range ids {
		results[i].ID = id
		if h := c.tokens.warm(id, now); h != nil {
			results[i].Token = h.full
		} else {
			cold = append(cold, i)
		}
	}
	return cold
}

// batch is one Get at work. Each result belongs to the worker that took its place.
type batch struct {
	client   *Client
	patience time.Time
	next     atomic.Int64
	cold     []int // places that memory could not fill
	results  []Result
}

// work takes ids until there are none left.
func (b *batch) work(ctx context.Context) {
	for {
		i := b.next.Add(1) - 1
		if i >= int64(len(b.cold)) {
			return
		}
		r := &b.results[b.cold[i]]
		r.fill(b.client.lookPatiently(ctx, r.ID, b.patience))
	}
}

// fill takes over a reading. A token that must not be used is not handed out.
func (r *Result) fill(got reading) {
	r.Token, r.Err = got.token, got.err
	if got.err != nil {
		r.Token.AccessToken = seal.Secret{}
	}
}

// lookPatiently looks until there is an answer, or patience or ctx ends.
func (c *Client) lookPatiently(ctx context.Context, id string, patience time.Time) reading {
	cred, err := events.ParseCredential(id)
	if err != nil {
		return reading{err: err}
	}
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		if ctx.Err() != nil {
			return reading{err: fmt.Errorf("%s: %w", cred, context.Cause(ctx))}
		}
		r := c.look(ctx, cred)
		if !errors.Is(r.err, ErrUnavailable) || time.Now().Add(pause).After(patience) {
			return r
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
