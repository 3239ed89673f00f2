package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/freshetdev/freshet/pkg/events"
)

// The commands of compose.yaml, run as processes in its order, keep a token fresh and end when they are told to.
func TestComposeCommandsWorkTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := &host{world: w, compose: readCompose(t), dir: t.TempDir()}
	h.build(imagePrograms(t))
	h.writeProviders()
	for _, name := range []string{"setup", "apply"} {
		h.start(name).wantEnd()
	}
	live, _ := w.subscribe()
	var processes []*process
	for _, name := range []string{"scheduler", "worker-1", "worker-2", "web"} {
		processes = append(processes, h.start(name))
	}
	carol := w.importExpired("carol")
	live.await(t, "the refresh", isAbout(events.TokenUpdated, carol, 2))
	w.wantToken(w.openReader(), carol, 2)
	for _, p := range processes {
		w.must(p.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, p := range processes {
		p.wantEnd()
	}
}

// host stands in for Compose: it runs the services' commands on this machine.
type host struct {
	*world
	compose compose
	dir     string
}

// build makes the programs of the image.
func (h *host) build(programs map[string]string) {
	h.t.Helper()
	for name, pkg := range programs {
		cmd := exec.CommandContext(h.t.Context(), "go", "build", "-ldflags", "-s -w", "-o", h.program(name), pkg)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			h.t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
}

// program is where a program of the image is here.
func (h *host) program(name string) string { return filepath.Join(h.dir, path.Base(name)) }

func (h *host) providersFile() string { return filepath.Join(h.dir, "providers.yaml") }

func (h *host) writeProviders() {
	h.t.Helper()
	text := fmt.Sprintf(`providers:
  acme:
    auth_url: %[1]s/authorize
    token_url: %[1]s/token
    client_id: dev
    client_secret: env://ACME_SECRET
    auth_style: basic
`, h.authURL)
	h.must(os.WriteFile(h.providersFile(), []byte(text), 0o600))
}

// here puts what there is on this machine in the place of what there is in a container.
func (h *host) here(service, value string) string {
	pairs := []string{
		"nats://nats:4222", h.server.ClientURL(), "nats://127.0.0.1:4222", h.server.ClientURL(), "127.0.0.1:8480", "127.0.0.1:0",
		"127.0.0.1:8481", "127.0.0.1:0", "/run/secrets/grant_keyset", h.keysets.Grant,
		"/run/secrets/access_keyset", h.keysets.Access, "/providers.yaml", h.providersFile(),
		"/state", filepath.Join(h.dir, service),
	}
	for _, role := range roles() {
		pairs = append(pairs, passwordReference(role), password(role))
	}
	return strings.NewReplacer(pairs...).Replace(value)
}

// process is a service at work.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	wait   func() error
	output bytes.Buffer
}

// start runs a service's command with its environment, and providers.env. It is killed if the test ends first.
func (h *host) start(name string) *process {
	h.t.Helper()
	s, program := h.compose.Services[name], "/freshet"
	if len(s.Entrypoint) > 0 {
		program = s.Entrypoint[0]
	}
	p := &process{t: h.t, name: name, cmd: exec.CommandContext(h.t.Context(), h.program(program))}
	for _, arg := range s.Command {
		p.cmd.Args = append(p.cmd.Args, h.here(name, arg))
	}
	p.cmd.Env = []string{"ACME_SECRET=dev-secret"}
	for variable, value := range s.Environment {
		p.cmd.Env = append(p.cmd.Env, variable+"="+h.here(name, value))
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	h.must(p.cmd.Start())
	p.wait = sync.OnceValue(p.cmd.Wait)
	h.t.Cleanup(func() { _ = p.wait() }) // killed by then, where the test did not wait for it
	return p
}

// wantEnd waits for the end of a process, which must be a good one.
func (p *process) wantEnd() {
	p.t.Helper()
	if err := p.wait(); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.output.String())
	}
}
