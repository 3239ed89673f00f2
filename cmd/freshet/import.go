package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
)

func (c *cli) importCommand() *cobra.Command {
	cmd := c.command("import [FILE]", "Bring grants that were made elsewhere", `  freshet import grants.jsonl
  freshet import < grants.jsonl`, cobra.MaximumNArgs(1))
	cmd.Long = `Bring grants that were made elsewhere, one JSON object a line, from a file or standard input:

  {"provider":"acme","account":"alice","refresh_token":"...","access_token":"...","expires_at":"2026-01-02T15:04:05Z","scopes":["a"]}

A bad line is reported with its number and the rest goes on; the exit code is then 1.`
	c.keys.Register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
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
		if err != nil {
			return err
		}
		look := func(name string) (*provider.Definition, bool) { d, ok := known[name]; return d, ok }
		r, err := enroll.Import(cmd.Context(), c.importConfig(in, w, look))
		fmt.Fprintf(c.err, "%d imported, %d bad\n", r.Imported, r.Bad)
		if err == nil && r.Bad > 0 {
			err = fmt.Errorf("%d lines were not imported", r.Bad)
		}
		return err
	}
	return cmd
}

// progressEvery is how many lines pass between two words about them.
const progressEvery = 500

func (c *cli) importConfig(in io.Reader, w *enroll.Writer, look func(string) (*provider.Definition, bool)) enroll.ImportConfig {
	var mu sync.Mutex // one line of output at a time
	cfg := enroll.ImportConfig{Reader: in, Writer: w, Provider: look, Reject: func(e enroll.LineError) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(c.err, "freshet:", e.Error())
	}}
	if f, ok := c.err.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		cfg.Progress = func(done, bad int) {
			if (done+bad)%progressEvery == 0 {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(c.err, "%d imported, %d bad so far\n", done, bad)
			}
		}
	}
	return cfg
}
