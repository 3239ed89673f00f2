package fleet_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/fleet"
)

// listener is a flag that opens a port.
type listener struct {
	flag   string
	preset string // where it listens when nobody says so; "": nowhere
	open   bool   // it is for people, who come from anywhere
	with   string // what it also needs, so that nothing else is complained of
	wants  string // of what it says when it is to listen on every address and nothing else is given
}

// program is a command that stays.
type program struct {
	path, words string
	args        string
	listeners   []listener
}

func listening() []program {
	metrics := listener{flag: "metrics-listen", wants: "--metrics-tls-cert"}
	beside := metrics
	beside.with = " --listen unix://STATE/x.sock"
	const state = " --state-dir STATE"
	return []program{
		{programs.Scheduler, "", "", []listener{metrics}},
		{programs.Worker, "", state, []listener{metrics}},
		{programs.Worker, "exchanger", state, []listener{beside, {flag: "listen", wants: "unix://PATH"}}},
		{programs.Freshet, "web", "", []listener{
			metrics, {flag: "listen", preset: "127.0.0.1:8480", open: true}, {flag: "admin-listen", preset: "127.0.0.1:8481", wants: "--admin-tls-cert"},
		}},
		{programs.Freshet, "agent", " --file STATE/token=acme/alice", []listener{metrics, {flag: "listen", wants: "loopback"}}},
		{programs.Freshet, "agent exec", " --file STATE/token=acme/alice -- true", []listener{{flag: "listen", wants: "loopback"}}},
		{programs.Freshet, "run", " --nats-port 0 --store STATE/run", []listener{metrics, {flag: "web", wants: "on loopback"}}},
		{programs.Freshet, "dev", " --nats-port 0 --for 1s", []listener{metrics}},
	}
}

var (
	listenFlag = regexp.MustCompile(`(?m)^ +--(\S*listen\S*|web|pprof\S*|debug\S*|admin) +(?:address|strings|stringArray|string)\b(.*(?:\n {20,}.*)*)`)
	preset     = regexp.MustCompile(`\(default "([^"]*)"\)`)
)

// Every port that a process opens for operators is shut by default, or on loopback, and never beyond loopback without TLS and a word
// about who may come. No command has one that is not listed here.
func TestListenersForOperatorsStayAtHome(t *testing.T) {
	t.Parallel()
	ctx := within(t, 60*time.Second)
	for _, p := range listening() {
		name := strings.TrimSpace(p.path[strings.LastIndexByte(p.path, '/')+1:] + " " + p.words)
		help, err := fleet.Command{Name: name, Path: p.path, Args: append(strings.Fields(p.words), "--help")}.Run(ctx)
		must(t, err)
		var found []string
		for _, m := range listenFlag.FindAllStringSubmatch(help.Stdout, -1) {
			found = append(found, m[1])
			at := slices.IndexFunc(p.listeners, func(l listener) bool { return l.flag == m[1] })
			if at < 0 {
				t.Errorf("%s --%s opens a port and is not listed here", name, m[1])
				continue
			}
			if d := preset.FindStringSubmatch(m[2]); len(d) > 0 != (p.listeners[at].preset != "") || len(d) > 0 && d[1] != p.listeners[at].preset {
				t.Errorf("%s --%s listens on %q by default", name, m[1], d)
			}
		}
		wantEqual(t, name+": listeners", len(found), len(p.listeners))
		for _, l := range p.listeners {
			if l.open {
				continue
			}
			args := strings.ReplaceAll(p.words+" --"+l.flag+" 0.0.0.0:0"+l.with+p.args, "STATE", t.TempDir())
			out, err := fleet.Command{Name: name, Path: p.path, Args: strings.Fields(args), Env: keysets(t)}.Run(ctx)
			must(t, err)
			if out.Code == 0 || !strings.Contains(out.Stderr, l.wants) {
				t.Errorf("%s: exit code %d, %s", args, out.Code, out.Stderr)
			}
		}
	}
}

// keysets makes both and says where they are.
func keysets(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	out, err := fleet.Command{Name: "freshet keys generate", Path: programs.Freshet, Args: []string{"keys", "generate", "--dir", dir}}.Run(t.Context())
	must(t, err)
	wantEqual(t, "freshet keys generate", out.Code, 0)
	return []string{"FRESHET_GRANT_KEYSET_FILE=" + dir + "/grant.keyset.json", "FRESHET_ACCESS_KEYSET_FILE=" + dir + "/access.keyset.json"}
}
