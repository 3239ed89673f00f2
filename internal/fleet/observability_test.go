package fleet_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
)

var observability = filepath.Join("..", "..", "deploy", "observability")

// watched says where a process's metrics are.
func watched(ctx context.Context, t *testing.T, p *fleet.Process) string {
	t.Helper()
	const said = `"message":"metrics are served"`
	must(t, p.Await(ctx, said, 1))
	for _, line := range p.Log.Lines() {
		var l struct {
			Listen  string `json:"listen"`
			Message string `json:"message"`
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Message == "metrics are served" {
			return "http://" + l.Listen
		}
	}
	t.Fatalf("%s does not say where", p.Name)
	return ""
}

// get asks a process.
func get(ctx context.Context, t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(data)
}

// awaitPage asks until the answer has all the texts.
func awaitPage(ctx context.Context, t *testing.T, url string, texts ...string) string {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, body := get(ctx, t, url)
		missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(body, text) })
		if len(missing) == 0 {
			return body
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s lacks %q:\n%s", url, missing, body)
		}
	}
}

// scraped is which labels each metric has, by its name.
type scraped map[string]map[string]bool

var sample = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? [^ ]+$`)

func (s scraped) read(page string) {
	for _, m := range sample.FindAllStringSubmatch(page, -1) {
		if s[m[1]] == nil {
			s[m[1]] = make(map[string]bool)
		}
		for _, l := range regexp.MustCompile(`([a-z]+)="`).FindAllStringSubmatch(m[2], -1) {
			s[m[1]][l[1]] = true
		}
	}
}

var (
	// selector is a metric in a query, with its matchers.
	selector = regexp.MustCompile(`\b((?:freshet|process|go)_[a-z_]+)\b(?:\{([^}]*)\})?`)
	// grouping is a by clause.
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
	matcher  = regexp.MustCompile(`([a-z]+)\s*[=!]`)
)

// check holds a query against what there is.
func (s scraped) check(t *testing.T, where, expr string) {
	t.Helper()
	labels := map[string]bool{"instance": true, "job": true} // Prometheus adds them
	found := selector.FindAllStringSubmatch(expr, -1)
	for _, m := range found {
		have, ok := s[m[1]]
		if !ok {
			t.Errorf("%s: no process has %s", where, m[1])
			continue
		}
		maps.Copy(labels, have)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !have[l[1]] && l[1] != "instance" && l[1] != "job" {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if !labels[strings.TrimSpace(l)] {
				t.Errorf("%s: nothing in it has the label %s", where, l)
			}
		}
	}
	if len(found) == 0 && !strings.Contains(expr, "up{") {
		t.Errorf("%s: asks for nothing: %s", where, expr)
	}
}

// rules are the alerts by name.
func rules(t *testing.T) map[string]alertRule {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	must(t, yaml.Unmarshal(readFile(t, "alerts.yaml"), &file))
	all := make(map[string]alertRule)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r
		}
	}
	return all
}

type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(observability, name))
	must(t, err)
	return data
}

// TestDashboardAndAlertsAskForWhatThereIs: real processes, under the permissions that people are given, after real refreshes.
func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	ctx := within(t, 60*time.Second)
	f := start(ctx, t, fleet.Config{Auth: authserver.Config{Rotation: authserver.RotationStrict, AccessLifetime: 6 * time.Second}})
	must(t, f.Enrol(ctx, 5))
	here := []string{"--metrics-listen", "127.0.0.1:0"}
	socket := "unix://" + filepath.Join(t.TempDir(), "x.sock")
	exchanger, err := f.Launch(fleet.Command{Name: "exchanger", Path: programs.Worker, Args: append([]string{
		"exchanger", "--listen", socket, "--state-dir", filepath.Join(t.TempDir(), "exchanger"), "--grant-keyset", f.Keysets.Grant,
	}, here...)})
	must(t, err)
	must(t, exchanger.Await(ctx, "exchanger started", 1))
	w := worker(ctx, t, f, "worker-1", append(here, "--exchanger", socket)...)
	s, err := f.Scheduler("scheduler-1", here...)
	must(t, err)

	have := make(scraped)
	have.read(awaitPage(ctx, t, watched(ctx, t, s)+"/metrics", `freshet_lane_pending{provider="acme"}`, `freshet_credentials{provider="acme",state="active"} 5`,
		`freshet_schedule_jobs_total{provider="acme",reason="scheduled"}`))
	have.read(awaitPage(ctx, t, watched(ctx, t, exchanger)+"/metrics", "freshet_exchanger_held "))
	at := watched(ctx, t, w)
	page := awaitPage(ctx, t, at+"/metrics", `freshet_refresh_margin_seconds_count{provider="acme"}`, `type="token.updated"`, `freshet_nats_connected 1`)
	have.read(page)
	awaitPage(ctx, t, at+"/readyz", `"ready":true`, `{"name":"exchanger","ok":true}`)
	for _, account := range f.Accounts() {
		if strings.Contains(page, account) {
			t.Errorf("a label names the account %s", account)
		}
	}
	for name, r := range rules(t) {
		have.check(t, name, r.Expr)
	}
	checkDashboard(t, have)
}

func checkDashboard(t *testing.T, have scraped) {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	data := readFile(t, "dashboard.json")
	must(t, json.Unmarshal(data, &board))
	asked := 0
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			asked++
			have.check(t, "panel "+p.Title, q.Expr)
		}
	}
	if asked == 0 {
		t.Error("the dashboard asks for nothing")
	}
	for name := range have { // and what there is can be seen
		base := strings.NewReplacer("_bucket", "", "_sum", "", "_count", "").Replace(name)
		if strings.HasPrefix(name, "freshet_") && !strings.Contains(string(data), base) {
			t.Errorf("no panel shows %s", base)
		}
	}
}

// TestEachAlertSaysWhatToDo: the rules, their tests and the runbook are about the same alerts.
func TestEachAlertSaysWhatToDo(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	must(t, err)
	_, sections, _ := strings.Cut(string(text), "\n## Alerts\n")
	documented := make(map[string]bool)
	for _, section := range strings.Split(sections, "\n### ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		documented[name] = true
		if !strings.Contains(body, "**Look at:**") || !strings.Contains(body, "**Do:**") {
			t.Errorf("docs/operations.md: %s: want what to look at, and what to do", name)
		}
	}
	const page = "https://github.com/freshetdev/freshet/blob/main/docs/operations.md#"
	tests := string(readFile(t, "alerts_test.yaml"))
	all := rules(t)
	for name, r := range all {
		if !documented[name] {
			t.Errorf("docs/operations.md has no section on %s", name)
		}
		if got, want := r.Annotations["runbook_url"], page+strings.ToLower(name); got != want {
			t.Errorf("%s links to %s, want %s", name, got, want)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: want a severity, a summary and a description", name)
		}
		if strings.Count(tests, "alertname: "+name+"\n") != 2 {
			t.Errorf("alerts_test.yaml: %s: want a case in which it fires and one in which it does not", name)
		}
	}
	for name := range documented {
		if _, ok := all[name]; !ok {
			t.Errorf("docs/operations.md has a section on %s, which is no alert", name)
		}
	}
}
