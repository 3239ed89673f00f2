package check_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// worst is the exposure that systemd-analyze security may report, in tenths: what is left are the network and the system's own root.
const worst = "15"

// units are the files of deploy/systemd, by name.
func units(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../systemd/*.service")
	must(t, err)
	all := make(map[string]string)
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		all[filepath.Base(file)] = string(data)
	}
	if len(all) != 4 {
		t.Fatalf("%d units", len(all))
	}
	return all
}

// settings are the values of a key in a unit.
func settings(unit, key string) (values []string) {
	for line := range strings.Lines(unit) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && name == key {
			values = append(values, value)
		}
	}
	return values
}

func analyze(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatal("systemd-analyze is not there: install systemd (Debian: apt-get install systemd)")
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// systemd itself reads the units, with the programs that there are in the place of the packaged ones. Of a setting that it does not
// know it says so and goes on: nothing may be said of ours.
func TestUnitsAreWhatSystemdTakes(t *testing.T) {
	t.Parallel()
	dir, all := t.TempDir(), units(t)
	for name, text := range all {
		text = strings.ReplaceAll(text, "ExecStart=/usr/bin/", "ExecStart="+bin+"/")
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	for name := range all {
		if out := analyze(t, dir, "verify", "--recursive-errors=yes", "--man=no", name); strings.Contains(out, "freshet-") {
			t.Errorf("%s:\n%s", name, out)
		}
		analyze(t, dir, "security", "--offline=yes", "--threshold="+worst, name)
	}
}

func TestUnitsStartWhatThereIs(t *testing.T) {
	t.Parallel()
	specifiers := strings.NewReplacer("%i", "1", "%l", "host", "%S", "/var/lib", "%t", "/run", "%d", "/run/credentials/unit")
	for name, text := range units(t) {
		starts := settings(text, "ExecStart")
		if len(starts) != 1 || !strings.HasPrefix(starts[0], "/usr/bin/") {
			t.Errorf("%s starts %v", name, starts)
			continue
		}
		takes(t, name, strings.Fields(specifiers.Replace(starts[0])))
		state := settings(text, "StateDirectory")
		for _, dir := range state {
			if !strings.Contains(starts[0], "--state-dir %S/"+dir) {
				t.Errorf("%s: state is kept in %s, and %s", name, dir, starts[0])
			}
		}
		if strings.Contains(starts[0], "freshet-worker") != (len(state) == 1) {
			t.Errorf("%s: state directories %v", name, state)
		}
	}
}

// Secrets come as credentials, to those that need them; nothing secret stands in a unit, where everybody can read it.
func TestUnitsGetTheirOwnSecrets(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"freshet-scheduler.service": {"nats.json:/etc/freshet/scheduler.nats.json"},
		"freshet-worker@.service": {
			"access-keyset:/etc/freshet/access.keyset.json", "grant-keyset:/etc/freshet/grant.keyset.json", "nats.json:/etc/freshet/worker.nats.json",
		},
		"freshet-web.service": {
			"access-keyset:/etc/freshet/access.keyset.json", "grant-keyset:/etc/freshet/grant.keyset.json", "nats.json:/etc/freshet/web.nats.json",
		},
		"freshet-exchanger.service": {"grant-keyset:/etc/freshet/grant.keyset.json"},
	}
	for name, text := range units(t) {
		got := settings(text, "LoadCredential")
		slices.Sort(got)
		if !slices.Equal(got, want[name]) {
			t.Errorf("%s gets %v, want %v", name, got, want[name])
		}
		speaks := slices.Contains(settings(text, "Environment"), "NATS_CONTEXT=%d/nats.json")
		if speaks != strings.Contains(text, "LoadCredential=nats.json:") {
			t.Errorf("%s: environment %v", name, settings(text, "Environment"))
		}
	}
}

// A reload would find the credentials of the start, and tell people that it had read the new ones.
func TestUnitsAreRestartedForNewSecrets(t *testing.T) {
	t.Parallel()
	for name, text := range units(t) {
		if got := settings(text, "ExecReload"); len(got) > 0 {
			t.Errorf("%s reloads by %v", name, got)
		}
	}
}

// All are confined alike; only what has a socket may have one.
func TestUnitsAreConfinedAlike(t *testing.T) {
	t.Parallel()
	var first string
	for name, text := range units(t) {
		_, block, ok := strings.Cut(text, "# Nothing but its work")
		block, _, _ = strings.Cut(block, "[Install]")
		block = strings.ReplaceAll(block, "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "RestrictAddressFamilies=AF_INET AF_INET6")
		if !ok || first != "" && block != first {
			t.Errorf("%s is confined in its own way:\n%s\nwant\n%s", name, block, first)
		}
		first = block
	}
}
