package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/coredump"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// agentFlags say what an agent does.
type agentFlags struct {
	file    string
	listen  []string
	files   []string
	cache   string
	scope   string
	cfg     agent.Config
	logging zerolog.Logger
	shows   flags.Telemetry
}

func (c *cli) agentCommand() *cobra.Command {
	a := &agentFlags{}
	cmd := c.command("agent", "Give tokens to programs on this machine, as files and over HTTP", `  freshet agent -f agent.yaml
  freshet agent --file /run/app/token=acme/alice
  freshet agent --listen unix:///run/freshet/agent.sock
  freshet agent exec --env TOKEN=acme/alice -- ./app`, cobra.NoArgs)
	cmd.Long = `Keep files with fresh access tokens, and answer GET /v1/tokens/PROVIDER/ACCOUNT on a Unix socket or loopback, until Ctrl-C.
Without a file to keep and an address to listen on it listens on ` + "$XDG_RUNTIME_DIR/" + agentSocket + `, where the credential helpers
look for it. It needs the access keyset, and hands out the last good tokens while NATS is away.`
	a.register(c, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.read(c); err != nil {
			return err
		}
		if address := defaultAgent(os.Getenv); a.idle() && address != "" {
			a.cfg.Listen = []string{address}
		}
		if err := a.cfg.Validate(); err != nil {
			return usage(err)
		}
		access, err := c.keys.Access()
		if err != nil {
			return err
		}
		defer c.keys.ReloadOnHangup(a.logging, nil, access)()
		return shown(cmd.Context(), &a.shows, show{"agent", a.logging}, func(ctx context.Context, t *telemetry.Telemetry) error {
			begun, remove := t.Health.Starting()
			defer remove()
			read, done, err := c.openTokens(ctx, tokens.Config{AccessKeyset: access, CacheFile: a.cfg.CacheFile, Scope: a.scope}, a.logging, t)
			if err != nil {
				return err
			}
			defer done()
			begun() // with a cache, or tokens at hand, it works while NATS is away
			return a.run(ctx, read)
		})
	}
	a.shows.Register(cmd.Flags())
	cmd.AddCommand(c.agentExecCommand())
	return cmd
}

// register adds the flags.
func (a *agentFlags) register(c *cli, cmd *cobra.Command) {
	c.keys.RegisterAccess(cmd.Flags())
	fs := cmd.Flags()
	fs.StringVarP(&a.file, "config", "f", "", "`file` that says what the agent does (YAML)")
	fs.StringSliceVar(&a.listen, "listen", nil, "`address` of the HTTP interface: unix://PATH, or HOST:PORT on loopback")
	fs.StringArrayVar(&a.files, "file", nil, "keep a file with the bare token: `PATH=PROVIDER/ACCOUNT`")
	fs.StringVar(&a.cache, "cache-file", "", "keep sealed tokens in this `file`, for a start while NATS is away")
	scopeFlag(fs, &a.scope)
}

// idle reports whether there is nothing for the agent to do.
func (a *agentFlags) idle() bool { return len(a.cfg.Listen) == 0 && len(a.cfg.Files) == 0 }

// read puts file and flags together.
func (a *agentFlags) read(c *cli) (err error) {
	if a.logging, err = c.common.Logger(c.err); err != nil {
		return usage(err)
	}
	if a.file != "" {
		data, err := os.ReadFile(a.file)
		if err != nil {
			return fmt.Errorf("read the agent's configuration: %w", err)
		}
		if a.cfg, err = agent.Parse(a.file, data); err != nil {
			return err
		}
	}
	for _, text := range a.files {
		path, id, _ := strings.Cut(text, "=")
		if abs, err := filepath.Abs(path); err == nil && path != "" {
			path = abs
		}
		a.cfg.Files = append(a.cfg.Files, agent.File{Credential: id, Path: path})
	}
	a.cfg.Listen = append(a.cfg.Listen, a.listen...)
	if a.cache != "" {
		a.cfg.CacheFile = a.cache
	}
	return nil
}

// run runs the agent until ctx ends.
func (a *agentFlags) run(ctx context.Context, read reading) error {
	ag, err := agent.Open(ctx, a.cfg, read.client, a.logging, read.count)
	if err != nil {
		return err
	}
	a.logging.Info().Strs("listen", ag.Where()).Int("files", len(a.cfg.Files)).Msg("agent started")
	return ag.Run(ctx)
}

// agentSocket is the name of the socket in the user's runtime directory.
const agentSocket = "freshet-agent.sock"

// defaultAgent is where the user's agent listens; empty: the system has no such place.
func defaultAgent(getenv func(string) string) string {
	dir := getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return "unix://" + filepath.Join(dir, agentSocket)
}

// scopeFlag adds the flag for NATS users that may not hear of every credential.
func scopeFlag(fs *pflag.FlagSet, scope *string) {
	fs.StringVar(scope, "scope", "", "listen for `PROVIDER[/PATH]` only, as the NATS user's permissions say; by default for all")
	flags.Own(fs, "scope")
}

// openTokens opens a client with the access keyset alone, which it loads where cfg has none; cfg has what is its own. With a cache file
// NATS may be away. t shows the connection; nil: nobody looks.
func (c *cli) openTokens(ctx context.Context, cfg tokens.Config, log zerolog.Logger, t *telemetry.Telemetry) (read reading, done func(), err error) {
	c.noCoreDumps(coredump.Hide) // the commands that it runs keep theirs
	if cfg.AccessKeyset == nil {
		if cfg.AccessKeyset, err = c.keys.Access(); err != nil {
			return reading{}, nil, err
		}
	}
	hooks := broker.ConnectHooks{
		Disconnected: func(err error) { log.Warn().Err(err).Msg("NATS is away: the tokens there are serve to their end") },
		Reconnected:  func(string) { log.Info().Msg("connected to NATS") },
		Unencrypted:  func(warning string) { log.Warn().Msg(warning) },
	}
	opts := append(broker.ConnectOptions(hooks), nats.RetryOnFailedConnect(cfg.CacheFile != ""))
	nc, at, err := c.common.Connect("freshet-agent", opts...)
	if err != nil {
		return reading{}, nil, err
	}
	cfg.Namespace, cfg.Domain, cfg.APIPrefix = c.common.Namespace, at.Domain, at.APIPrefix
	cfg.OnError = func(err error) { log.Warn().Err(err).Msg("trouble with tokens") }
	read.client, err = tokens.Open(ctx, nc, cfg)
	if err != nil {
		nc.Close()
		return reading{}, nil, err
	}
	b, err := broker.New(nc, at)
	if err != nil {
		_ = read.client.Close() // it always returns nil
		nc.Close()
		return reading{}, nil, err
	}
	read.count = audit.NewReads(app.AuditLog(b, "freshet agent", "freshet/agent", func(err error) { log.Warn().Err(err).Msg("no audit entry") }), cfg.AccessKeyset)
	over := keepCounting(ctx, read.count)
	hide := func() {}
	if t != nil {
		hide = t.Show(telemetry.Source{NATS: app.LookAt(nc)})
	}
	return read, func() { hide(); over(); read.client.Close(); nc.Close() }, nil
}

// reading is what tokens are read with, and what counts those that are handed out.
type reading struct {
	client *tokens.Client
	count  *audit.Reads
}

// keepCounting writes what is counted until over is called, which waits for the last entries.
func keepCounting(ctx context.Context, count *audit.Reads) (over func()) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // the listeners end first
	ended := make(chan error, 1)
	go func() { ended <- count.Run(ctx) }()
	return func() { stop(); <-ended }
}

func (c *cli) agentExecCommand() *cobra.Command {
	a := &agentFlags{}
	e := agent.Exec{}
	var env []string
	var onChange string
	var wait time.Duration
	cmd := c.command("exec [flags] -- COMMAND [ARGS...]", "Run a command with tokens in its environment", `  freshet agent exec --env TOKEN=acme/alice -- ./app --verbose
  freshet agent exec --env TOKEN=acme/alice --on-change HUP --file /run/app/token=acme/alice -- ./app`, cobra.MinimumNArgs(1))
	cmd.Long = `Run a command with access tokens in its environment. When one changes, the command is ended and started again, or gets a
signal, as --on-change says. Signals are forwarded, and the exit code is the command's. Beside it the agent does what -f,
--listen and --file say.`
	a.register(c, cmd)
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what follows the command is its own
	fs.StringArrayVarP(&env, "env", "e", nil, "put a token into the environment: `NAME=PROVIDER/ACCOUNT`")
	fs.StringVar(&onChange, "on-change", "restart", "restart, or the `signal` to send: HUP, INT, QUIT, TERM, USR1 or USR2")
	fs.DurationVar(&e.KillAfter, "kill-after", 10*time.Second, "how long the command may take to end before a restart")
	fs.DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the first tokens")
	_ = cmd.RegisterFlagCompletionFunc("on-change", cobra.FixedCompletions([]string{"restart", "HUP", "INT", "QUIT", "TERM", "USR1", "USR2"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if e.Env, e.Signal, err = readExec(env, onChange); err != nil {
			return usage(err)
		}
		if err := a.read(c); err != nil {
			return err
		}
		if err := a.cfg.Validate(); err != nil && !(a.idle() && len(env) > 0) {
			return usage(err)
		}
		e.Args, e.In, e.Out, e.Err, e.Log = args, c.in, c.out, c.err, a.logging
		return c.agentExec(cmd.Context(), a, e, wait)
	}
	return cmd
}

// readExec reads the variables and what a change means.
func readExec(env []string, onChange string) (vars []agent.Variable, s syscall.Signal, err error) {
	var faults []error
	for _, text := range env {
		v, err := agent.ParseVariable(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("--env %w", err))
		}
		vars = append(vars, v)
	}
	s, known := agent.Signal(onChange)
	if !known && onChange != "restart" {
		faults = append(faults, fmt.Errorf("--on-change %s: want restart, HUP, INT, QUIT, TERM, USR1 or USR2", onChange))
	}
	return vars, s, errors.Join(faults...)
}

// agentExec runs the command, and the agent beside it.
func (c *cli) agentExec(ctx context.Context, a *agentFlags, e agent.Exec, wait time.Duration) error {
	signals, forget := c.forwarded()
	e.Terminal = c.atTerminal()
	defer forget()
	read, done, err := c.openTokens(ctx, tokens.Config{CacheFile: a.cfg.CacheFile, Scope: a.scope}, a.logging, nil)
	if err != nil {
		return err
	}
	defer done()
	e.Client, e.Reads, e.Signals = read.client, read.count, signals
	if a.idle() {
		return e.Run(ctx, wait)
	}
	if e.Agent, err = agent.Open(ctx, a.cfg, read.client, a.logging, read.count); err != nil {
		return err
	}
	beside, stop := context.WithCancel(context.WithoutCancel(ctx)) // a signal is the command's
	over := make(chan error, 1)
	go func() { over <- e.Agent.Run(beside) }()
	err = e.Run(ctx, wait)
	stop()
	if failed := <-over; failed != nil {
		a.logging.Error().Err(failed).Msg("the agent beside the command has failed")
	}
	return err
}

// atTerminal reports whether somebody may type to us.
func (c *cli) atTerminal() bool {
	f, ok := c.in.(*os.File)
	return ok && flags.IsTerminal(f)
}

// forwarded returns the signals that the command gets from us, until forget is called. What is typed at a terminal, the terminal
// sends to the command itself; it must not end us before the command.
func (c *cli) forwarded() (signals chan os.Signal, forget func()) {
	signals, typed := make(chan os.Signal, 8), make(chan os.Signal, 1)
	fromTerminal := []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH}
	if c.atTerminal() {
		signal.Notify(typed, fromTerminal...)
	} else {
		signal.Notify(signals, fromTerminal...)
	}
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	return signals, func() { signal.Stop(signals); signal.Stop(typed) }
}
