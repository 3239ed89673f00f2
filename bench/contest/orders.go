package contest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/freshetdev/freshet/bench/host"
)

// What a worker process of our own is told, and what it answers.
const (
	orderGo   = "go"
	orderHalt = "halt"
	going     = "going"
	halted    = "halted"
)

// Crew is a worker process that takes orders.
type Crew struct {
	*host.Process
	command host.Command
}

// StartCrew starts one.
func StartCrew(c host.Command) (*Crew, error) {
	p, err := c.Start()
	return &Crew{Process: p, command: c}, err
}

// Go lets it work.
func (c *Crew) Go(ctx context.Context) error { return c.Ask(ctx, orderGo, going) }

// Halt lets it finish what it has.
func (c *Crew) Halt(ctx context.Context) error { return c.Ask(ctx, orderHalt, halted) }

// Restart starts it again after its death, and lets it work.
func (c *Crew) Restart(ctx context.Context) error {
	var err error
	if c.Process, err = c.command.Start(); err != nil {
		return err
	}
	return c.Go(ctx)
}

// Obey does in the worker's process what it is told, until its standard input ends. work begins, and returns what ends it.
func Obey(in io.Reader, out io.Writer, work func() (stop func(), err error)) error {
	stop := func() {}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch lines.Text() {
		case orderGo:
			var err error
			if stop, err = work(); err != nil {
				return err
			}
			fmt.Fprintln(out, going)
		case orderHalt:
			stop()
			fmt.Fprintln(out, halted)
		default:
			return errors.New("unknown order: " + lines.Text())
		}
	}
	return nil
}
