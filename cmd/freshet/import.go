package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/pkg/provider"
)

func (c *cli) importCommand() *cobra.Command {
	cmd := c.command("import [FILE]", "Bring grants that were made elsewhere", `  freshet import grants.jsonl
  freshet import grants.csv --dry-run
  freshet import < grants.jsonl`, cobra.MaximumNArgs(1))
	cmd.Long = `Bring grants that were made elsewhere, one JSON object a line, from a file or standard input:

  {"provider":"acme","account":"alice","refresh_token":"...","access_token":"...","expires_at":"2026-01-02T15:04:05Z","scopes":["a"]}

or as CSV, whose first line names the columns alike; scopes are then separated by blanks. One of the two tokens is enough,
and neither is needed where the provider's grant type asks for each token anew (client_credentials, jwt_bearer).

A bad line is reported with its number and the rest goes on; the exit code is then 1.`
	var progress, dryRun bool
	var format string
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "look at every line, print what would be done and write nothing")
	cmd.Flags().StringVar(&format, "format", "", "jsonl or csv; by default csv for a FILE whose name ends in .csv")
	c.keys.Register(cmd.Flags())
	cmd.Flags().BoolVar(&progress, "progress", flags.IsTerminal(c.err), progressUsage)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		how, err := importFormat(format, args)
		if err != nil {
			return err
		}
		in := c.in
		if len(args) == 1 && args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("read grants: %w", err)
			}
			defer f.Close()
			in = f
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		w, err := c.writer(b)
		if err != nil {
			return err
		}
		known, err := app.OpenProviders(cmd.Context(), b, w.Keys.Grant)
		switch {
		case errors.Is(err, app.ErrUnusable):
			fmt.Fprintf(c.err, "freshet: no line of these is imported: %v\n", err)
		case err != nil:
			return err
		}
		w.Teller = b.Notifier() // schedulers tell of every import, also where this is not heard
		c.measureClock(cmd.Context(), b)
		out := &importOutput{out: c.err}
		look := func(name string) (*provider.Definition, bool) { d, ok := known[name]; return d, ok }
		cfg := enroll.ImportConfig{Reader: in, Format: how, Writer: w, Provider: look, Reject: out.reject}
		if dryRun {
			cfg.Plan = func(p enroll.Planned) { fmt.Fprintln(c.out, planned(p)) }
		}
		if progress {
			cfg.Progress = func(done, bad int) { out.progress(done, bad, time.Now()) }
		}
		r, err := c.importAll(cmd.Context(), b, cfg, nameOf(args))
		return c.sayImported(r, dryRun, err)
	}
	return cmd
}

// sayImported says what became of an import.
func (c *cli) sayImported(r enroll.Report, dryRun bool, err error) error {
	done := "imported"
	if dryRun {
		done = "would be imported"
	}
	fmt.Fprintf(c.err, "%d %s, %d bad\n", r.Imported, done, r.Bad)
	if err == nil && r.Bad > 0 {
		err = fmt.Errorf("%d lines were not %s", r.Bad, strings.TrimPrefix(done, "would be "))
	}
	return err
}

// importAll imports, or plans to, and writes down both ends of an import.
func (c *cli) importAll(ctx context.Context, b *broker.Broker, cfg enroll.ImportConfig, from string) (enroll.Report, error) {
	if cfg.Plan != nil {
		return enroll.Import(ctx, cfg)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // every line leaves some garbage, and little of it lives long
	}
	notes := importNotes{log: c.auditLog(b)}
	cfg.Stored = notes.stored
	notes.begin(ctx, from)
	r, err := enroll.Import(ctx, cfg)
	notes.end(ctx, r.Bad)
	return r, err
}

// importFormat is what the flag says, else what the file's name does.
func importFormat(flag string, args []string) (enroll.Format, error) {
	switch f := enroll.Format(flag); {
	case f == enroll.FormatCSV, f == enroll.FormatJSONL:
		return f, nil
	case flag != "":
		return "", usage(fmt.Errorf("--format %s: want %s or %s", flag, enroll.FormatJSONL, enroll.FormatCSV))
	case len(args) == 1 && strings.EqualFold(filepath.Ext(args[0]), ".csv"):
		return enroll.FormatCSV, nil
	}
	return enroll.FormatJSONL, nil
}

// planned says what an import would do with a line.
func planned(p enroll.Planned) string {
	if p.Generation == 0 {
		return fmt.Sprintf("line %d: %s would be new", p.Line, p.Credential)
	}
	return fmt.Sprintf("line %d: %s would get generation %d; now it is %s", p.Line, p.Credential, p.Generation+1, p.State)
}

// progressEvery is how much time passes between two words about it.
const progressEvery = time.Second

// importOutput says what becomes of an import. mu guards everything below it, and makes a line one write.
type importOutput struct {
	out io.Writer

	mu   sync.Mutex
	last time.Time
}

func (o *importOutput) reject(e enroll.LineError) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintln(o.out, "freshet:", e.Error())
}

// progress says how far it is, at the beginning and then as often as people want to know.
func (o *importOutput) progress(done, bad int, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.last) >= progressEvery {
		o.last = now
		fmt.Fprintf(o.out, "%d imported, %d bad so far\n", done, bad)
	}
}
