package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// listed is a credential as ls prints it, read from the headers alone.
type listed struct {
	Credential string    `json:"credential"`
	State      string    `json:"state"`
	Paused     bool      `json:"paused,omitempty"`
	Generation uint64    `json:"generation"`
	Version    uint64    `json:"version"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	RefreshAt  time.Time `json:"refresh_at,omitzero"`
	Failure    string    `json:"failure,omitempty"`
	Problem    string    `json:"problem,omitempty"`
}

func (c *cli) lsCommand() *cobra.Command {
	cmd := c.command("ls [PROVIDER[/ACCOUNT-PREFIX]]", "List the credentials", `  freshet ls
  freshet ls acme -o jsonl
  freshet ls acme/tenant-7`, cobra.MaximumNArgs(1))
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filter, err := keyFilter(args)
		if err != nil {
			return err
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		all, err := listCredentials(cmd.Context(), b, filter)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			fmt.Fprintln(c.err, "no credentials")
		}
		p := c.printer("CREDENTIAL", "STATE", "VERSION", "EXPIRES", "REFRESH", "NOTE")
		for _, l := range all {
			if err := p.add(l.row(time.Now())); err != nil {
				return err
			}
		}
		return p.end()
	}
	return cmd
}

// keyFilter turns PROVIDER or PROVIDER/PREFIX into the keys below it.
func keyFilter(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	if events.ValidProvider(args[0]) {
		return args[0] + ".>", nil
	}
	cred, err := events.ParseCredential(args[0])
	return cred.Key(), err
}

// listCredentials reads the headers of every record at or below the filter, in the order of the names.
func listCredentials(ctx context.Context, b *broker.Broker, filter string) ([]listed, error) {
	var all []listed
	see := func(s broker.Seen) {
		if !s.Gone && s.Summary.State != refresh.StateDeleted {
			all = append(all, list(s))
		}
	}
	for _, f := range subtree(filter) {
		if err := b.WatchRecords(ctx, broker.WatchConfig{Filter: f, Once: true}, see, func() {}); err != nil {
			return nil, fmt.Errorf("list credentials: %w", err)
		}
	}
	slices.SortFunc(all, func(a, b listed) int { return cmp.Compare(a.Credential, b.Credential) })
	return all, nil
}

// subtree is the filter for an account and the one for all accounts below it.
func subtree(filter string) []string {
	if filter == "" || filter[len(filter)-1] == '>' {
		return []string{filter}
	}
	return []string{filter, filter + ".>"}
}

func list(s broker.Seen) listed {
	l := listed{Credential: s.Key, State: string(s.Summary.State), Paused: s.Summary.Paused, Generation: s.Summary.Generation,
		Version: s.Summary.Version, ExpiresAt: s.Summary.ExpiresAt, RefreshAt: s.Summary.RefreshAt, Failure: string(s.Summary.FailureClass)}
	if cred, err := events.ParseKey(s.Key); err == nil {
		l.Credential = cred.String()
	} else {
		l.Problem = err.Error()
	}
	if s.Err != nil {
		l.Problem = s.Err.Error()
	}
	return l
}

func (l listed) row(now time.Time) row {
	note := cmp.Or(l.Problem, l.Failure)
	if l.Paused {
		note = cmp.Or("paused "+note, "paused")
	}
	return row{
		name: l.Credential,
		cells: []string{
			l.Credential, l.State, strconv.FormatUint(l.Version, 10), relative(l.ExpiresAt, now), relative(l.RefreshAt, now), note,
		},
		object: l,
	}
}
