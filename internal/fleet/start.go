package fleet

import (
	"context"
	"path/filepath"
	"slices"
)

// Worker starts a worker, which has its state directory under its name: start the same name again for the same host.
// Its log has every refresh (--log-level debug); args come last and win. To know that it is at work, wait until it
// says "worker started".
func (f *Fleet) Worker(name string, args ...string) (*Process, error) {
	return f.Launch(f.WorkerCommand(name, args...))
}

// WorkerCommand is what Worker starts, for callers that have something to add.
func (f *Fleet) WorkerCommand(name string, args ...string) Command {
	args = append([]string{
		"--name", name, "--state-dir", f.StateDir(name), "--log-level", "debug",
		"--grant-keyset", f.Keysets.Grant, "--access-keyset", f.Keysets.Access,
	}, args...)
	return f.NATS.As(RoleWorker, Command{Name: name, Path: f.cfg.Binaries.Worker, Args: args})
}

// Scheduler starts a scheduler. To know that it is at work, wait until it says "index is complete".
func (f *Fleet) Scheduler(name string, args ...string) (*Process, error) {
	args = append([]string{"--name", name, "--log-level", "debug"}, args...)
	return f.Launch(f.NATS.As(RoleScheduler, Command{Name: name, Path: f.cfg.Binaries.Scheduler, Args: args}))
}

// Launch starts any other program, to be ended with the fleet.
func (f *Fleet) Launch(c Command) (*Process, error) {
	p, err := c.Launch()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.processes = append(f.processes, p)
	return p, nil
}

// Processes returns every process there was, in the order of their start, nats-server not among them.
func (f *Fleet) Processes() []*Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.processes)
}

// Freshet runs the freshet command as operator, to its end.
func (f *Fleet) Freshet(ctx context.Context, args ...string) (Output, error) {
	return f.OperatorCommand(args...).Run(ctx)
}

// OperatorCommand is what Freshet runs, for callers that do not wait for its end.
func (f *Fleet) OperatorCommand(args ...string) Command {
	c := Command{Name: "freshet " + args[0], Path: f.cfg.Binaries.Freshet, Args: args, Env: []string{secretVariable + "=" + clientSecret}}
	return f.NATS.As(RoleOperator, c)
}

// StateDir is where the worker of that name has its state.
func (f *Fleet) StateDir(name string) string { return filepath.Join(f.cfg.Dir, "state", name) }
