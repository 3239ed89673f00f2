package embedded

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// look is how long one look at a server that is not ready takes.
const look = 30 * time.Millisecond

// launch starts ns and returns when it takes connections, or when it has given up.
func launch(ns *server.Server, port int) error {
	failed := make(failure, 1)
	ns.SetLoggerV2(failed, false, false, false)
	ns.Start()
	for end := time.Now().Add(readyWithin); time.Now().Before(end); {
		ready := ns.ReadyForConnections(look)
		select {
		case err := <-failed:
			return explain(err, port)
		default:
		}
		if ready {
			return nil
		}
	}
	return fmt.Errorf("start embedded nats-server: not ready after %s", readyWithin)
}

func explain(err error, port int) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: something else listens on 127.0.0.1:%d", ErrPortTaken, port)
	}
	return fmt.Errorf("start embedded nats-server: %w", err)
}

// failure is a logger that keeps the first word of a server that gives up, and drops everything else: the server only
// logs why it could not start, and would leave its starter waiting.
type failure chan error

var _ server.Logger = failure(nil)

// Fatalf implements server.Logger.
func (f failure) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			err = &fatal{text: err.Error(), cause: cause}
		}
	}
	select {
	case f <- err:
	default:
	}
}

// fatal is a server's last word and the error in it, which its format does not wrap.
type fatal struct {
	text  string
	cause error
}

// Error implements error.
func (f *fatal) Error() string { return f.text }

// Unwrap returns the cause.
func (f *fatal) Unwrap() error { return f.cause }

// Noticef implements server.Logger.
func (failure) Noticef(string, ...any) {}

// Warnf implements server.Logger.
func (failure) Warnf(string, ...any) {}

// Errorf implements server.Logger.
func (failure) Errorf(string, ...any) {}

// Debugf implements server.Logger.
func (failure) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (failure) Tracef(string, ...any) {}
