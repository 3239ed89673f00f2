package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"
)

// Main is main.
func Main() { main() }

// Root returns the whole tree of commands.
func Root() *cobra.Command {
	return (&cli{out: io.Discard, err: io.Discard}).root()
}

// ImportProgress returns what says how far an import is.
func ImportProgress(out io.Writer) func(done, bad int, now time.Time) {
	return (&importOutput{out: out}).progress
}

// ScratchDir makes the directory in which a backup is opened.
var ScratchDir = scratchDir

// ShowDevice says what to do on another device.
var ShowDevice = showDevice
