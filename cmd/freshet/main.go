// The freshet command is what people and programs touch: it runs Freshet on one machine, enrols accounts, reads
// tokens, watches events and operates lanes.
package main

import (
	"context"
	"io"
	"os"

	"github.com/freshetdev/freshet/internal/flags"
)

func main() { os.Exit(execute(flags.Begin(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// execute runs one command line and returns its exit code. Data goes to out, everything else to errOut.
func execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	c := &cli{in: in, out: out, err: errOut}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	return c.report(root.ExecuteContext(ctx))
}
