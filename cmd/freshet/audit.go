package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// entryView is an audit entry as JSON.
type entryView struct {
	ID     string       `json:"id"`
	Action audit.Action `json:"action"`
	Source string       `json:"source"`
	Time   time.Time    `json:"time"`
	Data   audit.Data   `json:"data"`
}

func (c *cli) auditCommand() *cobra.Command {
	var since time.Duration
	var action string
	var tokenStdin bool
	cmd := c.command("audit [PROVIDER[/ACCOUNT]]", "Show who did what", `  freshet audit                        in the last 24 hours
  freshet audit acme/alice --since 720h
  freshet audit --action revoked -o jsonl
  freshet audit --since 9600h --token-stdin < leaked.txt`, cobra.MaximumNArgs(1))
	cmd.Long = `Show who did what, oldest first: who enrolled, read through an agent, revoked, paused, applied and rotated.

An entry says what was asked for, and was written before it was done; freshet events --since says what came of it. Who it was is
in the program's own words: only the right to write such an entry is proved, by NATS.

--token-stdin reads a token, such as one that has leaked, and shows the entries that refer to it. It needs the grant keyset for a
refresh token, the access keyset for an access token, with the keys of then still in them.`
	c.keys.Register(cmd.Flags())
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "what was written in this time")
	cmd.Flags().StringVar(&action, "action", "", "only this action: "+words(audit.Actions()))
	cmd.Flags().BoolVar(&tokenStdin, "token-stdin", false, "only entries that refer to the token on standard input")
	_ = cmd.RegisterFlagCompletionFunc("action", cobra.FixedCompletions(strings.Split(words(audit.Actions()), ", "), cobra.ShellCompDirectiveNoFileComp))
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := entryFilter(args, action)
		if err == nil && since <= 0 {
			err = fmt.Errorf("--since %s: want how far back to begin, such as 1h", since)
		}
		if err != nil {
			return usage(err)
		}
		if tokenStdin {
			if f.Refs, err = c.references(); err != nil {
				return err
			}
		}
		return c.showAudit(cmd.Context(), f, since)
	}
	return cmd
}

func words(all []audit.Action) string {
	var list []string
	for _, a := range all {
		list = append(list, string(a))
	}
	return strings.Join(list, ", ")
}

func entryFilter(args []string, action string) (audit.Filter, error) {
	f := audit.Filter{Action: audit.Action(action)}
	if action != "" && !slices.Contains(audit.Actions(), f.Action) {
		return f, fmt.Errorf("--action %.40s: want one of %s", action, words(audit.Actions()))
	}
	if len(args) == 1 {
		f.Provider, f.Account, _ = strings.Cut(args[0], "/")
		return f, events.Filter{Provider: f.Provider, Account: f.Account}.Validate()
	}
	return f, nil
}

// maxToken bounds what is read of a token, in bytes.
const maxToken = 64 << 10

// references are what entries have in the place of the token on standard input.
func (c *cli) references() ([]string, error) {
	grant, access, err := c.keys.Given()
	if errors.Is(err, flags.ErrNoKeyset) {
		return nil, fmt.Errorf("references of tokens need the keyset: %w", err)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(c.in, maxToken))
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	token := seal.NewSecret(strings.TrimSpace(string(data)))
	if token.IsZero() {
		return nil, usage(errors.New("--token-stdin: there is no token on standard input"))
	}
	return append(grant.References(token), access.References(token)...), nil
}

func (c *cli) showAudit(ctx context.Context, f audit.Filter, since time.Duration) error {
	b, closeConn, err := c.connect()
	if err != nil {
		return err
	}
	defer closeConn()
	c.measureClock(ctx, b)
	f.Since = b.Now().Add(-since)
	p := c.printer("TIME", "ACTION", "ABOUT", "WHO", "DETAIL")
	err = audit.Read(ctx, b.ReadAudit, b.Names(), f, func(e audit.Entry) error { return p.add(entryRow(e)) },
		func(err error) { fmt.Fprintln(c.err, "freshet:", err) })
	return errors.Join(err, p.end())
}

func entryRow(e audit.Entry) row {
	return row{
		name: e.ID,
		cells: []string{
			e.Time.UTC().Format(time.RFC3339), string(e.Action), cmp.Or(e.Subject(), "-"), who(e.Data.Actor), strings.Join(details(e.Data), "; "),
		},
		object: entryView{ID: e.ID, Action: e.Action, Source: e.Source, Time: e.Time, Data: e.Data},
	}
}

// who names an actor.
func who(a audit.Actor) string {
	text := fmt.Sprintf("%s@%s", cmp.Or(a.OSUser, fmt.Sprint(a.UID)), cmp.Or(a.Host, "?"))
	if a.NATSUser != "" {
		text += " as " + a.NATSUser
	}
	return text
}

// details is everything else that people may want to know.
func details(d audit.Data) (all []string) {
	add := func(given bool, format string, args ...any) {
		if given {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(d.Actor.Program != "freshet", "%s", d.Actor.Program)
	add(d.Via != "", "via %s", d.Via)
	add(d.Link != "", "link %s", d.Link)
	add(d.Detail != "", "%q", d.Detail)
	add(d.Caller != nil && *d.Caller != (audit.Caller{}), "for %s", callerOf(d.Caller))
	add(d.Count > 1, "%d times until %s", d.Count, d.Last.UTC().Format(time.RFC3339))
	add(d.Dropped > 0, "%d reads before are not written", d.Dropped)
	for _, name := range slices.Sorted(maps.Keys(d.Counts)) {
		add(true, "%d of %s", d.Counts[name], name)
	}
	return all
}

func callerOf(by *audit.Caller) string {
	if by == nil {
		return ""
	}
	var all []string
	for _, text := range []string{by.Name, by.Program} {
		if text != "" {
			all = append(all, fmt.Sprintf("%q", text))
		}
	}
	if by.UID != nil {
		all = append(all, fmt.Sprintf("uid %d", *by.UID))
	}
	if by.PID != 0 {
		all = append(all, fmt.Sprintf("pid %d", by.PID))
	}
	return strings.Join(all, " ")
}
