package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
)

// auditLog returns what writes down what is typed here.
func (c *cli) auditLog(b *broker.Broker) *audit.Log {
	return app.AuditLog(b, "freshet", cliSource, func(err error) { fmt.Fprintln(c.err, "freshet:", err) })
}

// note writes an audit entry, before what it speaks of is done. Without one a person hears it, and it is done all the same.
func (c *cli) note(ctx context.Context, b *broker.Broker, e audit.Entry) { c.auditLog(b).Note(ctx, e) }

// about is an entry about what an argument names: a provider, or one of its credentials. What is no name is refused later.
func about(a audit.Action, arg string) audit.Entry {
	if cred, err := events.ParseCredential(arg); err == nil {
		return audit.About(a, cred)
	}
	return audit.About(a, events.Credential{Provider: arg})
}

// saying is an entry about no provider.
func saying(a audit.Action, format string, args ...any) audit.Entry {
	return audit.Entry{Action: a, Data: audit.Data{Detail: fmt.Sprintf(format, args...)}}
}

// noteKeys writes down a step of a rotation. It is done to a file, and NATS need not be there for it.
func (c *cli) noteKeys(ctx context.Context, format string, args ...any) {
	b, closeConn, err := c.connect()
	if err != nil {
		fmt.Fprintf(c.err, "freshet: not written down who does this: %v\n", err)
		return
	}
	defer closeConn()
	c.note(ctx, b, saying(audit.KeysRotated, format, args...))
}

// importNotes are the two entries of an import.
type importNotes struct {
	log *audit.Log
	id  string // of the first

	mu     sync.Mutex
	counts map[string]int // by provider
}

// begin writes the first.
func (n *importNotes) begin(ctx context.Context, from string) {
	n.counts = make(map[string]int)
	n.id = n.log.Note(ctx, saying(audit.Imported, "begin, from %s", from))
}

// stored counts a grant.
func (n *importNotes) stored(cred events.Credential) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[cred.Provider]++
}

// end writes the second, also where the import was stopped.
func (n *importNotes) end(ctx context.Context, bad int) {
	e := saying(audit.Imported, "end, %d bad", bad)
	e.Data.Begin, e.Data.Counts = n.id, n.counts
	n.log.Note(context.WithoutCancel(ctx), e)
}

// nameOf is how an input is called.
func nameOf(args []string) string {
	if len(args) == 1 && args[0] != "-" {
		return args[0]
	}
	return "standard input"
}
