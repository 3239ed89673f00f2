package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/providerfile"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) applyCommand() *cobra.Command {
	var file string
	var dryRun, moveGrants bool
	cmd := c.command("apply -f FILE", "Write provider definitions and their lanes", `  freshet apply -f providers.yaml
  freshet apply -f providers.yaml --dry-run`, cobra.NoArgs)
	cmd.Long = `Write the providers of a YAML file: secret references are resolved and sealed, the lane on the work queue is
created or updated. A provider with an issuer is asked for its metadata, which fills in the endpoints that the file leaves
out. A changed token_url is refused while there are credentials, since their refresh tokens would be sent there; --move-grants
says that this is right. Running workers and schedulers take the new definition up at once.`
	c.keys.Register(cmd.Flags())
	cmd.Flags().StringVarP(&file, "file", "f", "", "provider definitions; - reads standard input")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done and change nothing")
	cmd.Flags().BoolVar(&moveGrants, "move-grants", false, moveGrantsUsage)
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		defs, err := c.readProviders(file)
		if err != nil {
			return err
		}
		k, err := c.keys.Grant()
		if err != nil {
			return err
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		if !dryRun {
			c.measureClock(cmd.Context(), b)
		}
		ask, log := refresh.NewAsker(nil), c.auditLog(b)
		defer ask.CloseIdle()
		p := c.printer("PROVIDER", "ACTION", "LANE", "NOTES")
		for _, d := range defs {
			d, notes, err := app.Discover(cmd.Context(), b, ask, d)
			if err != nil {
				return errors.Join(p.end(), err)
			}
			if !dryRun {
				log.Note(cmd.Context(), application(d.Name, moveGrants))
			}
			if moveGrants {
				if err := app.MoveGrants(cmd.Context(), b, &d); err != nil {
					return errors.Join(p.end(), err)
				}
			}
			a, err := app.Apply(cmd.Context(), b, k, d, dryRun)
			if err != nil {
				return errors.Join(p.end(), err) // what was applied before stays
			}
			a.Warnings = append(a.Warnings, notes...)
			if err := p.add(viewApplied(a).row()); err != nil {
				return err
			}
		}
		return p.end()
	}
	return cmd
}

// application is the audit entry of a definition that is applied.
func application(name string, moveGrants bool) audit.Entry {
	e := about(audit.Applied, name)
	if moveGrants {
		e.Data.Detail = "grants may move to another token_url"
	}
	return e
}

// moveGrantsUsage is the help of --move-grants.
const moveGrantsUsage = "where a token_url has changed: present the grants that there are at the new one"

// readProviders reads and checks definitions, with their secret references resolved.
func (c *cli) readProviders(file string) ([]provider.Definition, error) {
	if file == "" {
		return nil, usage(fmt.Errorf("no file: give -f FILE, or -f - for standard input"))
	}
	var data []byte
	var err error
	if file == "-" {
		file = "standard input"
		data, err = io.ReadAll(c.in)
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read providers: %w", err)
	}
	f, err := providerfile.Parse(file, data)
	if err != nil {
		return nil, err
	}
	return f.Resolve(os.Getenv)
}
