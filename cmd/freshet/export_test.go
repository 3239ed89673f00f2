package main

import (
	"io"

	"github.com/spf13/cobra"
)

// Main is main.
func Main() { main() }

// Root returns the whole tree of commands.
func Root() *cobra.Command {
	return (&cli{out: io.Discard, err: io.Discard}).root()
}
