package agent_test

import (
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/agent"
)

func TestAConfigIsReadWhole(t *testing.T) {
	t.Parallel()
	c, err := agent.Parse("agent.yaml", []byte(`
listen: [unix:///run/freshet/agent.sock, "127.0.0.1:8970"]
socket_mode: "0660"
cache_file: /var/lib/freshet/cache
callers:
  - {name: web, uid: 1000, allow: [acme/alice, "acme/team/*"]}
  - {name: ci, secret_file: /etc/freshet/ci, allow: ["*"]}
files:
  - credential: acme/alice
    path: /run/app/netrc
    format: netrc
    machine: api.example.com
    command: [systemctl, reload, app]
    timeout: 5s
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if len(c.Listen) != 2 || len(c.Callers) != 2 || *c.Callers[0].UID != 1000 || len(c.Files) != 1 || c.Files[0].Timeout.Seconds() != 5 {
		t.Errorf("read %+v", c)
	}
}

func TestAKeyThatIsNotKnownIsShownWithItsLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"files:\n  - credential: acme/alice\n    pth: /x\n": {"agent.yaml:[3:5]", `unknown field "pth"`, "3 |     pth: /x"},
		"listn: []\n":                       {"[1:1]", `unknown field "listn"`},
		"files: 3\n":                        {"[1:8]", "1 | files: 3"},
		"callers: [{uid: -1}]\n":            {"[1:", "uid: -1"},
		"files: [{timeout: soon}]\n":        {"agent.yaml:", `invalid duration "soon"`},
		"listen: [a]\nlisten: [b]\n":        {"[2:1]", "listen"},
		"files:\n  - path: /a\n   bad: x\n": {"agent.yaml:["},
	} {
		_, err := agent.Parse("agent.yaml", []byte(text))
		if err == nil {
			t.Errorf("%q is taken", text)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v\nwant %q in it", text, err, part)
			}
		}
	}
}

func TestEverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	c, err := agent.Parse("agent.yaml", []byte(`
listen: ["0.0.0.0:8970", "unix://relative", nonsense, "[::1]:1"]
socket_mode: "0777"
callers:
  - {name: both, uid: 1, secret_file: /x, allow: ["acme"]}
  - {name: none}
files:
  - {credential: acme, path: token, format: xml, login: x, name: "1"}
  - {credential: acme/a, path: /t, format: template}
  - {credential: acme/a, path: /t/../t, template: "{{", format: template}
  - {credential: acme/a, path: /n, format: netrc, signal: KILL, command: [x]}
`))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Validate()
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{
		"listen on 0.0.0.0:8970: want a loopback address", "listen on unix://relative: want an absolute path",
		"listen on nonsense: want unix://PATH or HOST:PORT", `socket_mode "0777": want an octal mode`,
		"caller 1 both: want either uid or gid, or secret_file", `caller 1 both: allow "acme": want PROVIDER/ACCOUNT`,
		"caller 2 none: allow is missing", "file 1 token: credential:", "file 1 token: path: want an absolute one",
		`file 1 token: format "xml"`, "file 1 token: login is for", "file 1 token: name is for", `name "1"`,
		"file 2 /t: format: template and the key template go together", "file 3 /t/../t: another entry writes the same file",
		"file 3 /t/../t: template: template:1", "file 4 /n: format: netrc and the key machine go together",
		"signal and pid_file go together", `signal "KILL"`, "want one of command, shell and signal",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestNothingIsOpenByAccident(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{}":                      "nothing to do",
		`listen: ["127.0.0.1:0"]`: "list the callers, each with a secret_file",
		`{listen: ["unix:///s"], socket_mode: "0666"}`:                                             "lets others connect: list the callers, by uid or gid",
		`{listen: ["unix:///s"], socket_mode: "0666", callers: [{secret_file: /x, allow: ["*"]}]}`: "lets others connect",
		`{listen: ["unix:///s"], callers: [{uid: 1, allow: ["acme/al*"]}]}`:                        `allow "acme/al*": would cover nothing`,
		`{listen: ["unix:///s"], callers: [{uid: 1, allow: ["acme/*/alice"]}]}`:                    `allow "acme/*/alice": would cover nothing`,
		`{listen: ["localhost:0"], callers: [{uid: 1, allow: ["*"]}]}`:                             "list the callers, each with a secret_file",
	} {
		c, err := agent.Parse("agent.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, id string
		want        bool
	}{
		{"*", "acme/alice", true}, {"acme/alice", "acme/alice", true}, {"acme/alice", "acme/alice2", false},
		{"acme/*", "acme/alice", true}, {"acme/*", "acme/team/bob", true}, {"acme/*", "acme2/alice", false},
		{"acme/team/*", "acme/team/bob", true}, {"acme/team/*", "acme/teams/bob", false}, {"acme/al*", "acme/alice", false},
	} {
		if got := agent.Allows(c.pattern, c.id); got != c.want {
			t.Errorf("%s covers %s: %t", c.pattern, c.id, got)
		}
	}
}
