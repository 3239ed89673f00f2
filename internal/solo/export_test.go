package solo

import (
	"io"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// What the tests look at.
var (
	DemoAccounts   = demoAccounts
	FirstLifetimes = firstLifetimes
	Quote          = quote
	AtMost         = atMost
	NewCounts      = newCounts
)

// Counts are what dev saw.
type Counts = counts

// Heard hears of an event.
func (c *counts) Heard(e events.Event) { c.heard(e) }

// Result hears of an attempt's end.
func (c *counts) Result(r refresh.Result) { c.result(r) }

// Record hears of a record's headers.
func (c *counts) Record(s broker.Seen) { c.record(s) }

// Timely reports whether a credential's tokens had to be renewed in time.
func (c *counts) Timely(cred events.Credential) bool { return c.timely(cred) }

// Each is what was seen of one credential.
func (c *counts) Each(cred events.Credential) (renewed, told int) {
	_, each := c.seen()
	return each[cred].Renewed, each[cred].Told
}

// Totals are what was seen of all.
func (c *counts) Totals() (attempts, told, late int) {
	t, _ := c.seen()
	return t.attempts, t.told, t.late
}

// Await is await.
var Await = (*counts).await

// Account is what everybody says of one demo account in the end.
type Account struct {
	Given, Stored, Renewed, Told int
	Late                         int
	Ended, Yours, Paused         bool
}

// Judge judges accounts by name.
func Judge(all map[string]Account, ledger authserver.Ledger, lost ...authserver.Loss) []string {
	in := &evidence{
		ledger: ledger, lost: lost, given: map[string]int{}, stored: map[string]int{}, each: map[events.Credential]tally{},
		ended: map[string]bool{}, timely: func(c events.Credential) bool { return !all[c.Account].Paused },
	}
	var names []string
	for name, a := range all {
		cred := demoCredential(name)
		names = append(names, name)
		in.given[name], in.stored[name], in.each[cred] = a.Given, a.Stored, tally{Renewed: a.Renewed, Told: a.Told, Late: a.Late}
		in.ended[name] = a.Ended
		if a.Yours {
			in.yours = append(in.yours, cred.String())
		}
	}
	return in.judge(names)
}

// Printer is a printer that has been started.
type Printer struct{ p *printer }

// NewPrinter returns one that writes to out.
func NewPrinter(out io.Writer) Printer { return Printer{newPrinter(out, Layout{})} }

// Start starts it.
func (p Printer) Start() { p.p.start() }

// Event is an event that was heard.
func (p Printer) Event(e events.Event) { p.p.event(e) }

// Result is an attempt's end.
func (p Printer) Result(r refresh.Result) { p.p.result(r) }

// Tenths is tenths.
func Tenths(d time.Duration) string { return tenths(d) }
