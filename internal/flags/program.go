package flags

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // cron expressions name time zones; the image has no zone files

	"github.com/spf13/cobra"
)

// Program returns a command that runs until its context ends: it takes no arguments, and its flags from the environment
// as well.
func Program(use, short string, run func(ctx context.Context) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, SilenceUsage: true, SilenceErrors: true,
		Args:    func(cmd *cobra.Command, args []string) error { return Usage(cobra.NoArgs(cmd, args)) },
		PreRunE: func(cmd *cobra.Command, _ []string) error { return Usage(FromEnv(cmd.Flags(), os.Getenv)) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	return cmd
}

// Begin prepares the process and returns the context that a first SIGINT or SIGTERM ends. A second one ends the process
// at once.
func Begin() context.Context {
	log.SetOutput(io.Discard) // net/http prints stray bytes of answers there
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// Main is the main function of a process with this command. It returns when the command has come to a good end; else the
// process ends with its exit code.
func Main(cmd *cobra.Command) {
	if err := cmd.ExecuteContext(Begin()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), err)
		os.Exit(ExitCode(err))
	}
}
