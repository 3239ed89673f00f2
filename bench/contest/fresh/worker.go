package fresh

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/embedded"
)

// started is what a worker says when it is at work.
const started = "worker started"

func (f *Fresh) workerCount() int {
	switch f.variant.Workers {
	case None:
		return 0
	case 0:
		return 1
	default:
		return f.variant.Workers
	}
}

// startWorkers starts the workers, and waits until they are at work: on a paused lane.
func (f *Fresh) startWorkers(ctx context.Context) error {
	if err := f.Halt(ctx); err != nil {
		return err
	}
	if f.variant.Embedded {
		return f.workers[0].Ask(ctx, "work", started)
	}
	return f.Restart(ctx)
}

// Restart starts the workers, with the state directories they had.
func (f *Fresh) Restart(ctx context.Context) error {
	f.workers = nil
	for i := range f.workerCount() {
		w, err := f.workerCommand(fmt.Sprintf("worker-%d", i+1)).Start()
		if err != nil {
			return err
		}
		f.workers = append(f.workers, w)
	}
	for _, w := range f.workers {
		if err := w.Await(ctx, started); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fresh) workerCommand(name string) host.Command {
	args := []string{
		"--name", name, "--state-dir", filepath.Join(f.env.Dir, "state", name),
		"--grant-keyset", f.keysets.Grant, "--access-keyset", f.keysets.Access,
	}
	if f.variant.Exchanger {
		args = append(args, "--exchanger", f.exchangerAddress())
	}
	return shell(host.Command{
		Name: name, Path: f.env.Programs.Worker, Args: append(args, f.variant.Flags...), Env: []string{"NATS_URL=" + f.url},
	})
}

// Scheduler starts a scheduler. It says "index is complete" when it has read every record.
func (f *Fresh) Scheduler(name string) (*host.Process, error) {
	return shell(host.Command{
		Name: name, Path: f.env.Programs.Scheduler, Args: []string{"--name", name}, Env: []string{"NATS_URL=" + f.url},
	}).Start()
}

// Import starts freshet import of a file. It says how far it is, and at last how many were imported.
func (f *Fresh) Import(path string) (*host.Process, error) {
	return shell(host.Command{Name: "freshet import", Path: f.env.Programs.Freshet, Env: []string{"NATS_URL=" + f.url}, Args: []string{
		"import", path, "--progress", "--grant-keyset", f.keysets.Grant, "--access-keyset", f.keysets.Access,
	}}).Start()
}

// shell makes a program that logs on its standard error say it on its standard output.
func shell(c host.Command) host.Command {
	c.Args = append([]string{"-c", `exec "$0" "$@" 2>&1`, c.Path}, c.Args...)
	c.Path = "/bin/sh"
	return c
}

func (f *Fresh) exchangerAddress() string { return "unix://" + filepath.Join(f.env.Dir, "x.sock") }

func (f *Fresh) startExchanger(ctx context.Context) (err error) {
	if !f.variant.Exchanger {
		return nil
	}
	f.exchanger, err = shell(host.Command{Name: "exchanger", Path: f.env.Programs.Worker, Args: []string{
		"exchanger", "--listen", f.exchangerAddress(), "--state-dir", filepath.Join(f.env.Dir, "state", "exchanger"),
		"--grant-keyset", f.keysets.Grant,
	}}).Start()
	if err != nil {
		return err
	}
	return f.exchanger.Await(ctx, "exchanger started")
}

// Kill ends the workers.
func (f *Fresh) Kill() error {
	var errs []error
	for _, w := range f.workers {
		errs = append(errs, w.Kill())
	}
	return errors.Join(errs...)
}

// Self are the workers, and the exchanger, which does a part of their work.
func (f *Fresh) Self() (pids []int) {
	for _, w := range f.workers {
		pids = append(pids, w.PID())
	}
	if f.exchanger != nil {
		pids = append(pids, f.exchanger.PID())
	}
	return pids
}

// Servers is nats-server; none where it is embedded.
func (f *Fresh) Servers() []int {
	if f.NATS == nil {
		return nil
	}
	return []int{f.NATS.Process.ID()}
}

// EmbeddedName is the child process that is everything.
const EmbeddedName = "freshet-embedded"

// embeddedConfig goes to the child.
type embeddedConfig struct {
	Dir     string
	Keysets app.KeysetFiles
	SyncAll bool
	Profile string
}

func (f *Fresh) startEmbedded(ctx context.Context) error {
	cfg, err := json.Marshal(embeddedConfig{f.env.Dir, f.keysets, f.variant.SyncAll, f.variant.Profile})
	if err != nil {
		return err
	}
	p, err := f.env.Child(EmbeddedName, string(cfg)).Start()
	if err != nil {
		return err
	}
	f.workers = []*host.Process{p}
	if f.url, err = p.Line(ctx); err != nil {
		return err
	}
	return nil
}

// Embedded is what the child process does: nats-server, and a worker from the first line of its standard input to the
// second. The harness sets up before the first.
func Embedded(arg string, in io.Reader, out io.Writer) error {
	var cfg embeddedConfig
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	s, err := embedded.Start(embedded.Config{StoreDir: filepath.Join(cfg.Dir, "nats"), SyncEveryWrite: cfg.SyncAll})
	if err != nil {
		return err
	}
	defer s.Shutdown()
	fmt.Fprintln(out, s.URL())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return lines.Err()
	}
	go func() {
		lines.Scan() // the end, or the harness is gone
		cancel()
	}()
	stop, err := profile(cfg.Profile)
	if err != nil {
		return err
	}
	return errors.Join(work(ctx, s, cfg, out), stop())
}

// profile writes a CPU profile, if there is a file for it.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, pprof.StartCPUProfile(file)
}

// finishProfile lets the child that is everything end by itself, so that its profile is complete.
func (f *Fresh) finishProfile() error {
	if f.variant.Profile == "" {
		return nil
	}
	err := f.workers[0].Say("end")
	for f.workers[0].Await(context.Background(), "\x00") == nil { // until it has ended
	}
	return err
}

// work runs a worker as freshet run does.
func work(ctx context.Context, s *embedded.Server, cfg embeddedConfig, out io.Writer) error {
	grant, access, err := cfg.Keysets.Load()
	if err != nil {
		return err
	}
	nc, err := s.Connect(app.ConnectOptions(zerolog.Nop())...)
	if err != nil {
		return err
	}
	defer nc.Close()
	return app.RunWorker(ctx, app.WorkerConfig{
		Conn: nc, Grant: grant, Access: access, StateDir: filepath.Join(cfg.Dir, "state"), Log: zerolog.New(out),
	})
}
