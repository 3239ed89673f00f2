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

// Get reads the current tokens of many credentials, PROVIDER/ACCOUNT each, and returns one Result for each id, in their
// order. It asks the bucket every time, many ids at once, and does not wait for a newer token; a program that uses a
// credential again and again is better off with TokenSource. Any replica may answer, so a token that was replaced a
// moment ago may still come; it works until its end.
//
// The error is not about single ids: it is what ended ctx, or ErrClosed. What was read until then is returned with it.
func (c *Client) Get(ctx context.Context, ids ...string) ([]Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })()
	b := &batch{client: c, patience: time.Now().Add(c.cfg.Wait), results: make([]Result, len(ids))}
	for i, id := range ids {
		b.results[i].ID = id
	}
	var work sync.WaitGroup
	for range min(window, len(ids)) {
		work.Go(func() { b.work(ctx) })
	}
	work.Wait()
	if err := context.Cause(ctx); err != nil {
		return b.results, fmt.Errorf("get tokens: %w", err)
	}
	return b.results, nil
}

// batch is one Get at work. Each result belongs to the worker that took its place.
type batch struct {
	client   *Client
	patience time.Time
	next     atomic.Int64
	results  []Result
}

// work takes ids until there are none left.
func (b *batch) work(ctx context.Context) {
	for {
		i := b.next.Add(1) - 1
		if i >= int64(len(b.results)) {
			return
		}
		b.results[i].fill(b.client.lookPatiently(ctx, b.results[i].ID, b.patience))
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
