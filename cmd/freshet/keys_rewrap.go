package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/rewrap"
	"github.com/freshetdev/freshet/pkg/seal"
)

// errOldKeys: something needs another key than the one that seals.
var errOldKeys = errors.New("old keys are still needed")

func (c *cli) keysRewrapCommand() *cobra.Command {
	var verify, dryRun, progress bool
	var stateDirs []string
	cfg := rewrap.Config{}
	cmd := c.command("rewrap", "Seal what is stored anew, with the keys that seal now", `  freshet keys rewrap
  freshet keys rewrap --dry-run
  freshet keys rewrap --verify --state-dir ./state --state-dir ./exchanger`, cobra.NoArgs)
	cmd.Long = `Seal what is stored anew, with the keys that seal now: the grants and access tokens of all records, and the secrets of providers.
With one keyset alone only what it seals is looked at.

Workers go on meanwhile. It may be stopped at any time, and goes on from there when it is run again. Enrolments under way
are left alone: a session ends within ten minutes, a link when its time is over. So are journals: their entries go by
themselves.

--verify writes nothing and lists what still needs another key; the exit code is 1 while something does.`
	c.outputFlag(cmd, formTable, formJSON, formJSONL)
	c.keys.Register(cmd.Flags())
	fs := cmd.Flags()
	fs.BoolVar(&verify, "verify", false, "list what still needs a key that does not seal any more, and write nothing")
	fs.BoolVar(&dryRun, "dry-run", false, "say what would be rewrapped and write nothing")
	fs.IntVar(&cfg.AtOnce, "at-once", 16, "how many records are written at the same time")
	fs.BoolVar(&progress, "progress", flags.IsTerminal(c.err), progressUsage)
	fs.StringArrayVar(&stateDirs, "state-dir", nil, "with --verify: "+stateDirUsage)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		switch {
		case verify && dryRun:
			return usage(errors.New("--verify and --dry-run both write nothing: give one"))
		case !verify && len(stateDirs) > 0:
			return usage(errors.New("--state-dir is for --verify: journals are not rewrapped"))
		case cfg.AtOnce < 1:
			return usage(fmt.Errorf("--at-once %d: want at least 1", cfg.AtOnce))
		}
		if cfg.Grant, cfg.Access, err = c.keys.Given(); err != nil {
			return err
		}
		if verify {
			return c.verify(cmd.Context(), cfg.Grant, cfg.Access, stateDirs)
		}
		cfg.DryRun = dryRun
		if progress {
			cfg.Progress = c.rewrapProgress()
		}
		return c.rewrap(cmd.Context(), cfg)
	}
	return cmd
}

func (c *cli) rewrap(ctx context.Context, cfg rewrap.Config) error {
	b, closeConn, err := c.connect()
	if err != nil {
		return err
	}
	defer closeConn()
	cfg.Broker = b
	cfg.Fault = func(err error) { fmt.Fprintln(c.err, "freshet:", err) }
	if !cfg.DryRun {
		c.note(ctx, b, saying(audit.Rewrapped, "to %s", primaries(cfg.Grant, cfg.Access)))
	}
	n, err := rewrap.Run(ctx, cfg)
	done := "rewrapped"
	if cfg.DryRun {
		done = "would be rewrapped"
	}
	fmt.Fprintf(c.err, "%d records and %d providers %s, %d cannot be\n", n.Records, n.Providers, done, n.Bad)
	if err == nil && n.Bad > 0 {
		err = fmt.Errorf("%d records or providers cannot be rewrapped", n.Bad)
	}
	return err
}

// rewrapProgress says how far it is as often as people want to know. It is called by one goroutine at a time.
func (c *cli) rewrapProgress() func(rewrap.Counts) {
	soon := pace()
	return func(n rewrap.Counts) {
		if soon() {
			fmt.Fprintf(c.err, "%d records looked at, %d rewrapped so far\n", n.Seen, n.Records)
		}
	}
}

// staleView is what still needs a key, as rewrap --verify prints it.
type staleView struct {
	What    rewrap.Place `json:"what"`
	Key     uint32       `json:"key"`
	Count   int          `json:"count"`
	Example string       `json:"example"`
}

func (c *cli) verify(ctx context.Context, grant, access *seal.Keyset, stateDirs []string) error {
	s, err := c.survey(ctx, stateDirs)
	if err != nil {
		return err
	}
	stale := s.Stale(grant, access)
	if len(stale) == 0 && len(s.Faults) == 0 {
		return c.say(nil, "nothing needs a key other than %s", primaries(grant, access))
	}
	p := c.printer("WHAT", "KEY", "COUNT", "SUCH AS")
	for _, u := range stale {
		v := staleOf(u)
		if err := p.add(row{cells: []string{string(v.What), strconv.FormatUint(uint64(v.Key), 10), strconv.Itoa(v.Count), v.Example}, object: v}); err != nil {
			return err
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	if len(s.Faults) > 0 {
		return fmt.Errorf("%d entries cannot be read, so it is not known which keys they need", len(s.Faults))
	}
	return errOldKeys
}

func staleOf(u rewrap.Use) staleView {
	return staleView{What: u.Place, Key: u.Key, Count: u.Count, Example: u.Example}
}

// primaries names the keys that seal.
func primaries(grant, access *seal.Keyset) string {
	var words []string
	if grant != nil {
		words = append(words, fmt.Sprintf("grant key %d", grant.PrimaryID()))
	}
	if access != nil {
		words = append(words, fmt.Sprintf("access key %d", access.PrimaryID()))
	}
	return strings.Join(words, " and ")
}
