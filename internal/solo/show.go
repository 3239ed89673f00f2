package solo

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Tries are the commands that dev suggests; each works from another terminal.
func Tries(credential string) []string {
	return []string{
		"freshet ls",
		"freshet show " + credential,
		"freshet token " + credential,
		"freshet token " + credential + " --min-ttl 5s",
		"freshet refresh " + credential,
		"freshet events --since 1m",
		"freshet pause " + credential + "; freshet resume " + credential,
	}
}

// banner says what runs where and what to try.
func (d *dev) banner(env string) {
	w := d.cfg.Out
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-22s"+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(w, "\nfreshet dev %s    DEV MODE: throwaway data, loopback only, not for production\n\n", app.Version())
	line("NATS", "nats-server %s in this process, port %s", d.node.server.Version(), d.node.server.Port())
	line("Authorization server", "%s, rotation %s, access tokens live %s", d.authURL, d.cfg.Rotation, d.cfg.Lifetime)
	line("Processes", "scheduler-1, worker-1, worker-2")
	line("Credentials", "%d, enrolled by authorization code + PKCE", d.cfg.Credentials)
	line("Data", "%s, removed at the end", d.node.dir)
	fmt.Fprintf(w, "\n  Try next, in another terminal:\n\n    source %s\n", env)
	if len(d.accounts) > 0 {
		for _, t := range Tries(devProvider + "/" + d.accounts[0]) {
			fmt.Fprintf(w, "    %s\n", t)
		}
	}
	fmt.Fprintln(w)
}

// listen hears every event from now on.
func (d *dev) listen(ctx context.Context, b *broker.Broker) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		cfg := events.SubscribeConfig{Names: b.Names(), OnReady: func() { close(ready) }}
		done <- events.Live(ctx, b.Conn(), cfg, func(e events.Event) {
			d.counts.heard(e)
			d.printer.event(e)
		})
	}()
	select {
	case <-ready:
		return func() { cancel(); <-done }, nil
	case err := <-done:
		cancel()
		return nil, err
	}
}

func (d *dev) result(r refresh.Result) {
	d.counts.result(r)
	d.printer.result(r)
}

// printer prints one line for each event. What only the worker knows (itself, how long it took, how early it was)
// comes with the attempt's result, a moment after the event.
type printer struct {
	out io.Writer

	mu      sync.Mutex
	started bool
	results map[string]refresh.Result
	waiting map[string]events.Event
}

func newPrinter(out io.Writer) *printer {
	return &printer{out: out, results: make(map[string]refresh.Result), waiting: make(map[string]events.Event)}
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
	case e.Data.Attempt != "" && e.Data.Reason != events.ReasonEnrolled && e.Data.Account != "":
		p.waiting[e.Data.Attempt] = e
	default:
		p.line(e, nil)
	}
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
	about := e.Data.Provider
	if e.Data.Account != "" {
		about = e.Data.Credential().String()
	}
	text := fmt.Sprintf("%s  %-21s  %-14s", e.Time.Local().Format("15:04:05.000"), e.Type, about)
	switch {
	case r != nil:
		text += fmt.Sprintf("  v%d → v%d  %s  %s  %d ms", r.Before, r.After, early(r.Margin), r.Worker, r.Total.Milliseconds())
	case e.Data.Version != 0:
		text += fmt.Sprintf("  v%d", e.Data.Version)
	}
	if e.Data.Class != "" {
		text += "  " + e.Data.Class + " " + e.Data.Code
	}
	fmt.Fprintln(p.out, text)
}

func early(margin time.Duration) string {
	if margin < 0 {
		return fmt.Sprintf("%5.1fs AFTER expiry", -margin.Seconds())
	}
	return fmt.Sprintf("%5.1fs before expiry", margin.Seconds())
}
