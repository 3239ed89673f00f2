package fleet

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Binaries are the paths of the programs a fleet is made of.
type Binaries struct {
	Worker, Scheduler, Freshet, NATSServer string
}

// Build builds the programs into dir. The working directory must be inside the module; flags go to go build, such as
// -race. Build once and share: linking takes seconds even where everything is cached.
func Build(ctx context.Context, dir string, flags ...string) (Binaries, error) {
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	args = append(args,
		"github.com/freshetdev/freshet/cmd/worker", "github.com/freshetdev/freshet/cmd/scheduler",
		"github.com/freshetdev/freshet/cmd/freshet", "github.com/nats-io/nats-server/v2",
	)
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("build the fleet's programs: %w\n%s", err, out)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	return Binaries{Worker: in("worker"), Scheduler: in("scheduler"), Freshet: in("freshet"), NATSServer: in("nats-server")}, nil
}
