package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) showCommand() *cobra.Command {
	cmd := c.command("show PROVIDER/ACCOUNT", "Show one credential, without its secrets", "  freshet show acme/alice\n  freshet show acme/alice -o json", cobra.ExactArgs(1))
	c.outputFlag(cmd, formTable, formJSON)
	cmd.RunE = c.onCredential(func(ctx context.Context, b *broker.Broker, cred events.Credential) error {
		s, err := b.Get(ctx, cred)
		if err != nil {
			return fmt.Errorf("%s: %w", cred, err)
		}
		if s.Record.State == refresh.StateDeleted {
			return fmt.Errorf("%w: %s was removed", refresh.ErrNotFound, cred)
		}
		unconfirmed := s.Record.State == refresh.StateRevoked && len(s.Record.Grant)+len(s.Record.Access) > 0
		s.Record.Access, s.Record.Grant = nil, nil
		if c.output == formJSON {
			return printJSON(c.out, struct {
				refresh.Record
				Revision uint64 `json:"revision"`
			}{s.Record, s.Revision})
		}
		if unconfirmed {
			fmt.Fprintf(c.err, "freshet: the provider has not confirmed that %s is revoked: run freshet revoke %s again\n", cred, cred)
		}
		return c.showTable(&s.Record, s.Revision, time.Now())
	})
	return cmd
}

// showTable prints what is known of a record, line by line; what does not apply is left out.
func (c *cli) showTable(r *refresh.Record, revision uint64, now time.Time) error {
	var lines [][]string
	line := func(applies bool, name, format string, args ...any) {
		if applies {
			lines = append(lines, []string{name + ":", strings.TrimSpace(fmt.Sprintf(format, args...))})
		}
	}
	line(true, "Credential", "%s", r.Credential())
	line(true, "State", "%s", r.State)
	if p := r.Paused; p != nil {
		line(true, "Paused", "by %s %s", p.By, p.Reason)
	}
	line(true, "Version", "%d (generation %d, revision %d)", r.Version, r.Generation, revision)
	line(true, "Grant", "%s", r.GrantID)
	line(len(r.Scopes) > 0, "Scopes", "%s", strings.Join(r.Scopes, " "))
	line(len(r.Narrowed) > 0, "Not granted", "%s", strings.Join(r.Narrowed, " "))
	line(true, "Issued", "%s", relative(r.IssuedAt, now))
	line(true, "Expires", "%s", relative(r.ExpiresAt, now))
	line(true, "Refresh", "%s", relative(r.RefreshAt, now))
	line(!r.GrantExpiresAt.IsZero(), "Grant ends", "%s", relative(r.GrantExpiresAt, now))
	if cl := r.Claim; cl != nil {
		line(true, "Claimed", "by %s, attempt %s", cl.Worker, cl.Attempt)
	}
	if d := r.Doubt; d != nil {
		line(true, "Doubt", "attempt %s, first sent %s", d.Attempt, relative(d.FirstSentAt, now))
	}
	if f := r.Failure; f != nil {
		line(true, "Failure", "%s, %d in a row, first %s", strings.TrimSpace(string(f.Class)+" "+f.Code), f.Count, relative(f.Since, now))
	}
	return printTable(c.out, lines)
}
