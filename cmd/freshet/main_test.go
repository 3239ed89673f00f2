package main_test

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	main "github.com/freshetdev/freshet/cmd/freshet"
)

// TestMain makes the test binary the freshet command, and the desktop's opener of web addresses, for the processes
// that tests start.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"freshet":  main.Main,
		"xdg-open": browse,
		"open":     browse,
		"curl":     curl,
	})
}

// TestScripts runs everything that people type, each command in a process of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Setup: setup, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"nats":      cmdNATS,
			"provider":  cmdProvider,
			"record":    cmdRecord,
			"source":    cmdSource,
			"start":     cmdStart,
			"await":     cmdAwait,
			"interrupt": cmdInterrupt,
			"hangup":    cmdHangup,
			"crash":     cmdCrash,
			"ended":     cmdEnded,
			"visit":     cmdVisit,
			"tries":     cmdTries,
			"exits":     cmdExits,
			"freeport":  cmdFreePort,
			"twins":     cmdTwins,
			"another":   cmdAnother,
			"mode":      cmdMode,
			"oldkey":    cmdOldKey,
			"gitserver": cmdGitServer,
			"document":  cmdDocument,
			"export":    cmdExport,
			"enter":     cmdEnter,
			"ask":       cmdAsk,
			"connect":   cmdConnect,
			"follow":    cmdFollow,
			"dropaudit": cmdDropAudit,
		},
	})
}
