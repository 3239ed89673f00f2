package exchanger

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Pauses between two requests for the same attempt.
const (
	firstPause = 10 * time.Millisecond
	maxPause   = 250 * time.Millisecond
)

// trip is one attempt on its way through an exchanger, possibly through several lives of it.
type trip struct {
	client   *Client
	id       string
	request  refresh.Request
	started  time.Time
	call     call
	body     []byte
	maybe    bool  // a request went out and nothing came back: it may have been taken
	absent   bool  // an exchanger was not there when it was wanted
	lastWord error // what the last try ended with
}

// Exchange implements refresh.Exchanger. It asks for the same attempt until its outcome is here, or until it is sure
// that the attempt was not and will not be sent, or until the deadline and a moment for the handover are over.
func (c *Client) Exchange(ctx context.Context, r refresh.Request) refresh.Outcome {
	t := &trip{client: c, id: r.Ticket.Attempt, request: r, started: time.Now()}
	t.call = newCall(r, "", c.clock.now())
	wait, cancel := context.WithDeadline(context.WithoutCancel(ctx), r.Deadline.Add(handover))
	defer cancel()
	pause := firstPause
	for {
		if out, done := t.try(ctx, wait); done {
			return out
		}
		if !sleep.For(wait, pause) {
			return t.end()
		}
		pause = min(2*pause, maxPause)
	}
}

// try asks once. done is false when it makes sense to ask again.
func (t *trip) try(ctx, wait context.Context) (out refresh.Outcome, done bool) {
	if over := t.call.Latest.left(t.client.clock.now()) <= 0; !t.maybe && (over || ctx.Err() != nil) {
		return t.end(), true
	}
	h, err := t.ask(wait)
	t.lastWord = err
	var refused *refusal
	var unsent *unsentError
	switch {
	case err == nil:
		return t.arrive(h), true
	case errors.As(err, &refused):
		return t.refused(refused)
	case errors.As(err, &unsent):
		t.absent = true
	default:
		t.maybe = true
	}
	return out, false
}

// ask makes the request. From the first time on that an exchanger was met, the attempt can be sent from its store alone.
func (t *trip) ask(wait context.Context) (h held, err error) {
	if t.call.Store == "" {
		if t.call.Store, err = t.client.greet(wait); err != nil {
			return h, &unsentError{err}
		}
		if t.body, err = json.Marshal(t.call); err != nil {
			return h, &unsentError{err}
		}
	}
	if len(t.body) > maxCall {
		return h, refuse(refusedBad, "the request is too large")
	}
	err = t.client.roundTrip(wait, http.MethodPost, "/v1/attempts/"+t.id, t.body, &h)
	return h, err
}

// arrive reads the outcome. That of another attempt is no outcome.
func (t *trip) arrive(h held) refresh.Outcome {
	out, err := openOutcome(t.client.cfg.Keys, h)
	if err != nil || h.ID != t.id {
		t.maybe, t.lastWord = true, errors.New("the exchanger's outcome cannot be opened here")
		return t.end()
	}
	return out
}

// refused decides what a refusal means for the attempt as a whole. Only "late" speaks for earlier requests too.
func (t *trip) refused(r *refusal) (out refresh.Outcome, done bool) {
	switch r.Word {
	case refusedBusy, refusedStopping:
		return out, false
	case refusedLate:
		t.maybe = false
	case refusedGone:
		t.maybe = true
	case refusedForeign:
		t.client.setStore("")
		if !t.maybe { // no store has it: begin anew
			t.call.Store = ""
			return out, false
		}
	}
	return t.end(), true
}

// end is the outcome when there is none.
func (t *trip) end() refresh.Outcome {
	out := refresh.Outcome{Phase: refresh.PhaseNotSent, StartedAt: t.started, EndedAt: time.Now(), Err: "too little of the claim is left"}
	if t.maybe {
		out.Phase = refresh.PhaseSent
	}
	if t.lastWord != nil {
		out.Err = t.lastWord.Error()
	}
	var refused *refusal
	here := errors.As(t.lastWord, &refused) && refused.Word != refusedLate
	out.Local = !t.maybe && (t.absent || here)
	return out
}
