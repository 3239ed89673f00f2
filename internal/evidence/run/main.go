// The run command carries out experiments of the package evidence in their long form.
//
//	go run ./internal/evidence/run            lists them
//	go run ./internal/evidence/run NAME ...   runs one; --help after the name shows its flags
//	go run ./internal/evidence/run all        runs each, one after the other
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/freshetdev/freshet/internal/evidence"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "evidence:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	all := evidence.Experiments()
	if len(args) == 0 {
		for _, e := range all {
			fmt.Printf("%-12s %s\n", e.Name, e.Doc)
		}
		return nil
	}
	if args[0] == "all" {
		return each(ctx, all)
	}
	i := slices.IndexFunc(all, func(e evidence.Experiment) bool { return e.Name == args[0] })
	if i < 0 {
		return fmt.Errorf("no experiment is called %q: name one of the list that is shown without arguments", args[0])
	}
	return all[i].Long(ctx, args[1:], os.Stdout)
}

// each runs them all, whatever comes of one.
func each(ctx context.Context, all []evidence.Experiment) error {
	var errs []error
	for _, e := range all {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := e.Long(ctx, nil, os.Stdout); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.Name, err))
		}
		fmt.Println()
	}
	return errors.Join(errs...)
}
