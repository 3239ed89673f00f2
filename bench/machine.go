package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/freshetdev/freshet/bench/figures"
)

// machine describes where the figures come from.
func machine(ctx context.Context) figures.Machine {
	m := figures.Machine{
		When: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		CPU: cpuModel(), CPUs: runtime.NumCPU(), Commit: output(ctx, "git", "rev-parse", "--short", "HEAD"), Versions: make(map[string]string),
	}
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		switch dep.Path {
		case "golang.org/x/oauth2", "github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2", "github.com/hibiken/asynq",
			"github.com/riverqueue/river", "github.com/redis/go-redis/v9", "github.com/jackc/pgx/v5":
			m.Versions[dep.Path] = dep.Version
		}
	}
	m.Versions["redis-server"] = output(ctx, "redis-server", "--version")
	m.Versions["postgres"] = output(ctx, "postgres", "--version")
	return m
}

// output is a command's first line, empty where there is no such command.
func output(ctx context.Context, name string, args ...string) string {
	out, _ := exec.CommandContext(ctx, name, args...).Output() // an empty version says it
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo") // elsewhere than on Linux nobody knows
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, " \t:"))
		}
	}
	return "unknown"
}

func (b *bench) printMachine() {
	m := b.Machine
	fmt.Fprintf(b.Out, "%s, commit %s, %s, %s, %d processors (%s)\n", m.When.Format(time.RFC3339), m.Commit, m.Go, m.OS, m.CPUs, m.CPU)
	if b.quick {
		fmt.Fprintln(b.Out, "A quick run: it shows that everything works. Its figures mean nothing.")
	}
}
