package solo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrBroken says that the guarantees did not hold; what did not is in the summary.
var ErrBroken = errors.New("the guarantees did not hold: see the summary")

const (
	// eventsWithin is how long the last events may take to arrive.
	eventsWithin = 2 * time.Second
	// summaryWithin bounds the reading of the records.
	summaryWithin = 30 * time.Second
	// punctualFrom is the shortest lifetime whose tokens must all be renewed in time. Below it a scheduler that looks once a
	// second, and a machine with other things to do, may be late.
	punctualFrom = 10 * time.Second
)

// summary compares the ledger with what the bucket holds and what a subscriber heard.
func (d *dev) summary(b *broker.Broker) error {
	ctx, cancel := context.WithTimeout(context.Background(), summaryWithin)
	defer cancel()
	in, err := d.stored(ctx, b)
	if err != nil {
		return err
	}
	late, cancelLate := context.WithTimeout(ctx, eventsWithin)
	defer cancelLate()
	d.counts.await(late, in.versions)
	in.totals, in.each = d.counts.seen()
	if d.cfg.Lifetime >= punctualFrom {
		in.timely = d.counts.timely
	}
	in.ledger, in.lost = d.auth.Ledger(), d.auth.Lost(in.held)
	for _, account := range d.accounts {
		in.give(account, d.auth.Account(account).Grants)
	}
	faults := in.judge(d.accounts)
	in.print(d.cfg.Out, d.cfg.Seed)
	in.verdict(d.cfg.Out, faults)
	if len(faults) > 0 {
		return ErrBroken
	}
	return nil
}

// evidence is what everybody says in the end.
type evidence struct {
	ledger authserver.Ledger
	lost   []authserver.Loss
	given  map[string]int // access tokens by demo account, as the authorization server counts

	totals totals
	each   map[events.Credential]tally

	held              map[string]string // refresh tokens by demo account
	stored            map[string]int    // versions by demo account
	versions, expired int               // of all records
	ended             map[string]bool   // demo accounts whose token had ended when the run did
	enrolled          int               // generations of all records
	yours             []string          // credentials that the user brought or changed
	// timely says whose tokens had to be renewed in time; nil: nobody's.
	timely func(events.Credential) bool
}

// give notes what the authorization server gave to a demo account. Several grants are the user's doing: a login to the
// same account by way of another provider.
func (in *evidence) give(account string, grants []authserver.GrantState) {
	cred := demoCredential(account)
	switch {
	case len(grants) == 1:
		in.given[account] = grants[0].AccessTokens
	case len(grants) > 1 && !slices.Contains(in.yours, cred.String()):
		in.yours = append(in.yours, cred.String())
		delete(in.stored, account)
	}
}

func demoCredential(account string) events.Credential {
	return events.Credential{Provider: devProvider, Account: account}
}

// stored reads what the bucket holds in the end.
func (d *dev) stored(ctx context.Context, b *broker.Broker) (*evidence, error) {
	in := &evidence{given: make(map[string]int), held: make(map[string]string), stored: make(map[string]int), ended: make(map[string]bool)}
	demo := make(map[string]bool, len(d.accounts))
	for _, a := range d.accounts {
		demo[a] = true
	}
	keys := d.node.keys(b)
	err := b.Records(ctx, "", func(s refresh.Stored, err error) error {
		if err != nil {
			return err
		}
		r := &s.Record
		in.versions += int(r.Version)
		in.enrolled += int(r.Generation)
		if !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(d.over) {
			in.expired++
			if r.Provider == devProvider && d.counts.judged(r.ExpiresAt) {
				in.ended[r.Account] = true
			}
		}
		if r.Provider != devProvider || !demo[r.Account] || r.Generation != 1 || r.State.Withdrawn() {
			in.yours = append(in.yours, r.Credential().String())
			return nil
		}
		g, err := keys.OpenGrant(r)
		if err != nil {
			return fmt.Errorf("open the grant of %s: %w", r.Credential(), err)
		}
		in.held[r.Account], in.stored[r.Account] = g.RefreshToken.Reveal(), int(r.Version)
		return nil
	})
	return in, err
}

// judge says in words what does not agree; nothing when all does. Accounts that the user touched are nobody's fault.
func (in *evidence) judge(accounts []string) []string {
	var faults []string
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	fault(in.ledger.Replayed != 0, "spent refresh tokens were presented again, %d times", in.ledger.Replayed)
	fault(in.ledger.Concurrent != 0, "a refresh token was presented twice at once, %d times", in.ledger.Concurrent)
	for _, l := range in.lost {
		fault(true, "%s/%s is lost: its stored refresh token is %s", devProvider, l.Account, l.Why)
	}
	for _, a := range accounts {
		cred := demoCredential(a)
		given, stored, seen := in.given[a], in.stored[a], in.each[cred]
		if slices.Contains(in.yours, cred.String()) {
			continue
		}
		fault(given != stored || stored != seen.Told || stored != seen.Renewed+1,
			"%s was given %d access tokens; %d are stored, %d were told, %d refreshes worked", cred, given, stored, seen.Told, seen.Renewed)
		if in.timely != nil && in.timely(cred) {
			fault(seen.Late != 0, "%s was renewed after its token had ended, %d times", cred, seen.Late)
			fault(in.ended[a], "%s has a token that ended before it was renewed", cred)
		}
	}
	return faults
}

func (in *evidence) print(w io.Writer, seed uint64) {
	l, t := in.ledger, in.totals
	fmt.Fprintf(w, "\n  Authorization server   %d refreshes answered, %d rotations, %d replayed, %d concurrent, %d lost, %d last tries\n",
		l.Refreshes, l.Rotations, l.Replayed, l.Concurrent, len(in.lost), l.LastTries)
	fmt.Fprintf(w, "  Freshet                %d scheduled jobs, %d attempts, %d versions (%d enrolled), %d events, %d renewed too late, %d expired at the end\n",
		t.jobs, t.attempts, in.versions, in.enrolled, t.told, t.late, in.expired)
	if seed != 0 {
		fmt.Fprintf(w, "  Seed                   %d\n", seed)
	}
	if len(in.yours) > 0 {
		slices.Sort(in.yours)
		fmt.Fprintf(w, "  Not judged             %s: brought or changed by you\n", atMost(in.yours, ", "))
	}
}

// verdict says in words whether everything agrees.
func (in *evidence) verdict(w io.Writer, faults []string) {
	if len(faults) > 0 {
		fmt.Fprintf(w, "\n  NOT ALL AGREES:\n    %s\n", atMost(faults, "\n    "))
		return
	}
	versions := 0
	for _, n := range in.stored {
		versions += n
	}
	fmt.Fprintf(w, "\n  All agrees: the %d access tokens given to the %d demo accounts are each stored and told once;\n"+
		"  no refresh token was replayed, presented twice at once, or lost.\n", versions, len(in.stored))
}

// maxListed bounds a list in the summary.
const maxListed = 10

// atMost joins the first of many, and says how many more there are.
func atMost(all []string, separator string) string {
	if len(all) <= maxListed {
		return strings.Join(all, separator)
	}
	return strings.Join(all[:maxListed], separator) + separator + fmt.Sprintf("and %d more", len(all)-maxListed)
}
