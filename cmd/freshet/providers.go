package main

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
)

func (c *cli) providersCommand() *cobra.Command {
	return group("providers", "Look at the providers", "  freshet providers ls\n  freshet providers show acme",
		c.providersLsCommand(), c.providersShowCommand())
}

// providerView is a provider as it is printed: everything but its secrets.
type providerView struct {
	Name string `json:"name"`
	provider.Definition
	Secrets  int             `json:"client_secrets"` // how many
	Pause    *provider.Pause `json:"pause,omitempty"`
	Revision uint64          `json:"revision"`
}

func viewProvider(name string, e provider.Entry, revision uint64) providerView {
	return providerView{Name: name, Definition: e.Definition, Secrets: len(e.ClientSecrets), Pause: e.Pause, Revision: revision}
}

func (c *cli) providersLsCommand() *cobra.Command {
	cmd := c.command("ls", "List the providers", "  freshet providers ls -o json", cobra.NoArgs)
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		list, err := b.Providers(cmd.Context())
		if err != nil {
			return err
		}
		p := c.printer("PROVIDER", "GRANT", "ROTATION", "CONCURRENCY", "RATE", "LANE", "TOKEN URL")
		for _, name := range slices.Sorted(maps.Keys(list)) {
			if err := p.add(providerRow(name, list[name])); err != nil {
				return err
			}
		}
		return p.end()
	}
	return cmd
}

func providerRow(name string, l broker.ListedProvider) row {
	if l.Err != nil {
		return row{name: name, cells: []string{name, "cannot be read: " + l.Err.Error()}, object: map[string]string{"name": name, "error": l.Err.Error()}}
	}
	d, rate := l.Entry.Definition, "-"
	if !d.Limits.Rate.IsZero() {
		rate = d.Limits.Rate.String()
	}
	return row{
		name:   name,
		cells:  []string{name, string(d.Grant), string(d.Rotation), strconv.Itoa(d.Limits.Concurrency), rate, laneState(l.Entry.Pause), d.TokenURL},
		object: viewProvider(name, l.Entry, l.Revision),
	}
}

func laneState(p *provider.Pause) string {
	if now := time.Now(); p.Active(now) {
		return "paused " + pausedHow(p, now)
	}
	return "running"
}

// pausedHow says who paused, and until when.
func pausedHow(p *provider.Pause, now time.Time) string {
	if p.Until.IsZero() {
		return "by " + p.By
	}
	return "by " + p.By + ", ends " + relative(p.Until, now)
}

func (c *cli) providersShowCommand() *cobra.Command {
	cmd := c.command("show PROVIDER", "Show one provider, without its secrets", "  freshet providers show acme", cobra.ExactArgs(1))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		e, revision, err := b.Provider(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printJSON(c.out, viewProvider(args[0], e, revision))
	}
	return cmd
}
