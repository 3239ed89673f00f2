package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) showCommand() *cobra.Command {
	cmd := c.command("show PROVIDER/ACCOUNT", "Show one credential, without its secrets", "  freshet show acme/alice -o json", cobra.ExactArgs(1))
	c.outputFlag(cmd, formTable, formJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cred, err := events.ParseCredential(args[0])
		if err != nil {
			return err
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		s, err := b.Get(cmd.Context(), cred)
		if err != nil {
			return fmt.Errorf("%s: %w", cred, err)
		}
		s.Record.Access, s.Record.Grant = nil, nil
		if c.output == formJSON {
			return printJSON(c.out, struct {
				refresh.Record
				Revision uint64 `json:"revision"`
			}{s.Record, s.Revision})
		}
		return c.showTable(&s.Record, s.Revision, time.Now())
	}
	return cmd
}

func (c *cli) showTable(r *refresh.Record, revision uint64, now time.Time) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+":\t"+format+"\n", args...) }
	line("Credential", "%s", r.Credential())
	line("State", "%s", r.State)
	if p := r.Paused; p != nil {
		line("Paused", "by %s %s", p.By, p.Reason)
	}
	line("Version", "%d (generation %d, revision %d)", r.Version, r.Generation, revision)
	line("Grant", "%s", r.GrantID)
	if len(r.Scopes) > 0 {
		line("Scopes", "%v", r.Scopes)
	}
	line("Issued", "%s", relative(r.IssuedAt, now))
	line("Expires", "%s", relative(r.ExpiresAt, now))
	line("Refresh", "%s", relative(r.RefreshAt, now))
	if !r.GrantExpiresAt.IsZero() {
		line("Grant ends", "%s", relative(r.GrantExpiresAt, now))
	}
	if cl := r.Claim; cl != nil {
		line("Claimed", "by %s, attempt %s", cl.Worker, cl.Attempt)
	}
	if d := r.Doubt; d != nil {
		line("Doubt", "attempt %s, first sent %s", d.Attempt, relative(d.FirstSentAt, now))
	}
	if f := r.Failure; f != nil {
		line("Failure", "%s %s, %d in a row since %s", f.Class, f.Code, f.Count, relative(f.Since, now))
	}
	return w.Flush()
}
