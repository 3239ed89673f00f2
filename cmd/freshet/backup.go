package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/backup"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/pkg/events"
)

func (c *cli) backupCommand() *cobra.Command {
	var progress bool
	cmd := c.command("backup DIR", "Keep the records and providers as they are now", `  freshet backup ./backup-2026-03-01`, cobra.ExactArgs(1))
	cmd.Long = `Keep the records and provider definitions as they are now, as snapshots of their streams, in a new directory.

Everything goes on meanwhile. What is secret stays sealed: without the keysets, which are not in it, a backup is worth nothing,
to you neither. Jobs and events are not kept: jobs are made anew.`
	cmd.Flags().BoolVar(&progress, "progress", flags.IsTerminal(c.err), progressUsage)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		c.measureClock(cmd.Context(), b)
		c.note(cmd.Context(), b, saying(audit.BackedUp, "to %s", args[0]))
		var tell func(int64)
		if progress {
			fmt.Fprintln(c.err, "the server compares the checksums of all records first")
			soon := pace()
			tell = func(bytes int64) {
				if soon() {
					fmt.Fprintf(c.err, "%d MB so far\n", bytes>>20)
				}
			}
		}
		m, err := backup.Take(cmd.Context(), b, args[0], tell)
		if err != nil {
			return err
		}
		return c.say(nil, "%d records and %d providers of %s kept in %s", m.Tokens.Messages, m.Providers.Messages, m.TakenAt.Format(time.RFC3339), args[0])
	}
	return cmd
}

func (c *cli) restoreCommand() *cobra.Command {
	var progress bool
	var tempDir string
	cfg := backup.Config{}
	cmd := c.command("restore DIR", "Put records and providers of a backup back where they are missing", `  freshet setup --replicas 3
  freshet restore ./backup-2026-03-01`, cobra.ExactArgs(1))
	cmd.Long = `Put records and providers of a backup back where they are missing. What is there stays as it is.

Refresh tokens may have been spent since the backup. Each is marked as in doubt in the write that brings it back, so that workers
treat it by its provider's rotation class: at a strict one it is presented only once there is nothing left to lose, or when
the provider, asked by introspection, calls it active. Those that were spent end as reauth_required.

The backup is opened on a server inside this command, which needs about 1.8 KB of disk for each record, beside the backup or in
--temp-dir. Where nothing can be written beside the backup it is the directory for temporary files (TMPDIR).

It needs both keysets, and assets that are set up. It may be stopped at any time, and goes on from there when it is run again.`
	c.keys.Register(cmd.Flags())
	cmd.Flags().IntVar(&cfg.AtOnce, "at-once", 16, "how many records are written at the same time")
	cmd.Flags().StringVar(&tempDir, "temp-dir", "", "`directory` for the opened backup until the end; default: beside the backup")
	cmd.Flags().BoolVar(&progress, "progress", flags.IsTerminal(c.err), progressUsage)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cfg.AtOnce < 1 {
			return usage(fmt.Errorf("--at-once %d: want at least 1", cfg.AtOnce))
		}
		if cfg.Manifest, err = backup.ReadManifest(args[0]); err != nil {
			return err
		}
		if cfg.Grant, cfg.Access, err = c.keys.Both(); err != nil {
			return err
		}
		if progress {
			cfg.Progress = c.restoreProgress(cfg.Manifest)
		}
		return c.restore(cmd.Context(), args[0], tempDir, cfg)
	}
	return cmd
}

// restore opens the backup on a server of its own, in this process and for as long as it takes, and writes from there.
func (c *cli) restore(ctx context.Context, dir, tempDir string, cfg backup.Config) error {
	b, closeConn, err := c.connect()
	if err != nil {
		return err
	}
	defer closeConn()
	if err := errors.Join(b.CheckServer(), b.Check(ctx)); err != nil {
		return err
	}
	c.measureClock(ctx, b)
	own, end, err := scratch(b.Names(), dir, tempDir)
	if err != nil {
		return err
	}
	defer end()
	if err := backup.Open(ctx, cfg.Manifest, dir, own); err != nil {
		return err
	}
	cfg.From, cfg.To = own, b
	c.note(ctx, b, saying(audit.Restored, "from %s, taken at %s", dir, cfg.Manifest.TakenAt.Format(time.RFC3339)))
	cfg.Fault = func(err error) { fmt.Fprintln(c.err, "freshet:", err) }
	n, err := backup.Run(ctx, cfg)
	fmt.Fprintf(c.err, "%d records: %d in doubt, %d as they were, %d withdrawn since, %d there already; %d providers, %d there already; %d cannot be restored\n",
		n.Records, n.InDoubt, n.AsTheyWere, n.Withdrawn, n.Kept, n.Providers, n.ProvidersKept, n.Bad)
	if err != nil {
		return err
	}
	_, err = app.Setup(ctx, b, broker.SetupConfig{}) // the lanes
	if err == nil && n.Bad > 0 {
		err = fmt.Errorf("%d records or providers cannot be restored", n.Bad)
	}
	return err
}

// scratch is a broker on an embedded server that nobody else reaches. Server and store are gone when end returns.
func scratch(names events.Names, backupDir, tempDir string) (b *broker.Broker, end func(), err error) {
	dir, err := scratchDir(backupDir, tempDir)
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	server, err := embedded.Start(embedded.Config{StoreDir: dir, Port: -1})
	if err != nil {
		remove()
		return nil, nil, err
	}
	stop := func() { server.Shutdown(); remove() }
	nc, err := server.Connect(broker.ConnectOptions(broker.ConnectHooks{})...)
	if err != nil {
		stop()
		return nil, nil, err
	}
	if b, err = broker.New(nc, broker.Config{Names: names}); err != nil {
		nc.Close()
		stop()
		return nil, nil, err
	}
	return b, func() { nc.Close(); stop() }, nil
}

// scratchDir makes the directory of the scratch server's store: in tempDir, or else where there was room for the backup. The system's
// directory for temporary files comes last, because it is often small, in memory, or not there.
func scratchDir(backupDir, tempDir string) (string, error) {
	const pattern = ".freshet-restore-"
	if tempDir != "" {
		dir, err := os.MkdirTemp(tempDir, pattern)
		if err != nil {
			return "", fmt.Errorf("--temp-dir: %w", err)
		}
		return dir, nil
	}
	backupDir, err := filepath.Abs(backupDir) // the parent of "." is not "."
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(filepath.Dir(backupDir), pattern)
	if err == nil {
		return dir, nil
	}
	dir, err2 := os.MkdirTemp("", pattern)
	if err2 != nil {
		return "", fmt.Errorf("no place to open the backup, give --temp-dir: %w", errors.Join(err, err2))
	}
	return dir, nil
}

// progressUsage explains --progress.
const progressUsage = "say now and then how far it is; by default where somebody watches"

// pace says yes as often as people want to know how far something is. The function is for one goroutine at a time.
func pace() func() bool {
	last := time.Now()
	return func() bool {
		now := time.Now()
		if now.Sub(last) < progressEvery {
			return false
		}
		last = now
		return true
	}
}

// restoreProgress says that the backup is being opened, and then how many records are done.
func (c *cli) restoreProgress(m backup.Manifest) func(backup.Counts) {
	fmt.Fprintf(c.err, "opening a backup of %d records\n", m.Tokens.Messages)
	soon := pace()
	return func(n backup.Counts) {
		if soon() {
			fmt.Fprintf(c.err, "%d of %d records so far\n", n.Records, m.Tokens.Messages)
		}
	}
}
