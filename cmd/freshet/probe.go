package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/provider"
)

func (c *cli) providersTestCommand() *cobra.Command {
	var file string
	cmd := c.command("test PROVIDER", "Check a provider's endpoints and client without spending a grant", `  freshet providers test acme
  freshet providers test acme -f providers.yaml    before it is applied`, cobra.ExactArgs(1))
	cmd.Long = `Check a provider: do its endpoints answer, does the metadata of its issuer say the same, is the client accepted?
The last is seen by how the provider refuses an invented refresh token, one request for each client secret. No grant is spent.`
	c.keys.Register(cmd.Flags())
	cmd.Flags().StringVarP(&file, "file", "f", "", "take the definition from this file, which needs no NATS; - reads standard input")
	c.outputFlag(cmd, formTable, formJSON, formJSONL)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := c.definitionToTest(cmd.Context(), file, args[0])
		if err != nil {
			return err
		}
		p := probe.New()
		defer p.Close()
		checks, err := p.Probe(cmd.Context(), d)
		if err != nil {
			return err
		}
		return c.printChecks(checks)
	}
	return cmd
}

// definitionToTest is a provider's definition with open secrets: the applied one, or that of a file.
func (c *cli) definitionToTest(ctx context.Context, file, name string) (*provider.Definition, error) {
	if file != "" {
		defs, err := c.readProviders(file)
		if err != nil {
			return nil, err
		}
		for _, d := range defs {
			if d.Name == name {
				d = d.WithDefaults()
				return &d, nil
			}
		}
		return nil, fmt.Errorf("%w: %s is not in %s", broker.ErrUnknownProvider, name, file)
	}
	k, err := c.keys.Grant()
	if err != nil {
		return nil, err
	}
	b, closeConn, err := c.connect()
	if err != nil {
		return nil, err
	}
	defer closeConn()
	return app.OpenProvider(ctx, b, k, name)
}

// printChecks prints what was found. A failed check is an error.
func (c *cli) printChecks(checks []probe.Check) error {
	p := c.printer("CHECK", "RESULT", "FOUND")
	failed := 0
	for _, check := range checks {
		found := check.Found
		if check.Advice != "" {
			found += "; " + check.Advice
		}
		if check.Result == probe.Fail {
			failed++
		}
		if err := p.add(row{name: check.Name, cells: []string{check.Name, string(check.Result), found}, object: check}); err != nil {
			return err
		}
	}
	if err := p.end(); err != nil || failed == 0 {
		return err
	}
	return fmt.Errorf("%w: %d of %d", errChecks, failed, len(checks))
}

var errChecks = errors.New("checks failed")
