package exchanger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// pollWait is how long one request for held outcomes waits. An exchanger that is frozen is noticed after pollWait
	// and pollSlack, one that was killed at once.
	pollWait  = 5 * time.Second
	pollSlack = 2 * time.Second
	// maxRest is the longest pause between two calls at an exchanger that does not answer.
	maxRest = time.Second
	// maxAcks is how many ids one acknowledgement names.
	maxAcks = 1000
)

// Take puts a collected outcome into the worker's journal. With a phase other than refresh.PhaseAnswered it says less than
// an entry for the same attempt that is there already, and must not replace it.
type Take func(e refresh.Entry, phase refresh.Phase) error

// Run collects outcomes that nobody waits for, acknowledges what Acknowledge was told, and watches whether the exchanger is
// there, until ctx ends. The client becomes Ready when it has collected once.
func (c *Client) Run(ctx context.Context, take Take) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.acknowledge(ctx) })
	defer wg.Wait()
	rest, wait := firstPause, time.Duration(0)
	for ctx.Err() == nil {
		err := c.collect(ctx, wait, take)
		if ctx.Err() != nil {
			return nil
		}
		c.reached(err)
		if err == nil {
			rest, wait = firstPause, pollWait
			continue
		}
		sleep.For(ctx, rest)
		rest, wait = min(2*rest, maxRest), 0
	}
	return nil
}

// Drain collects what nobody waits for at the moment, before Run goes on with it. The error is that of Ready.
func (c *Client) Drain(ctx context.Context, take Take) error {
	c.reached(c.collect(ctx, 0, take))
	return c.Ready()
}

// collect asks once for outcomes, journals and acknowledges them. An exchanger that takes no attempts is an error.
func (c *Client) collect(ctx context.Context, wait time.Duration, take Take) error {
	ctx, cancel := context.WithTimeout(ctx, wait+pollSlack)
	defer cancel()
	store, err := c.greet(ctx)
	if err != nil {
		return err
	}
	var list heldList
	if err := c.roundTrip(ctx, http.MethodGet, "/v1/held?wait="+wait.String(), nil, &list); err != nil {
		c.setStore("")
		return err
	}
	if err := c.takeAll(ctx, list.Held, take); err != nil {
		return err
	}
	if list.Status.Store != store { // another process is there now: do its keys fit?
		c.setStore("")
		if _, err := c.greet(ctx); err != nil {
			return err
		}
	}
	if list.Status.Refusing != "" {
		return errors.New(list.Status.Refusing)
	}
	return nil
}

func (c *Client) takeAll(ctx context.Context, all []held, take Take) error {
	var ids []string
	var faults []error
	for _, h := range all {
		out, _ := openOutcome(c.cfg.Keys, h) // what does not open here is for a person to see in the journal
		if err := take(refresh.Entry{ID: h.ID, Key: h.Key, Data: h.Data}, out.Phase); err != nil {
			faults = append(faults, fmt.Errorf("take over an outcome: %w", err))
			continue
		}
		ids = append(ids, h.ID)
	}
	if len(ids) > 0 {
		faults = append(faults, c.postAcks(ctx, ids))
	}
	return errors.Join(faults...)
}

// Find asks after one attempt's outcome, and acknowledges it once take has it. found is false where the exchanger has
// none and will have none: it never took the attempt, or has given the outcome away. An error means that this is not known now.
func (c *Client) Find(ctx context.Context, id string, take Take) (e refresh.Entry, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollSlack)
	defer cancel()
	var h held
	var refused *refusal
	err = c.roundTrip(ctx, http.MethodGet, "/v1/attempts/"+id, nil, &h)
	switch {
	case errors.As(err, &refused) && (refused.Word == refusedUnknown || refused.Word == refusedGone):
		return e, false, nil
	case err != nil:
		return e, false, fmt.Errorf("ask for the outcome of attempt %s: %w", id, err)
	}
	if err := c.takeAll(ctx, []held{h}, take); err != nil {
		return e, false, err
	}
	return refresh.Entry{ID: h.ID, Key: h.Key, Data: h.Data}, true, nil
}

// reached notes whether attempts may start, and tells of a change.
func (c *Client) reached(err error) {
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c.mu.Lock()
	news := !c.met || (c.down == nil) != (err == nil)
	c.met, c.down = true, err
	if news && err == nil {
		close(c.back)
		c.back = make(chan struct{})
	}
	c.mu.Unlock()
	if news {
		c.cfg.OnReach(err)
	}
}

// Acknowledge says that the attempt's outcome is in the worker's journal. It returns at once; Run and Close tell the
// exchanger.
func (c *Client) Acknowledge(id string) {
	c.mu.Lock()
	c.acks = append(c.acks, id)
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// acknowledge tells the exchanger until ctx ends; what comes while one call is under way goes with the next.
func (c *Client) acknowledge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		}
		for rest := firstPause; ctx.Err() == nil && c.sendAcks(ctx) != nil; rest = min(2*rest, maxRest) {
			sleep.For(ctx, rest)
		}
	}
}

// sendAcks tells the exchanger what it does not know yet.
func (c *Client) sendAcks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollSlack)
	defer cancel()
	for {
		ids := c.nextAcks()
		if len(ids) == 0 {
			return nil
		}
		if err := c.postAcks(ctx, ids); err != nil {
			c.mu.Lock()
			c.acks = append(ids, c.acks...)
			c.mu.Unlock()
			return err
		}
	}
}

func (c *Client) nextAcks() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.acks), maxAcks)
	ids := c.acks[:n:n]
	c.acks = c.acks[n:]
	return ids
}

func (c *Client) postAcks(ctx context.Context, ids []string) error {
	body, err := json.Marshal(acknowledgement{IDs: ids})
	if err != nil {
		return fmt.Errorf("acknowledge outcomes: %w", err)
	}
	if err := c.roundTrip(ctx, http.MethodPost, "/v1/acknowledged", body, nil); err != nil {
		return fmt.Errorf("acknowledge outcomes: %w", err)
	}
	return nil
}
