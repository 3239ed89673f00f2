package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// Agent is a Config at work.
type Agent struct {
	cfg       Config
	server    *server
	listeners []listener
	writers   []*writer
}

// Open checks a Config and listens. The client stays the caller's. reads hears of every token that is handed out; nil: nobody does. Errors: everything that is wrong with the Config, and
// socket.ErrInUse.
func Open(ctx context.Context, cfg Config, client *tokens.Client, log zerolog.Logger, reads *audit.Reads) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s, err := cfg.handler(Direct{client}, log)
	if err != nil {
		return nil, err
	}
	s.reads = reads
	a := &Agent{cfg: cfg, server: s}
	for _, f := range cfg.Files {
		f.Path = filepath.Clean(f.Path)
		w := &writer{file: f, client: client, reads: reads, log: log.With().Str("credential", f.Credential).Str("file", f.Path).Logger()}
		w.clean()
		a.writers = append(a.writers, w)
	}
	mode, _ := cfg.socketMode() // validated above
	for _, address := range cfg.Listen {
		l, err := open(ctx, address, mode)
		if err != nil {
			a.close()
			return nil, fmt.Errorf("open agent: %w", err)
		}
		a.listeners = append(a.listeners, l)
	}
	return a, nil
}

func (a *Agent) close() {
	for _, l := range a.listeners {
		_ = l.close() // nothing was served yet
	}
}

// Where returns the addresses that are listened on, as clients take them.
func (a *Agent) Where() (all []string) {
	for _, l := range a.listeners {
		all = append(all, l.where())
	}
	return all
}

// Run keeps the files and serves until ctx ends, and then returns nil. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range a.writers {
		group.Go(func() error { return w.run(ctx) })
	}
	for _, l := range a.listeners {
		group.Go(func() error { return a.server.serve(ctx, l) })
	}
	return group.Wait()
}

// bring writes a token into the files of its credential, where Run has not done so yet, and returns when what follows has been
// done too.
func (a *Agent) bring(ctx context.Context, t tokens.Token) error {
	var faults []error
	for _, w := range a.writers {
		if w.file.Credential == t.Credential.String() {
			faults = append(faults, w.bring(ctx, t))
		}
	}
	return errors.Join(faults...)
}
