package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is where the sources are, the context of the build.
const root = ".."

// instruction is one of a Dockerfile, its flags apart.
type instruction struct {
	name  string
	flags map[string]string
	args  []string
}

// stage is what begins with a FROM.
type stage struct {
	from, name   string
	instructions []instruction
}

// readDockerfile knows as much of the format as our file uses.
func readDockerfile(t *testing.T) []stage {
	t.Helper()
	data, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var stages []stage
	for _, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasSuffix(line, "\\") || strings.Contains(line, "<<"):
			t.Fatalf("%q: this test reads one line for each instruction: write it so", line)
		}
		in := readInstruction(line)
		if in.name == "FROM" {
			s := stage{from: in.args[0]}
			if len(in.args) == 3 {
				s.name = in.args[2]
			}
			stages = append(stages, s)
			continue
		}
		if len(stages) == 0 {
			t.Fatalf("%q stands before the first FROM", line)
		}
		last := &stages[len(stages)-1]
		last.instructions = append(last.instructions, in)
	}
	return stages
}

func readInstruction(line string) instruction {
	words := strings.Fields(line)
	in := instruction{name: strings.ToUpper(words[0]), flags: map[string]string{}}
	for _, w := range words[1:] {
		if key, value, ok := strings.Cut(strings.TrimPrefix(w, "--"), "="); ok && strings.HasPrefix(w, "--") && len(in.args) == 0 {
			in.flags[key] = value
			continue
		}
		in.args = append(in.args, w)
	}
	return in
}

// find returns the instructions of one name.
func (s stage) find(name string) []instruction {
	return slices.DeleteFunc(slices.Clone(s.instructions), func(in instruction) bool { return in.name != name })
}

// builds maps each program that a stage builds to its package.
func (s stage) builds() map[string]string {
	all := map[string]string{}
	for _, in := range s.find("RUN") {
		if out := slices.Index(in.args, "-o"); len(in.args) > 2 && in.args[0] == "go" && in.args[1] == "build" && out > 0 {
			all[in.args[out+1]] = in.args[len(in.args)-1]
		}
	}
	return all
}

func TestDockerfileEndsInAnImageOfThreeProgramsAndNothingElse(t *testing.T) {
	t.Parallel()
	stages := readDockerfile(t)
	last := stages[len(stages)-1]
	if last.from != "scratch" {
		t.Errorf("the last stage is from %s, want scratch", last.from)
	}
	users := last.find("USER")
	if len(users) != 1 || !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(users[0].args[0]) {
		t.Errorf("users %v, want one by number that is not 0", users)
	}
	if entry := last.find("ENTRYPOINT"); len(entry) != 1 || entry[0].args[0] != `["/freshet"]` {
		t.Errorf("entrypoint %v, want /freshet", entry)
	}
	if runs := last.find("RUN"); len(runs) > 0 {
		t.Errorf("there is no shell for %v", runs)
	}
	programs := imagePrograms(t)
	for _, name := range []string{"/freshet", "/freshet-worker", "/freshet-scheduler"} {
		if programs[name] == "" {
			t.Errorf("the image lacks %s", name)
		}
	}
}

// imagePrograms maps each program of the image to the package it is built from.
func imagePrograms(t *testing.T) map[string]string {
	t.Helper()
	stages := readDockerfile(t)
	built, programs := stages[0].builds(), map[string]string{}
	for _, in := range stages[len(stages)-1].find("COPY") {
		target := in.args[len(in.args)-1]
		for _, source := range in.args[:len(in.args)-1] {
			if pkg, ok := built[source]; ok && strings.HasSuffix(target, "/") {
				programs[path.Join(target, path.Base(source))] = pkg
			}
		}
	}
	return programs
}

func TestDockerfileCopiesWhatThereIs(t *testing.T) {
	t.Parallel()
	stages := readDockerfile(t)
	builder := stages[0]
	if want := "golang:" + goVersion(t); builder.from != want {
		t.Errorf("the builder is from %s, want %s as go.mod says", builder.from, want)
	}
	made := append(slices.Collect(mapKeys(builder.builds())), "/etc/ssl/certs/ca-certificates.crt")
	for _, in := range builder.find("RUN") {
		if in.args[0] == "mkdir" {
			made = append(made, in.args[1])
		}
	}
	for i, s := range stages {
		for _, in := range s.find("COPY") {
			for _, source := range in.args[:len(in.args)-1] {
				if from := in.flags["from"]; from != "" {
					if i == 0 || from != builder.name || !slices.Contains(made, source) {
						t.Errorf("stage %d copies %s from %s, which does not make it", i+1, source, from)
					}
				} else if _, err := os.Stat(filepath.Join(root, source)); err != nil {
					t.Errorf("stage %d: %v", i+1, err)
				}
			}
		}
	}
}

func mapKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// The builder gets the folders that the programs are made of, each of them a package that go knows.
func TestDockerfileBuildsStaticProgramsFromTheSourcesItCopies(t *testing.T) {
	t.Parallel()
	builder := readDockerfile(t)[0]
	var copied, environment []string
	for _, in := range builder.find("COPY") {
		copied = append(copied, in.args[:len(in.args)-1]...)
	}
	for _, in := range builder.find("ENV") {
		environment = append(environment, in.args...)
	}
	if !slices.Contains(environment, "CGO_ENABLED=0") {
		t.Errorf("environment %v, want CGO_ENABLED=0: the image has no C library", environment)
	}
	for _, in := range builder.find("RUN") {
		if in.args[0] == "go" && in.args[1] == "build" && !slices.Contains(in.args, "-trimpath") {
			t.Errorf("%v: want -trimpath", in.args)
		}
	}
	for program, pkg := range builder.builds() {
		names := goList(t, "-f", "{{.Name}}", pkg)
		if !slices.Equal(names, []string{"main"}) {
			t.Errorf("%s is built from %s, which is %v: want a program", program, pkg, names)
		}
		module := goList(t, "-m")[0]
		for _, dep := range goList(t, "-deps", pkg) {
			inside, ours := strings.CutPrefix(dep, module+"/")
			folder, _, _ := strings.Cut(inside, "/")
			if ours && !slices.Contains(copied, folder) {
				t.Errorf("%s needs %s, and %s is not copied", program, dep, folder)
			}
		}
	}
}

// The program's version is set by its symbol, which the linker does not miss when it is gone.
func TestDockerfileSetsAVersionThatExists(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`-X (\S+)/(\w+)\.(\w+)=`).FindStringSubmatch(string(data))
	if match == nil {
		t.Fatal("no -X flag: want the version set")
	}
	dir := goList(t, "-f", "{{.Dir}}", match[1]+"/"+match[2])[0]
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(fmt.Sprintf(`(?m)^var %s string`, match[3]))
	if !slices.ContainsFunc(files, func(f string) bool {
		source, err := os.ReadFile(f)
		return err == nil && declared.Match(source)
	}) {
		t.Errorf("%s has no variable %s", dir, match[3])
	}
}

// goVersion is the line of go that go.mod asks for, such as 1.26.
func goVersion(t *testing.T) string {
	t.Helper()
	parts := strings.Split(goList(t, "-m", "-f", "{{.GoVersion}}")[0], ".")
	return strings.Join(parts[:2], ".")
}

// goList runs go list at the root of the sources.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v: %s", args, err, errs.String())
	}
	return strings.Fields(string(out))
}
