package flags

import "errors"

// The exit codes that all programs share; freshet has more.
const (
	ExitOK    = 0
	ExitError = 1
	ExitUsage = 2
)

// ErrUsage marks what is wrong with the command line itself, or with a variable that stands in for a part of it: the
// program ends with ExitUsage.
var ErrUsage = errors.New("usage")

// Usage marks an error with ErrUsage and leaves its text alone; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

type usageError struct{ err error }

func (e usageError) Error() string   { return e.err.Error() }
func (e usageError) Unwrap() []error { return []error{e.err, ErrUsage} }

// ExitCode returns what a process ends with.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrUsage):
		return ExitUsage
	}
	return ExitError
}
