package evidence

import (
	"context"
	"errors"
	"io"
)

// crashPoints stops an attempt at every step, at every kind of provider, in every way.
func crashPoints() Experiment {
	return Experiment{
		Name: "crash",
		Doc:  "an attempt is killed, frozen, cut off from NATS and refused its write at each of its steps",
		Long: func(context.Context, []string, io.Writer) error { return errors.New("not written yet") },
	}
}
