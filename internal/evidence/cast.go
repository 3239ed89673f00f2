package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/freshetdev/freshet/internal/fleet"
)

// Names of processes there is only one of.
const (
	natsName      = "nats-server"
	exchangerName = "exchanger"
)

// readsPerSecond is how often a reader uses a token.
const readsPerSecond = 50

// actor is a process that can be killed and started again.
type actor struct {
	name   string
	launch func(name string) (*fleet.Process, error)
	says   string         // when it is at work
	life   *fleet.Process // its present life
	lives  []*fleet.Process
	server *fleet.NATS // instead of launch
}

// start starts it; nats-server only is waited for, because it is no use to anybody before.
func (a *actor) start(ctx context.Context) error {
	if a.server != nil {
		return a.server.Start(ctx)
	}
	p, err := a.launch(a.name)
	if err == nil {
		a.life, a.lives = p, append(a.lives, p)
	}
	return err
}

func (a *actor) kill() error {
	if a.server != nil {
		return a.server.Kill()
	}
	select {
	case <-a.life.Done():
		return fmt.Errorf("%s ended by itself: %s", a.name, a.life.Log.Tail(5))
	default:
		return a.life.Kill()
	}
}

// ready waits until it is at work.
func (a *actor) ready(ctx context.Context) error {
	if a.server != nil || a.says == "" {
		return nil
	}
	return a.life.Await(ctx, a.says, 1)
}

// cast is everybody on a stage, in the order of entering.
type cast struct {
	stage  *stage
	actors []*actor
}

// castOf makes actors of names; the first part of a name says what they are.
func castOf(s *stage, names []string) *cast {
	c := &cast{stage: s}
	for _, name := range names {
		a := &actor{name: name}
		switch kind, _, _ := strings.Cut(name, "-"); kind {
		case "worker":
			a.launch, a.says = s.worker, "worker started"
		case "scheduler":
			a.launch, a.says = s.schedulerProcess, "index is complete"
		case exchangerName:
			a.launch, a.says = s.exchangerProcess, "exchanger started"
		case "reader":
			a.launch = func(name string) (*fleet.Process, error) {
				return s.readerProcess(name, len(s.Accounts()), readsPerSecond)
			}
		default:
			a.server = s.NATS
		}
		c.actors = append(c.actors, a)
	}
	return c
}

func (c *cast) actor(name string) *actor {
	return c.actors[slices.IndexFunc(c.actors, func(a *actor) bool { return a.name == name })]
}

// enter starts everybody but nats-server, which is there.
func (c *cast) enter(ctx context.Context) error {
	for _, a := range c.actors {
		if a.server == nil {
			if err := errors.Join(a.start(ctx), a.ready(ctx)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cast) ready(ctx context.Context) error {
	for _, a := range c.actors {
		if err := a.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// leave ends everybody, in the order in which a service manager would not mind: those who make work first.
func (c *cast) leave(ctx context.Context) error {
	var errs []error
	for _, kind := range []string{"reader", "scheduler", "worker", exchangerName} {
		for _, a := range c.actors {
			if strings.HasPrefix(a.name, kind) && a.life != nil {
				errs = append(errs, c.stage.end(ctx, a.life))
			}
		}
	}
	return errors.Join(errs...)
}

// reading is what readers have counted.
type reading struct {
	Used    int64 `json:"used"`    // the resource was glad
	Refused int64 `json:"refused"` // the resource did not take the token
	None    int64 `json:"none"`    // there was no token to use
	Failed  int64 `json:"failed"`  // the resource did not answer
}

func (r reading) String() string {
	return fmt.Sprintf("%d used, %d refused, %d times none to use, %d unanswered", r.Used, r.Refused, r.None, r.Failed)
}

// readings adds up what the readers' lives have said last. What one did in the last tenth of a second is not in it.
func (c *cast) readings() reading {
	var sum reading
	for _, a := range c.actors {
		if !strings.HasPrefix(a.name, "reader") {
			continue
		}
		for _, life := range a.lives {
			var r reading
			if json.Unmarshal([]byte(life.Log.Tail(1)), &r) == nil {
				sum.Used += r.Used
				sum.Refused += r.Refused
				sum.None += r.None
				sum.Failed += r.Failed
			}
		}
	}
	return sum
}
