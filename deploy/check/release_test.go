package check_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

// readRelease reads the configuration as goreleaser does, which refuses keys it does not know. Templates have tests of their own:
// to build goreleaser for its check takes longer than everything else here together.
func readRelease(t *testing.T) config.Project {
	t.Helper()
	project, err := config.Load(filepath.Join(root, ".goreleaser.yaml"))
	must(t, err)
	return project
}

func TestReleaseBuildsThePrograms(t *testing.T) {
	t.Parallel()
	p := readRelease(t)
	var built []string
	for _, b := range p.Builds {
		built = append(built, b.Binary)
		if _, err := os.Stat(filepath.Join(root, b.Main, "main.go")); err != nil {
			t.Errorf("%s: %v", b.ID, err)
		}
		if !slices.Contains(b.Env, "CGO_ENABLED=0") || !slices.Contains(b.Flags, "-trimpath") || len(b.Ldflags) != 1 || b.ModTimestamp == "" {
			t.Errorf("%s: want it static and reproducible: %+v", b.ID, b)
		}
	}
	if want := []string{"freshet", "freshet-worker", "freshet-scheduler"}; !slices.Equal(built, want) {
		t.Errorf("programs %v, want %v", built, want)
	}
	// The linker does not miss a symbol that is gone; the Dockerfile's is held against the sources.
	docker, err := os.ReadFile("../Dockerfile")
	must(t, err)
	symbol, _, _ := strings.Cut(p.Builds[0].Ldflags[0], "{{")
	if !strings.Contains(string(docker), symbol) {
		t.Errorf("the version goes to %q, not where the Dockerfile has it", symbol)
	}
}

// What is packaged exists, and all units are in it.
func TestReleasePackagesWhatThereIs(t *testing.T) {
	t.Parallel()
	p := readRelease(t)
	packaged := map[string]bool{}
	for _, n := range p.NFPMs {
		for _, c := range n.Contents {
			packaged[filepath.Base(c.Destination)] = true
			if _, err := os.Stat(filepath.Join(root, c.Source)); c.Source != "" && err != nil {
				t.Error(err)
			}
		}
	}
	for name := range units(t) {
		if !packaged[name] {
			t.Errorf("%s is in no package", name)
		}
	}
	for _, a := range p.Archives {
		for _, f := range a.Files {
			found, err := filepath.Glob(filepath.Join(root, f.Source))
			must(t, err)
			if len(found) == 0 {
				t.Errorf("archive: there is no %s", f.Source)
			}
		}
	}
}

// The image is the one that the chart asks for, and is made as the other Dockerfile makes it.
func TestReleaseMakesTheImageOfTheChart(t *testing.T) {
	t.Parallel()
	p, c := readRelease(t), loadChart(t)
	image := c.Values["image"].(map[string]any)["repository"]
	if len(p.DockersV2) != 1 || !slices.Equal(p.DockersV2[0].Images, []string{image.(string)}) || !slices.Equal(p.DockersV2[0].Tags, []string{"{{ .Version }}"}) {
		t.Fatalf("images %+v, want %s", p.DockersV2, image)
	}
	ours, err := os.ReadFile(filepath.Join(root, p.DockersV2[0].Dockerfile))
	must(t, err)
	other, err := os.ReadFile("../Dockerfile")
	must(t, err)
	if strings.Contains(string(ours), "RUN ") && !strings.Contains(string(ours), "FROM --platform=$BUILDPLATFORM golang:") {
		t.Error("a RUN of the stage that builds needs emulation for all platforms but one")
	}
	for _, line := range []string{" golang:", " AS build\n", "FROM scratch\n", "USER 65532:65532\n", `ENTRYPOINT ["/freshet"]`, "/out/state /state\n", "/etc/ssl/certs/ca-certificates.crt\n"} {
		if !strings.Contains(string(ours), line) || !strings.Contains(string(other), line) {
			t.Errorf("%q is not in both Dockerfiles", line)
		}
	}
	for _, b := range p.Builds {
		if !strings.Contains(string(ours), "$TARGETPLATFORM/"+b.Binary+" ") {
			t.Errorf("the image lacks %s", b.Binary)
		}
	}
	if s := pods(render(t, nil))["worker"].Spec.SecurityContext; *s.RunAsUser != 65532 {
		t.Errorf("the chart runs it as %d", *s.RunAsUser)
	}
}
