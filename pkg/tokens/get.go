package tokens

import (
	"context"
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
	for range min(runs, (len(cold)+runLength-1)/runLength) {
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

// work takes runs of ids until there are none left.
func (b *batch) work(ctx context.Context) {
	for {
		end := int(b.next.Add(runLength))
		if end-runLength >= len(b.cold) {
			return
		}
		b.run(ctx, b.cold[end-runLength:min(end, len(b.cold))])
	}
}

// fill takes over a reading. A token that must not be used is not handed out.
func (r *Result) fill(got reading) {
	r.Token, r.Err = got.token, got.err
	if got.err != nil {
		r.Token.AccessToken = seal.Secret{}
	}
}

// run reads a run of places together, until each has an answer, or patience or ctx ends.
func (b *batch) run(ctx context.Context, places []int) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		places = b.look(ctx, places)
		if len(places) == 0 || time.Now().Add(pause).After(b.patience) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// look reads a run of places once, and returns those that had no answer. Once ctx has ended they have no other.
func (b *batch) look(ctx context.Context, places []int) (unanswered []int) {
	var asked []int
	var creds []events.Credential
	var questions []question
	for _, i := range places {
		cred, err := events.ParseCredential(b.results[i].ID)
		switch {
		case err != nil:
			b.results[i].fill(reading{err: err})
		case ctx.Err() != nil:
			b.results[i].fill(reading{err: fmt.Errorf("%s: %w", cred, context.Cause(ctx))})
		default:
			asked, creds, questions = append(asked, i), append(creds, cred), append(questions, b.client.question(cred))
		}
	}
	for k, a := range b.client.direct.askAll(ctx, questions) {
		r := b.client.reading(creds[k], a.msg, a.err)
		b.results[asked[k]].fill(r)
		if r.unanswered() {
			unanswered = append(unanswered, asked[k])
		}
	}
	return unanswered
}
