package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/doctor"
	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/seal"
)

// signEvery is how many records are opened between two signs of life that doctor gives.
const signEvery = 10_000

func (c *cli) doctorCommand() *cobra.Command {
	var cfg doctor.Config
	var asJSON bool
	var role string
	var dashboard bool
	cmd := c.command("doctor", "Look whether everything is well, and say what to do", `  freshet doctor
  freshet doctor --monitor http://localhost:8222 --state-dir ./state
  freshet doctor --role worker --inbox-prefix _INBOX_worker
  freshet doctor --keys --json`, cobra.NoArgs)
	cmd.Long = `Look at NATS and its limits, the streams and buckets, clocks, providers, lanes, records, journals and, with --keys, whether the
keysets open everything. Nothing is changed, and no grant is spent. Each line says ok, warn or fail, what was found and what to do;
with a fail the exit code is 1.

--role tries what the connected user may do, by requests that do nothing. Publishing events, emptying the queue and pausing a lane are
not tried, because somebody would notice.`
	c.keys.Register(cmd.Flags())
	fs := cmd.Flags()
	fs.BoolVar(&cfg.Keys, "keys", false, "open every record with the keysets")
	fs.StringVar(&role, "role", "", "try the user's permissions for a role: "+permissions.Words(permissions.Roles()))
	fs.StringVar(&cfg.Scope.Provider, "provider", "", "look at this provider alone")
	fs.StringVar(&cfg.Scope.Tenant, "tenant", "", "with --role: for a user that is narrowed to this tenant")
	fs.StringVar(&cfg.Scope.Durable, "durable", "", "with --role subscriber: the one durable that a narrowed user may use")
	fs.BoolVar(&dashboard, "dashboard", true, "with --role enroller: for a user of freshet web that shows the dashboard")
	fs.StringSliceVar(&cfg.Monitors, "monitor", nil, "`address` of a monitoring port of NATS, http://HOST:8222, once for each server: it tells the sync policy")
	fs.StringSliceVar(&cfg.StateDirs, "state-dir", nil, "state `directory` of a worker or exchanger on this machine, also of one that runs")
	fs.BoolVar(&cfg.Offline, "offline", false, "ask no provider")
	fs.BoolVar(&asJSON, "json", false, "print JSON lines")
	offerWords(cmd, "role", permissions.Roles())
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		cfg.Role, cfg.Scope.NoDashboard = permissions.Role(role), !dashboard
		if cfg.Scope.Names, err = c.common.Names(); err != nil {
			return err
		}
		if role != "" {
			if _, err := permissions.Of(cfg.Role, cfg.Scope); err != nil {
				return usage(err)
			}
		}
		return c.examine(cmd.Context(), cfg, asJSON)
	}
	return cmd
}

// examine prints the lines as they are found. A failed check is an error.
func (c *cli) examine(ctx context.Context, cfg doctor.Config, asJSON bool) error {
	all, failed := 0, 0
	var broken error // standard output is
	report := func(check probe.Check) {
		if all++; check.Result == probe.Fail {
			failed++
		}
		if broken == nil {
			broken = c.printFinding(check, asJSON)
		}
	}
	c.openGiven(&cfg, report)
	cfg.Progress = func(done int) {
		if done%signEvery == 0 {
			fmt.Fprintf(c.err, "freshet: %d records opened\n", done)
		}
	}
	b, closeConn, err := c.connect()
	if err != nil {
		report(probe.Check{Name: "nats", Result: probe.Fail, Found: err.Error(), Advice: "check --server, the user and its password, and that nats-server runs"})
		doctor.Journals(cfg.StateDirs, time.Now(), report)
	} else {
		defer closeConn()
		cfg.Broker = b
		if err := doctor.Examine(ctx, cfg, report); err != nil {
			return err
		}
	}
	switch {
	case broken != nil:
		return broken
	case failed > 0:
		return fmt.Errorf("%w: %d of %d", errChecks, failed, all)
	}
	return nil
}

// openGiven loads the keysets that are given. One that cannot be loaded is a line; one that is not given is none.
func (c *cli) openGiven(cfg *doctor.Config, report doctor.Report) {
	for _, k := range []struct {
		name, file, variable string
		load                 func() (*seal.Keyset, error)
		into                 **seal.Keyset
	}{
		{"grant keyset", c.keys.GrantFile, "FRESHET_GRANT_KEYSET", c.keys.Grant, &cfg.Grant},
		{"access keyset", c.keys.AccessFile, "FRESHET_ACCESS_KEYSET", c.keys.Access, &cfg.Access},
	} {
		if k.file == "" && os.Getenv(k.variable) == "" {
			continue
		}
		loaded, err := k.load()
		if err != nil {
			report(probe.Check{Name: k.name, Result: probe.Fail, Found: err.Error(), Advice: "give the file that freshet keys generate has made"})
			continue
		}
		*k.into = loaded
	}
}

func (c *cli) printFinding(check probe.Check, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(c.out).Encode(check)
	}
	text := fmt.Sprintf("%-4s  %s: %s", check.Result, check.Name, check.Found)
	if check.Advice != "" {
		text += " — " + check.Advice
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}
