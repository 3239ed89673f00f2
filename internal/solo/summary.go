package solo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrBroken says that the guarantees did not hold.
var ErrBroken = errors.New("the ledger of the authorization server and our own count do not agree")

// counts is what we saw ourselves.
type counts struct {
	jobs, attempts, ok, late, events atomic.Int64
}

func (c *counts) published(string, events.Reason) { c.jobs.Add(1) }

func (c *counts) heard(e events.Event) {
	if e.Type == events.TokenUpdated {
		c.events.Add(1)
	}
}

func (c *counts) result(r refresh.Result) {
	if r.Attempt == "" {
		return
	}
	c.attempts.Add(1)
	if r.Class == refresh.ClassOK {
		c.ok.Add(1)
		if r.Margin < 0 {
			c.late.Add(1)
		}
	}
}

// eventsWithin is how long the last events may take to arrive.
const eventsWithin = 2 * time.Second

// summary compares the ledger with what the bucket holds and what subscribers heard.
func (d *dev) summary(b *broker.Broker) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	held, versions, expired, err := d.stored(ctx, b)
	if err != nil {
		return err
	}
	for end := time.Now().Add(eventsWithin); d.counts.events.Load() < versions && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	l, lost := d.auth.Ledger(), d.auth.Lost(held)
	enrolled := int64(len(d.accounts))
	w := d.cfg.Out
	fmt.Fprintf(w, "\n  Authorization server   %d refreshes answered, %d rotations, %d replayed, %d concurrent, %d lost, %d last tries\n",
		l.Refreshes, l.Rotations, l.Replayed, l.Concurrent, len(lost), l.LastTries)
	fmt.Fprintf(w, "  Freshet                %d jobs, %d attempts, %d versions (%d enrolled), %d events, %d renewed too late, %d expired now\n",
		d.counts.jobs.Load(), d.counts.attempts.Load(), versions, enrolled, d.counts.events.Load(), d.counts.late.Load(), expired)
	if d.cfg.Seed != 0 {
		fmt.Fprintf(w, "  Seed                   %d\n", d.cfg.Seed)
	}
	broken := l.Replayed != 0 || l.Concurrent != 0 || len(lost) != 0 ||
		l.Refreshes+enrolled != versions || d.counts.ok.Load()+enrolled != versions || d.counts.events.Load() != versions
	if broken {
		return ErrBroken
	}
	return nil
}

// stored reads what the bucket holds in the end: each account's refresh token, how many versions there were, and
// how many access tokens have ended.
func (d *dev) stored(ctx context.Context, b *broker.Broker) (held map[string]string, versions, expired int64, err error) {
	held = make(map[string]string)
	keys := d.node.keys(b)
	mine := make(map[string]bool, len(d.accounts))
	for _, a := range d.accounts {
		mine[a] = true
	}
	err = b.Records(ctx, devProvider+".>", func(s refresh.Stored, err error) error {
		if err != nil {
			return err
		}
		if !mine[s.Record.Account] {
			return nil // brought by the user, and judged by nobody
		}
		g, err := keys.OpenGrant(&s.Record)
		if err != nil {
			return err
		}
		held[s.Record.Account] = g.RefreshToken.Reveal()
		versions += int64(s.Record.Version)
		if !s.Record.ExpiresAt.IsZero() && s.Record.ExpiresAt.Before(b.Now()) {
			expired++
		}
		return nil
	})
	return held, versions, expired, err
}
