package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// laneInfo is the part of a question for a lane between the API's prefix and the stream.
	laneInfo = "CONSUMER.INFO."
	// headerMsgID carries a rate slot.
	headerMsgID = "Nats-Msg-Id"
	// demandAhead is how many seconds' worth of jobs may wait in a lane with a rate: all of them go at once when a
	// lane that stood still moves again.
	demandAhead = 3
	// The server's words for "there is a job for this credential" and for a Msg-Id that is being stored.
	codeQueued            = 10077
	codeDuplicateInFlight = 10158
)

// apiError is what the server says of a request that it did not carry out.
type apiError struct {
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

// lane is what an asker needs to know of a provider's lane, the consumer on the jobs.
type lane struct {
	Error  *apiError `json:"error"`
	Config struct {
		Metadata map[string]string `json:"metadata"`
	} `json:"config"`
	Pending uint64    `json:"num_pending"`
	Paused  bool      `json:"paused"`
	At      time.Time `json:"ts"` // by the server's clock
}

// rate returns the rate that the provider's jobs keep; 0: none.
func (l lane) rate() (provider.Rate, error) {
	text, ok := l.Config.Metadata[provider.LaneRate]
	if !ok {
		return 0, nil
	}
	var r provider.Rate
	err := r.UnmarshalText([]byte(text))
	return r, err
}

// queue asks for a refresh. It succeeds without having asked where the queue holds a job already, or the lane is
// full: the caller comes back. Errors: ErrPermission, ErrUnavailable, also while the lane is paused, which may pass.
func (c *Client) queue(cred events.Credential, job refresh.Job) error {
	ctx, cancel := context.WithTimeout(c.ctx, maxDemand) // slots may be contested
	defer cancel()
	l, err := c.lane(ctx, cred.Provider)
	if err != nil {
		return fmt.Errorf("%s: %w", cred, err)
	}
	rate, err := l.rate()
	if err != nil {
		return fmt.Errorf("%s: %w: its lane's %w", cred, ErrUnavailable, err)
	}
	if l.Paused {
		return fmt.Errorf("%s: %w: its provider's lane is paused", cred, ErrUnavailable)
	}
	if !rate.IsZero() && float64(l.Pending) >= max(float64(rate)*demandAhead, 1) {
		return nil
	}
	if err := c.publishJob(ctx, cred, job, slots{cred.Provider, rate, time.Until(l.At)}); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", cred, err)
	}
	return nil
}

// lane asks how a provider's lane is.
func (c *Client) lane(ctx context.Context, name string) (l lane, err error) {
	err = c.api(ctx, question{subject: laneInfo + c.names.JobsStream() + "." + name, api: true}, &l)
	if err == nil && l.Error != nil {
		err = fmt.Errorf("%w: lane of %s: %s: has it been applied?", ErrUnavailable, name, l.Error.Description)
	}
	return l, err
}

// slots are the rate slots of a provider, in the server's time, which is so much ahead of ours.
type slots struct {
	provider string
	rate     provider.Rate // 0: there are none
	ahead    time.Duration
}

// publishJob queues the job in the next free slot.
func (c *Client) publishJob(ctx context.Context, cred events.Credential, job refresh.Job, s slots) error {
	q := question{subject: c.names.JobSubject(cred), data: job.Encode()}
	for {
		next := time.Now()
		if !s.rate.IsZero() {
			var slot string
			slot, next = s.rate.Slot(s.provider, next.Add(s.ahead))
			q.header = nats.Header{headerMsgID: {slot}}
		}
		taken, err := c.tryJob(ctx, q)
		if !taken || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Until(next.Add(-s.ahead))):
		}
	}
}

// tryJob publishes a job once, and reports whether its slot was taken.
func (c *Client) tryJob(ctx context.Context, q question) (taken bool, err error) {
	var ack struct {
		Error     *apiError `json:"error"`
		Duplicate bool      `json:"duplicate"`
	}
	if err := c.api(ctx, q, &ack); err != nil {
		return false, err
	}
	switch {
	case ack.Error == nil:
		return ack.Duplicate, nil
	case ack.Error.Code == codeQueued:
		return false, nil
	case ack.Error.Code == codeDuplicateInFlight:
		return true, nil
	default:
		return false, fmt.Errorf("%w: publish on %s: %s", ErrUnavailable, q.subject, ack.Error.Description)
	}
}

// api asks a question that is answered in JSON.
func (c *Client) api(ctx context.Context, q question, into any) error {
	q.json = true
	msg, err := c.direct.ask(ctx, q)
	switch {
	case err != nil:
		return err
	case msg.Header.Get(headerStatus) != "":
		return fmt.Errorf("%w: nobody answers on %s", ErrUnavailable, q.subject)
	}
	if err := json.Unmarshal(msg.Data, into); err != nil {
		return errors.Join(ErrUnavailable, fmt.Errorf("answer on %s: %w", q.subject, err))
	}
	return nil
}
