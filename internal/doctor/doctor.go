// Package doctor looks at an installation and says, line by line, what is well, what a person should look at and what does not
// work, each with what to do: NATS and its limits, the assets, clocks, providers, lanes, records, keys, journals, and the
// permissions of a role.
//
// # Invariants
//
//   - Nothing is changed: no record, job, event or lane. What cannot be seen without is not looked at, and the line says so.
//   - No line shows token material.
//   - Whatever the number of credentials, memory holds counts and a few names.
//
// # Concurrency
//
// Examine runs in the caller's goroutine, one check after the other.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Config says what to look at. Broker is required, but for Journals.
type Config struct {
	Broker *broker.Broker
	// Grant and Access are keysets; nil: what they would open is not looked into.
	Grant, Access *seal.Keyset
	// Keys opens every record.
	Keys bool
	// Role is probed for the connected user; empty: none is.
	Role  permissions.Role
	Scope permissions.Scope
	// Monitors are the addresses of NATS' monitoring ports, http://HOST:8222, which tell the sync policy.
	Monitors []string
	// Offline asks no provider.
	Offline bool
	// StateDirs are those of workers and exchangers on this machine.
	StateDirs []string
	// Progress hears how many records have been opened. Optional.
	Progress func(done int)
}

// Report takes the lines, as they are found.
type Report func(probe.Check)

// examiner is one examination.
type examiner struct {
	Config
	report  Report
	missing bool            // a bucket or stream is: what is in them is not looked for
	resting map[string]bool // providers whose lane is paused
}

// Examine makes all checks that do not need what is missing. Only the end of ctx stops it; all else that goes wrong is a line.
func Examine(ctx context.Context, cfg Config, report Report) error {
	e := &examiner{Config: cfg, report: report, resting: make(map[string]bool)}
	for _, check := range []func(context.Context){e.server, e.limits, e.assets, e.streams, e.syncPolicy, e.content, e.role} {
		if check(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	Journals(cfg.StateDirs, time.Now(), report)
	return nil
}

// content looks at what is in the assets, if they are there.
func (e *examiner) content(ctx context.Context) {
	for _, check := range []func(context.Context){e.clock, e.providers, e.records, e.keys} {
		if !e.missing && ctx.Err() == nil {
			check(ctx)
		}
	}
}

func (e *examiner) ok(name, format string, args ...any) {
	e.report(probe.Check{Name: name, Result: probe.OK, Found: fmt.Sprintf(format, args...)})
}

func (e *examiner) warn(name, found, advice string) {
	e.report(probe.Check{Name: name, Result: probe.Warn, Found: found, Advice: advice})
}

func (e *examiner) fail(name, found, advice string) {
	e.report(probe.Check{Name: name, Result: probe.Fail, Found: found, Advice: advice})
}

// trouble is the line of a check that could not be made.
func (e *examiner) trouble(name string, err error) {
	switch {
	case errors.Is(err, broker.ErrPermission):
		e.warn(name, "this user may not look: "+oneLine(err), "run doctor as the operator to see it; see freshet permissions --role operator")
	case errors.Is(err, broker.ErrNotSetUp):
		e.fail(name, "Freshet is not set up here", "run freshet setup, or look for another --server or --namespace")
	case errors.Is(err, nats.ErrNoResponders):
		e.fail(name, "JetStream does not answer: "+oneLine(err), "enable JetStream on the server and for this account, or wait until its cluster has a leader")
	default:
		e.fail(name, oneLine(err), "check that NATS answers, and look into its log")
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// quote names a few of many.
func quote(names []string, all int) string {
	text := strings.Join(names, ", ")
	if all > len(names) {
		text += fmt.Sprintf(" and %d more", all-len(names))
	}
	return text
}
