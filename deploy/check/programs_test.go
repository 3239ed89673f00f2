package check_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
)

// root is where the sources are.
const root = "../.."

// bin has the programs under the names that they have when they are packaged; TestMain builds them once.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "freshet-check-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	for name, pkg := range map[string]string{"freshet": "freshet", "freshet-worker": "worker", "freshet-scheduler": "scheduler"} {
		cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), "./cmd/"+pkg)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

// takes checks that a program has the flags it is started with: it reads them all before it shows its help.
func takes(t *testing.T, who string, command []string) {
	t.Helper()
	args := append(append([]string{}, command[1:]...), "--help")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, path.Base(command[0])), args...)
	cmd.Env = []string{}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %s: %v: %s", who, strings.Join(command, " "), err, errs.String())
	}
}

// The variables that the programs of the chart are given are ones they know.
func TestChartStartsWhatThereIs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r release) {
		for component, p := range pods(r) {
			for _, c := range containers(p) {
				takes(t, component+"/"+c.Name, append(append([]string{}, c.Command...), c.Args...))
				knows(t, c)
			}
		}
	})
}

// knows checks that the help of a program names the variables that a container sets.
func knows(t *testing.T, c core.Container) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, path.Base(c.Command[0])), append(append([]string{}, c.Command[1:]...), "--help")...)
	out, err := cmd.Output()
	must(t, err)
	for _, e := range c.Env {
		if !strings.HasPrefix(e.Name, "OTEL_") && !strings.Contains(string(out), e.Name) {
			t.Errorf("%s: the help does not know %s", c.Name, e.Name)
		}
	}
}
