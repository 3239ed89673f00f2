package deploy_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// compose is as much of the Compose format as our file uses; anything else in it is an error.
type compose struct {
	Name     string                `yaml:"name"`
	Freshet  service               `yaml:"x-freshet"`
	Services map[string]service    `yaml:"services"`
	Secrets  map[string]secretFile `yaml:"secrets"`
	Volumes  map[string]struct{}   `yaml:"volumes"`
}

type service struct {
	Image       string                `yaml:"image"`
	Build       *build                `yaml:"build"`
	Entrypoint  []string              `yaml:"entrypoint"`
	Command     []string              `yaml:"command"`
	Environment map[string]string     `yaml:"environment"`
	EnvFile     []envFile             `yaml:"env_file"`
	Secrets     []string              `yaml:"secrets"`
	Volumes     []string              `yaml:"volumes"`
	Ports       []string              `yaml:"ports"`
	Healthcheck *healthcheck          `yaml:"healthcheck"`
	Deploy      *deployment           `yaml:"deploy"`
	DependsOn   map[string]dependency `yaml:"depends_on"`
	Restart     string                `yaml:"restart"`
	ReadOnly    bool                  `yaml:"read_only"`
	CapDrop     []string              `yaml:"cap_drop"`
	SecurityOpt []string              `yaml:"security_opt"`
	StopGrace   string                `yaml:"stop_grace_period"`
	NetworkMode string                `yaml:"network_mode"`
}

type build struct {
	Context    string `yaml:"context"`
	Dockerfile string `yaml:"dockerfile"`
}

type envFile struct {
	Path     string `yaml:"path"`
	Required bool   `yaml:"required"`
}

type healthcheck struct {
	Test        []string `yaml:"test"`
	Interval    string   `yaml:"interval"`
	Timeout     string   `yaml:"timeout"`
	Retries     int      `yaml:"retries"`
	StartPeriod string   `yaml:"start_period"`
}

type deployment struct {
	Replicas int `yaml:"replicas"`
}

type dependency struct {
	Condition string `yaml:"condition"`
}

type secretFile struct {
	File string `yaml:"file"`
}

const (
	whenHealthy = "service_healthy"
	whenDone    = "service_completed_successfully"
)

func readCompose(t *testing.T) compose {
	t.Helper()
	data, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()); err != nil {
		t.Fatal(yaml.FormatError(err, false, true))
	}
	return c
}

// stays tells a service that stays from one that ends.
func (s service) stays() bool { return s.Restart == "unless-stopped" }

func TestComposeHasTheWholeFleet(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	want := []string{"apply", "nats", "scheduler", "setup", "web", "worker-1", "worker-2"}
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, want) {
		t.Fatalf("services %v, want %v", got, want)
	}
	if d := c.Services["scheduler"].Deploy; d == nil || d.Replicas != 2 {
		t.Errorf("schedulers %v, want 2", d)
	}
	states := map[string]bool{}
	for _, name := range []string{"worker-1", "worker-2"} {
		for _, v := range c.Services[name].Volumes {
			states[v] = true
		}
	}
	if len(states) != 2 {
		t.Errorf("the workers have %v: want a state volume each", states)
	}
}

func TestComposeStartsInOrderAndComesBack(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	if c.Services["nats"].Healthcheck == nil {
		t.Error("nats has no health check")
	}
	for name, s := range c.Services {
		if s.Restart != "unless-stopped" && s.Restart != "no" {
			t.Errorf("%s: restart is %q, want unless-stopped or no", name, s.Restart)
		}
		if name != "nats" && len(s.DependsOn) == 0 {
			t.Errorf("%s waits for nothing", name)
		}
		for on, d := range s.DependsOn {
			other, ok := c.Services[on]
			switch {
			case !ok:
				t.Errorf("%s waits for %s, which is no service", name, on)
			case d.Condition == whenHealthy && other.Healthcheck == nil, d.Condition == whenDone && other.stays():
				t.Errorf("%s waits until %s is %s, which never comes", name, on, d.Condition)
			case d.Condition != whenHealthy && d.Condition != whenDone:
				t.Errorf("%s waits for %s on condition %q", name, on, d.Condition)
			}
		}
	}
}

// Whoever shares the host's network listens on its loopback alone, and reaches NATS where it is published there.
func TestComposeOpensNothingToOthers(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for name, s := range c.Services {
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s", name, p)
			}
		}
		if s.NetworkMode == "" {
			continue
		}
		address := strings.TrimPrefix(s.Environment["NATS_URL"], "nats://")
		if s.NetworkMode != "host" || !slices.Contains(c.Services["nats"].Ports, address+":4222") {
			t.Errorf("%s: network %s, NATS at %s", name, s.NetworkMode, address)
		}
		for i, arg := range s.Command {
			if strings.HasSuffix(arg, "listen") && !strings.HasPrefix(s.Command[i+1], "127.0.0.1:") {
				t.Errorf("%s: %s %s", name, arg, s.Command[i+1])
			}
		}
	}
}

func TestComposePinsImages(t *testing.T) {
	t.Parallel()
	for name, s := range readCompose(t).Services {
		if s.Build != nil {
			if s.Image != "freshet:devel" {
				t.Errorf("%s is built as %s, want one image for all", name, s.Image)
			}
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !regexp.MustCompile(`^[a-z]+:\d+\.\d+\.\d+(-[a-z]+)?$`).MatchString(s.Image) {
			t.Errorf("%s: image %s, want a version of an official image", name, s.Image)
		}
	}
	server := strings.TrimPrefix(goList(t, "-m", "-f", "{{.Version}}", "github.com/nats-io/nats-server/v2")[0], "v")
	if image := readCompose(t).Services["nats"].Image; !strings.HasPrefix(image, "nats:"+server+"-") {
		t.Errorf("the server is %s, and tested is %s", image, server)
	}
}

// There must be everything that is mounted: here, or in the README, which says how to make it.
func TestComposeMountsWhatThereIs(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := func(what, file string) {
		_, err := os.Stat(file)
		if name := strings.TrimPrefix(file, "./"); err != nil && !strings.Contains(string(readme), name) {
			t.Errorf("%s: %s is not there, and the README does not say how to make it", what, name)
		}
	}
	mounted, used := map[string]bool{}, map[string]bool{}
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(source, ".") {
				exists(name, source)
				continue
			}
			mounted[source] = true
		}
		for _, f := range s.EnvFile {
			exists(name, f.Path)
		}
		for _, secret := range s.Secrets {
			used[secret] = true
		}
	}
	for name, s := range c.Secrets {
		exists("secret "+name, s.File)
	}
	if declared := slices.Sorted(maps.Keys(c.Volumes)); !slices.Equal(declared, slices.Sorted(maps.Keys(mounted))) {
		t.Errorf("volumes %v are declared, %v are mounted", declared, mounted)
	}
	if declared := slices.Sorted(maps.Keys(c.Secrets)); !slices.Equal(declared, slices.Sorted(maps.Keys(used))) {
		t.Errorf("secrets %v are declared, %v are used", declared, used)
	}
}

// Each process connects as its own role: user, password and inbox.
func TestComposeGivesEachProcessItsOwnUser(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for _, role := range roles() {
		if got := c.Services["nats"].Environment[passwordVariable(role)]; got != passwordReference(role) {
			t.Errorf("nats: %s is %q, want %q", passwordVariable(role), got, passwordReference(role))
		}
	}
	for name, want := range map[string]string{
		"setup": "operator", "apply": "operator", "scheduler": "scheduler", "worker-1": "worker", "worker-2": "worker", "web": "enroller",
	} {
		s := c.Services[name]
		if s.Environment["NATS_USER"] != want || s.Environment["NATS_PASSWORD"] != passwordReference(want) {
			t.Errorf("%s connects as %s with %s, want %s", name, s.Environment["NATS_USER"], s.Environment["NATS_PASSWORD"], want)
		}
		if i := slices.Index(s.Command, "--inbox-prefix"); i < 0 || s.Command[i+1] != "_INBOX_"+want {
			t.Errorf("%s: command %v, want --inbox-prefix _INBOX_%s", name, s.Command, want)
		}
		for variable, value := range s.Environment {
			secret, ok := strings.CutPrefix(value, "/run/secrets/")
			if ok && !slices.Contains(s.Secrets, secret) {
				t.Errorf("%s: %s names %s, which it does not get", name, variable, value)
			}
		}
		if len(s.Secrets) > 0 && (name == "setup" || name == "scheduler") {
			t.Errorf("%s gets %v and needs no secret", name, s.Secrets)
		}
	}
}

// passwordReference makes Compose refuse to start while the variable is missing or empty.
func passwordReference(role string) string { return "${" + passwordVariable(role) + ":?see README.md}" }
