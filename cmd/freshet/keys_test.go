package main_test

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdOldKey: oldkey FILE takes the first of the key ids that keys ls has printed as $OLD.
func cmdOldKey(ts *testscript.TestScript, neg bool, args []string) {
	id, _, _ := strings.Cut(ts.ReadFile(args[0]), "\n")
	set(ts, "OLD", id)
}
