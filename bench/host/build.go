package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs are the paths of Freshet's programs and of nats-server, as they are shipped: static and stripped, with the versions
// that Freshet's own module pins.
type Programs struct {
	Worker, Scheduler, Freshet, NATSServer string
}

// Root is the directory of Freshet's module.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/freshetdev/freshet").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: run this in its directory bench: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Build builds the programs into dir.
func Build(ctx context.Context, dir string) (Programs, error) {
	root, err := Root(ctx)
	if err != nil {
		return Programs{}, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+string(filepath.Separator),
		"./cmd/worker", "./cmd/scheduler", "./cmd/freshet", "github.com/nats-io/nats-server/v2")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	return Programs{Worker: in("worker"), Scheduler: in("scheduler"), Freshet: in("freshet"), NATSServer: in("nats-server")}, nil
}
