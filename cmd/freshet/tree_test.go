package main_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	main "github.com/freshetdev/freshet/cmd/freshet"
)

// walk visits every command of ours; help and completion are cobra's own.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	if cmd.Name() == "help" || cmd.Name() == "completion" {
		return
	}
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

// typed finds the freshet commands in an example: in a line, behind a semicolon, inside $(...); what follows two blanks is
// a remark.
var typed = regexp.MustCompile(`(?:^|[\s(])freshet((?: [^\s;)<|]+)*)`)

func TestEveryCommandSaysWhatItDoesAndShowsHow(t *testing.T) {
	t.Parallel()
	walk(main.Root(), func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short is %q: want words without a full stop", cmd.CommandPath(), cmd.Short)
		}
		own := false
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: example %q is not indented", cmd.CommandPath(), line)
			}
			for _, m := range typed.FindAllStringSubmatch(line, -1) {
				own = check(t, cmd, strings.Fields(strings.ReplaceAll(m[1], `"`, ""))) || own
			}
		}
		if !own {
			t.Errorf("%s: no example shows it", cmd.CommandPath())
		}
	})
}

// check parses an example as if it were typed, and reports whether it is about the command or one below it.
func check(t *testing.T, about *cobra.Command, args []string) bool {
	t.Helper()
	cmd, rest, err := main.Root().Find(args)
	if err != nil {
		t.Errorf("%s: example %q: %v", about.CommandPath(), args, err)
		return false
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: example %q: %v", about.CommandPath(), args, err)
	} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("%s: example %q: %v", about.CommandPath(), args, err)
	}
	return strings.HasPrefix(cmd.CommandPath()+" ", about.CommandPath()+" ")
}

func TestEveryFlagHasAHelpText(t *testing.T) {
	t.Parallel()
	walk(main.Root(), func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.LocalFlags().FlagUsages()) {
			if fields := strings.Fields(line); len(fields) < 3 {
				t.Errorf("%s: flag without a help text: %q", cmd.CommandPath(), line)
			}
		}
	})
}
