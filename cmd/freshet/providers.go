package main

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
)

func (c *cli) providersCommand() *cobra.Command {
	return group("providers", "Look at the providers and at the presets for them", `  freshet providers ls
  freshet providers ls --presets       what preset: can say
  freshet providers show acme
  freshet providers test acme          do the endpoints and the client work?`,
		c.providersLsCommand(), c.providersShowCommand(), c.providersTestCommand())
}

// providerView is a provider as it is printed: everything but its secrets.
type providerView struct {
	Name string `json:"name"`
	provider.Definition
	Secrets  int             `json:"client_secrets"` // how many
	Pause    *provider.Pause `json:"pause,omitempty"`
	Revision uint64          `json:"revision"`
	Vendor   *vendorView     `json:"vendor,omitempty"`
}

// vendorView is what the catalogue has beside the definition.
type vendorView struct {
	Title        string             `json:"title"`
	Sources      []catalogue.Source `json:"sources"`
	Undocumented []string           `json:"undocumented,omitempty"`
	Notes        []string           `json:"notes,omitempty"`
}

// viewVendor is nil for a provider of no preset, or of one that this version does not have.
func viewVendor(preset string) *vendorView {
	p, ok := catalogue.Find(preset)
	if !ok {
		return nil
	}
	return &vendorView{Title: p.Title, Sources: p.Sources, Undocumented: p.Undocumented, Notes: p.Notes}
}

func viewProvider(name string, e provider.Entry, revision uint64) providerView {
	return providerView{Name: name, Definition: e.Definition, Secrets: len(e.ClientSecrets), Pause: e.Pause, Revision: revision}
}

func (c *cli) providersLsCommand() *cobra.Command {
	var presets bool
	cmd := c.command("ls", "List the providers, or the presets", "  freshet providers ls -o json\n  freshet providers ls --presets", cobra.NoArgs)
	cmd.Flags().BoolVar(&presets, "presets", false, "list the catalogue instead, which needs no NATS")
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if presets {
			return c.listPresets()
		}
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
	var preset bool
	cmd := c.command("show PROVIDER", "Show one provider as it is used, without its secrets", "  freshet providers show acme\n  freshet providers show github --preset", cobra.ExactArgs(1))
	cmd.Flags().BoolVar(&preset, "preset", false, "show an entry of the catalogue instead, which needs no NATS")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		if !preset {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return presetNames(), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if preset {
			return c.showPreset(args[0])
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		e, revision, err := b.Provider(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		v := viewProvider(args[0], e, revision)
		v.Definition, v.Vendor = v.WithDefaults(), viewVendor(e.Definition.Preset)
		return printJSON(c.out, v)
	}
	return cmd
}
