package main_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	main "github.com/freshetdev/freshet/cmd/freshet"
	"github.com/freshetdev/freshet/internal/audit"
)

// audited says which entries a command writes; nil: none, since it changes nothing that others rely on. Every command is here.
func audited() map[string][]audit.Action {
	return map[string][]audit.Action{
		"setup": {audit.SetUp}, "apply": {audit.Applied}, "login": {audit.Enrolled}, "import": {audit.Imported},
		"web":   {audit.LinkMade, audit.Enrolled},
		"pause": {audit.Paused}, "resume": {audit.Resumed}, "revoke": {audit.Revoked}, "rm": {audit.Deleted},
		"keys rotate": {audit.KeysRotated}, "keys rewrap": {audit.Rewrapped},
		"backup": {audit.BackedUp}, "restore": {audit.Restored},
		"agent": {audit.TokenRead}, "agent exec": {audit.TokenRead},
		// What dev does is gone with it, but for its pages. What run applies is written as apply's is.
		"dev": {audit.LinkMade, audit.Enrolled}, "run": {audit.Applied, audit.LinkMade, audit.Enrolled, audit.Paused, audit.Resumed},
		// New files of nobody's yet.
		"keys generate": nil,
		// A demand is a job, which the events tell of.
		"refresh": nil,
		// Readers of their own: whoever has the keyset may read without any command.
		"token": nil, "credential-helper git": nil, "credential-helper kubernetes": nil,
		"ls": nil, "show": nil, "events": nil, "audit": nil, "doctor": nil, "permissions": nil, "version": nil, "keys ls": nil,
		"providers ls": nil, "providers show": nil, "providers test": nil,
	}
}

// A command that is new has to say here what it writes down, and the script has to show that it does.
func TestEveryCommandIsAudited(t *testing.T) {
	t.Parallel()
	known, seen := audited(), map[string]bool{}
	walk(main.Root(), func(cmd *cobra.Command) {
		name := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "freshet"), " ")
		if strings.HasSuffix(cmd.Use, " COMMAND") || name == "" {
			return // it only holds others
		}
		if _, ok := known[name]; !ok {
			t.Errorf("%s: say in audited which entries it writes, or why none", name)
		}
		seen[name] = true
	})
	script, err := os.ReadFile("testdata/script/audit.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var written []audit.Action
	for name, actions := range known {
		if !seen[name] {
			t.Errorf("%s: there is no such command", name)
		}
		written = append(written, actions...)
		if len(actions) > 0 && name != "dev" && name != "run" && !strings.Contains(string(script), "freshet "+name+" ") && !strings.Contains(string(script), "freshet "+name+"\n") {
			t.Errorf("%s: audit.txtar does not run it", name)
		}
	}
	for _, a := range audit.Actions() {
		if !slices.Contains(written, a) {
			t.Errorf("%s: no command writes it", a)
		}
		if !strings.Contains(string(script), string(a)) {
			t.Errorf("%s: audit.txtar does not look for it", a)
		}
	}
}
