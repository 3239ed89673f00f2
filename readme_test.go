package freshet_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestReadmeCommandsWork types what the README says, on a nats-server and with binaries of its own.
func TestReadmeCommandsWork(t *testing.T) {
	t.Parallel()
	readme := string(read(t, "README.md"))
	u := &user{t: t, dir: t.TempDir(), bin: build(t)}
	u.write("providers.yaml", fenced(t, readme, "yaml"))
	u.env = append(os.Environ(), "PATH="+u.bin+":"+os.Getenv("PATH"), "HOME="+u.dir)
	for _, line := range commands(t, readme, "## For real") {
		switch name, _, _ := strings.Cut(line, " "); name {
		case "go": // built from here, not from a release
		case "export":
			u.export(line)
		default:
			u.serve(line+" --nats-port 0", "worker started")
		}
	}
	url := natsServer(t)
	for _, line := range commands(t, readme, "## Apart") {
		line = strings.ReplaceAll(line, "nats://localhost:4222", url)
		line = strings.ReplaceAll(line, "/run/freshet/", u.dir+"/")
		switch name, _, _ := strings.Cut(line, " "); name {
		case "export":
			u.export(line)
		case "freshet-scheduler", "freshet-worker":
			if strings.Contains(line, " exchanger ") {
				defer u.start(line, "started")()
				continue
			}
			u.serve(line, "started")
		default:
			u.run(line)
		}
	}
}

// TestReadmeProgramIsTheExample: the lines of Go in the README stand in an example that runs.
func TestReadmeProgramIsTheExample(t *testing.T) {
	t.Parallel()
	example := string(read(t, "pkg/tokens/example_test.go"))
	for _, part := range []string{"tokens.Open(", "tokens.Config{AccessKeyset: keyset}", "oauth2.NewClient(", `client.TokenSource("acme/alice")`} {
		if !strings.Contains(example, part) || !strings.Contains(fenced(t, string(read(t, "README.md")), "go"), part) {
			t.Errorf("%s is not in both", part)
		}
	}
}

func TestMakeHelpNamesEveryTarget(t *testing.T) {
	t.Parallel()
	lines := strings.Split(string(read(t, "Makefile")), "\n")
	if len(lines) > 50 {
		t.Errorf("the Makefile has %d lines: it is an index, not a program", len(lines))
	}
	for _, line := range lines {
		name, rest, ok := strings.Cut(line, ":")
		if ok && !strings.HasPrefix(line, ".") && !strings.HasPrefix(line, "\t") && !strings.HasPrefix(rest, "=") && !strings.Contains(rest, "## ") {
			t.Errorf("target %q has no ## text", name)
		}
	}
}

// user is somebody who reads the README with a shell in front of them.
type user struct {
	t        *testing.T
	dir, bin string
	env      []string
}

func (u *user) write(name, text string) {
	if err := os.WriteFile(filepath.Join(u.dir, name), []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// export takes over the variables of an export line.
func (u *user) export(line string) {
	u.env = append(u.env, strings.Fields(line)[1:]...)
}

func (u *user) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Dir, cmd.Env = u.dir, u.env
	return cmd
}

func (u *user) run(line string) {
	u.t.Helper()
	if out, err := u.command(u.t.Context(), line).CombinedOutput(); err != nil {
		u.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// serve starts a command that stays, waits for a word in what it says, and ends it in the ordinary way.
func (u *user) serve(line, word string) {
	u.t.Helper()
	u.start(line, word)()
}

// start is serve without the end, which comes when it is called.
func (u *user) start(line, word string) (end func()) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	cmd := u.command(ctx, line)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		cancel()
		u.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); _ = w.Close() }()
	var said strings.Builder
	lines, found := bufio.NewScanner(r), false
	for !found && lines.Scan() {
		fmt.Fprintln(&said, lines.Text())
		found = strings.Contains(strings.ToLower(lines.Text()), strings.ToLower(word))
	}
	return func() {
		u.t.Helper()
		defer cancel()
		_ = cmd.Process.Signal(syscall.SIGTERM) // one that has ended fails below
		for lines.Scan() {
			fmt.Fprintln(&said, lines.Text())
		}
		if err := <-ended; err != nil || !found {
			u.t.Fatalf("%s: ended with %v, said %q: %t\n%s", line, err, word, found, said.String())
		}
	}
}

// build makes the three binaries under the names that they have when they are packaged.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for name, pkg := range map[string]string{"freshet": "freshet", "freshet-worker": "worker", "freshet-scheduler": "scheduler"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, name), "./cmd/"+pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	return bin
}

func natsServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("nats-server is not ready")
	}
	return s.ClientURL()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// commands returns the indented lines of a section.
func commands(t *testing.T, text, heading string) (lines []string) {
	t.Helper()
	_, section, _ := strings.Cut(text, "\n"+heading)
	section, _, _ = strings.Cut(section, "\n## ")
	section = strings.ReplaceAll(section, fencedBlock(section, "yaml"), "")
	for _, line := range strings.Split(section, "\n") {
		if cmd, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, cmd)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("no commands under %q", heading)
	}
	return lines
}

// fenced returns what stands in the first fenced block of a language.
func fenced(t *testing.T, text, lang string) string {
	t.Helper()
	block := fencedBlock(text, lang)
	if block == "" {
		t.Fatalf("no %s block", lang)
	}
	return block
}

func fencedBlock(text, lang string) string {
	_, rest, _ := strings.Cut(text, "\n```"+lang+"\n")
	block, _, _ := strings.Cut(rest, "\n```")
	return block
}
