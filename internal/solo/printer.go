package solo

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// listen hears every event from now on.
func (d *dev) listen(ctx context.Context, b *broker.Broker) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		cfg := events.SubscribeConfig{
			Names: b.Names(), OnReady: func() { close(ready) },
			OnError: func(err error) { d.cfg.Log.Warn().Err(err).Msg("listening for events goes on") },
		}
		done <- events.Live(ctx, b.Conn(), cfg, func(e events.Event) {
			d.printer.event(e)
			d.counts.heard(e)
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		return nil, err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.watch(ctx, b)
	}()
	return func() { cancel(); <-done; <-watched }, nil
}

// watchAgain is how long it takes to watch the records again after a watch was lost.
const watchAgain = time.Second

// watch hears of every record until ctx ends.
func (d *dev) watch(ctx context.Context, b *broker.Broker) {
	for ctx.Err() == nil {
		err := b.WatchRecords(ctx, broker.WatchConfig{}, d.counts.record, func() {})
		if err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn().Err(err).Msg("watching the records goes on")
		}
		sleep.For(ctx, watchAgain)
	}
}

func (d *dev) result(r refresh.Result) {
	d.counts.result(r)
	d.printer.result(r)
}

// printer prints one line for each event. What only the worker knows comes with the attempt's result, a moment before or
// after the event. mu guards everything below it, and makes a line one write.
type printer struct {
	out    io.Writer
	layout Layout

	mu      sync.Mutex
	started bool
	results map[string]refresh.Result
	waiting map[string]events.Event
}

func newPrinter(out io.Writer, layout Layout) *printer {
	return &printer{out: out, layout: layout, results: make(map[string]refresh.Result), waiting: make(map[string]events.Event)}
}

// start lets lines through; what was enrolled before is not news.
func (p *printer) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
}

func (p *printer) event(e events.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return
	}
	r, ok := p.results[e.Data.Attempt]
	switch {
	case ok:
		delete(p.results, e.Data.Attempt)
		p.line(e, &r)
	case attempted(e):
		p.waiting[e.Data.Attempt] = e
	default:
		p.line(e, nil)
	}
}

// attempted reports whether a worker's attempt is behind the event.
func attempted(e events.Event) bool {
	return e.Data.Attempt != "" && e.Data.Reason != events.ReasonEnrolled
}

func (p *printer) result(r refresh.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Attempt == "" {
		return
	}
	if e, ok := p.waiting[r.Attempt]; ok {
		delete(p.waiting, r.Attempt)
		p.line(e, &r)
	} else if p.started {
		p.results[r.Attempt] = r
	}
}

func (p *printer) line(e events.Event, r *refresh.Result) {
	fmt.Fprintln(p.out, p.layout.Line(e, r))
}
